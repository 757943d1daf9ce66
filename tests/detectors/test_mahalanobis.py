"""Mahalanobis: by hand, against a float64 loop, and where a pseudo-inverse would be blind."""

import numpy as np
import pytest

from unseen import Mahalanobis
from unseen.errors import NotEnoughKnown, WrongUse


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


# Of logits, by a pseudo-inverse


@pytest.mark.parametrize("columns", [12, 30])
def test_on_logits_of_an_injective_head_it_is_that_on_features(columns):
    """30 logits of 12 features have a singular covariance: 18 directions that no input can enter are left out."""
    x, y, asked = data()
    rng = np.random.default_rng(1)
    weight, bias = rng.normal(size=(columns, 12)), rng.normal(size=columns)
    known, queries = ({"logits": rows @ weight.T + bias} for rows in (x, asked))
    expected = Mahalanobis(floor=0.0).fit(x, y).score(asked)
    detector = Mahalanobis(floor=None, on="logits").fit(known, y)
    np.testing.assert_allclose(detector.score(queries), expected, rtol=1e-7)
    assert detector.whiten.shape == (columns, 12)
    single = Mahalanobis(floor=None, on="logits").fit({"logits": known["logits"].astype(np.float32)}, y)
    np.testing.assert_allclose(single.score({"logits": queries["logits"].astype(np.float32)}), expected, rtol=1e-3)
    if columns > 12:
        with pytest.raises(NotEnoughKnown, match="fewer than their 30 dimensions"):
            Mahalanobis(floor=0.0, on="logits").fit(known, y)


def test_affine_maps_of_features_change_nothing():
    x, y, asked = data()
    rng = np.random.default_rng(2)
    turn, shift = rng.normal(size=(12, 12)), rng.normal(size=12)
    for floor in (0.0, None):
        one, two = (
            Mahalanobis(floor).fit(a, y).score(b) for a, b in ((x, asked), (x @ turn + shift, asked @ turn + shift))
        )
        np.testing.assert_allclose(two, one, rtol=1e-8)


def test_without_a_null_space_the_pseudo_inverse_is_the_inverse():
    x, y, asked = data()
    np.testing.assert_allclose(Mahalanobis(None).fit(x, y).score(asked), naive(x, y, asked), rtol=1e-9)


def test_the_pseudo_inverse_is_blind_where_the_known_never_went():
    """Why it is not the default."""
    rng = np.random.default_rng(0)
    x = np.c_[rng.normal(size=(50, 2)), np.zeros(50)]
    scores = Mahalanobis(floor=None).fit(x).score(np.array([[0.5, 0.0, 0.0], [0.5, 0.0, 1.0]]))
    assert scores[1] == pytest.approx(scores[0])
    with pytest.raises(NotEnoughKnown, match="do not differ at all"):
        Mahalanobis(floor=None).fit(np.ones((5, 3)))


def test_by_hand_of_two_classes():
    """Classes at 0 and 10, each with variance 1: half-way between them is five deviations from both."""
    known, labels = [[-1.0], [1.0], [9.0], [11.0]], [0, 0, 1, 1]
    assert Mahalanobis(floor=0.0).fit(known, labels).score([[5.0]]).item() == pytest.approx(-25.0)
    for floor in (0.0, None):
        only = Mahalanobis(floor, covariance="class_mean").fit(known, labels)  # unbiased: variance 2
        assert only.score([[5.0]]).item() == pytest.approx(-12.5)


# Every class alike


def uneven():
    x, y, asked = data(n=150)
    y = np.repeat(np.arange(6), [70, 40, 20, 14, 5, 1])
    return x + 3 * np.random.default_rng(3).normal(size=(6, 12))[y], y, asked


def test_class_mean_is_the_mean_of_the_covariances_of_classes():
    """The class with one input has no covariance: neither it nor its mean counts, as in the authors' program."""
    x, y, asked = uneven()
    kept = y < 5
    spread = np.mean([np.cov(x[y == c].T) for c in range(5)], axis=0)
    means = [x[y == c].mean(axis=0) for c in range(5)]
    expected = [-min((q - m) @ np.linalg.solve(spread, q - m) for m in means) for q in asked]
    found = Mahalanobis(0.0, covariance="class_mean").fit(x, y).score(asked)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_allclose(Mahalanobis(0.0, covariance="class_mean").fit(x[kept], y[kept]).score(asked), expected)
    assert not np.allclose(found, naive(x, y, asked), rtol=0.01)


def test_class_mean_of_equal_classes_differs_by_a_factor():
    x, y, asked = data(n=400, classes=5)
    one, two = (Mahalanobis(0.0, covariance=kind).fit(x, y).score(asked) for kind in ("pooled", "class_mean"))
    np.testing.assert_allclose(two, one * 79 / 80, rtol=1e-9)


def test_what_it_refuses():
    with pytest.raises(
        WrongUse, match=r"Mahalanobis\(on='local'\): distances are on 'features', 'logits' or 'embedding'"
    ):
        Mahalanobis(on="local")
    with pytest.raises(WrongUse, match=r"covariance='each'\): the covariance is 'pooled' or 'class_mean'"):
        Mahalanobis(covariance="each")
    with pytest.raises(NotEnoughKnown, match="needs two inputs of some class"):
        Mahalanobis(covariance="class_mean").fit(np.eye(3), [0, 1, 2])
    with pytest.raises(WrongUse, match="mahalanobis reads logits, there is only features"):
        Mahalanobis(on="logits").fit({"features": np.eye(3)})
