"""NECO: by hand, against scikit-learn, all directions, negative logits, wrong arguments."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from unseen import NECO, MaxLogit
from unseen.errors import NotEnoughKnown, WrongUse

RNG = np.random.default_rng(0)
KNOWN = {"features": RNG.normal(size=(200, 8)) @ RNG.normal(size=(8, 8)) + 3, "logits": RNG.normal(size=(200, 4))}
ASKED = {"features": RNG.normal(size=(40, 8)) + 3, "logits": 2 + RNG.uniform(size=(40, 4))}


def test_by_hand():
    """Deviations 2 and 1, and the main direction is (1, 1) of the standardised features; asked at (2, 0) and (1, 1)."""
    known = [[2.0, 1.0], [-2.0, -1.0], [2.0, 1.0], [-2.0, -1.0], [2.0, 1.0], [-2.0, -1.0], [2.0, -1.0], [-2.0, 1.0]]
    asked = {"features": [[2.0, 0.0], [2.0, 1.0]], "logits": [[3.0, 1.0], [0.5, 3.0]]}
    detector = NECO(components=1, floor=0.0).fit({"features": known, "logits": np.zeros((8, 2))})
    scores = detector.score({name: np.array(x) for name, x in asked.items()})
    np.testing.assert_allclose(scores, [3 * np.sqrt(0.5), 3.0])


@pytest.mark.parametrize("components", [1, 5])
def test_agrees_with_scikit_learn(components):
    scaler = StandardScaler().fit(KNOWN["features"])
    pca = PCA(components).fit(scaler.transform(KNOWN["features"]))
    z = scaler.transform(ASKED["features"])
    share = np.linalg.norm(pca.transform(z), axis=1) / np.linalg.norm(z, axis=1)
    found = NECO(components, floor=0.0).fit(KNOWN).score(ASKED)
    np.testing.assert_allclose(found, ASKED["logits"].max(axis=1) * share, rtol=1e-9)
    found = NECO(components, "none", 0.0).fit(KNOWN["features"]).score(ASKED["features"])
    np.testing.assert_allclose(found, share, rtol=1e-9)


def test_all_directions_leave_the_largest_logit():
    np.testing.assert_allclose(NECO(8).fit(KNOWN).score(ASKED), MaxLogit().score(ASKED["logits"]))


def test_the_rule_takes_the_fewest_directions_that_hold_nine_tenths():
    """Of 10 equally strong ones it takes 9; of 5 pairs of copies, as many as there are pairs."""
    axes = np.r_[np.eye(10), -np.eye(10)]
    assert NECO(factor="none", floor=0.0).fit(axes).basis.shape == (10, 9)
    pairs = np.repeat(np.r_[np.eye(5), -np.eye(5)], 2, axis=1)
    assert NECO(factor="none", floor=0.0).fit(pairs).basis.shape == (10, 5)


def test_the_share_counts_alike_where_all_logits_are_negative():
    """The product alone would turn the order around."""
    shares = NECO(2, "none").fit(KNOWN["features"]).score(ASKED["features"])
    for logit in (-1.0, 1.0):
        scores = NECO(2).fit(KNOWN).score(ASKED | {"logits": np.full((40, 4), logit)})
        np.testing.assert_array_equal(np.argsort(scores), np.argsort(shares))


def test_a_feature_that_never_varied_is_seen():
    """Left at its own scale it would be one of nine; here what moves it leaves all main directions."""
    known = np.c_[KNOWN["features"], np.full(200, 5.0)]
    asked = np.repeat(known[:1], 2, axis=0) + np.eye(9)[[0, 8]]
    scores = NECO(8, "none").fit(known).score(asked)
    assert scores[0] == pytest.approx(1.0)
    assert scores[1] < 0.05


def test_wrong_arguments():
    for components in (0, 9, 2.5):
        with pytest.raises(WrongUse, match="from 1 to 8"):
            NECO(components).fit(KNOWN)
    with pytest.raises(WrongUse, match="factor='energy'"):
        NECO(factor="energy").fit(KNOWN)
    with pytest.raises(NotEnoughKnown, match="do not differ"):
        NECO(factor="none").fit(np.ones((5, 3)))
