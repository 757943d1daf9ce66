"""Cosines between images and texts: what every score on a text bank is made of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from unseen.detectors.base import Detector
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.parts import Labels
from unseen.signals import Request, Support

SHARP = 0.1  # temperature below which the largest probability comes so near 1 that float32 cannot tell it from 1
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
    positive: Tensor  # (K, E) texts of the classes, over the temperature

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise WrongUse(f"{type(self).__name__}(temperature={temperature!r}): give a number above 0")
        self.temperature = temperature
        self.register_buffer("positive", torch.empty(0, 0))

    def learn(self, support: Support) -> None:
        """Keep the bank, in the precision of the embeddings where there are any."""
        bank = support.bank(self.name)
        if len(bank) < 2:
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
    if temperature >= SHARP:
        return -torch.log1p(torch.expm1(gap).sum(dim=-1) / others)
    rest = gap.scatter(-1, gap.argmax(dim=-1, keepdim=True), -torch.inf)
    return -(torch.logsumexp(rest, dim=-1) - torch.log(torch.full((), float(others)).to(gap)))


def excess(scaled: Tensor) -> Tensor:
    """``K p - 1`` with the largest softmax probability ``p``: 0 at a guess. ``(..., K)`` to ``(...)``."""
    lack = torch.expm1(scaled - scaled.amax(dim=-1, keepdim=True)).sum(dim=-1)  # sum of exponentials, less K
    return -lack / (scaled.shape[-1] + lack)
