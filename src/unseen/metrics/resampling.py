"""Intervals by drawing the inputs again, one by one or in whole groups; no replicate is sorted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice, repeat
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unseen.errors import BadInput, WrongUse
from unseen.metrics.counts import Counts, Floats, cumulated
from unseen.metrics.evaluation import Evaluation, evaluate
from unseen.metrics.scores import Side, both_sides, check_confidence, check_side, flags
from unseen.naming import encode_groups

Metric: TypeAlias = str | Callable[[Evaluation], float]
Groups: TypeAlias = tuple[ArrayLike | None, ArrayLike | None]

METRICS: dict[str, Callable[[Evaluation], float]] = {
    "auroc": lambda e: e.auroc,
    "ap_known": lambda e: e.average_precision("known"),
    "ap_unknown": lambda e: e.average_precision("unknown"),
    "fpr_at_tpr95": lambda e: e.fpr_at_tpr(0.95),
    "detection_error": lambda e: e.detection_error(),
    "accuracy": lambda e: e.accuracy,
    "oscr": lambda e: e.oscr(),
}

LEVELS: Floats = np.arange(101) / 100  # where bands are read; 29 / 100 is the rate of 58 of 200 inputs to the last bit


class Bands(NamedTuple):
    """Percentiles of the curves and areas of resamples.

    Attributes:
        levels: ``(101,)`` the rates 0, 0.01, ... 1 at which the curves are read.
        tpr: ``(101, 2)`` low and high true positive rate at each false positive rate.
        precision: ``(101, 2)`` low and high precision, unknown positive, at each recall. At recall 0, where nothing is
            found, it is that of the first point, a convention: not for drawing.
        auroc: low and high area under the ROC curve.
        ap_unknown: low and high average precision, unknown positive.
    """

    levels: Floats
    tpr: Floats
    precision: Floats
    auroc: tuple[float, float]
    ap_unknown: tuple[float, float]


class Placed(NamedTuple):
    """An evaluation that still knows which input has which score, so that inputs can be counted anew.

    Attributes:
        result: the evaluation, ``T`` distinct scores.
        known_at: ``(n,)`` index of each known input's score among the distinct ones.
        unknown_at: ``(m,)`` the same of the unknown inputs.
        correct: ``(n,)`` whether each known input was classified correctly, or None.
    """

    result: Evaluation
    known_at: NDArray[np.intp]
    unknown_at: NDArray[np.intp]
    correct: NDArray[np.bool_] | None

    def counted(self, known_times: Counts, unknown_times: Counts) -> Evaluation:
        """The evaluation in which each input occurs so many times: ``(n,)`` and ``(m,)`` counts."""
        known = self._at_scores(self.known_at, known_times)
        unknown = self._at_scores(self.unknown_at, unknown_times)
        correct = self.correct
        right = None if correct is None else self._at_scores(self.known_at[correct], known_times[correct])
        return _counted(self.result.scores, known, unknown, right)

    def _at_scores(self, at: NDArray[np.intp], times: Counts) -> Counts:
        return np.bincount(at, weights=times, minlength=self.result.distinct_scores).astype(np.int64)


def place(known: ArrayLike, unknown: ArrayLike, correct: ArrayLike | None = None, of: str = "") -> Placed:
    """Evaluate, and keep where each input's score stands; ``of`` begins an error."""
    high, low = both_sides(known, unknown, of)
    right = None if correct is None else flags(correct, high.size, of)
    result = evaluate(high, low, right)
    return Placed(result, np.searchsorted(result.scores, high), np.searchsorted(result.scores, low), right)


def bootstrap(
    known: ArrayLike,
    unknown: ArrayLike,
    metric: Metric,
    *,
    groups: Groups | None = None,
    correct: ArrayLike | None = None,
    confidence: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a metric, where inputs may come in groups that belong together.

    Crops of one image or frames of one video say the same thing many times: drawn one by one they give an
    interval that is far too narrow. With ``groups``, whole groups are drawn with replacement, known and unknown
    ones separately, and the interval speaks of new groups. The groups are what counts: with ten on a side it rests
    on ten, however many inputs they hold, and is still somewhat too narrow.

    Args:
        known: ``(n,)`` scores of known inputs, higher = more known.
        unknown: ``(m,)`` scores of unknown inputs.
        metric: a name or a function, as in `Evaluation.bootstrap`.
        groups: names of the groups of the known inputs, ``(n,)``, and of the unknown ones, ``(m,)``. An input
            whose name is None, and every input of a side that is None, is a group of its own. One name on both
            sides means two groups. None: inputs are drawn one by one.
        correct: ``(n,)`` booleans as in `evaluate`, for metrics that need them.
        confidence: in ``(0, 1)``.
        replicates: how many resamples.
        seed: of a generator of its own.

    Returns:
        ``(low, high)``.

    Raises:
        BadInput: as `evaluate`, and when the names are not one for each input or a side has fewer than two groups.
        WrongUse: as `Evaluation.bootstrap`, and when ``groups`` is no pair.

    Cost: a few passes over the inputs a replicate; one sort in all.
    Source: Field, Welsh, "Bootstrapping Clustered Data", Journal of the Royal Statistical Society B 2007, on
    drawing whole clusters.

    >>> known, unknown = [2, 2, 4, 4, 5, 5], [1, 1, 3, 3]
    >>> low, high = bootstrap(known, unknown, "auroc", groups=(list("aabbcc"), list("ddee")))
    >>> narrow = bootstrap(known, unknown, "auroc")
    >>> high - low > narrow[1] - narrow[0]
    True
    """
    return interval_of(metric, _resamples(known, unknown, correct, groups, seed), confidence, replicates)


def bands(
    known: ArrayLike,
    unknown: ArrayLike,
    *,
    positive: Side = "unknown",
    groups: Groups | None = None,
    confidence: float = 0.95,
    replicates: int = 400,
    seed: int = 0,
) -> Bands:
    """Pointwise percentile bootstrap bands of the ROC and of the precision-recall curve, from the same resamples.

    A band holds at each level by itself, not for the whole curve, and is for new inputs of these two populations. Where
    no resample differs it has no width, which does not mean that new inputs will not differ.

    Args:
        known: ``(n,)`` scores of known inputs, higher = more known.
        unknown: ``(m,)`` scores of unknown inputs.
        positive: ``"known"`` or ``"unknown"``, the side counted as positive in the ROC curve. In the precision-recall
            curve it is the unknown.
        groups: inputs that belong together, drawn whole, as in `bootstrap`.
        confidence: in ``(0, 1)``.
        replicates: how many resamples.
        seed: of a generator of its own.

    Returns:
        `Bands`; the intervals of the areas are those of `bootstrap`.

    Raises:
        BadInput: as `bootstrap`.
        WrongUse: as `bootstrap`, and when ``positive`` is neither side.

    Cost: as `bootstrap`; memory for ``202 * replicates`` numbers.
    Source: Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13, on percentile intervals.

    >>> drawn = bands([2, 3, 4, 5], [0, 1, 2, 3])
    >>> drawn.tpr.shape, drawn.tpr[-1].tolist()
    ((101, 2), [1.0, 1.0])
    >>> drawn.auroc == bootstrap([2, 3, 4, 5], [0, 1, 2, 3], "auroc", replicates=400)
    True
    """
    check_side(positive)
    check_confidence(confidence)
    check_replicates(replicates)
    tpr, precision = np.empty((2, replicates, LEVELS.size))
    areas = np.empty((2, replicates))
    for i, drawn in enumerate(islice(_resamples(known, unknown, None, groups, seed), replicates)):
        tpr[i], precision[i] = read_curves(drawn, positive)
        areas[:, i] = drawn.auroc, drawn.average_precision("unknown")
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    auroc, ap_unknown = (percentiles(values, confidence) for values in areas)
    of_tpr, of_precision = (np.quantile(values, ends, axis=0).T for values in (tpr, precision))
    return Bands(LEVELS, of_tpr, of_precision, auroc, ap_unknown)


def read_curves(result: Evaluation, positive: Side) -> tuple[Floats, Floats]:
    """True positive rate at each false positive rate of `LEVELS`, and precision (unknown positive) at each recall.

    Between the points of a ROC curve lies a straight line, which a coin attains; of several points with one false
    positive rate the highest counts. Between those of a precision-recall curve lies none, so it is read at the first
    point that reaches a recall.
    """
    roc, precision = result.roc(positive), result.precision_recall("unknown")
    tpr: Floats = np.interp(LEVELS, roc.fpr, roc.tpr)
    return tpr, precision.precision[np.searchsorted(precision.recall, LEVELS)]


def _resamples(
    known: ArrayLike, unknown: ArrayLike, correct: ArrayLike | None, groups: Groups | None, seed: int
) -> Iterator[Evaluation]:
    """Endless evaluations of inputs drawn with replacement, one by one or in whole groups."""
    if groups is None:
        return redrawn(evaluate(known, unknown, correct), seed)
    placed = place(known, unknown, correct)
    times = drawn_times(placed.known_at.size, placed.unknown_at.size, groups, seed)
    return (placed.counted(*drawn) for drawn in times)


def drawn_times(n: int, m: int, groups: Groups | None, seed: int) -> Iterator[tuple[Counts, Counts]]:
    """Endless draws with replacement: how many times each of ``n`` known and ``m`` unknown inputs occurs."""
    try:
        of_known, of_unknown = groups if groups is not None else (None, None)
    except (TypeError, ValueError):
        raise WrongUse("groups: expected a pair, names for the known and names for the unknown inputs") from None
    known_code, unknown_code = _group_codes(of_known, n, "known"), _group_codes(of_unknown, m, "unknown")
    random = np.random.default_rng(seed)

    def draw(code: Counts | None, inputs: int) -> Counts:
        units = inputs if code is None else int(code.max()) + 1
        times = np.bincount(random.integers(units, size=units), minlength=units)
        return times if code is None else times[code]

    return ((draw(known_code, n), draw(unknown_code, m)) for _ in repeat(None))


def redrawn(result: Evaluation, seed: int) -> Iterator[Evaluation]:
    """Endless evaluations of as many known and unknown inputs, drawn with replacement from the counts alone."""
    random = np.random.default_rng(seed)
    known, right = np.diff(result.known_below), None
    if result.correct_below is not None:
        right = np.diff(result.correct_below)
        known = np.concatenate((known - right, right))  # what is drawn is a score and whether it is correct
    draw_known, draw_unknown = _resampler(known, random), _resampler(np.diff(result.unknown_below), random)
    while True:
        known, unknown = draw_known(), draw_unknown()
        if right is not None:
            wrong, right = known.reshape(2, -1)
            known = wrong + right
        yield _counted(result.scores, known, unknown, right)


def metric_function(metric: Metric) -> Callable[[Evaluation], float]:
    """The function of a name, or the function itself."""
    value = METRICS.get(metric) if isinstance(metric, str) else metric
    if value is None:
        raise WrongUse(f"metric {metric!r} is not one of {', '.join(METRICS)}, nor a function")
    return value


def check_replicates(replicates: int) -> None:
    """At least one resample."""
    if replicates < 1:
        raise WrongUse(f"replicates must be at least 1, got {replicates}")


def interval_of(
    metric: Metric, evaluations: Iterator[Evaluation], confidence: float, replicates: int
) -> tuple[float, float]:
    """Percentiles of a metric over the first ``replicates`` evaluations."""
    check_confidence(confidence)
    check_replicates(replicates)
    value = metric_function(metric)
    return percentiles(np.array([value(drawn) for drawn in islice(evaluations, replicates)]), confidence)


def percentiles(values: Floats, confidence: float) -> tuple[float, float]:
    """The two ends between which ``confidence`` of the values lie, as many outside on either side."""
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _group_codes(groups: ArrayLike | None, inputs: int, side: str) -> Counts | None:
    """Codes from 0 of the groups of one side; None where every input is its own."""
    if groups is None:
        return None
    given: Any = groups
    if hasattr(given, "detach"):  # a torch tensor, whose elements would all be different names
        given = given.detach().cpu().numpy()
    names = given.tolist() if isinstance(given, np.ndarray) else list(given)
    if len(names) != inputs:
        raise BadInput(f"groups of {side}: {len(names)} names for {inputs} {side} scores: pass one an input")
    try:
        codes, _ = encode_groups(names)
    except TypeError as unhashable:
        raise BadInput(f"groups of {side}: expected one name an input ({unhashable})") from unhashable
    if int(codes.max()) == 0:
        raise BadInput(f"groups of {side}: all {inputs} inputs are in one group, at least two groups are needed")
    return codes


def _counted(scores: NDArray[Any], known: Counts, unknown: Counts, correct: Counts | None) -> Evaluation:
    """An evaluation from how often each distinct score occurs."""
    kept = (known + unknown) > 0  # a score that was not drawn is no threshold
    right = None if correct is None else cumulated(correct[kept])
    return Evaluation(cumulated(known[kept]), cumulated(unknown[kept]), scores[kept], right)


def _resampler(counts: Counts, random: np.random.Generator) -> Callable[[], Counts]:
    """A function that draws ``sum(counts)`` inputs with replacement and counts them score by score."""
    n = int(counts.sum())
    held = np.flatnonzero(counts)
    if held.size * 8 < n:  # many ties: one binomial draw a score is cheaper than one draw an input

        def draw() -> Counts:
            drawn = np.zeros_like(counts)
            drawn[held] = random.multinomial(n, counts[held] / n)
            return drawn

    else:
        owner = np.repeat(np.arange(counts.size), counts)

        def draw() -> Counts:
            return np.bincount(owner[random.integers(n, size=n)], minlength=counts.size)

    return draw
