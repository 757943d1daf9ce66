"""GaussianMixture: by hand, against scikit-learn's, one cluster, what it cannot see, far inputs, too little."""

import math

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture as Reference

from unseen import GaussianMixture
from unseen.errors import NotEnoughKnown, WrongUse

RNG = np.random.default_rng(0)
KNOWN = 3 * np.eye(5)[np.arange(200) % 4] + RNG.normal(size=(200, 5)) * [0.3, 0.6, 0.9, 1.2, 0.6]
ASKED = 2 * RNG.normal(size=(50, 5))


def test_by_hand():
    """Two clusters of variances 4 up and 1 across once the means are taken away; asked at a mean, three times as many
    inputs as at the other: the determinant is 4, and the other mean is out of sight.
    """
    shape = np.array([[1, 2], [1, -2], [-1, 2], [-1, -2]], float)
    known = np.concatenate([shape, shape, shape, shape + np.array([100, 0])])
    score = GaussianMixture(clusters=2, floor=0.0).fit(known).score([[0.0, 0.0], [1.0, 2.0]])
    top = math.log(3 / 4) - math.log(2 * math.pi) - math.log(4) / 2
    assert score == pytest.approx([top, top - 1])


@pytest.mark.parametrize(("clusters", "tolerance"), [(1, 1e-9), (4, 1e-6), (9, 1e-6)])
def test_agrees_with_scikit_learn(clusters, tolerance):
    """From the same clusters of k-means on, by the same rule of when to stop."""
    codes = KMeans(clusters, n_init=1, random_state=0).fit_predict(KNOWN)
    means = np.stack([KNOWN[codes == k].mean(axis=0) for k in range(clusters)])
    within = (KNOWN - means[codes]).T @ (KNOWN - means[codes]) / len(KNOWN)
    start = {"weights_init": np.bincount(codes) / 200, "means_init": means, "precisions_init": np.linalg.inv(within)}
    fitted = Reference(clusters, covariance_type="tied", reg_covar=0, **start).fit(KNOWN)
    found = GaussianMixture(clusters, components=None, floor=0.0).fit(KNOWN).score(ASKED)
    np.testing.assert_allclose(found, fitted.score_samples(ASKED), rtol=tolerance)


def test_the_fit_ends_where_nothing_is_gained():
    """No other shift of the means is likelier for the known."""
    fitted = GaussianMixture(clusters=3, floor=0.0).fit(KNOWN)
    likely = fitted.score(KNOWN).mean()
    for k in range(3):
        for step in (0.05, -0.05):
            moved = fitted.means.clone()
            fitted.means[k] += step
            fitted.gaps = 0.5 * (fitted.means[:, None] - fitted.means).square().sum(dim=2)
            assert fitted.score(KNOWN).mean() < likely
            fitted.means = moved


def test_rounds_are_made_in_pieces(monkeypatch):
    whole = GaussianMixture(clusters=4).fit(KNOWN).score(ASKED)
    monkeypatch.setattr("unseen.detectors.gaussian_mixture.BLOCK", 4 * 17)
    np.testing.assert_allclose(GaussianMixture(clusters=4).fit(KNOWN).score(ASKED), whole, rtol=1e-8)


def test_the_unit_of_the_features_shifts_all_scores_alike():
    one, other = (GaussianMixture(clusters=4).fit(unit * KNOWN).score(unit * ASKED) for unit in (1.0, 1e4))
    np.testing.assert_allclose(other, one - 5 * math.log(1e4), rtol=1e-6)


def test_only_the_principal_directions_are_seen():
    known = np.concatenate([KNOWN, 1e-3 * RNG.normal(size=(200, 1))], axis=1)
    detector = GaussianMixture(clusters=4, components=5).fit(known)
    near, far = (np.concatenate([ASKED, np.full((50, 1), last)], axis=1) for last in (0.0, 3.0))
    assert np.abs(detector.score(far) - detector.score(near)).max() < 0.1
    assert (GaussianMixture(clusters=4).fit(known).score(far) < -1e6).all()


def test_far_inputs_do_not_tie():
    """As a density in float32 all of them are 0."""
    asked = np.linspace(20, 40, 60, dtype=np.float32)[:, None] * np.ones((1, 5), np.float32)
    scores = GaussianMixture(clusters=4).fit(KNOWN.astype(np.float32)).score(asked)
    assert scores.max() < -104
    assert (np.diff(scores) < 0).all()


def test_too_little_says_what_to_do():
    for arguments in ({"clusters": 0}, {"clusters": 1.5}, {"components": 0}):
        with pytest.raises(WrongUse, match="give a whole number from 1"):
            GaussianMixture(**arguments).fit(KNOWN)
    with pytest.raises(NotEnoughKnown, match="at least two known inputs"):
        GaussianMixture().fit(KNOWN[:1])
    with pytest.raises(NotEnoughKnown, match="fewer different known inputs"):
        GaussianMixture(clusters=3).fit(np.repeat(KNOWN[:2], 9, axis=0))
    with pytest.raises(NotEnoughKnown, match="do not differ; add inputs"):
        GaussianMixture(clusters=1).fit(np.repeat(KNOWN[:1].round(), 9, axis=0))
    with pytest.raises(NotEnoughKnown, match="a floor above 0"):
        GaussianMixture(clusters=2, floor=0.0).fit(KNOWN[:4])
