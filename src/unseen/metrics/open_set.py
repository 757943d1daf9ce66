"""Metrics of classifying and refusing at once: they know which known inputs were classified correctly.

Every function reads running counts: how many correct known and how many unknown inputs lie below each distinct score.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unseen.errors import WrongUse
from unseen.metrics.counts import Counts, blocks, needed

Ties: TypeAlias = Literal["diagonal", "pessimistic"]

TIES: tuple[Ties, ...] = ("diagonal", "pessimistic")


class HScore(NamedTuple):
    """An H-score with its two parts, and where its threshold comes from.

    Attributes:
        h: harmonic mean of both parts, 0 where either is 0.
        known_accuracy: share of known inputs that are accepted and classified correctly.
        unknown_accuracy: share of unknown inputs that are rejected.
        threshold: scores at or above it are accepted.
        oracle: True where the threshold was chosen on the very inputs that it is judged on, the unknown ones
            among them: a bound, not a result.
    """

    h: float
    known_accuracy: float
    unknown_accuracy: float
    threshold: float
    oracle: bool


def area_under_ccr(correct_below: Counts, unknown_below: Counts, n_known: int, ties: str) -> float:
    """`Evaluation.oscr`: the share of pairs whose known input is correct and scores above the unknown one."""
    if ties not in TIES:
        raise WrongUse(f"ties {ties!r} is not one of {', '.join(TIES)}")
    wins = 0
    for correct, unknown in blocks(correct_below, unknown_below):
        beaten = unknown[:-1] + (unknown[1:] if ties == "diagonal" else unknown[:-1])
        wins += int(np.dot(np.diff(correct), beaten))
    return wins / (2 * n_known * int(unknown_below[-1]))


def ccr_at_fpr(correct_below: Counts, unknown_below: Counts, n_known: int, fpr: float) -> float:
    """`Evaluation.ccr_at_fpr`: share of known inputs, correct and above the ``ceil(fpr * m)``-th largest unknown."""
    if not 0 < fpr <= 1:
        raise WrongUse(f"fpr must be above 0 and at most 1, got {fpr}")
    m = int(unknown_below[-1])
    at = int(np.searchsorted(unknown_below, m - needed(fpr, m), side="right")) - 1  # that unknown's distinct score
    return int(correct_below[-1] - correct_below[at + 1]) / n_known


def h_score(
    correct_below: Counts, unknown_below: Counts, n_known: int, scores: NDArray[Any], threshold: float
) -> HScore:
    """`Evaluation.h_score`: both accuracies at a given threshold, and their harmonic mean."""
    if math.isnan(threshold):
        raise WrongUse("threshold is NaN: pass a number")
    at = int(np.searchsorted(scores, threshold))  # the first distinct score that is accepted
    correct, rejected = int(correct_below[-1] - correct_below[at]), int(unknown_below[at])
    m = int(unknown_below[-1])
    h = 2 * correct * rejected / (correct * m + rejected * n_known) if correct and rejected else 0.0
    return HScore(h, correct / n_known, rejected / m, threshold, oracle=False)


def best_h_score(correct_below: Counts, unknown_below: Counts, n_known: int, scores: NDArray[Any]) -> HScore:
    """`Evaluation.best_h_score`: the largest H-score over every distinct threshold, with hindsight."""
    m = int(unknown_below[-1])
    correct, rejected = correct_below[-1] - correct_below[:-1], unknown_below[:-1]
    total = correct * m + rejected * n_known
    h = np.divide(2 * correct * rejected, total, out=np.zeros(total.size), where=total > 0)
    threshold = scores[int(np.argmax(h))].item()
    return h_score(correct_below, unknown_below, n_known, scores, threshold)._replace(oracle=True)
