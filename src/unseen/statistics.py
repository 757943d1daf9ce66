"""Mergeable moments and exact neighbours: statistics of tensors, knowing nothing of where they came from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from unseen.errors import NotEnoughKnown


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
    """
    dimensions = covariance.shape[0]
    identity = torch.eye(dimensions, dtype=covariance.dtype, device=covariance.device)
    scale = (covariance.trace() / dimensions).clamp_min(torch.finfo(covariance.dtype).tiny)
    factor = torch.linalg.cholesky(covariance + floor * scale * identity)
    whiten: Tensor = torch.linalg.solve_triangular(factor, identity, upper=False).T
    return whiten


def kth_distance(queries: Tensor, bank: Tensor, k: int) -> Tensor:
    """Euclidean distance from each query to its ``k``-th nearest row of the bank.

    Rows must have one common length (unit rows, say): ranking is then by inner product, one matrix product
    and a partial selection. The distance is measured on the found row by difference, since
    ``sqrt(2 - 2 cos)`` says 8e-4 for the distance of a float32 point to itself.

    Args:
        queries: ``(B, D)``.
        bank: ``(N, D)``, ``N >= k``.
        k: rank of the neighbour, from 1.

    Returns:
        ``(B,)``; memory is ``B * N`` numbers, so callers bound ``B``.

    >>> kth_distance(torch.tensor([[1.0, 0.0]]), torch.eye(2), 1).item()
    0.0
    """
    nearest = (queries @ bank.T).topk(k, dim=1).indices[:, -1]  # (B, N) -> (B,)
    distance: Tensor = (queries - bank[nearest]).norm(dim=-1)
    return distance
