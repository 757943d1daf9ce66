"""Mahalanobis: by hand, against a float64 loop, and where a pseudo-inverse would be blind."""

import numpy as np
import pytest

from unseen import Mahalanobis
from unseen.errors import NotEnoughKnown


def naive(x, y, asked, floor=0.0):
    """Class by class in float64, with an inverse: the definition."""
    classes = np.unique(y)
    means = np.stack([x[y == c].mean(axis=0) for c in classes])
    spread = sum((x[y == c] - m).T @ (x[y == c] - m) for c, m in zip(classes, means, strict=True)) / len(x)
    spread += floor * np.trace(spread) / len(spread) * np.eye(len(spread))
    inverse = np.linalg.inv(spread)
    return -np.array([min((q - m) @ inverse @ (q - m) for m in means) for q in asked])


def data(n=400, classes=5, width=12, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(width, width))
    y = np.arange(n) % classes
    means = 3 * rng.normal(size=(classes, width)) + shift
    return (
        means[y] + rng.normal(size=(n, width)) @ mix,
        y,
        means[rng.permutation(n) % classes] + rng.normal(size=(n, width)),
    )


def test_by_hand():
    known = [[0.0, 1.0], [0.0, -1.0], [1.0, 0.0], [-1.0, 0.0]]  # covariance is half the identity
    assert Mahalanobis(floor=0.0).fit(known).score([[2.0, 0.0]]).item() == pytest.approx(-8.0)


@pytest.mark.parametrize("floor", [0.0, 1e-6, 0.1])
def test_agrees_with_a_float64_loop(floor):
    x, y, asked = data()
    expected = naive(x, y, asked, floor)
    np.testing.assert_allclose(Mahalanobis(floor).fit(x, y).score(asked), expected, rtol=1e-9)
    single = Mahalanobis(floor).fit(x.astype(np.float32), y).score(asked.astype(np.float32))
    np.testing.assert_allclose(single, expected, rtol=1e-4)


def test_a_far_off_mean_costs_no_digits():
    x, y, asked = data(shift=1e4)
    expected = naive(x, y, asked)
    np.testing.assert_allclose(Mahalanobis(0.0).fit(x, y).score(asked), expected, rtol=1e-7)


def test_a_direction_never_used_is_seen():
    """With a pseudo-inverse the third coordinate would not count at all."""
    rng = np.random.default_rng(0)
    x = np.c_[rng.normal(size=(50, 2)), np.zeros(50)]
    scores = Mahalanobis().fit(x).score(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    assert scores[1] < 1000 * min(scores[0], -1.0)


def test_without_labels_there_is_one_class():
    x, _, asked = data()
    one = Mahalanobis().fit(x, np.zeros(len(x), dtype=int)).score(asked)
    np.testing.assert_array_equal(Mahalanobis().fit(x).score(asked), one)


def test_one_input_has_no_spread():
    with pytest.raises(NotEnoughKnown, match="at least two"):
        Mahalanobis().fit([[1.0, 2.0]])


def test_memory_of_a_query_does_not_grow_with_the_classes():
    """The whole state is D + 2 C D + C + D^2 numbers, and a query makes one vector of C and some of D."""
    x, y, _ = data(n=600, classes=60)
    assert Mahalanobis().fit(x, y).size() == 12 + 2 * 60 * 12 + 60 + 144 + 1
