"""Layers over the maximum, sum or concatenation of two feature vectors: what a relation network is compared with."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from unseen.errors import WrongUse

HIDDEN = (4096, 4096, 2048, 128)
MODES = ("max", "sum", "concat")


class PairMLP(nn.Module):
    """Two vectors made one, then layers of about the size of `Relation`: 27,556,353 numbers, 29,653,505 for ``concat``.

    Maximum and sum do not depend on the order of the two inputs; their concatenation does: first the tested input, then
    what it is compared with.

    Args:
        features: ``F``, width of an input.
        mode: ``"max"``, ``"sum"`` or ``"concat"``.
        outputs: 1, a logit of dissimilarity; 2 for ``[same, different]``.

    Raises:
        WrongUse: for another mode.

    Source: the ablation of Borlino, Bucci, Tommasi, ECCV 2022, table 5, which gives no widths; these are those of an
    unused module of the authors' code, which has the size that the paper says.

    >>> PairMLP(features=4, mode="max")(torch.zeros(3, 4), torch.ones(3, 4)).shape
    torch.Size([3, 1])
    """

    def __init__(self, features: int = 512, mode: Literal["max", "sum", "concat"] = "max", outputs: int = 1) -> None:
        super().__init__()
        if mode not in MODES:
            raise WrongUse(f"PairMLP(mode={mode!r}): mode must be one of {', '.join(MODES)}")
        self.mode = mode
        widths = (2 * features if mode == "concat" else features, *HIDDEN)
        layers: list[nn.Module] = []
        for before, after in zip(widths, HIDDEN, strict=False):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Linear(HIDDEN[-1], outputs))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Raw logits ``(B, outputs)`` of ``(B, F)`` and ``(B, F)``."""
        if self.mode == "concat":
            logits: Tensor = self.layers(torch.cat([a, b], dim=1))
        else:
            logits = self.layers(torch.maximum(a, b) if self.mode == "max" else a + b)
        return logits
