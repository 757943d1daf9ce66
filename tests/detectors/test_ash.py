"""ASH: by hand, the properties of its variants, ties, and wrong arguments."""

import math

import numpy as np
import pytest
import torch

from unseen import ASH
from unseen.errors import WrongUse

X = np.abs(np.random.default_rng(0).normal(size=(50, 20)))


def shaped(step, rows):
    return step({"features": torch.tensor(rows, dtype=torch.float64)})["features"].numpy()


@pytest.mark.parametrize(
    ("variant", "expected"),
    [("P", [4, 0, 2, 0]), ("B", [4, 0, 4, 0]), ("S", [4 * math.exp(8 / 6), 0, 2 * math.exp(8 / 6), 0])],
)
def test_by_hand(variant, expected):
    np.testing.assert_allclose(shaped(ASH(variant, 0.5), [[4.0, 1.0, 2.0, 1.0]]), [expected])


def test_pruning_nothing():
    """P is then the identity, and S multiplies by e."""
    np.testing.assert_array_equal(shaped(ASH("P", 0.0), X), X)
    np.testing.assert_allclose(shaped(ASH("S", 0.0), X), math.e * X)


@pytest.mark.parametrize("quantile", [0.3, 0.9])
def test_b_keeps_the_sum_and_the_number(quantile):
    found = shaped(ASH("B", quantile), X)
    np.testing.assert_allclose(found.sum(axis=1), X.sum(axis=1))
    assert ((found > 0).sum(axis=1) == 20 - round(20 * quantile)).all()


def test_zeros_are_not_filled():
    """Two of four features should stay and only one is positive: it takes the sum, wherever the zeros stand."""
    np.testing.assert_allclose(shaped(ASH("B", 0.5), [[0.0, 3.0, 0.0, 0.0]]), [[0.0, 3.0, 0.0, 0.0]])


@pytest.mark.parametrize("variant", ["P", "B", "S"])
def test_the_order_of_the_units_does_not_matter(variant):
    """Many ties at the bound, as in half precision."""
    x, order = np.round(X, 1), np.random.default_rng(1).permutation(20)
    step = ASH(variant, 0.7)
    np.testing.assert_allclose(shaped(step, x[:, order]), shaped(step, x)[:, order])


def test_what_is_given_is_not_written_to():
    """The authors' code prunes in place."""
    x = torch.tensor(X)
    ASH()({"features": x})
    np.testing.assert_array_equal(x.numpy(), X)


def test_wrong_arguments():
    with pytest.raises(WrongUse, match="'S', 'B' or 'P'"):
        shaped(ASH("Q"), X)
    with pytest.raises(WrongUse, match="quantile=90"):
        shaped(ASH("S", 90), X)
