"""Which of N calibration scores is the threshold that keeps a promise, and what rate the promise leaves open."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from unseen.errors import NotEnoughKnown, WrongUse


def exact(share: float, name: str = "alpha") -> Fraction:
    """The fraction that was meant: 0.29 * 100 is 28.999999999999996 in floating point.

    Raises:
        WrongUse: when it is not within ``(0, 1)``.

    >>> exact(0.29)
    Fraction(29, 100)
    """
    if not 0 < share < 1:
        raise WrongUse(f"{name} must be within 0 and 1, got {share}")
    return Fraction(float(share)).limit_denominator(10**9) or Fraction(float(share))


def rank(n: ArrayLike, alpha: float, confidence: float | None = None) -> np.ndarray:
    """Which smallest of ``n`` calibration scores is the threshold, from 1; 0 where none keeps the promise.

    Args:
        n: numbers of calibration scores, any shape.
        alpha: accepted share of false alarms, in ``(0, 1)``.
        confidence: None promises the average over calibration sets; else the share of calibration sets whose
            rate is at most ``alpha``.

    Raises:
        WrongUse: when ``alpha`` or ``confidence`` is not within ``(0, 1)``.

    >>> rank([1000, 19, 18], 0.05)
    array([50,  1,  0])
    """
    counts = np.asarray(n, dtype=np.int64)
    share = exact(alpha)
    if confidence is None:
        if share.denominator > 10**9:  # smaller than one in as many scores as any machine holds
            return np.zeros_like(counts)
        # Integers throughout; both factors are below 2**31.
        return np.minimum(counts, share.numerator * (counts + 1) // share.denominator)
    from scipy.special import betainc

    tails(confidence)
    # P(rate <= alpha) falls as k rises: bisect for the last k that keeps the promise, for all n together.
    low, high = np.zeros_like(counts), counts.copy()
    while (open_ := low < high).any():
        middle = np.where(open_, (low + high + 1) // 2, 1)
        kept = betainc(middle, np.maximum(counts + 1 - middle, 1), alpha) >= confidence
        low = np.where(open_ & kept, middle, low)
        high = np.where(open_ & ~kept, middle - 1, high)
    return low


def too_few(n: int, alpha: float, confidence: float | None = None, where: str = "", also: str = "") -> NotEnoughKnown:
    """The error for ``n`` calibration scores of which none keeps the promise: how many do, and which alpha would.

    Args:
        n: calibration scores that there are.
        alpha: as asked for.
        confidence: as asked for.
        where: whose scores they are, such as ``"class 3: "``.
        also: what else would help; ``{needed}`` stands for the number of scores.
    """
    if confidence is None:
        promise, smallest, needed = "", 1 / (n + 1), math.ceil(1 / exact(alpha)) - 1
    else:
        promise, smallest = f" with confidence {confidence:g}", -math.expm1(math.log1p(-confidence) / n)
        needed = math.ceil(math.log1p(-confidence) / math.log1p(-alpha))
    return NotEnoughKnown(
        f"{where}alpha {alpha:g}{promise} needs {needed} calibration scores, there are {n}: "
        f"add known inputs or take alpha {rounded_up(smallest):g} or more{also.format(needed=needed)}"
    )


def rounded_up(share: float) -> float:
    """Three digits, rounded up so that taking it works.

    >>> rounded_up(1 / 7)
    0.143
    """
    scale = 10.0 ** (3 - math.ceil(math.log10(share)))
    return math.ceil(share * scale) / scale


def tails(confidence: float) -> list[float]:
    """Both ends of an equal-tailed interval.

    Raises:
        WrongUse: when ``confidence`` is not within ``(0, 1)``.
    """
    if not 0 < confidence < 1:
        raise WrongUse(f"confidence must be within 0 and 1, got {confidence}")
    return [(1 - confidence) / 2, (1 + confidence) / 2]


def rate_interval(k: ArrayLike, n: ArrayLike, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Equal-tailed quantiles of ``Beta(k, n + 1 - k)``, the false-alarm rate at the k-th smallest of n scores."""
    from scipy.special import betaincinv

    low, high = (betaincinv(k, np.asarray(n) + 1 - np.asarray(k), tail) for tail in tails(confidence))
    return low, high


def count_interval(probabilities: np.ndarray, confidence: float) -> tuple[int, int]:
    """Equal-tailed range of a count, both ends included, from the probabilities of 0, 1, ..."""
    # One cumulative sum: the general quantile search of scipy sums the same terms at every step.
    low, high = np.searchsorted(np.cumsum(probabilities), tails(confidence)).clip(max=len(probabilities) - 1)
    return int(low), int(high)
