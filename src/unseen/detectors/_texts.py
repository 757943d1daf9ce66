"""Cosines between images and texts: what every score on a text bank is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from unseen.detectors.base import Detector
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.parts import Labels
from unseen.signals import Request, Support

# Temperature below which exponentials less 1 may lose the digits of what is left. Cosines differ by at most 2, so that
# from here on each exponential is at least exp(-4), of which float32 keeps five digits. At 0.1 one may be exp(-20).
SHARP = 0.5
NEAR = -0.75  # mean exponential less 1 down to which this loses fewer digits than a logarithm of the sum
QUERY = 1 << 21  # cosines of a batch: they stay in the cache on their way, and the product is still efficient
FEWEST_ROWS = 64


class TextDetector(Detector):
    """Keeps a text bank, its rows already divided by the temperature; of the known images nothing.

    Args:
        temperature: in units of cosines; the inverse of the factor that a model puts on them.
    """

    needs: frozenset[str | Request] = frozenset({"embedding"})
    labels: Labels = "ignored"
    traits = frozenset({"text_bank"})
    fewest = 2  # names of classes: with one, the probability among names is always 1
    positive: Tensor  # (K, E) texts of the classes, over the temperature

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        if not 0 < temperature < math.inf:
            raise WrongUse(f"{type(self).__name__}(temperature={temperature!r}): give a number above 0")
        self.temperature = temperature
        self.register_buffer("positive", torch.empty(0, 0))

    def learn(self, support: Support) -> None:
        """Keep the bank, in the precision of the embeddings where there are any."""
        bank = support.bank(self.name)
        if len(bank) < self.fewest:
            raise NotEnoughKnown(f"{self.name} compares the names of classes and needs two, got one")
        needed = sorted(self.reads())
        for _ in support.batches(*needed):  # a known image that is not a number is named here, not at a query
            pass
        self.precision = support.dtype(needed[0])
        self.positive = self.kept(bank.positive)

    def kept(self, rows: Tensor) -> Tensor:
        """Rows over the temperature."""
        return (rows.double() / self.temperature).to(self.precision).contiguous()

    def cosines(self, signals: Any, rows: Tensor) -> Tensor:
        """``(B, rows)`` cosines of the embeddings with rows, over the temperature."""
        return normalize(signals["embedding"], dim=-1) @ rows.T

    def rows_at_once(self) -> int:
        """So many that their cosines stay in the cache."""
        return max(FEWEST_ROWS, QUERY // max(1, self.numbers_per_query()))

    def numbers_per_query(self) -> int:
        """A cosine with each text."""
        return len(self.positive)


def log_sigmoid(x: Tensor) -> Tensor:
    """``log(sigmoid(x))`` in operations that ONNX Runtime computes without overflow."""
    return x.clamp_max(0) - torch.log1p(torch.exp(-x.abs()))


def log_odds(scaled: Tensor, temperature: float) -> Tensor:
    """Log-odds of the largest softmax probability, 0 at a guess ``1 / K``.

    ``log(p / (1 - p)) + log(K - 1) = -log mean_{k other} exp(s_k - s_max)``. It grows with ``p``, does not end at 1,
    and keeps the small differences between probabilities that are all near ``1 / K``.

    Args:
        scaled: ``(..., K)`` cosines over the temperature.
        temperature: that one, which tells which of two ways to compute it loses fewer digits.

    Returns:
        ``(...)``.
    """
    gap = scaled - scaled.amax(dim=-1, keepdim=True)  # 0 at the largest
    others = scaled.shape[-1] - 1
    lack = torch.expm1(gap).sum(dim=-1) / others
    if temperature >= SHARP:
        return -torch.log1p(lack)
    rest = torch.logsumexp(gap.scatter(-1, gap.argmax(dim=-1, keepdim=True), -torch.inf), dim=-1)
    return -torch.where(lack > NEAR, torch.log1p(lack), rest - math.log(others))


def combined(parts: Sequence[Tensor], weights: Sequence[float], temperature: float) -> Tensor:
    """Log-odds of a weighted mean of largest softmax probabilities, 0 where all are a guess ``1 / K``.

    Args:
        parts: ``(B, K)`` or ``(B, P, K)`` cosines over the temperature; of several rows the largest counts.
        weights: one a part, at least 0, not all 0.
        temperature: as for `log_odds`.

    Returns:
        ``(B,)``.
    """
    others, total = parts[0].shape[-1] - 1, sum(weights)
    if temperature >= SHARP:
        lifts = [largest_row(excess(part)) * (weight / total) for part, weight in zip(parts, weights, strict=True)]
        lift = torch.stack(lifts).sum(dim=0)  # K p - 1
        return torch.log1p(lift) - torch.log1p(-lift / others)
    counted = [(part, weight) for part, weight in zip(parts, weights, strict=True) if weight > 0]
    odds = torch.stack([largest_row(log_odds(part, temperature)) for part, _ in counted]) - math.log(others)  # (n, B)
    share = odds.new_tensor([[math.log(weight / total)] for _, weight in counted])
    sure = torch.logsumexp(log_sigmoid(odds) + share, dim=0)
    return sure - torch.logsumexp(log_sigmoid(-odds) + share, dim=0) + math.log(others)


def largest_row(values: Tensor) -> Tensor:
    """``(B,)`` as it is, ``(B, P)`` to the largest of each row."""
    return values if values.ndim == 1 else values.amax(dim=1)


def excess(scaled: Tensor) -> Tensor:
    """``K p - 1`` with the largest softmax probability ``p``: 0 at a guess. ``(..., K)`` to ``(...)``."""
    lack = torch.expm1(scaled - scaled.amax(dim=-1, keepdim=True)).sum(dim=-1)  # sum of exponentials, less K
    return -lack / (scaled.shape[-1] + lack)
