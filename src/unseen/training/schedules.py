"""The learning rate as a function of the step: nothing to keep, and nothing to restore."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["constant", "cosine"]
SCHEDULES: tuple[Schedule, ...] = ("constant", "cosine")
FLOOR = 1e-6  # where the cosine ends


def rate(step: int, steps: int, lr: float, schedule: Schedule = "constant", warmup: int = 0) -> float:
    """The learning rate of one step.

    With ``w`` steps of warm-up: ``lr step / w`` below ``w``, so that the first step learns nothing. From ``w`` on
    ``"constant"`` is ``lr``, and ``"cosine"`` is ``f + (lr - f) (1 + cos(pi (step - w) / (steps - w))) / 2`` with
    ``f = 1e-6`` (``lr`` itself where that is lower).

    Args:
        step: from 0.
        steps: of the whole training.
        lr: the highest rate.
        schedule: ``"constant"`` or ``"cosine"``.
        warmup: steps of the line.

    >>> [rate(step, 13_000, 0.008, warmup=500) for step in (0, 1, 250, 500, 501)]
    [0.0, 1.6e-05, 0.004, 0.008, 0.008]
    >>> [round(rate(step, 100, 0.1, "cosine"), 6) for step in (0, 50, 100)]
    [0.1, 0.050001, 1e-06]
    """
    if step < warmup:
        return lr * step / warmup
    if schedule == "constant":
        return lr
    floor = min(FLOOR, lr)
    return floor + 0.5 * (lr - floor) * (1.0 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
