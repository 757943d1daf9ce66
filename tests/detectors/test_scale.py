"""SCALE: by hand, through the logits, and what its sums do with features that a paper never saw."""

import math

import numpy as np
import pytest
import torch

from unseen import SCALE, Energy, create
from unseen.detectors.scale import kept
from unseen.errors import WrongUse
from unseen.signals import LinearHead

RNG = np.random.default_rng(0)


def shaped(step, rows):
    return step({"features": torch.tensor(rows, dtype=torch.float64)})["features"].numpy()


def test_by_hand():
    """The two largest of four are 4 and 2: exp(8 / 6)."""
    np.testing.assert_allclose(shaped(SCALE(0.5), [[4.0, 1.0, 2.0, 1.0]]), math.exp(8 / 6) * np.array([[4, 1, 2, 1]]))


def test_logits_grow_without_their_bias():
    """``l' = r (l - b) + b``: what the paper's form gives without making the features."""
    x, weight, bias = np.abs(RNG.normal(size=(30, 10))), RNG.normal(size=(4, 10)), RNG.normal(size=4)
    head = LinearHead(torch.tensor(weight), torch.tensor(bias))
    found = create("scale >> energy").fit(x, head=head).score(x)
    factor = np.exp(x.sum(axis=1) / np.sort(x, axis=1)[:, -2:].sum(axis=1))[:, None]  # 10 - round(8.5) = 2
    np.testing.assert_allclose(found, Energy().score(factor * (x @ weight.T) + bias), rtol=1e-10)


@pytest.mark.parametrize("row", [[-1.0, -2.0, -3.0], [0.0, 0.0, 0.0], [5.0, -4.9, -4.9]])
def test_negative_features_do_not_turn_the_ratio(row):
    """With plain sums the last row would be scaled by exp(-4.8 / 5), the first by what two negative sums give."""
    np.testing.assert_allclose(shaped(SCALE(0.6), [row]), math.e * np.array([row]))


@pytest.mark.parametrize(("width", "quantile", "left"), [(10, 0.85, 2), (10, 0.0, 10), (30, 0.85, 4), (3, 0.99, 1)])
def test_rounds_as_the_authors_do(width, quantile, left):
    """Half to even: 8.5 becomes 8, 25.5 becomes 26."""
    assert kept(torch.empty(1, width), quantile, "SCALE") == left


@pytest.mark.parametrize("quantile", [85, 1.0, -0.1])
def test_a_percentage_is_refused(quantile):
    with pytest.raises(WrongUse, match="share from 0 to below 1"):
        shaped(SCALE(quantile), [[1.0, 2.0]])
