"""SSD: by hand, one cluster, clusters that k-means must find, seeds, too few."""

import math

import numpy as np
import pytest

from unseen import SSD, create
from unseen.errors import NotEnoughKnown, WrongUse

RNG = np.random.default_rng(0)
LABELS = np.arange(300) % 3
KNOWN = 6 * np.eye(6)[LABELS] + RNG.normal(size=(300, 6)) * [0.2, 0.4, 0.6, 0.8, 1.0, 1.2]
ASKED = 3 * RNG.normal(size=(40, 6))


def test_by_hand():
    """Directions on both sides of the first axis: nothing correlates, and each coordinate counts by its own spread."""
    known = [[math.cos(a), math.sin(a)] for a in (0.2, -0.2, 0.1, -0.1)]
    variance = [np.var(column) for column in zip(*known, strict=True)]
    gap = [7.0 / math.hypot(7, 1) - np.mean(known, axis=0)[0], 1.0 / math.hypot(7, 1)]
    expected = -sum(g**2 / v for g, v in zip(gap, variance, strict=True))
    assert SSD(floor=0.0).fit(10 * np.array(known)).score([[7.0, 1.0]]).item() == pytest.approx(expected)


def test_one_cluster_is_mahalanobis_of_directions():
    expected = create("unit >> mahalanobis").fit(KNOWN).score(ASKED)
    np.testing.assert_allclose(SSD().fit(KNOWN, LABELS).score(ASKED), expected, rtol=1e-9)


def test_finds_clusters_that_are_there():
    """Three of them, each with its own covariance; no label was seen."""
    z, q = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (KNOWN, ASKED))
    expected = []
    for c in range(3):
        rows = z[c == LABELS]
        gap = q - rows.mean(axis=0)
        expected.append((gap * np.linalg.solve(np.cov(rows.T, bias=True), gap.T).T).sum(axis=1))
    found = SSD(clusters=3, floor=0.0).fit(KNOWN).score(ASKED)
    np.testing.assert_allclose(found, -np.min(expected, axis=0), rtol=1e-8)


def test_lengths_do_not_count():
    longer = KNOWN * RNG.uniform(0.1, 10, size=(300, 1))
    scores = [SSD(clusters=3).fit(known).score(asked) for known, asked in ((KNOWN, ASKED), (longer, 5 * ASKED))]
    np.testing.assert_allclose(*scores, rtol=1e-6)


def test_one_draw_a_seed():
    """Without clusters in the data the seed decides; fitted twice under one, the bits are the same."""
    flat = RNG.normal(size=(400, 6))
    one, again, other = (SSD(clusters=5, seed=seed).fit(flat).score(ASKED) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)


def test_too_little_says_what_to_do():
    with pytest.raises(NotEnoughKnown, match="at least two"):
        SSD().fit(KNOWN[:1])
    with pytest.raises(NotEnoughKnown, match="fewer known inputs of different directions"):
        SSD(clusters=3).fit(np.repeat(KNOWN[:2], 9, axis=0))
    with pytest.raises(NotEnoughKnown, match="a floor above 0, or more inputs"):
        SSD(clusters=60, floor=0.0).fit(KNOWN)
    for clusters in (0, 1.5):
        with pytest.raises(WrongUse, match="whole number from 1"):
            SSD(clusters=clusters).fit(KNOWN)
