"""What a training does, apart from the objective and the data: steps, optimiser, schedule, precision."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from unseen.errors import WrongUse
from unseen.training.lars import LARS
from unseen.training.schedules import SCHEDULES, Schedule

Optimizer = Literal["sgd", "nesterov", "adam", "adamw", "lars"]
Precision = Literal["float32", "bfloat16"]
OPTIMIZERS: tuple[Optimizer, ...] = ("sgd", "nesterov", "adam", "adamw", "lars")
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


@dataclass(frozen=True)
class Recipe:
    """How something is trained. The same recipe, data and machine give the same weights.

    Args:
        steps: optimiser steps a phase, from 1; None: as many as ``epochs`` take.
        epochs: walks over the data; one of ``steps`` and ``epochs`` is given.
        batch: what an objective takes in a step: inputs, or pairs of them.
        optimizer: ``"sgd"``; ``"nesterov"``, which is SGD that looks ahead; ``"adam"`` with the decay in its gradient;
            ``"adamw"`` with the decay beside it; ``"lars"``.
        lr: the highest learning rate.
        momentum: of ``sgd``, ``nesterov`` and ``lars``.
        weight_decay: from 0.
        schedule: ``"constant"``, or ``"cosine"``: down to 1e-6, a little each step.
        warmup: steps in which the rate rises from 0 in a line.
        clip: the longest gradient, over all tensors of a phase; longer ones are shortened. None: as they come.
        ema: decay of a running mean of the weights, which are then the result; None: the last weights.
        precision: ``"float32"``, or ``"bfloat16"`` in the products (weights stay float32).
        device: ``cpu``, ``cuda``, ``mps``.
        seed: of every draw.

    Raises:
        WrongUse: a value that cannot work.
    """

    steps: int | None = None
    epochs: int | None = None
    batch: int = 128
    optimizer: Optimizer = "nesterov"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Schedule = "cosine"
    warmup: int = 0
    clip: float | None = None
    ema: float | None = None
    precision: Precision = "float32"
    device: str = "cpu"
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise WrongUse(f"steps={self.steps}, epochs={self.epochs}: give one of them")
        for name, value, least in (
            ("steps", self.steps, 1),
            ("epochs", self.epochs, 1),
            ("batch", self.batch, 1),
            ("warmup", self.warmup, 0),
            ("seed", self.seed, 0),
        ):
            if value is not None and (not isinstance(value, int) or value < least):
                raise WrongUse(f"{name}={value!r}: give a whole number from {least}")
        choices: tuple[tuple[str, str, tuple[str, ...]], ...] = (
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("schedule", self.schedule, SCHEDULES),
            ("precision", self.precision, PRECISIONS),
        )
        for name, chosen, allowed in choices:
            if chosen not in allowed:
                raise WrongUse(f"{name} is one of {', '.join(allowed)}, got {chosen!r}")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise WrongUse(f"lr={self.lr}: give a learning rate above 0")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise WrongUse(f"weight_decay={self.weight_decay}: give a number from 0")
        if not 0 <= self.momentum < 1 or (self.optimizer == "nesterov" and self.momentum == 0):
            raise WrongUse(f"momentum={self.momentum}: give a number in [0, 1), above 0 for nesterov")
        if self.clip is not None and not self.clip > 0:
            raise WrongUse(f"clip={self.clip}: give the longest gradient, above 0")
        if self.ema is not None and not 0 < self.ema < 1:
            raise WrongUse(f"ema={self.ema}: give a decay between 0 and 1, such as 0.999")

    def describe(self) -> dict[str, Any]:
        """All arguments, for JSON."""
        return asdict(self)

    def optimiser(self, groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimiser of one phase; each group brings ``lr`` and ``weight_decay`` of its own."""
        held = list(groups)
        if self.optimizer == "lars":
            return LARS(held, lr=self.lr, momentum=self.momentum)
        if self.optimizer in ("sgd", "nesterov"):
            ahead = self.optimizer == "nesterov"
            return torch.optim.SGD(held, lr=self.lr, momentum=self.momentum, nesterov=ahead)
        return (torch.optim.Adam if self.optimizer == "adam" else torch.optim.AdamW)(held, lr=self.lr)
