"""Running counts at the distinct scores: what every metric is read from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Counts: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]

# Passes over millions of counts run in blocks whose temporaries stay in the processor's cache.
BLOCK = 32_768


def blocks(*counts: Counts) -> Iterator[tuple[Counts, ...]]:
    """Running counts in stretches that overlap by one, so that differences and neighbours are at hand."""
    for start in range(0, len(counts[0]) - 1, BLOCK):
        stretch = slice(start, start + BLOCK + 1)
        yield tuple(count[stretch] for count in counts)


def cumulated(counts: Counts) -> Counts:
    """Running totals with a leading zero."""
    total = np.zeros(counts.size + 1, np.int64)
    np.cumsum(counts, out=total[1:])
    return total


def exact(level: float) -> Fraction:
    """The fraction that is meant: 0.95 is 19/20, and so is 1 - 0.05, whatever their last bits say."""
    return Fraction(float(level)).limit_denominator(10**9)


def needed(level: float, n: int) -> int:
    """How many of ``n`` make a share of at least ``level``; never none."""
    return max(1, math.ceil(exact(level) * n))
