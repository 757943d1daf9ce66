"""Local outlier factor: by hand, against scikit-learn, copies, too few."""

import warnings

import numpy as np
import pytest
from sklearn.neighbors import LocalOutlierFactor as Factor

from unseen import LocalOutlierFactor
from unseen.errors import NotEnoughKnown, WrongUse

RNG = np.random.default_rng(0)
KNOWN, ASKED = RNG.normal(size=(200, 6)), RNG.normal(size=(40, 6))


def test_by_hand():
    """k = 1 at 0, 1, 3: densities 1, 1, 1/2. Asked at 7: reach max(4, 2), density 1/4; its neighbour 3 has 1/2."""
    assert LocalOutlierFactor(k=1).fit([[0.0], [1.0], [3.0]]).score([[7.0]]).item() == pytest.approx(-2.0)


@pytest.mark.parametrize("k", [1, 20, 199])
def test_agrees_with_scikit_learn(k):
    expected = Factor(n_neighbors=k, novelty=True).fit(KNOWN).score_samples(ASKED)
    np.testing.assert_allclose(LocalOutlierFactor(k).fit(KNOWN).score(ASKED), expected, rtol=1e-9)


def test_density_is_local():
    """The same gap of 1 is usual beside a loose class and strange beside a tight one."""
    tight, loose = RNG.normal(size=(100, 2)) * 0.05, RNG.normal(size=(100, 2)) + 50
    beside_tight, beside_loose = LocalOutlierFactor().fit(np.vstack([tight, loose])).score([[1.0, 0.0], [51.0, 50.0]])
    assert beside_tight < -5
    assert beside_loose > -1.5


def test_copies_count_once():
    """scikit-learn gives what lies beside 30 copies a factor of millions, and warns."""
    copied = np.vstack([KNOWN, np.repeat(KNOWN[:1], 30, axis=0)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = Factor(n_neighbors=20, novelty=True).fit(copied).score_samples(KNOWN[:1] + 0.1)
    assert theirs < -1e6
    asked = np.vstack([ASKED, KNOWN[:1] + 0.1])
    np.testing.assert_array_equal(
        LocalOutlierFactor().fit(copied).score(asked), LocalOutlierFactor().fit(KNOWN).score(asked)
    )


def test_too_few_says_what_to_do():
    with pytest.raises(NotEnoughKnown, match="at least 21 different known inputs, got 20: lower k"):
        LocalOutlierFactor().fit(np.vstack([KNOWN[:20], KNOWN[:20]]))
    with pytest.raises(WrongUse, match="from 1"):
        LocalOutlierFactor(k=0).fit(KNOWN)
