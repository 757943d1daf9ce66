"""Logistic regression of known against unknown inputs, for the methods that learn from both."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from unseen.errors import NotEnoughKnown, WrongUse

PENALTY = 1e-3  # of squared weights of standardised columns, where a method does not ask for another
STEPS = 200  # of Newton's method, which takes some ten
CLOSE = 1e-10  # gain of a step from which on the loss cannot tell any more whether it was one
SETTLED = 1e-24  # gain at which it ends; the next step would be the square of this one

Rows = Callable[[], Iterable[Tensor]]  # walks the rows (n, D) again each time, batch by batch
Slopes = tuple[float, Tensor, tuple[Tensor, ...]]  # loss; slopes; second derivatives, the exact ones first


def discriminate(known: Rows, unknown: Rows, penalty: float, name: str) -> tuple[Tensor, Tensor]:
    """Weight ``(D,)`` and bias ``()``, float64, of the log odds ``w x + b`` that an input is known.

    They minimise ``mean_known log(1 + e^-z) / 2 + mean_unknown log(1 + e^z) / 2 + penalty / 2 |v|^2``, with ``v`` the
    weights of standardised columns and the bias free: both sides count alike, however many inputs they have. The
    minimum is one, and it does not depend on the order of rows. A column that is constant has weight 0.

    Args:
        known: rows of known inputs.
        unknown: rows of unknown inputs.
        penalty: above 0, as sides that can be parted have no minimum without.
        name: who asks, for messages.

    Raises:
        WrongUse: when the penalty is not a number above 0.
        NotEnoughKnown: when no column differs at all.

    Cost: ten to twenty walks over the rows, each ``(n + m) D^2``; memory is ``D^2`` and a batch.
    """
    if not 0 < penalty < float("inf"):
        raise WrongUse(f"{name}(penalty={penalty!r}): give a number above 0")
    mean, scale, counts = standard(known, unknown, name)
    ridge = torch.full_like(mean, penalty)
    ridge = torch.cat([ridge, ridge.new_zeros(1)])

    def slopes(at: Tensor) -> Slopes:
        loss, slope, bend = 0.5 * float(ridge @ at.square()), ridge * at, ridge.diag()
        for rows, n, sign in ((known, counts[0], 1.0), (unknown, counts[1], -1.0)):
            for x in rows():
                u = torch.cat([(x.double() - mean) * scale, torch.ones(len(x), 1).to(mean)], dim=1)  # (B, D + 1)
                z = sign * (u @ at)
                wrong = torch.sigmoid(-z)
                loss += float(softplus(-z).sum()) / (2 * n)
                slope = slope - sign * (wrong @ u) / (2 * n)
                bend = bend + (u * (wrong * (1 - wrong))[:, None]).T @ u / (2 * n)
        return loss, slope, (bend,)

    found = newton(slopes, torch.zeros_like(ridge), name)
    weight = found[:-1] * scale
    return weight, found[-1] - weight @ mean


def standard(known: Rows, unknown: Rows, name: str) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """Mean ``(D,)``, 1 over standard deviation ``(D,)`` and the two counts, with half the weight on each side.

    A column that only unknown inputs use has a spread too. The scale of a constant one is 0.

    Raises:
        NotEnoughKnown: when all are constant.
    """
    (n, here, own, rounding), (m, there, other, _) = _spread(known), _spread(unknown)
    mean = (here + there) / 2
    deviation = ((own + other) / 2 + (here - there).square() / 4).sqrt()
    # Standardising noise of the last digits would make it as loud as the rest; some such digits are lost by the mean.
    scale = torch.where(deviation <= 10 * rounding * mean.abs(), 0.0, 1.0 / deviation)
    if not bool((scale > 0).any()):
        raise NotEnoughKnown(f"{name}: known and unknown inputs are all the same; add others")
    return mean, scale, (n, m)


def _spread(rows: Rows) -> tuple[int, Tensor, Tensor, float]:
    """How many rows, their mean and variance, and the rounding of their precision; merged as `Moments` are."""
    count, rounding = 0, 0.0
    mean = square = torch.zeros((), dtype=torch.float64)
    for batch in rows():
        x = batch.double()
        rounding = torch.finfo(batch.dtype).eps
        own = x.mean(dim=0)
        gap, whole = own - mean, count + len(x)
        square = square + (x - own).square().sum(dim=0) + gap.square() * (count * len(x) / whole)
        mean, count = mean + gap * (len(x) / whole), whole
    return count, mean, square / count, rounding


def newton(slopes: Callable[[Tensor], Slopes], start: Tensor, name: str) -> Tensor:
    """Where a smooth loss is least, or has a minimum near ``start``: Newton's method with steps that are halved.

    Args:
        slopes: gives the loss, its slopes ``(P,)`` and its second derivatives ``(P, P)`` at a point. Where these may
            bend down, others follow that never do, and stand in for them.
        start: ``(P,)`` float64.
        name: who asks, for the message.

    Raises:
        WrongUse: when there is no minimum within `STEPS` steps.
    """
    at, last = start, float("inf")
    loss, slope, bends = slopes(at)
    for _ in range(STEPS):
        step = _downhill(slope, bends)
        gain = float(slope @ step)
        if gain <= SETTLED or (gain <= CLOSE and gain >= last):  # the second: nothing is left but rounding
            return at
        share = 1.0
        found = slopes(at - step)
        while gain > CLOSE and not found[0] <= loss - 1e-4 * share * gain:
            share /= 2
            if share < 1e-12:
                break
            found = slopes(at - share * step)
        at, last = at - share * step, gain
        loss, slope, bends = found
    raise WrongUse(f"{name} found no minimum in {STEPS} steps of Newton's method: raise penalty")


def _downhill(slope: Tensor, bends: tuple[Tensor, ...]) -> Tensor:
    for bend in bends:
        factor, failed = torch.linalg.cholesky_ex(bend)
        if not failed:
            break
    return torch.cholesky_solve(slope[:, None], factor)[:, 0]
