"""The contract of a head: a linear layer from features to the logits of the known classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import linear

from unseen.errors import NotEnoughKnown
from unseen.parts import Labels, Step
from unseen.signals import LinearHead, Support


class Head(Step):
    """A head writes `solve`: weight and bias from the support. Column ``i`` is class ``i`` of `named`.

    Attributes:
        of: the signal that the layer is put on, in whose precision it is kept.
    """

    room = "heads"
    of: str = "features"
    needs = frozenset({"features"})
    writes = frozenset({"logits"})
    labels: Labels = "required"
    weight: Tensor  # (C, D)
    bias: Tensor  # (C,)

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.empty(0, 0))
        self.register_buffer("bias", torch.empty(0))

    def solve(self, support: Support) -> tuple[Tensor, Tensor]:
        """Weight ``(C, D)`` and bias ``(C,)``, in float64."""
        raise NotImplementedError

    def learn(self, support: Support) -> None:
        """Solve in float64, keep in the precision of the features."""
        named = self.named(support)
        if len(named) < 2:
            raise NotEnoughKnown(f"{self.name} tells classes apart and needs two classes, got {len(named)}")
        weight, bias = support.once(f"head {self.expression()}", lambda: self.solve(support))
        self.keep(weight, bias, support)

    def keep(self, weight: Tensor, bias: Tensor, support: Support) -> None:
        """Hold what was solved, in the precision of the signal that it is put on."""
        precision = support.dtype(self.of)
        self.weight, self.bias = weight.to(precision).contiguous(), bias.to(precision).contiguous()

    def linear(self, support: Support) -> LinearHead | None:
        """The fitted layer as a support carries it: one output a class, in the order of `named`.

        None where the logits are no linear function of the features.
        """
        named = self.named(support)
        return LinearHead(self.weight, self.bias, named if len(named) == len(self.bias) else None)

    def tells(self, support: Support) -> Support:
        """The support with this layer as its head; without one where there is no such layer."""
        return replace(support, head=self.linear(support))

    def named(self, support: Support) -> tuple[str, ...]:
        """What the columns of the logits are called."""
        return support.classes

    def forward(self, signals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``{"logits": (B, C)}``."""
        return {"logits": linear(signals[self.of], self.weight, self.bias)}
