"""Several detectors on the same inputs: how far apart they are, and whether new inputs could turn them round."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations, islice
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from unseen.errors import BadInput, WrongUse
from unseen.metrics.counts import Counts, Floats
from unseen.metrics.resampling import (
    Groups,
    Metric,
    Placed,
    check_replicates,
    drawn_times,
    metric_function,
    percentiles,
    place,
)
from unseen.metrics.scores import SIDES, check_confidence, finite
from unseen.naming import did_you_mean, listed

Scores: TypeAlias = Mapping[str, tuple[ArrayLike, ArrayLike]]


class Comparison(NamedTuple):
    """Two detectors on the same inputs.

    Attributes:
        a: the first detector.
        b: the second, or the baseline.
        metric: what is compared.
        value_a: its value for ``a`` on all inputs.
        value_b: the same for ``b``.
        difference: ``value_a - value_b``.
        interval: of the difference, for new inputs of the same populations; of this comparison alone.
        p_value: two-sided, of this comparison alone.
        p_holm: adjusted for all comparisons that were made together.
        method: ``"delong"`` or ``"bootstrap"``.
    """

    a: str
    b: str
    metric: str
    value_a: float
    value_b: float
    difference: float
    interval: tuple[float, float]
    p_value: float
    p_holm: float
    method: Literal["delong", "bootstrap"]


class _Difference(NamedTuple):
    """An interval of a difference and its p-value."""

    interval: tuple[float, float]
    p_value: float


def compare(
    scores: Scores,
    *,
    baseline: str | None = None,
    metric: Metric = "auroc",
    groups: Groups | None = None,
    correct: ArrayLike | Mapping[str, ArrayLike] | None = None,
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> list[Comparison]:
    """Differences between detectors that scored the same inputs, with intervals and p-values.

    The AUROC of independent inputs is compared by DeLong's covariance. Any other metric, and inputs in groups,
    by the paired bootstrap: all detectors see the same resamples, so what makes an input easy for all of them
    cancels. Its p-value is the smallest level whose percentile interval leaves out 0, and never below
    ``2 / (replicates + 1)``: many comparisons need many replicates.

    Detectors that rank all inputs alike get ``p_value`` 1. Where DeLong's variance of the difference is zero
    (both separate the sides, for one) it says nothing, and the bound of `Evaluation.auroc_interval` is used.

    Args:
        scores: ``{name: (known, unknown)}``, ``(n,)`` and ``(m,)`` scores, higher = more known; every detector's
            of the same inputs in the same order, which cannot be checked beyond their number.
        baseline: the detector that all others are compared with. None: every pair, in the given order. It must
            be chosen before the scores are seen.
        metric: a name or a function, as in `Evaluation.bootstrap`.
        groups: names of the groups of known and unknown inputs, as in `bootstrap`.
        correct: ``(n,)`` booleans as in `evaluate`, or ``{name: booleans}`` where the detectors belong to
            different classifiers.
        confidence: in ``(0, 1)``.
        replicates: how many resamples, where the bootstrap is used.
        seed: of its generator.

    Returns:
        One `Comparison` a pair, whose ``p_holm`` is adjusted for all of them.

    Raises:
        BadInput: when a detector's scores are unusable or their numbers differ from the first one's, or a side
            has a single input where DeLong needs two.
        WrongUse: for fewer than two detectors, a baseline or flags that belong to none, and as
            `Evaluation.bootstrap`.

    Cost: one sort a detector, then for DeLong a few passes over the inputs a pair and ``8 K (n + m)`` bytes; for
    the bootstrap a few passes a replicate and detector, and ``32 K (n + m)`` bytes.
    Source: DeLong, DeLong, Clarke-Pearson, Biometrics 1988; Efron, Tibshirani, "An Introduction to the
    Bootstrap", 1993, chapter 13, on percentile intervals; `holm`.

    >>> random = np.random.default_rng(0)
    >>> hard = random.normal(size=300)  # what makes an input hard for all detectors
    >>> is_known = np.arange(300) < 200
    >>> found = {"weak": hard + is_known, "strong": hard + 2 * is_known + 0.1 * random.normal(size=300)}
    >>> pairs = {name: (scores[is_known], scores[~is_known]) for name, scores in found.items()}
    >>> (result,) = compare(pairs, baseline="weak")
    >>> result.a, round(result.difference, 2), result.p_holm < 0.001
    ('strong', 0.13, True)
    """
    check_confidence(confidence)
    check_replicates(replicates)
    value, names = metric_function(metric), list(scores)
    if len(names) < 2:
        raise WrongUse(f"compare needs at least two detectors, got {len(names)}")
    if baseline is not None and baseline not in scores:
        raise WrongUse(f"baseline {baseline!r} is not one of {listed(names)}{did_you_mean(baseline, names)}")
    pairs = list(combinations(names, 2)) if baseline is None else [(a, baseline) for a in names if a != baseline]
    placed = _placed_each(scores, correct)
    method: Literal["delong", "bootstrap"] = "delong" if metric == "auroc" and groups is None else "bootstrap"
    if method == "delong":
        values, found = _by_delong(placed, pairs, confidence)
    else:
        held = dict(placed)
        values = {name: value(one.result) for name, one in held.items()}
        redrawn: dict[str, list[float]] = {name: [] for name in names}
        for times in islice(drawn_times(*_sizes(held[names[0]]), groups, seed), replicates):
            for name, one in held.items():  # the same draw for every detector
                redrawn[name].append(value(one.counted(*times)))
        found = [_by_bootstrap(np.subtract(redrawn[a], redrawn[b]), confidence) for a, b in pairs]
    called = metric if isinstance(metric, str) else getattr(metric, "__name__", repr(metric))
    adjusted = holm([each.p_value for each in found])
    return [
        Comparison(a, b, called, values[a], values[b], values[a] - values[b], *each, p_holm, method)
        for (a, b), each, p_holm in zip(pairs, found, adjusted, strict=True)
    ]


def auroc_covariance(scores: Scores) -> Floats:
    """Covariance of several detectors' AUROCs on the same inputs: the variances and what they share.

    Args:
        scores: as in `compare`; one detector is enough.

    Returns:
        ``(K, K)`` for ``K`` detectors in the given order; the diagonal is `Evaluation.auroc_variance`. A contrast
        ``c`` of AUROCs, ``(K,)``, has variance ``c @ covariance @ c``.

    Raises:
        BadInput: as `compare`, and when there is no detector.

    Cost: one sort a detector and one product for all pairs; ``16 K (n + m)`` bytes, beside one evaluation.
    Source: DeLong, DeLong, Clarke-Pearson, Biometrics 1988; from mid-ranks: Sun, Xu, "Fast Implementation of
    DeLong's Algorithm for Comparing the Areas Under Correlated Receiver Operating Characteristic Curves", IEEE
    Signal Processing Letters 2014.

    >>> scores = {"a": ([0.9, 0.8, 0.4], [0.5, 0.1]), "b": ([0.9, 0.3, 0.4], [0.5, 0.1])}
    >>> auroc_covariance(scores).round(4)
    array([[0.0556, 0.0694],
           [0.0694, 0.1389]])
    """
    if not scores:
        raise BadInput("scores: there is no detector, at least one is needed")
    of_known, of_unknown = zip(*(_placements(one) for _, one in _placed_each(scores, None)), strict=True)
    n, m = of_known[0].size, of_unknown[0].size
    _check_spread(n, m)
    covariance: Floats = np.cov(of_known) / (2 * m) ** 2 / n + np.cov(of_unknown) / (2 * n) ** 2 / m
    return np.atleast_2d(covariance)


def holm(p_values: ArrayLike) -> list[float]:
    """P-values adjusted for making several comparisons at once, by Holm's step-down rule.

    Args:
        p_values: one a comparison, any order.

    Returns:
        Adjusted values in the same order, at most 1; those at or below 0.05 hold together at 5 %.

    Raises:
        BadInput: when there are none or one is not finite.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
    Statistics 1979.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    values = finite(p_values, "p_values", least=1)
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]


def _placed_each(scores: Scores, correct: ArrayLike | Mapping[str, ArrayLike] | None) -> Iterator[tuple[str, Placed]]:
    """One detector after the other with the places of its scores, checked to be of equally many inputs."""
    if isinstance(correct, Mapping):
        strangers = [name for name in scores if name not in correct] + [name for name in correct if name not in scores]
        if strangers:
            raise WrongUse(f"correct and scores name different detectors: only one of them has {listed(strangers)}")
    first: tuple[str, tuple[int, int]] | None = None
    for name, pair in scores.items():
        try:
            known, unknown = pair
        except (TypeError, ValueError):
            raise BadInput(f"{name}: expected a pair of scores, (known, unknown)") from None
        placed = place(known, unknown, correct[name] if isinstance(correct, Mapping) else correct, of=f"{name}: ")
        first = first or (name, _sizes(placed))
        for side, has, wanted in zip(SIDES, _sizes(placed), first[1], strict=True):
            if has != wanted:
                raise BadInput(
                    f"{name}: {has} {side} scores, {first[0]} has {wanted}: "
                    "compare scores of the same inputs in one order"
                )
        yield name, placed


def _sizes(placed: Placed) -> tuple[int, int]:
    """Known and unknown inputs."""
    return placed.known_at.size, placed.unknown_at.size


def _check_spread(n: int, m: int) -> None:
    if min(n, m) < 2:
        raise BadInput(f"DeLong's covariance needs at least 2 known and 2 unknown inputs, got {n} and {m}")


def _placements(placed: Placed) -> tuple[Counts, Counts]:
    """Twice how many of the other side lie below each input's score, ties counting half: exact integers.

    The mid-rank among all minus the mid-rank among its own side, read from the running counts.
    """
    known_below, unknown_below = placed.result.known_below, placed.result.unknown_below
    of_known = (unknown_below[:-1] + unknown_below[1:])[placed.known_at]
    of_unknown = (known_below[:-1] + known_below[1:])[placed.unknown_at]
    return of_known, of_unknown


def _by_delong(
    placed: Iterable[tuple[str, Placed]], pairs: Iterable[tuple[str, str]], confidence: float
) -> tuple[dict[str, float], list[_Difference]]:
    """Each AUROC; normal interval and test of each difference, with DeLong's variance of the difference."""
    from scipy.special import ndtr, ndtri

    areas: dict[str, float] = {}
    placements: dict[str, tuple[Counts, Counts]] = {}
    for name, one in placed:  # only the placements are kept
        areas[name], placements[name] = one.result.auroc, _placements(one)
        n, m = _sizes(one)
    _check_spread(n, m)
    found = []
    for a, b in pairs:
        # From the differences, not from the covariance: nearly equal detectors would leave rounding noise there.
        known, unknown = (_variance(x - y) for x, y in zip(placements[a], placements[b], strict=True))
        difference, deviation = areas[a] - areas[b], math.sqrt(known / (2 * m) ** 2 / n + unknown / (2 * n) ** 2 / m)
        if deviation > 0:
            reach = float(ndtri((1 + confidence) / 2)) * deviation
            p_value = 2 * float(ndtr(-abs(difference) / deviation))
        else:
            reach = -math.log1p(-confidence) / min(n, m)
            p_value = math.exp(-abs(difference) * min(n, m))  # the level whose bound just reaches 0
        found.append(_Difference((max(-1.0, difference - reach), min(1.0, difference + reach)), p_value))
    return areas, found


def _variance(x: Counts) -> float:
    """Sample variance, exactly zero where all are equal."""
    return 0.0 if (x == x[0]).all() else float(x.var(ddof=1))


def _by_bootstrap(differences: Floats, confidence: float) -> _Difference:
    """Percentile interval, and the p-value that goes with it: the observed sample counts as one more draw."""
    tail = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    return _Difference(percentiles(differences, confidence), min(1.0, 2 * (1 + tail) / (1 + differences.size)))
