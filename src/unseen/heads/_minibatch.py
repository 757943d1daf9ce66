"""The one loop over minibatches of arrays: heads that are trained bring a loss of row numbers and their parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from unseen.errors import WrongUse


def warmup_cosine(step: int, steps: int, peak: float) -> float:
    """Learning rate of one step: a tenth of the steps up in a line, then down along half a cosine.

    With ``w = floor(steps / 10)``: ``peak * step / (w - 1)`` below ``w`` (0 where ``w`` is 1), then
    ``peak * (1 + cos(pi * (step - w) / (steps - w))) / 2``. Both ends of the line count, so that the first step learns
    nothing, two steps have the peak, and the last step still learns. Under ten steps there is no line.

    Args:
        step: from 0, below ``steps``.
        steps: of the whole training.
        peak: the highest rate.

    >>> [round(warmup_cosine(step, 30, 1.0), 3) for step in (0, 1, 2, 3, 29)]
    [0.0, 0.5, 1.0, 1.0, 0.003]
    """
    warm = steps // 10
    if step < warm:
        return peak * step / (warm - 1) if warm > 1 else 0.0
    return 0.5 * peak * (1.0 + math.cos(math.pi * (step - warm) / (steps - warm)))


def minimise(
    loss: Callable[[Tensor], Tensor],
    parameters: Sequence[Tensor],
    rows: int,
    *,
    epochs: int,
    batch: int,
    rate: Callable[[int, int], float],
    weight_decay: float,
    generator: torch.Generator,
) -> None:
    """Change ``parameters`` where they are, by Adam on shuffled minibatches.

    Adam has the usual moments (0.9, 0.999, 1e-8), and the decay is coupled: ``weight_decay * parameter`` is added to
    the gradient before Adam scales it, for all parameters alike. Each epoch takes every row once; its last batch may be
    smaller. One seed gives the same bits on one machine with one number of threads.

    Args:
        loss: row numbers ``(B,)``, int64 on the device of the parameters, to the mean loss of these rows, a scalar.
        parameters: leaves that require a gradient, all on one device.
        rows: N, how many rows there are to draw from.
        epochs: walks over all rows, from 1.
        batch: rows of a step, from 1.
        rate: (step, steps) to the learning rate of that step.
        weight_decay: factor of the coupled L2 penalty, from 0.
        generator: of the CPU, so that the order of rows is one on all devices; it gives one permutation an epoch.

    Raises:
        WrongUse: when a parameter is no longer a finite number.

    Cost: one walk over the rows an epoch; beyond what ``loss`` holds, ``8 N`` bytes of row numbers and, for each
        parameter, its gradient and two moments.
    Source: Kingma, Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, algorithm 1.

    >>> middle = torch.zeros(1, requires_grad=True)
    >>> x = torch.tensor([1.0, 2.0, 3.0])
    >>> seed = torch.Generator().manual_seed(0)
    >>> minimise(lambda i: (x[i] - middle).square().mean(), [middle], 3, epochs=200, batch=2,
    ...          rate=lambda step, steps: 0.1 * (1 - step / steps), weight_decay=0.0, generator=seed)
    >>> abs(middle.item() - 2.0) < 0.1
    True
    """
    device = parameters[0].device
    steps = epochs * math.ceil(rows / batch)
    optimiser = torch.optim.Adam(parameters, lr=0.0, weight_decay=weight_decay)  # each step sets its own rate
    step = 0
    with torch.enable_grad():  # `Part.fit` learns without gradients
        for _ in range(epochs):
            for index in torch.split(torch.randperm(rows, generator=generator).to(device), batch):
                optimiser.param_groups[0]["lr"] = rate(step, steps)
                optimiser.zero_grad()
                loss(index).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                step += 1
    if not all(bool(torch.isfinite(parameter).all()) for parameter in parameters):
        raise WrongUse(f"training left the finite numbers within {steps:,} steps: lower lr")
