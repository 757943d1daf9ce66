"""How well scores separate known from unknown inputs: one sort, exact counts, every number from them.

A higher score means more known, everywhere. AUROC does not care which side is called positive; average
precision, AUPR and FPR@TPR do, and published numbers mix both, so the side is part of every name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unseen.errors import WrongUse
from unseen.metrics import open_set
from unseen.metrics.counts import Counts, Floats, blocks, exact, needed
from unseen.metrics.open_set import HScore, Ties
from unseen.metrics.scores import Side, both_sides, check_confidence, check_side, flags

Rule: TypeAlias = Literal["first", "nearest", "linear", "below", "quantile_ge", "quantile_gt"]

RULES: tuple[Rule, ...] = ("first", "nearest", "linear", "below", "quantile_ge", "quantile_gt")


class Roc(NamedTuple):
    """Points of a ROC curve, from (0, 0) to (1, 1); each array is ``(P,)``."""

    fpr: Floats
    tpr: Floats
    thresholds: NDArray[Any]


class PrecisionRecall(NamedTuple):
    """Points of a precision-recall curve, from (recall 0, precision 1) on; each array is ``(P,)``."""

    recall: Floats
    precision: Floats
    thresholds: NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Evaluation:
    """Every ranking metric of one pair of score sets, from exact counts at the distinct scores.

    Made by `evaluate`; nothing is sorted again. ``T`` is the number of distinct scores.

    Attributes:
        known_below: ``(T+1,)`` int64; how many known scores lie below the t-th distinct score, then all.
        unknown_below: ``(T+1,)`` int64; the same of the unknown scores.
        scores: ``(T,)`` distinct scores, ascending.
        correct_below: ``(T+1,)`` int64; how many known scores of correctly classified inputs lie below, then all
            of them; None where `evaluate` was not told. Accuracy, OSCR, CCR@FPR and the H-score need it.

    >>> result = evaluate(known=[0.9, 0.8, 0.4], unknown=[0.5, 0.1])
    >>> result
    Evaluation(auroc=0.8333, n_known=3, n_unknown=2)
    >>> result.fpr_at_tpr(0.95), result.fpr_at_tpr(0.95, positive="unknown")
    (0.5, 0.3333333333333333)
    """

    known_below: Counts
    unknown_below: Counts
    scores: NDArray[Any]
    correct_below: Counts | None = None

    def __repr__(self) -> str:
        return f"Evaluation(auroc={self.auroc:.4f}, n_known={self.n_known}, n_unknown={self.n_unknown})"

    @property
    def n_known(self) -> int:
        """Known scores."""
        return int(self.known_below[-1])

    @property
    def n_unknown(self) -> int:
        """Unknown scores."""
        return int(self.unknown_below[-1])

    @property
    def distinct_scores(self) -> int:
        """Distinct values among all scores; far fewer than inputs means a saturated or quantised score."""
        return len(self.scores)

    @property
    def auroc(self) -> float:
        """``P(known > unknown) + P(known = unknown) / 2``, in ``[0, 1]``; one division of exact integers.

        Source: Hanley, McNeil, "The Meaning and Use of the Area under a ROC Curve", Radiology 1982.

        >>> evaluate([2, 3], [1, 2]).auroc
        0.875
        """
        wins = 0
        for known, unknown in blocks(self.known_below, self.unknown_below):
            wins += int(np.dot(np.diff(known), unknown[:-1] + unknown[1:]))
        return wins / (2 * self.n_known * self.n_unknown)

    @property
    def auroc_variance(self) -> float:
        """DeLong's variance of the AUROC.

        A side with a single score has no sample variance: the largest possible, ``A(1 - A)``, stands in.

        Source: DeLong, DeLong, Clarke-Pearson, "Comparing the Areas under Two or More Correlated Receiver
        Operating Characteristic Curves", Biometrics 1988.

        >>> round(evaluate([0.9, 0.8, 0.4], [0.5, 0.1]).auroc_variance, 6)
        0.055556
        """
        area, n, m = self.auroc, self.n_known, self.n_unknown
        over_known = over_unknown = 0.0
        for known, unknown in blocks(self.known_below, self.unknown_below):
            # Placement of a score: the share of the other side that it beats, ties counting half.
            of_known = (unknown[:-1] + unknown[1:]) / (2 * m) - area
            of_unknown = 1 - (known[:-1] + known[1:]) / (2 * n) - area
            over_known += float(np.sum(np.diff(known) * of_known**2))
            over_unknown += float(np.sum(np.diff(unknown) * of_unknown**2))
        largest = area * (1 - area)
        return (over_known / (n - 1) if n > 1 else largest) / n + (over_unknown / (m - 1) if m > 1 else largest) / m

    def auroc_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Interval of the AUROC for new inputs of the same two populations.

        DeLong's variance on the logit scale, so it stays within ``[0, 1]``. Where that variance is zero (the
        sides are separated, or all scores are equal) it says nothing, and a bound in the manner of the rule
        of three is used: the AUROC lies within ``-log(1 - confidence) / min(n_known, n_unknown)``.

        Args:
            confidence: in ``(0, 1)``.

        Returns:
            ``(low, high)``. Inputs are taken as independent: frames of one video are not.

        Raises:
            WrongUse: when ``confidence`` is not within ``(0, 1)``.

        >>> evaluate([3, 4, 5], [0, 1, 2]).auroc_interval()[1]
        1.0
        """
        from scipy.special import expit, logit, ndtri

        check_confidence(confidence)
        area, variance = self.auroc, self.auroc_variance
        if variance == 0:
            reach = -math.log1p(-confidence) / min(self.n_known, self.n_unknown)
            return max(0.0, area - reach), min(1.0, area + reach)
        reach = float(ndtri((1 + confidence) / 2)) * math.sqrt(variance) / (area * (1 - area))
        return float(expit(logit(area) - reach)), float(expit(logit(area) + reach))

    def average_precision(self, positive: Side) -> float:
        """Average precision, the step-wise area under precision over recall.

        ``sum_t (R_t - R_(t-1)) P_t`` over distinct thresholds, from the most positive on. It depends on the
        ratio of the two sides (a constant score gives the share of positives), and the two sides' values are
        unrelated numbers.

        Args:
            positive: ``"known"`` (high scores are positive) or ``"unknown"`` (low scores are).

        Returns:
            A fraction in ``(0, 1]``.

        Raises:
            WrongUse: when ``positive`` is neither side.

        >>> evaluate([2, 3], [1, 2]).average_precision("known")
        0.8333333333333333
        """
        n, m, area = self.n_known, self.n_unknown, 0.0
        if check_side(positive) == "known":
            for known, unknown in blocks(self.known_below, self.unknown_below):
                hits = n - known[:-1]
                area += float(np.sum(np.diff(known) * (hits / (hits + (m - unknown[:-1])))))
            return area / n
        for known, unknown in blocks(self.known_below, self.unknown_below):
            hits = unknown[1:]
            area += float(np.sum(np.diff(unknown) * (hits / (hits + known[1:]))))
        return area / m

    def aupr_trapezoid(self, positive: Side) -> float:
        """Area under precision over recall by trapezoids, with (recall 0, precision 1) added at the start.

        Only for comparison with published tables: straight lines between points of this curve promise more
        than any classifier attains. Prefer `average_precision`.

        Args:
            positive: ``"known"`` or ``"unknown"``.

        Returns:
            A fraction in ``[0, 1]``.

        Raises:
            WrongUse: when ``positive`` is neither side.

        Source: the AUPR of OpenOOD 1.5 and pytorch-ood. On the optimism: Davis, Goadrich, "The Relationship
        Between Precision-Recall and ROC Curves", ICML 2006.

        >>> evaluate([2, 3], [1, 2]).aupr_trapezoid("known")
        0.9166666666666666
        """
        n, m, area = self.n_known, self.n_unknown, 0.0
        if check_side(positive) == "known":
            for known, unknown in blocks(self.known_below, self.unknown_below):
                precision = _precision(n - known, m - unknown)
                area += float(np.sum(np.diff(known) * (precision[:-1] + precision[1:])))
            return area / (2 * n)
        for known, unknown in blocks(self.known_below, self.unknown_below):
            precision = _precision(unknown, known)
            area += float(np.sum(np.diff(unknown) * (precision[:-1] + precision[1:])))
        return area / (2 * m)

    def fpr_at_tpr(self, level: float = 0.95, positive: Side = "known", rule: Rule = "first") -> float:
        """False positive rate where the true positive rate reaches ``level``.

        With known as positive: the share of unknown inputs taken for known while ``level`` of the known are
        accepted. With unknown as positive: the share of known inputs rejected while ``level`` of the unknown
        are caught. These are different quantities. No point of the curve is dropped.

        Args:
            level: in ``(0, 1]``. Counts are compared with it as integers: 19 of 20 is 0.95.
            positive: ``"known"`` or ``"unknown"`` (OpenOOD 1.5 and pytorch-ood report the second).
            rule: which point of the curve is meant:

                - ``"first"``: the first distinct threshold, from the most positive on, whose TPR is at least
                  ``level`` (OpenOOD, pytorch-ood).
                - ``"nearest"``: the TPR nearest to ``level``, the higher of two equally near, which may be
                  below it (Outlier Exposure and its heirs, MCM, ReSeND).
                - ``"linear"``: the straight line between the points around ``level``, with (0, 0) as the
                  first (PLP); the smallest FPR where ``level`` itself is a point.
                - ``"below"``: the highest TPR below ``level`` (oodeel); optimistic.
                - ``"quantile_ge"``: share of negatives at or above the ``floor(level * n)``-th largest
                  positive (ViM, GEN, NECO).
                - ``"quantile_gt"``: share of negatives above the ascending positive of index
                  ``round((1 - level) * n)``, half to even (ODIN and its heirs).

        Returns:
            A fraction in ``[0, 1]``.

        Raises:
            WrongUse: when an argument is not one of these.

        >>> result = evaluate(known=[4, 3, 2, 1], unknown=[4, 3, 2, 0])
        >>> [result.fpr_at_tpr(0.6, rule=rule) for rule in ("first", "linear", "nearest")]
        [0.75, 0.6, 0.5]
        """
        check_side(positive)
        if rule not in RULES:
            raise WrongUse(f"rule {rule!r} is not one of {', '.join(RULES)}")
        if not 0 < level <= 1:
            raise WrongUse(f"level must be above 0 and at most 1, got {level}")
        if rule == "first" and positive == "unknown":  # read from the other end, without turning the counts
            at = int(np.searchsorted(self.unknown_below, needed(level, self.n_unknown)))
            return int(self.known_below[at]) / self.n_known
        pos, neg = self._turned(positive)  # how many lie below each distinct score, from the positive's view
        n, m = int(pos[-1]), int(neg[-1])

        def accepted(at: int) -> tuple[int, int]:
            """Positives and negatives at or above the distinct score ``at``."""
            return n - int(pos[at]), m - int(neg[at])

        wanted = exact(level) * n
        if rule == "quantile_ge":
            rank = n - max(1, math.floor(wanted))
            return accepted(int(np.searchsorted(pos, rank, side="right")) - 1)[1] / m
        if rule == "quantile_gt":
            rank = min(n - 1, round(n - wanted))
            return accepted(int(np.searchsorted(pos, rank, side="right")))[1] / m

        # The last distinct score, going up, with enough positives at or above it; `first + 1` has too few.
        first = int(np.searchsorted(pos, n - needed(level, n), side="right")) - 1
        hits, false = accepted(first)
        hits_before, false_before = accepted(first + 1)  # (0, 0) above the highest score
        if rule == "first" or (rule == "linear" and hits == wanted):
            return false / m
        if rule == "below":
            return false_before / m
        if rule == "linear":
            share = (wanted - hits_before) / (hits - hits_before)
            return float((false_before + share * (false - false_before)) / m)
        exists_below = first + 1 < len(self.scores)  # (0, 0) is no threshold
        if exists_below and wanted - hits_before < hits - wanted:
            return false_before / m
        if hits == n:  # curves of this rule end at the first point of full recall
            return false / m
        lowest = int(np.searchsorted(pos, pos[first]))  # of equal TPR, the lowest threshold comes first
        return accepted(lowest)[1] / m

    def detection_error(self) -> float:
        """Least mean of the two error rates over all thresholds, ``min_t ((1 - TPR(t)) + FPR(t)) / 2``.

        Each side weighs half, however many inputs it has; the same with either side positive. One minus it is
        published as detection accuracy. The threshold is chosen on the inputs that it is judged on.

        Returns:
            A fraction in ``[0, 0.5]``; one division of exact integers.

        Source: Liang, Li, Srikant, "Enhancing the Reliability of Out-of-Distribution Image Detection in Neural
        Networks", ICLR 2018, section 4.

        >>> evaluate([2, 3], [1, 2]).detection_error()  # both at 2 on one side: half of one side is wrong
        0.25
        """
        n, m = self.n_known, self.n_unknown
        return self._least_wrong(m, n) / (2 * n * m)

    def prior_weighted_detection_error(self) -> float:
        """Least share of inputs on the wrong side over all thresholds, ``min_t (FN(t) + FP(t)) / (n + m)``.

        Published as detection error (DTERR) too, but equal to `detection_error` only where both sides have the
        same number of inputs: here the larger side weighs more, and it is never above the smaller side's share.

        Returns:
            A fraction in ``[0, 0.5]``; one division of exact integers.

        Source: the DTERR that the evaluation code of ODIN and its heirs prints.

        >>> result = evaluate([2, 3, 3, 3], [1, 2])
        >>> result.prior_weighted_detection_error(), result.detection_error()
        (0.16666666666666666, 0.125)
        """
        return self._least_wrong(1, 1) / (self.n_known + self.n_unknown)

    @property
    def accuracy(self) -> float:
        """Closed-set accuracy: the share of known inputs that were classified correctly, at whatever score.

        Raises:
            WrongUse: when `evaluate` was not told which.

        >>> evaluate([2, 3], [1, 2], correct=[True, False]).accuracy
        0.5
        """
        return int(self._correct("accuracy")[-1]) / self.n_known

    def oscr(self, ties: Ties = "diagonal") -> float:
        """Area under the open-set classification rate: the CCR over the FPR, all thresholds.

        ``CCR(t)`` is the share of known inputs that are classified correctly and score at least ``t``,
        ``FPR(t)`` the share of unknown inputs that do. The area is the chance that a known input is classified
        correctly and scores above an unknown one. It is at most the accuracy and at most the AUROC; with
        accuracy 1 it is the AUROC.

        Args:
            ties: ``"diagonal"``: a tie of a known and an unknown input counts half, as in AUROC (pytorch-ood).
                ``"pessimistic"``: it counts nothing, the CCR being taken strictly above the threshold as first
                published; a constant score gives 0 instead of half the accuracy.

        Returns:
            A fraction in ``[0, accuracy]``; one division of exact integers.

        Raises:
            WrongUse: when `evaluate` was not told which known inputs are correct, or ``ties`` is neither.

        Source: Dhamija, Günther, Boult, "Reducing Network Agnostophobia", NeurIPS 2018, section 4.

        >>> result = evaluate([2, 3], [1, 2], correct=[True, False])
        >>> result.oscr(), result.oscr(ties="pessimistic")
        (0.375, 0.25)
        """
        correct = self._correct("OSCR")
        return open_set.area_under_ccr(correct, self.unknown_below, self.n_known, ties)

    def ccr_at_fpr(self, fpr: float) -> float:
        """Correct classification rate at a false positive rate.

        The threshold is the ``ceil(fpr * m)``-th largest unknown score; known inputs count when they are
        classified correctly and score strictly above it. So fewer than ``fpr`` of the unknown inputs pass.

        Args:
            fpr: in ``(0, 1]``. Counts are compared with it as integers.

        Returns:
            A fraction in ``[0, accuracy]``.

        Raises:
            WrongUse: when `evaluate` was not told which known inputs are correct, or ``fpr`` is out of range.

        Source: the quantity of Dhamija, Günther, Boult, NeurIPS 2018, by the rule of OpenOOD 1.5.

        >>> result = evaluate([2, 3, 4, 5], [1, 3], correct=[True, True, False, True])
        >>> result.ccr_at_fpr(0.5), result.ccr_at_fpr(1.0)
        (0.25, 0.75)
        """
        correct = self._correct("CCR@FPR")
        return open_set.ccr_at_fpr(correct, self.unknown_below, self.n_known, fpr)

    def h_score(self, threshold: float) -> HScore:
        """Harmonic mean of known and unknown accuracy where scores at or above ``threshold`` are accepted.

        ``H = 2AU / (A + U)``: ``A`` is the share of known inputs that are accepted and classified correctly, so
        a rejected known input counts as wrong; ``U`` is the share of unknown inputs that are rejected. Both come
        back with it, because one number hides which of them is small.

        Args:
            threshold: chosen without the unknown inputs, such as a calibrated one; infinite ones are allowed.

        Returns:
            An `HScore`; ``h`` is 0 where either part is.

        Raises:
            WrongUse: when `evaluate` was not told which known inputs are correct, or ``threshold`` is NaN.

        Source: Fu, Cao, Long, Wang, "Learning to Detect Open Classes for Universal Domain Adaptation", ECCV
        2020. Papers differ in whether a rejected known input counts as wrong; here it does.

        >>> evaluate([2, 3], [1, 2], correct=[True, True]).h_score(2.5)
        HScore(h=0.6666666666666666, known_accuracy=0.5, unknown_accuracy=1.0, threshold=2.5, oracle=False)
        """
        correct = self._correct("H-score")
        return open_set.h_score(correct, self.unknown_below, self.n_known, self.scores, threshold)

    def best_h_score(self) -> HScore:
        """The largest H-score over every distinct threshold: a bound on what a threshold can reach, not a result.

        The threshold is chosen on the known and unknown inputs that it is judged on, which no one can do where
        the detector is used. The result says so: ``oracle`` is True. Beside numbers with a threshold that was
        fixed before, such as `h_score` of a calibrated one, it flatters.

        Returns:
            An `HScore`; of several best thresholds the lowest.

        Raises:
            WrongUse: when `evaluate` was not told which known inputs are correct.

        >>> best = evaluate([2, 3, 4], [1, 2], correct=[True, True, False]).best_h_score()
        >>> round(best.h, 3), best.threshold, best.oracle
        (0.571, 2, True)
        """
        correct = self._correct("H-score")
        return open_set.best_h_score(correct, self.unknown_below, self.n_known, self.scores)

    def roc(self, positive: Side = "known", points: int | None = None) -> Roc:
        """The ROC curve, for plotting.

        Args:
            positive: ``"known"`` or ``"unknown"``.
            points: at most so many points, spread along the curve; both ends stay. None keeps all.

        Returns:
            ``fpr``, ``tpr`` and ``thresholds``, each ``(P,)``. A known-positive threshold accepts scores at
            or above it, an unknown-positive one scores at or below it; the first is infinite.

        Raises:
            WrongUse: when ``positive`` is neither side or ``points`` is below 2.

        >>> evaluate([2, 3], [1, 2]).roc().tpr
        array([0. , 0.5, 1. , 1. ])
        """
        hits, false, thresholds = self._walk(positive, points)
        return Roc(false / false[-1], hits / hits[-1], thresholds)

    def precision_recall(self, positive: Side, points: int | None = None) -> PrecisionRecall:
        """The precision-recall curve, for plotting.

        Args:
            positive: ``"known"`` or ``"unknown"``.
            points: at most so many points, spread along the thresholds; both ends stay. None keeps all.

        Returns:
            ``recall`` (ascending), ``precision`` and ``thresholds`` as in `roc`, each ``(P,)``. The first
            point (recall 0, precision 1) is a convention, not a threshold.

        Raises:
            WrongUse: when ``positive`` is neither side or ``points`` is below 2.

        >>> evaluate([2, 3], [1, 2]).precision_recall("known").precision
        array([1.        , 1.        , 0.66666667, 0.5       ])
        """
        hits, false, thresholds = self._walk(positive, points)
        return PrecisionRecall(hits / hits[-1], _precision(hits, false), thresholds)

    def bootstrap(
        self,
        metric: str | Callable[[Evaluation], float],
        confidence: float = 0.95,
        replicates: int = 1000,
        seed: int = 0,
    ) -> tuple[float, float]:
        """Percentile bootstrap interval of a metric; known and unknown are resampled separately.

        A replicate re-weights the counts that are already sorted. Inputs are taken as independent: for frames
        of one video or crops of one image see `unseen.metrics.bootstrap`, which draws whole groups.
        Percentiles are right for FPR@TPR too, whose threshold moves with the sample. For a metric at its
        limit (AUROC 1) every replicate agrees and the interval has no width: see `auroc_interval` there.

        Args:
            metric: ``"auroc"``, ``"ap_known"``, ``"ap_unknown"``, ``"fpr_at_tpr95"``, ``"detection_error"``,
                ``"accuracy"``, ``"oscr"``, or a function of an `Evaluation`.
            confidence: in ``(0, 1)``.
            replicates: how many resamples.
            seed: of a generator of its own.

        Returns:
            ``(low, high)``.

        Raises:
            WrongUse: for an unknown name, a confidence outside ``(0, 1)``, no replicates, or a metric that needs
                to know which known inputs are correct where `evaluate` was not told.

        Cost: a few passes over the distinct scores a replicate: about 1 ms for 20,000 of them, 0.15 s for two
        million; scores with many ties cost less.
        Source: Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 1979.

        >>> low, high = evaluate([2, 3, 4, 5], [1, 2, 3]).bootstrap("auroc", replicates=200)
        >>> 0 < low < high <= 1
        True
        """
        from unseen.metrics.resampling import interval_of, redrawn

        return interval_of(metric, redrawn(self, seed), confidence, replicates)

    def to_dict(self, confidence: float = 0.95) -> dict[str, Any]:
        """The numbers to print for one evaluation, as plain values for JSON.

        Args:
            confidence: of ``auroc_interval``.

        Returns:
            ``auroc``, ``auroc_interval``, ``ap_known``, ``ap_unknown``, ``fpr_at_tpr95`` with its
            ``_positive`` side and ``_rule``, ``n_known``, ``n_unknown``, ``distinct_scores``; where `evaluate`
            was told which known inputs are correct, also ``accuracy`` and ``oscr`` with its ``_ties``.

        Raises:
            WrongUse: when ``confidence`` is not within ``(0, 1)``.

        >>> evaluate([2, 3], [1, 2]).to_dict()["fpr_at_tpr95_positive"]
        'known'
        """
        numbers = {
            "auroc": self.auroc,
            "auroc_interval": list(self.auroc_interval(confidence)),
            "ap_known": self.average_precision("known"),
            "ap_unknown": self.average_precision("unknown"),
            "fpr_at_tpr95": self.fpr_at_tpr(0.95),
            "fpr_at_tpr95_positive": "known",
            "fpr_at_tpr95_rule": "first",
            "n_known": self.n_known,
            "n_unknown": self.n_unknown,
            "distinct_scores": self.distinct_scores,
        }
        if self.correct_below is not None:
            numbers |= {"accuracy": self.accuracy, "oscr": self.oscr(), "oscr_ties": "diagonal"}
        return numbers

    def _correct(self, metric: str) -> Counts:
        if self.correct_below is None:
            raise WrongUse(
                f"{metric} needs to know which known inputs were classified correctly: "
                "pass correct=..., True or False for each known score"
            )
        return self.correct_below

    def _least_wrong(self, of_known: int, of_unknown: int) -> int:
        """Least sum of rejected known and accepted unknown inputs over all thresholds, each with its weight."""
        return min(
            int(np.min(of_known * known + of_unknown * (self.n_unknown - unknown)))
            for known, unknown in blocks(self.known_below, self.unknown_below)
        )

    def _turned(self, positive: Side) -> tuple[Counts, Counts]:
        """Counts below of the positive and the negative side; unknown is positive with the scores negated."""
        if check_side(positive) == "known":
            return self.known_below, self.unknown_below
        return (self.n_unknown - self.unknown_below)[::-1], (self.n_known - self.known_below)[::-1]

    def _walk(self, positive: Side, points: int | None) -> tuple[Counts, Counts, NDArray[Any]]:
        """True and false positives from none to all, with the threshold of each; thinned to ``points``."""
        pos, neg = self._turned(positive)
        hits, false = (pos[-1] - pos)[::-1], (neg[-1] - neg)[::-1]
        thresholds = np.empty(len(hits), np.result_type(self.scores.dtype, np.float32))
        thresholds[0] = math.inf if positive == "known" else -math.inf
        thresholds[1:] = self.scores[::-1] if positive == "known" else self.scores
        if points is not None and points < 2:
            raise WrongUse(f"a curve needs at least 2 points, got {points}")
        if points is None or points >= len(hits):
            return hits, false, thresholds
        travelled = hits / hits[-1] + false / false[-1]
        kept = np.searchsorted(travelled, np.linspace(0, 2, points))
        kept[-1] = len(hits) - 1
        kept = np.unique(kept)
        return hits[kept], false[kept], thresholds[kept]


def evaluate(known: ArrayLike, unknown: ArrayLike, correct: ArrayLike | None = None) -> Evaluation:
    """Compare the scores of known inputs with those of unknown ones; every metric comes from this.

    Args:
        known: ``(n,)`` scores of known inputs, higher = more known: numbers, an array or a tensor. Infinite
            scores are allowed and tie with themselves.
        unknown: ``(m,)`` scores of unknown inputs.
        correct: ``(n,)`` booleans in the order of ``known``: whether the classifier named the right class, at
            whatever score. Only for the metrics that need it: accuracy, OSCR, CCR@FPR, H-score.

    Returns:
        An `Evaluation`. The order of the inputs changes nothing, not even the last bit.

    Raises:
        BadInput: when a side is empty, not one-dimensional, not numeric or holds NaN, or ``correct`` is not one
            boolean for each known score.

    Cost: ``O((n + m) log(n + m))`` time; ``24 (n + m)`` bytes are kept where no scores tie, ``32 (n + m)`` with
    ``correct``.

    >>> evaluate(known=[0.9, 0.8, 0.4], unknown=[0.5, 0.1]).auroc
    0.8333333333333334
    """
    high, low = both_sides(known, unknown)
    runs = [low, high]
    if correct is not None:
        right = flags(correct, high.size)
        runs = [low, high[~right], high[right]]
    # Each run is sorted by itself, which is vectorised; the stable argsort of the ascending runs is one linear
    # merge. For 1M + 1M scores that takes a third of the time of one argsort of all, for every type.
    pooled = np.concatenate([np.sort(run) for run in runs])
    order = np.argsort(pooled, kind="stable")
    pooled = pooled[order]
    last = np.append(np.flatnonzero(pooled[1:] != pooled[:-1]), pooled.size - 1)  # of each distinct score
    known_below = _count_below(order, low.size, last)
    unknown_below = np.zeros(last.size + 1, np.int64)
    np.subtract(last + 1, known_below[1:], out=unknown_below[1:])
    scores = pooled if last.size == pooled.size else pooled[last]
    correct_below = None if correct is None else _count_below(order, low.size + runs[1].size, last)
    return Evaluation(known_below, unknown_below, scores, correct_below)


def _count_below(order: NDArray[np.intp], first: int, last: NDArray[np.intp]) -> Counts:
    """How many inputs from ``first`` on lie below each distinct score, then all of them."""
    below = np.zeros(last.size + 1, np.int64)
    np.take(np.cumsum(order >= first, dtype=np.int64), last, out=below[1:])
    return below


def auroc(known: ArrayLike, unknown: ArrayLike) -> float:
    """Area under the ROC curve: `Evaluation.auroc` of two score sets.

    Args:
        known: ``(n,)`` scores of known inputs, higher = more known.
        unknown: ``(m,)`` scores of unknown inputs.

    Returns:
        ``P(known > unknown) + P(known = unknown) / 2``.

    Raises:
        BadInput: as `evaluate`.

    >>> auroc([2, 3], [1, 2])
    0.875
    """
    return evaluate(known, unknown).auroc


def average_precision(known: ArrayLike, unknown: ArrayLike, *, positive: Side) -> float:
    """Average precision: `Evaluation.average_precision` of two score sets.

    Args:
        known: ``(n,)`` scores of known inputs, higher = more known.
        unknown: ``(m,)`` scores of unknown inputs.
        positive: ``"known"`` or ``"unknown"``; there is no default.

    Returns:
        A fraction in ``(0, 1]``.

    Raises:
        BadInput: as `evaluate`.
        WrongUse: when ``positive`` is neither side.

    >>> average_precision([2, 3], [1, 2], positive="unknown")
    0.8333333333333333
    """
    return evaluate(known, unknown).average_precision(positive)


def aupr_trapezoid(known: ArrayLike, unknown: ArrayLike, *, positive: Side) -> float:
    """Trapezoidal area under precision-recall: `Evaluation.aupr_trapezoid` of two score sets.

    Args:
        known: ``(n,)`` scores of known inputs, higher = more known.
        unknown: ``(m,)`` scores of unknown inputs.
        positive: ``"known"`` or ``"unknown"``; there is no default.

    Returns:
        A fraction in ``[0, 1]``.

    Raises:
        BadInput: as `evaluate`.
        WrongUse: when ``positive`` is neither side.

    >>> aupr_trapezoid([2, 3], [1, 2], positive="known")
    0.9166666666666666
    """
    return evaluate(known, unknown).aupr_trapezoid(positive)


def fpr_at_tpr(
    known: ArrayLike,
    unknown: ArrayLike,
    level: float = 0.95,
    positive: Side = "known",
    rule: Rule = "first",
) -> float:
    """False positive rate at a true positive rate: `Evaluation.fpr_at_tpr` of two score sets.

    Args:
        known: ``(n,)`` scores of known inputs, higher = more known.
        unknown: ``(m,)`` scores of unknown inputs.
        level: the true positive rate, in ``(0, 1]``.
        positive: ``"known"`` or ``"unknown"``.
        rule: which point of the curve is meant; see the method.

    Returns:
        A fraction in ``[0, 1]``.

    Raises:
        BadInput: as `evaluate`.
        WrongUse: when an argument is not one of these.

    >>> fpr_at_tpr([0.9, 0.8, 0.4], [0.5, 0.1])
    0.5
    """
    return evaluate(known, unknown).fpr_at_tpr(level, positive, rule)


def _precision(hits: Counts, false: Counts) -> Floats:
    """Share of hits; where nothing is called positive yet it is 1 by convention."""
    total = hits + false
    share: Floats = np.divide(hits, total, out=np.ones(total.size), where=total > 0)
    return share
