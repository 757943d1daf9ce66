"""Means over units, such as held-out classes, and paired differences between methods on the same units."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import ArrayLike

from unseen.errors import BadInput
from unseen.metrics.scores import check_confidence, finite


def mean_interval(
    values: ArrayLike, confidence: float = 0.95, bounds: tuple[float, float] | None = None
) -> tuple[float, float]:
    """Student's t interval of a mean over units, such as held-out classes.

    The units are taken as a random sample of those one wants to speak of, independent of each other; their
    values as roughly normal, which matters less the more units there are. Classes that are held out of one
    data set share its images, so the interval tends to be narrow.

    Args:
        values: ``(U,)`` one value a unit, two units at least.
        confidence: in ``(0, 1)``.
        bounds: where the interval is cut, such as ``(0, 1)`` for a rate.

    Returns:
        ``(low, high)``.

    Raises:
        BadInput: when there are fewer than two values or one is not finite.
        WrongUse: when ``confidence`` is not within ``(0, 1)``.

    >>> low, high = mean_interval([0.90, 0.95, 0.97], bounds=(0, 1))
    >>> round(low, 3), high
    (0.85, 1.0)
    """
    from scipy.special import stdtrit

    check_confidence(confidence)
    x = finite(values, "values")
    reach = float(stdtrit(x.size - 1, (1 + confidence) / 2)) * float(x.std(ddof=1)) / math.sqrt(x.size)
    low, high = float(x.mean()) - reach, float(x.mean()) + reach
    if bounds is not None:
        low, high = (float(min(max(end, bounds[0]), bounds[1])) for end in (low, high))
    return low, high


def paired_difference(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> dict[str, Any]:
    """Mean of ``a - b`` over the same units, with a paired Student t interval and two-sided test.

    Assumes what `mean_interval` does, of the differences. One comparison: several need a correction.

    Args:
        a: ``(U,)`` one value a unit, two units at least.
        b: ``(U,)`` the other method's values of the same units in the same order.
        confidence: in ``(0, 1)``.

    Returns:
        ``mean``, ``interval`` as ``(low, high)``, and ``p_value``: 1 for identical values, 0 where every unit
        differs by the very same amount.

    Raises:
        BadInput: when the lengths differ, there are fewer than two units or a value is not finite.
        WrongUse: when ``confidence`` is not within ``(0, 1)``.

    >>> result = paired_difference([0.9, 0.8, 0.95], [0.85, 0.7, 0.9])
    >>> round(result["mean"], 4), round(result["p_value"], 3)
    (0.0667, 0.057)
    """
    from scipy.special import stdtr

    x, y = finite(a, "a"), finite(b, "b")
    if x.size != y.size:
        raise BadInput(f"a has {x.size} units, b has {y.size}: pass values of the same units in one order")
    difference = x - y
    mean, spread = float(difference.mean()), float(difference.std(ddof=1)) / math.sqrt(x.size)
    p_value = 1.0 if mean == 0 else 0.0  # no spread: every unit differs by the same amount
    if spread > 0:
        p_value = float(2 * stdtr(x.size - 1, -abs(mean) / spread))
    return {"mean": mean, "interval": mean_interval(difference, confidence), "p_value": p_value}
