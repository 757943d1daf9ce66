"""Mergeable moments and exact neighbours: statistics of tensors, knowing nothing of where they came from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unseen.errors import NotEnoughKnown

TILE = 2048  # rows in one product: a tenth quicker than all at once, measured on an AMD EPYC with torch 2.13
SPAN = 1 << 16  # rows whose products are held at once: 1,024 queries to a quarter of a GB


@dataclass(frozen=True)
class Moments:
    """Counts, class means and pooled within-class scatter, in float64; parts add up and can be taken away.

    Attributes:
        count: ``(C,)`` inputs of each class.
        mean: ``(C, D)`` class means; a class without inputs has zeros.
        within: ``(D, D)`` sum over inputs of ``(x - mean[y]) (x - mean[y])'``.

    Scatter is kept around the class means, not around zero: raw second moments lose the digits that a
    far-off mean takes. Merging and taking away use the pairwise update of Chan, Golub and LeVeque (1979).

    >>> a = Moments.of([(torch.tensor([[0.0], [2.0]]), torch.tensor([0, 0]))], classes=1)
    >>> b = Moments.of([(torch.tensor([[4.0]]), torch.tensor([0]))], classes=1)
    >>> (a + b).covariance().item(), ((a + b) - b).within.item()
    (2.6666666666666665, 2.0)
    """

    count: Tensor
    mean: Tensor
    within: Tensor

    @classmethod
    def of(cls, batches: Iterable[tuple[Tensor, Tensor]], classes: int) -> Moments:
        """Moments of batches of inputs ``(B, D)`` with class codes ``(B,)`` below ``classes``.

        Raises:
            NotEnoughKnown: when there is no batch.
        """
        total: Moments | None = None
        for x, y in batches:
            part = cls._of_batch(x.double(), y, classes)
            total = part if total is None else total + part
        if total is None:
            raise NotEnoughKnown("there are no inputs to learn from")
        return total

    @classmethod
    def _of_batch(cls, x: Tensor, y: Tensor, classes: int) -> Moments:
        count = torch.bincount(y, minlength=classes).to(x)
        mean = x.new_zeros(classes, x.shape[1]).index_add_(0, y, x) / count.clamp_min(1)[:, None]
        centred = x - mean[y]
        return cls(count, mean, centred.T @ centred)

    def __len__(self) -> int:
        return int(self.count.sum())

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        gap = other.mean - self.mean
        mean = self.mean + gap * (other.count / count.clamp_min(1))[:, None]
        between = (gap * (self.count * other.count / count.clamp_min(1))[:, None]).T @ gap
        return Moments(count, mean, self.within + other.within + between)

    def __sub__(self, other: Moments) -> Moments:
        count = self.count - other.count
        mean = (self.mean * self.count[:, None] - other.mean * other.count[:, None]) / count.clamp_min(1)[:, None]
        gap = other.mean - mean
        between = (gap * (count * other.count / self.count.clamp_min(1))[:, None]).T @ gap
        return Moments(count, mean, self.within - other.within - between)

    def keep(self, classes: Tensor) -> Moments:
        """The same moments with only the rows of ``classes``, whose inputs ``within`` must already describe."""
        return Moments(self.count[classes], self.mean[classes], self.within)

    def grand_mean(self) -> Tensor:
        """Mean of all inputs, ``(D,)``."""
        return (self.count @ self.mean) / self.count.sum()

    def total(self) -> Tensor:
        """Scatter of all inputs around their common mean, ``(D, D)``: within plus between classes."""
        gap = (self.mean - self.grand_mean()) * (self.count > 0)[:, None]
        return self.within + (gap * self.count[:, None]).T @ gap

    def covariance(self) -> Tensor:
        """Pooled within-class covariance, divided by ``N`` as the papers do, ``(D, D)``."""
        return self.within / self.count.sum()


def whitener(covariance: Tensor, floor: float = 1e-6) -> Tensor:
    """A matrix ``A (D, D)`` with ``|x A|^2 = x' (covariance + r I)^-1 x``.

    ``r = floor * mean eigenvalue`` keeps directions that the data never used finite: with fewer inputs than
    dimensions a pseudo-inverse would drop them, and an unknown living there would be invisible.

    Args:
        covariance: symmetric, positive semi-definite up to rounding, float64.
        floor: ridge as a share of the mean eigenvalue (the trace over ``D``).

    Raises:
        NotEnoughKnown: when the covariance is 0 or, without a floor, not of full rank.
    """
    dimensions = covariance.shape[0]
    identity = torch.eye(dimensions, dtype=covariance.dtype, device=covariance.device)
    scale = covariance.trace() / dimensions
    if not scale > 0:
        raise NotEnoughKnown("the known inputs of a class do not differ at all, so there is no spread to measure by")
    factor, failed = torch.linalg.cholesky_ex(covariance + floor * scale * identity)
    if failed:
        raise NotEnoughKnown(
            f"the known inputs vary in fewer than their {dimensions} dimensions: give a floor above 0, or more inputs"
        )
    whiten: Tensor = torch.linalg.solve_triangular(factor, identity, upper=False).T
    return whiten


def residual_basis(scatter: Tensor, components: int) -> Tensor:
    """The directions that are left when the ``components`` strongest are taken away, ``(D, D - components)``.

    Args:
        scatter: symmetric ``(D, D)``, float64; its scale does not matter.
        components: from 0, below ``D``.
    """
    vectors: Tensor = torch.linalg.eigh(scatter).eigenvectors  # ascending
    return vectors[:, : scatter.shape[0] - components].contiguous()


def quantile(batches: Callable[[], Iterable[Tensor]], share: float) -> float:
    """The exact ``share`` quantile of every value of all batches, in two passes and little memory.

    Linear between neighbours, as ``numpy.quantile``. The first pass counts values by the leading 16 bits of their
    float32 form (about 3 digits), the second keeps only the distinct values of the few bins that matter.

    Args:
        batches: called twice; gives tensors of any shape, finite.
        share: in ``[0, 1]``.

    Raises:
        NotEnoughKnown: when there is no value.

    >>> quantile(lambda: [torch.tensor([4.0, 1.0]), torch.tensor([3.0, 2.0])], 0.5)
    2.5
    """
    counts = np.zeros(1 << 16, np.int64)
    for batch in batches():
        counts += np.bincount(_leading_bits(_flat(batch)), minlength=1 << 16)
    n = int(counts.sum())
    if not n:
        raise NotEnoughKnown("there are no values to take a quantile of")
    place = share * (n - 1)
    ranks = np.array([math.floor(place), math.ceil(place)])  # of the neighbours, from 0
    upto = counts.cumsum()
    bins = np.unique(np.searchsorted(upto, ranks, side="right"))
    kept: np.ndarray = np.empty(0, np.float32)
    copies = np.empty(0, np.int64)
    for batch in batches():
        values = _flat(batch)
        found, number = np.unique(values[np.isin(_leading_bits(values), bins)], return_counts=True)
        kept, where = np.unique(np.concatenate([kept, found]), return_inverse=True)
        copies = np.bincount(where, np.concatenate([copies, number]), minlength=len(kept)).astype(np.int64)
    below = int(upto[bins[0] - 1]) if bins[0] else 0
    # Between two chosen bins there are no values, so that ranks go on without a gap.
    low, high = kept[np.searchsorted(copies.cumsum(), ranks - below, side="right")].tolist()
    return float(low + (high - low) * (place - int(ranks[0])))


def _flat(values: Tensor) -> np.ndarray:
    flat: np.ndarray = values.detach().flatten().cpu().numpy()
    return flat


def _leading_bits(values: np.ndarray) -> np.ndarray:
    """Codes from 0 to 65535 that rise with the values, ``(n,)`` int64."""
    bits = (values.astype(np.float32) + np.float32(0)).view(np.int32).astype(np.int64)  # + 0 turns -0.0 into 0.0
    codes: np.ndarray = (np.where(bits < 0, -1 - (bits & 0x7FFFFFFF), bits) + (1 << 31)) >> 16
    return codes


def odds(logits: Tensor) -> Tensor:
    """``exp(l_c - l_y)`` of every class ``c`` against the winner ``y``, whose own is 0, ``(B, C)``.

    With ``R`` their sum, the winner's probability is ``1 / (1 + R)`` and what is left of it ``R / (1 + R)``. Neither
    saturates: in float32 a softmax is 1.0 beyond a gap of 17, and a log-softmax subtracts two equal numbers.
    """
    top = logits.max(dim=1, keepdim=True)
    # The winner's own term is zeroed before summing: 1 + 1e-9 would lose the rest in float32.
    return (logits - top.values).exp().scatter(1, top.indices, 0.0)


def from_nearest(queries: Tensor, rows: Tensor) -> Tensor:
    """Difference of each query and its nearest row, ``(B, D)``.

    The row is found by one product, ``|x - r|^2 = |x|^2 - 2 (x'r - |r|^2 / 2)``, and the difference taken of the rows
    themselves, since the sum loses the digits that its terms share.

    Args:
        queries: ``(B, D)``.
        rows: ``(C, D)``.
    """
    nearest = torch.addmm(-0.5 * rows.square().sum(dim=1), queries, rows.T).argmax(dim=1)  # (B, C) -> (B,)
    return queries - rows.index_select(0, nearest)


def kth_distance(queries: Tensor, bank: Tensor, k: int, own: Tensor | None = None) -> Tensor:
    """Euclidean distance from each query to its ``k``-th nearest row of the bank.

    Rows must have one common length (unit rows, say): ranking is then by inner product, matrix products and a partial
    selection. The distance is measured on the found row by difference, since ``sqrt(2 - 2 cos)`` says 8e-4 for the
    distance of a float32 point to itself.

    Args:
        queries: ``(B, D)``.
        bank: ``(N, D)``, ``N >= k``, one more where ``own`` is given.
        k: rank of the neighbour, from 1.
        own: ``(B,)`` the row of the bank that each query is, which is not its neighbour; copies of it are.

    Returns:
        ``(B,)``; memory is as for `nearest_rows`.

    >>> kth_distance(torch.tensor([[1.0, 0.0]]), torch.eye(2), 1).item()
    0.0
    >>> round(kth_distance(torch.eye(2), torch.eye(2), 1, own=torch.arange(2))[0].item(), 3)
    1.414
    """
    nearest = nearest_rows(queries, bank, k, own)[1][:, -1]
    distance: Tensor = (queries - bank[nearest]).norm(dim=-1)
    return distance


def nearest_rows(queries: Tensor, bank: Tensor, k: int, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Inner products with the ``k`` rows of the bank that have the largest, and which rows these are.

    The bank is read in tiles that stay in the processor's cache with the queries and their products, so that most of
    the time goes to multiplying; the largest of each `SPAN` of rows are kept.

    Args:
        queries: ``(B, D)``.
        bank: ``(N, D)``, ``N >= k``, one more where ``own`` is given.
        k: how many, from 1.
        own: ``(B,)`` a row of the bank for each query that is left out.

    Returns:
        Products ``(B, k)``, falling, and rows ``(B, k)``; memory is about ``B * min(N, SPAN)`` numbers, so callers
        bound ``B``.

    >>> nearest_rows(torch.tensor([[1.0, 0.5]]), torch.eye(2), 2)[1].tolist()
    [[0, 1]]
    """
    if _followed():  # a graph stays short: one product, one selection
        products = queries @ bank.T
        return _largest_columns(products if own is None else products.scatter(1, own[:, None], -math.inf), k)
    queries, bank = queries.detach(), bank.detach()  # which rows these are has no gradient
    span = min(SPAN, len(bank))
    held = queries.new_empty(len(queries) * span)
    best: tuple[Tensor, Tensor] | None = None
    for start in range(0, len(bank), span):
        rows = bank[start : start + span]
        products = held[: len(queries) * len(rows)].view(len(queries), len(rows))
        size = TILE if products.device.type == "cpu" else len(rows)
        for at in range(0, len(rows), size):
            torch.mm(queries, rows[at : at + size].T, out=products[:, at : at + size])
        if own is not None:
            _leave_out(products, own - start)
        values, columns = _largest_columns(products, min(k, len(rows)))
        columns = columns + start
        if best is not None:
            values, columns = torch.cat([best[0], values], dim=1), torch.cat([best[1], columns], dim=1)
            values, order = values.topk(min(k, values.shape[1]), dim=1)
            columns = columns.gather(1, order)
        best = values, columns
    assert best is not None
    return best


def _leave_out(products: Tensor, columns: Tensor) -> None:
    """Strike one product out in each row whose column is among these."""
    there = ((columns >= 0) & (columns < products.shape[1])).nonzero().squeeze(1)
    products[there, columns[there]] = -math.inf


def _largest_columns(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` largest values of each row, falling, and their columns, each ``(B, k)``."""
    columns = values.shape[1]
    size = math.isqrt(columns // k)  # makes the number of groups and that of their members in k groups equal
    if size < 8 or _followed():  # little to gain; a graph stays short
        found = values.topk(k, dim=1)
        return found.values, found.indices
    # The k largest lie in the k groups with the largest maxima, or tie with values there. A topk of whole rows takes
    # longer, and up to 30 times as long where values ascend, as they do for a bank sorted towards the query.
    groups = columns // size
    whole = groups * size  # group g holds the columns g, g + groups, g + 2 groups, ...
    heads = values[:, :whole].view(len(values), size, groups).amax(dim=1)  # (B, groups)
    chosen = heads.topk(k, dim=1, sorted=False).indices  # (B, k)
    members = torch.arange(0, whole, groups, device=values.device)
    rest = torch.arange(whole, columns, device=values.device).expand(len(values), -1)
    among = torch.cat([(chosen[:, :, None] + members).flatten(1), rest], dim=1)  # (B, k * size + columns - whole)
    found = values.gather(1, among).topk(k, dim=1)
    return found.values, among.gather(1, found.indices)


def _followed() -> bool:
    """Whether the operations are being written down, so that a graph comes out of them."""
    return (
        torch.compiler.is_exporting() or torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    )


def largest(values: Tensor, k: int) -> Tensor:
    """The ``k`` largest values of each row, in any order, ``(B, k)``.

    Args:
        values: ``(B, C)``.
        k: from 0 to ``C``.

    >>> largest(torch.tensor([[1.0, 3.0, 2.0]]), 2).sum().item()
    5.0
    """
    below = values.shape[1] - k
    if k == 0 or below == 0:
        return values[:, below:]
    if not _readable(values):
        return values.topk(k, dim=1, sorted=False).values
    # NumPy selects in vector registers and moves no indices: 8 times faster than topk for 100 of 1000.
    return torch.from_numpy(np.partition(values.numpy(), below, axis=1)[:, below:])


def _readable(values: Tensor) -> bool:
    """Whether NumPy may look at the numbers, as nobody traces them, follows their gradient or keeps them elsewhere."""
    return (
        type(values) is Tensor
        and values.device.type == "cpu"
        and values.dtype in (torch.float32, torch.float64)
        and not values.requires_grad
        and not _followed()
    )
