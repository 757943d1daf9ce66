"""Class-wise Gaussians: by hand, against scipy, what each form becomes at its ends, rare classes, wrong arguments."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from unseen import ClassGaussians, Mahalanobis
from unseen.errors import NotEnoughKnown, WrongUse

RNG = np.random.default_rng(0)
LABELS = np.repeat([0, 1, 2], [150, 90, 60])
KNOWN = 4 * np.eye(5)[LABELS] + RNG.normal(size=(300, 5)) * (1 + LABELS[:, None]) @ RNG.normal(size=(5, 5))
ASKED = 5 * RNG.normal(size=(40, 5))
OTHERS = ["full", "diagonal", "shared"]


def test_by_hand():
    """Two classes at 0 and 3 of variances 1 and 4; at 1 the densities are exp(-1/2) and exp(-1/2) / 2, halved."""
    known, labels = [[-1.0], [1.0], [1.0], [5.0]], ["a", "a", "b", "b"]
    found = ClassGaussians(shrinkage=0.0, floor=0.0).fit(known, labels).score([[1.0]]).item()
    assert found == pytest.approx(np.log(0.75 * np.exp(-0.5) / np.sqrt(2 * np.pi)))


def test_agrees_with_scipy():
    parts = []
    for c in range(3):
        rows = KNOWN[c == LABELS]
        gaussian = multivariate_normal(rows.mean(axis=0), np.cov(rows.T, bias=True))
        parts.append(np.log(len(rows) / len(KNOWN)) + gaussian.logpdf(ASKED))
    expected = np.logaddexp.reduce(parts, axis=0)
    detector = ClassGaussians(shrinkage=0.0, floor=0.0)
    np.testing.assert_allclose(detector.fit(KNOWN, LABELS).score(ASKED), expected, rtol=1e-9)
    single = detector.fit(KNOWN.astype(np.float32), LABELS).score(ASKED.astype(np.float32))
    np.testing.assert_allclose(single, expected, rtol=1e-4)


def test_shrunk_all_the_way_is_shared():
    shared = ClassGaussians("shared").fit(KNOWN, LABELS).score(ASKED)
    np.testing.assert_allclose(ClassGaussians("full", 1.0).fit(KNOWN, LABELS).score(ASKED), shared, rtol=1e-9)


def test_diagonal_is_full_where_nothing_correlates():
    """Corners of a box have correlation 0."""
    corners = np.array([[i, j, k] for i in (-1, 1) for j in (-2, 2) for k in (-3, 3)], dtype=float)
    known, labels = np.r_[corners, 5 + 2 * corners], np.repeat([0, 1], 8)
    scores = [ClassGaussians(kind).fit(known, labels).score(ASKED[:, :3]) for kind in ("full", "diagonal")]
    np.testing.assert_allclose(*scores, rtol=1e-9)


def test_one_class_ranks_as_mahalanobis():
    for kind in ("full", "shared"):
        scores = ClassGaussians(kind).fit(KNOWN).score(ASKED)
        gap = scores - Mahalanobis().fit(KNOWN).score(ASKED) / 2
        np.testing.assert_allclose(gap, gap[0], rtol=1e-9)


@pytest.mark.parametrize("covariance", OTHERS)
def test_a_far_off_mean_costs_no_digits(covariance):
    near = ClassGaussians(covariance).fit(KNOWN, LABELS).score(ASKED)
    np.testing.assert_allclose(ClassGaussians(covariance).fit(KNOWN + 1e4, LABELS).score(ASKED + 1e4), near, rtol=1e-6)


@pytest.mark.parametrize("covariance", OTHERS)
def test_a_class_of_one_input_has_a_density(covariance):
    known, labels = np.r_[KNOWN, [[50.0] * 5]], np.r_[LABELS, 3]
    scores = ClassGaussians(covariance).fit(known, labels).score([[50.0] * 5, [500.0] * 5])
    assert np.isfinite(scores).all()
    assert scores[0] > scores[1]


def test_wrong_arguments():
    with pytest.raises(WrongUse, match="'full', 'diagonal' or 'shared'"):
        ClassGaussians("tied").fit(KNOWN, LABELS)
    with pytest.raises(WrongUse, match="from 0 to 1"):
        ClassGaussians(shrinkage=2.0).fit(KNOWN, LABELS)


def test_too_little_says_what_to_do():
    with pytest.raises(NotEnoughKnown, match="at least two"):
        ClassGaussians().fit(KNOWN[:1])
    few, labels = np.r_[KNOWN[:20], KNOWN[-4:]], np.repeat([0, 1], [20, 4])  # four inputs, five dimensions
    for covariance in ("full", "diagonal"):
        few[-4:, 0] = 1.0
        with pytest.raises(NotEnoughKnown, match="a floor above 0, or more inputs"):
            ClassGaussians(covariance, shrinkage=0.0, floor=0.0).fit(few, labels)
