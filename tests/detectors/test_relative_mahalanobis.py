"""Relative Mahalanobis: two distances as the paper has them, in the space of features and of logits."""

import numpy as np
import pytest

from unseen import Mahalanobis, RelativeMahalanobis
from unseen.errors import WrongUse

RNG = np.random.default_rng(0)
WIDTH = 8
LABELS = np.repeat(np.arange(6), [80, 60, 30, 20, 9, 1])
KNOWN = 3 * RNG.normal(size=(6, WIDTH))[LABELS] + RNG.normal(size=(200, WIDTH)) @ RNG.normal(size=(WIDTH, WIDTH))
ASKED = 4 * RNG.normal(size=(50, WIDTH))


def squared(rows, mean, spread):
    gap = rows - mean
    return (gap * np.linalg.solve(spread, gap.T).T).sum(axis=1)


def test_is_the_class_distance_less_that_to_the_whole():
    """As the second does not depend on the class, it is the score of Mahalanobis plus it."""
    whole = squared(ASKED, KNOWN.mean(axis=0), np.cov(KNOWN.T, bias=True))
    expected = Mahalanobis(0.0).fit(KNOWN, LABELS).score(ASKED) + whole
    np.testing.assert_allclose(RelativeMahalanobis(0.0).fit(KNOWN, LABELS).score(ASKED), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("floor", [0.0, 0.01])
def test_class_mean_is_that_of_the_authors_program(floor):
    """Covariances of classes averaged alike, the total over N - 1; the class with one input is none."""
    spread = np.mean([np.cov(KNOWN[c == LABELS].T) for c in range(5)], axis=0)
    ridge = floor * np.trace(spread) / WIDTH * np.eye(WIDTH)
    means = [KNOWN[c == LABELS].mean(axis=0) for c in range(5)]
    nearest = np.min([squared(ASKED, mean, spread + ridge) for mean in means], axis=0)
    expected = squared(ASKED, KNOWN.mean(axis=0), np.cov(KNOWN.T) + ridge) - nearest
    found = RelativeMahalanobis(floor, covariance="class_mean").fit(KNOWN, LABELS).score(ASKED)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("covariance", ["pooled", "class_mean"])
@pytest.mark.parametrize("columns", [WIDTH, 20])
def test_on_logits_of_an_injective_head_it_is_that_on_features(columns, covariance):
    """20 logits of 8 features have singular covariances."""
    weight, bias = RNG.normal(size=(columns, WIDTH)), RNG.normal(size=columns)
    known, asked = ({"logits": rows @ weight.T + bias} for rows in (KNOWN, ASKED))
    expected = RelativeMahalanobis(0.0, covariance=covariance).fit(KNOWN, LABELS).score(ASKED)
    found = RelativeMahalanobis(None, "logits", covariance).fit(known, LABELS).score(asked)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_fewer_directions_than_classes_less_one():
    """Five means in a plane that is all that the spread has: two directions, not four."""
    flat, asked = np.c_[KNOWN[:, :2], np.zeros((200, 3))], np.c_[ASKED[:, :2], np.zeros((50, 3))]
    expected = RelativeMahalanobis(0.0).fit(KNOWN[:, :2], LABELS).score(ASKED[:, :2])
    np.testing.assert_allclose(RelativeMahalanobis(None).fit(flat, LABELS).score(asked), expected, rtol=1e-8, atol=1e-8)


def test_what_it_refuses():
    with pytest.raises(WrongUse, match=r"RelativeMahalanobis\(on='pixels'\)"):
        RelativeMahalanobis(on="pixels")
    with pytest.raises(WrongUse, match=r"RelativeMahalanobis\(covariance='mean'\)"):
        RelativeMahalanobis(covariance="mean")
