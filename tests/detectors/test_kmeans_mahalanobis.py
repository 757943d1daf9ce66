"""k-means Mahalanobis: clusters that are there, how many, seeds, too few."""

import numpy as np
import pytest

from unseen import KMeansMahalanobis, Mahalanobis
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.signals import Signals, Support, TextBank

RNG = np.random.default_rng(0)
LABELS = np.arange(300) % 3
KNOWN = 9 * np.eye(6)[LABELS] + RNG.normal(size=(300, 6)) * [0.2, 0.4, 0.6, 0.8, 1.0, 1.2]
ASKED = 5 * RNG.normal(size=(40, 6))


def test_clusters_that_are_there_stand_for_classes():
    """No label was seen; features are not brought to one length, which would change them."""
    expected = Mahalanobis().fit(KNOWN, LABELS).score(ASKED)
    np.testing.assert_allclose(KMeansMahalanobis(3).fit(KNOWN).score(ASKED), expected, rtol=1e-9)
    np.testing.assert_allclose(KMeansMahalanobis(3).fit(KNOWN, LABELS[::-1]).score(ASKED), expected, rtol=1e-9)


def test_one_cluster_is_mahalanobis_without_labels():
    expected = Mahalanobis(0.1).fit(KNOWN).score(ASKED)
    np.testing.assert_array_equal(KMeansMahalanobis(1, floor=0.1).fit(KNOWN).score(ASKED), expected)


def test_as_many_clusters_as_classes_are_named():
    texts = TextBank(np.eye(3), ("a", "b", "c"), negative=np.ones((1, 3)), words=("word",))
    expected = KMeansMahalanobis(3).fit(KNOWN).score(ASKED)
    for given in (
        Support.of(KNOWN, LABELS),
        Support(Signals({"features": KNOWN}), text=texts),
        Support(Signals({"features": KNOWN}), np.zeros(300, dtype=np.int64), ("a", "b", "c")),
    ):
        np.testing.assert_array_equal(KMeansMahalanobis().fit(given).score(ASKED), expected)
    with pytest.raises(NotEnoughKnown, match="no labels or texts name any: give clusters"):
        KMeansMahalanobis().fit(KNOWN)
    named = Support.of(KNOWN, LABELS).at_level("none")
    with pytest.raises(NotEnoughKnown, match="give clusters"):
        KMeansMahalanobis().fit(named)


def test_labels_are_read_only_for_the_number_of_classes():
    assert (KMeansMahalanobis().labels, KMeansMahalanobis(3).labels) == ("optional", "ignored")
    assert {KMeansMahalanobis().availability, KMeansMahalanobis(3).availability} == {"none"}


def test_one_draw_a_seed():
    """Without clusters in the data the seed decides; fitted twice under one, the bits are the same."""
    flat = RNG.normal(size=(400, 6))
    one, again, other = (KMeansMahalanobis(5, seed).fit(flat).score(ASKED) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)


def test_too_little_says_what_to_do():
    with pytest.raises(WrongUse, match=r"KMeansMahalanobis\(clusters=0\): give a whole number from 1, or None"):
        KMeansMahalanobis(0).fit(KNOWN)
    with pytest.raises(NotEnoughKnown, match="4 clusters need as many different known inputs"):
        KMeansMahalanobis(4).fit(np.repeat(KNOWN[:3], 5, axis=0))
