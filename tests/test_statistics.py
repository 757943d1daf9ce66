"""Moments that merge and subtract; whitening; exact neighbours."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unseen.errors import NotEnoughKnown
from unseen.statistics import Moments, kth_distance, whitener


def sample(n: int, seed: int, shift: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(n, 4)) + shift), torch.from_numpy(rng.integers(0, 3, n))


def assert_same(one: Moments, two: Moments, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(one.count, two.count)
    torch.testing.assert_close(one.mean, two.mean, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(one.within, two.within, atol=tolerance, rtol=tolerance)


def test_by_definition():
    x, y = sample(50, 0)
    found = Moments.of([(x, y)], classes=3)
    for c in range(3):
        torch.testing.assert_close(found.mean[c], x[y == c].mean(dim=0))
    centred = x - torch.stack([x[y == c].mean(dim=0) for c in range(3)])[y]
    torch.testing.assert_close(found.within, centred.T @ centred)
    torch.testing.assert_close(found.grand_mean(), x.mean(dim=0))
    torch.testing.assert_close(found.total() / len(x), torch.from_numpy(np.cov(x.T.numpy(), bias=True)))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 40), max_size=5), st.sampled_from([0.0, 1e5]))
def test_parts_add_up_in_any_cut(seed, cuts, shift):
    x, y = sample(40, seed, shift)
    edges = [0, *sorted(cuts), 40]
    parts = [(x[a:b], y[a:b]) for a, b in itertools.pairwise(edges)]
    assert_same(Moments.of(parts, classes=3), Moments.of([(x, y)], classes=3), 1e-9 * max(1, shift))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 39))
def test_taking_a_part_away_leaves_the_other(seed, cut):
    x, y = sample(40, seed)
    whole, part = Moments.of([(x, y)], 3), Moments.of([(x[:cut], y[:cut])], 3)
    rest = whole - part
    present = rest.count > 0
    expected = Moments.of([(x[cut:], y[cut:])], 3)
    torch.testing.assert_close(rest.count, expected.count)
    torch.testing.assert_close(rest.mean[present], expected.mean[present])
    torch.testing.assert_close(rest.within, expected.within, atol=1e-9, rtol=1e-9)


def test_a_far_off_mean_keeps_its_digits():
    """Raw second moments around zero would lose all sixteen."""
    x, y = sample(1000, 0)
    near, far = Moments.of([(x, y)], 3), Moments.of([(x + 1e7, y)], 3)
    torch.testing.assert_close(far.within, near.within, rtol=1e-6, atol=1e-4)


def test_nothing_to_learn_from():
    with pytest.raises(NotEnoughKnown):
        Moments.of([], classes=1)


def test_whitener_is_an_inverse_root():
    rng = np.random.default_rng(0)
    a = torch.from_numpy(rng.normal(size=(30, 6)))
    covariance = a.T @ a / 30
    white = whitener(covariance, floor=0.0)
    torch.testing.assert_close(white @ white.T, torch.linalg.inv(covariance))
    torch.testing.assert_close((a @ white).T @ (a @ white) / 30, torch.eye(6, dtype=torch.float64))


def test_constant_features_do_not_break_the_factor():
    assert torch.isfinite(whitener(torch.zeros(3, 3, dtype=torch.float64))).all()


@pytest.mark.parametrize("k", [1, 3, 50])
def test_kth_distance_against_sorting(k):
    rng = np.random.default_rng(0)
    bank = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(50, 5))))
    asked = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(9, 5))))
    expected = torch.cdist(asked, bank).sort(dim=1).values[:, k - 1]
    torch.testing.assert_close(kth_distance(asked, bank, k), expected)
