"""Moments that merge and subtract; whitening; exact neighbours."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from unseen.errors import NotEnoughKnown
from unseen.statistics import (
    Moments,
    from_nearest,
    kth_distance,
    largest,
    nearest_rows,
    odds,
    quantile,
    residual_basis,
    whitener,
)

RNG = np.random.default_rng(0)


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


@pytest.mark.parametrize("k", [1, 3, 50])
def test_kth_distance_against_sorting(k):
    rng = np.random.default_rng(0)
    bank = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(50, 5))))
    asked = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(9, 5))))
    expected = torch.cdist(asked, bank).sort(dim=1).values[:, k - 1]
    torch.testing.assert_close(kth_distance(asked, bank, k), expected)


ORDERS = {
    "mixed": RNG.permutation,
    "ascending": np.sort,
    "descending": lambda cosines: np.sort(cosines)[::-1],
    "ties": lambda cosines: RNG.permutation(cosines).round(1),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("order", ORDERS)
def test_kth_distance_where_the_bank_is_large(order, dtype):
    """Rows on a circle at given angles from the query; every size of groups, with and without columns left over."""
    for n, k in ((4001, 1), (4000, 7), (1600, 25), (1603, 25), (1599, 25), (997, 60)):
        cosines = ORDERS[order](RNG.uniform(-1, 1, n))
        bank = torch.tensor(np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1), dtype=dtype)
        asked = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=dtype)
        ranked = np.sort(cosines)
        expected = np.sqrt(2 - 2 * np.array([ranked[-k], -ranked[k - 1]]))
        np.testing.assert_allclose(
            kth_distance(asked, bank, k), expected, rtol=1e-4 if dtype == torch.float32 else 1e-9
        )


class Numbers(TorchDispatchMode):
    """How many numbers all operations made, views and what is written into given memory aside."""

    made = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and not func.is_view and "out" not in (kwargs or {}):
            self.made += out.numel() * out.itemsize // 4
        return out


@pytest.mark.parametrize("k", [1, 50, 1000])
def test_kth_distance_needs_little_more_than_the_similarities(k):
    bank, asked = torch.eye(2).repeat(10_000, 1), torch.eye(2)
    with Numbers() as numbers:
        kth_distance(asked, bank, k)
    assert numbers.made <= 2 * len(asked) * len(bank)


def test_the_similarities_of_a_span_are_held_and_not_those_of_the_bank(monkeypatch):
    monkeypatch.setattr("unseen.statistics.SPAN", 1000)
    bank, asked = torch.eye(2).repeat(10_000, 1), torch.eye(2)
    with Numbers() as numbers:
        kth_distance(asked, bank, 1)
    assert numbers.made < 0.5 * len(asked) * len(bank)


@pytest.mark.parametrize(("tile", "span"), [(7, 50), (16, 64), (1000, 1000), (64, 333)])
@pytest.mark.parametrize("k", [1, 8, 70])
@pytest.mark.parametrize("own", [False, True], ids=["all", "without its own"])
def test_nearest_rows_are_the_same_however_the_bank_is_cut(monkeypatch, tile, span, k, own):
    """Also where ``k`` is more than a tile or a span holds, and with the query's own row at every place of a tile."""
    monkeypatch.setattr("unseen.statistics.TILE", tile)
    monkeypatch.setattr("unseen.statistics.SPAN", span)
    bank = torch.nn.functional.normalize(torch.tensor(RNG.normal(size=(333, 6))))
    rows = torch.arange(0, 333, 5)
    values, found = nearest_rows(bank[rows], bank, k, own=rows if own else None)
    similar = (bank[rows] @ bank.T).numpy()
    if own:
        similar[np.arange(len(rows)), rows] = -np.inf
    expected = np.argsort(-similar, axis=1)[:, :k]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(values, np.take_along_axis(similar, expected, axis=1), rtol=1e-12)


def test_leaving_a_row_out_keeps_its_copies():
    bank = torch.eye(3)[[0, 0, 1, 2]]
    found = kth_distance(bank, bank, 1, own=torch.arange(4))
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, 2**0.5, 2**0.5]))


def test_kth_distance_has_the_gradient_of_its_distance():
    bank = torch.eye(3, dtype=torch.float64)
    asked = torch.nn.functional.normalize(torch.tensor([[1.0, 0.4, 0.1]], dtype=torch.float64)).requires_grad_()
    kth_distance(asked, bank, 2).sum().backward()
    away = (asked - bank[1]).detach()
    torch.testing.assert_close(asked.grad, away / away.norm())


def test_kth_distance_as_a_graph_is_one_product_and_one_selection():
    bank = torch.nn.functional.normalize(torch.tensor(RNG.normal(size=(2000, 4))))

    class Module(torch.nn.Module):
        def forward(self, asked):
            return kth_distance(asked, bank, 3)

    asked = bank[:8] + 0.01
    program = torch.export.export(Module(), (asked,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    called = [str(node.target) for node in program.graph.nodes]
    assert sum("topk" in name for name in called) == 1
    assert not any("amax" in name for name in called)
    torch.testing.assert_close(program.module()(asked[:5]), kth_distance(asked[:5], bank, 3))


def test_a_graph_leaves_the_own_row_out_as_well():
    bank = torch.nn.functional.normalize(torch.tensor(RNG.normal(size=(20, 4))))

    class Module(torch.nn.Module):
        def forward(self, asked, own):
            return kth_distance(asked, bank, 2, own)

    own, rows = torch.arange(6), torch.export.Dim("rows", min=1)
    program = torch.export.export(Module(), (bank[:6] + 0, own), dynamic_shapes=({0: rows}, {0: rows}))
    torch.testing.assert_close(program.module()(bank[:6], own), kth_distance(bank[:6], bank, 2, own))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("k", [0, 1, 6, 7])
def test_largest_against_sorting(k, dtype):
    values = torch.tensor(RNG.normal(size=(5, 7)), dtype=dtype)
    values[:, 3] = -torch.inf
    before = values.clone()
    found = largest(values, k)
    assert found.dtype == dtype
    torch.testing.assert_close(found.sort(dim=1).values, values.sort(dim=1).values[:, 7 - k :], rtol=0, atol=0)
    assert torch.equal(values, before)
    assert largest(values[:0], k).shape == (0, k)


@pytest.mark.filterwarnings("ignore")  # of the old tracer, about itself
def test_largest_can_be_differentiated_and_traced():
    values = torch.tensor([[1.0, 4.0, 2.0, 3.0]], requires_grad=True)
    largest(values, 2).sum().backward()
    assert values.grad.tolist() == [[0.0, 1.0, 0.0, 1.0]]

    class Module(torch.nn.Module):
        def forward(self, values):
            return largest(values, 2).sum(dim=1)

    asked = torch.tensor([[9.0, 1.0, 0.0, 8.0], [0.0, 1.0, 2.0, 3.0]])
    batch = torch.export.Dim("batch", min=1)
    for strict in (False, True):
        program = torch.export.export(Module(), (torch.eye(4),), dynamic_shapes=({0: batch},), strict=strict)
        assert program.module()(asked).tolist() == [17.0, 5.0]
    assert torch.jit.trace(Module(), torch.eye(4))(asked).tolist() == [17.0, 5.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "values",
    [
        RNG.normal(size=1001),
        np.maximum(RNG.normal(size=5000), 0),
        np.zeros(7),
        -np.abs(RNG.normal(size=99)) * 1e-8,
        RNG.normal(size=300).round(1),
        np.array([3.0]),
        np.array([-0.0, 0.0, -1.0, 1.0]),
    ],
    ids=["normal", "half zeros", "zeros", "tiny", "ties", "one", "signed zeros"],
)
def test_quantile_of_batches_is_that_of_all_values(values, dtype):
    values = values.astype(dtype)
    batches = torch.tensor(values).split(37)
    for share in (0, 0.1, 0.25, 0.5, 0.9, 0.951, 1):
        expected = np.quantile(values.astype(np.float64), share)
        assert quantile(lambda: iter(batches), share) == pytest.approx(expected, rel=1e-12, abs=1e-300)


def test_no_values_have_no_quantile():
    with pytest.raises(NotEnoughKnown, match="no values"):
        quantile(lambda: iter([]), 0.5)


def test_odds_leave_the_winner_out_and_do_not_saturate():
    rows = torch.tensor([[0.0, math.log(2.0), 0.0], [80.0, 0.0, 0.0]])
    found = odds(rows)
    torch.testing.assert_close(found[0], torch.tensor([0.5, 0.0, 0.5]))
    assert found[1].sum().item() == pytest.approx(2 * math.exp(-80.0))


def test_from_nearest_keeps_the_digits_that_a_sum_loses():
    """1e4 away from zero, 1e-3 from a row: squared lengths in float32 are off by 8."""
    rows = torch.full((3, 4), 1e4) + torch.arange(3.0)[:, None] * 100
    asked = rows[1:2] + 1e-3
    torch.testing.assert_close(from_nearest(asked, rows), asked - rows[1])


def test_the_residual_is_orthogonal_to_what_was_taken():
    x = torch.tensor(RNG.normal(size=(50, 6)) * np.array([9, 5, 1, 0.1, 0.1, 0.1]))
    basis = residual_basis(x.T @ x, 2)
    assert basis.shape == (6, 4)
    torch.testing.assert_close(basis.T @ basis, torch.eye(4, dtype=torch.float64))
    strongest = np.linalg.svd(x.numpy())[2][:2]
    np.testing.assert_allclose(strongest @ basis.numpy(), 0, atol=1e-12)


def test_a_whitener_needs_spread():
    with pytest.raises(NotEnoughKnown, match="do not differ"):
        whitener(torch.zeros(3, 3, dtype=torch.float64))
    with pytest.raises(NotEnoughKnown, match="fewer than their 3 dimensions"):
        whitener(torch.diag(torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)), floor=0.0)
