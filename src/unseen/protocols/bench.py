"""Known inputs against named sets of unknown ones, near and far, with the trivial baselines always beside."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import inference_mode

from unseen.data import Progress, split
from unseen.detectors.base import Detector, Pipeline
from unseen.errors import BadInput, NotEnoughKnown, WrongUse
from unseen.heads.base import Head
from unseen.metrics import Evaluation, Floats, bands, evaluate, holm
from unseen.naming import did_you_mean, listed
from unseen.protocols.audit import FIT_SHARE
from unseen.protocols.candidates import Candidate, candidates, passes_of
from unseen.signals import Climbed, Level, Request, Support

KINDS = ("near", "far")
# What scores a baseline of one or two numbers: two-sided, and it answers where all known inputs agree.
SIMPLE = "nearest_prototype"
DENSITY = "pixel Gaussians"
POINTS = 200  # of a curve
REPLICATES = 400  # resamples behind a band
MARGIN = 0.01  # AUROC by which a trivial baseline may stay below the best detector and still do as well
SAID = {"pixels": "raw pixels", DENSITY: "a density of raw pixels", "edges": "the strength of its edges"}
MEANS = ("auroc", "ap_unknown", "fpr_at_tpr95", "rank")


@dataclass(frozen=True)
class Sources:
    """Every source of a bench in one encoding.

    Attributes:
        known: known inputs; split into those that are learnt from and those that are tested, unless ``known_test`` is
            given.
        near: name -> unknown inputs like the known ones.
        far: name -> unknown inputs unlike them.
        known_test: known inputs to test on; then all of ``known`` is learnt from.
        learnt_unknown: unknown inputs for the detectors that learn from some, none of which is tested.
    """

    known: Support
    near: Mapping[str, Support] = field(default_factory=dict)
    far: Mapping[str, Support] = field(default_factory=dict)
    known_test: Support | None = None
    learnt_unknown: Support | None = None

    def unknown(self) -> Iterator[tuple[str, str, Support]]:
        """``(kind, name, inputs)`` of each unknown set, the near ones first."""
        for kind in KINDS:
            for name, support in getattr(self, kind).items():
                yield kind, name, support

    def each(self) -> Iterator[tuple[str, Support]]:
        """Every source by what messages and tables call it: ``"known"``, ``"known test"``, ``"near dogs"``."""
        yield "known", self.known
        if self.known_test is not None:
            yield "known test", self.known_test
        if self.learnt_unknown is not None:
            yield "learnt unknown", self.learnt_unknown
        for kind, name, support in self.unknown():
            yield f"{kind} {name}", support


@dataclass
class BenchRow:
    """One detector, or one trivial baseline, on every set.

    Attributes:
        name: expression of the pipeline; for a baseline what it looks at, and the detector where several look at it.
        baseline: ``"pixels"``, ``"pixel Gaussians"``, ``"edges"`` or ``"file size"``; None for a detector on the
            encoding asked about.
        sets: name of the set -> numbers as `Evaluation.to_dict` gives them. Their ``auroc_interval`` counts inputs of
            one group as one draw and is None where a side has a single group. ``rank``, from 1, is among detectors,
            equals sharing the mean of their ranks, and None for baselines.
        means: ``"near"`` or ``"far"`` -> unweighted means over its sets of ``auroc``, ``ap_unknown``, ``fpr_at_tpr95``
            and ``rank``, and ``auroc_interval``, for new inputs of these very sets.
        accuracy: closed-set accuracy of its head on the known test inputs; None where it has no head, or there are no
            labels.
        uses_unknown: whether it learnt from unknown inputs, so that it knew more than the others.
        passes: forward and backward passes through the network that a query costs beside the one for features.
        fit_seconds: of the one fit, moments of the features apart, which all detectors share.
        score_seconds: for 1,000 inputs, the mean over all sets; passes through the network are not in it.
        size: numbers held after the fit.
    """

    name: str
    encoder: str
    baseline: str | None = None
    sets: dict[str, dict[str, Any]] = field(default_factory=dict)
    means: dict[str, dict[str, Any]] = field(default_factory=dict)
    accuracy: float | None = None
    uses_unknown: bool = False
    passes: tuple[int, int] = (0, 0)
    fit_seconds: float = 0.0
    score_seconds: float = 0.0
    size: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; fractions."""
        return {**vars(self)}


@dataclass
class Bench:
    """What a bench found.

    Attributes:
        rows: detectors, the best mean AUROC first: over the near sets where there are any, else over the far ones.
        baselines: the trivial rows, in the same order.
        sets: name -> ``kind``, ``n_known``, ``n_unknown``, ``share_unknown`` (the AP of a guess), ``left_out`` (inputs
            that were exact copies of known ones), ``best`` (the detector with the highest AUROC on this set alone) and
            ``best_baseline``.
        groups: ``"near"`` or ``"far"`` -> ``sets`` (names), ``best`` (detector with the highest mean AUROC), ``auroc``,
            ``auroc_interval``, ``best_baseline``, ``ties``, ``comparisons`` of the best with every other detector,
            ``over`` (what intervals and p-values speak of) and a ``sentence``.
        curves: name of the set -> curves of the best detector of its group and of the best baseline on this set:
            ``name``, ``baseline``, ``roc`` (known positive: ``fpr``, ``tpr``) and ``precision_recall`` (unknown
            positive: ``recall``, ``precision``), at most 200 points each; and of each ``band``, ``[rate, low, high]``
            at every hundredth: `unseen.metrics.bands` of 400 resamples, groups drawn whole, and None where a side is a
            single input or group.
        warnings: what the reader must know before believing the numbers.
        not_tried: detector -> why it could not be tried.
        level: what detectors could learn from: labels, class names or neither.
        left_out: source, such as ``"near dogs"`` or ``"known test"`` -> how many of its inputs were exact copies of
            known ones, where there were any.
        skipped: ``(source, key, reason)`` of inputs that could not be read.
    """

    rows: list[BenchRow]
    baselines: list[BenchRow]
    sets: dict[str, dict[str, Any]]
    groups: dict[str, dict[str, Any]]
    curves: dict[str, list[dict[str, Any]]]
    warnings: list[str]
    not_tried: dict[str, str]
    n_fit: int
    n_known_test: int
    seed: int
    confidence: float
    encoder: str
    classes: tuple[str, ...]
    level: Level = "labels"
    left_out: dict[str, int] = field(default_factory=dict)
    skipped: tuple[tuple[str, str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        found = ", ".join(f"{kind} {about['best']} {about['auroc']:.3f}" for kind, about in self.groups.items())
        return f"Bench({found}; detectors: {len(self.rows)}, sets: {len(self.sets)})"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; fractions."""
        return {
            "groups": self.groups,
            "detectors": [row.to_dict() for row in self.rows],
            "baselines": [row.to_dict() for row in self.baselines],
            "sets": self.sets,
            "curves": self.curves,
            "warnings": self.warnings,
            "not_tried": self.not_tried,
            "n_fit": self.n_fit,
            "n_known_test": self.n_known_test,
            "classes": len(self.classes),
            "seed": self.seed,
            "confidence": self.confidence,
            "encoder": self.encoder,
            "level": self.level,
            "left_out": self.left_out,
            "skipped": [{"source": of, "path": key, "reason": reason} for of, key, reason in self.skipped],
            "notes": list(self.notes),
        }


def bench(
    sources: Sources,
    *,
    detectors: Sequence[str] | None = None,
    baselines: Mapping[str, Sources] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    left_out: Mapping[str, int] | None = None,
    level: Level = "labels",
    progress: Progress | None = None,
    asking: Progress | None = None,
) -> Bench:
    """Fit every detector once on known inputs, and ask it about other known inputs and about each unknown set.

    Known inputs are split 60/40 by class, groups whole, unless a known test set is given. Every detector has its
    default setting, and the same known test inputs meet every unknown set. Nothing is chosen on unknown inputs, except
    that the best row of a group is named after they were seen; comparisons are therefore adjusted for all pairs.

    AUROC intervals are DeLong's, on the logit scale, with inputs of one group counted as one draw. A group's mean is
    over its sets, unweighted. Its interval and comparisons are for new inputs of these very sets, which share the known
    side; they say nothing about other sets.

    Args:
        sources: known and unknown inputs in the encoding that is asked about.
        detectors: registered names or expressions, as for `candidates`.
        baselines: ``"pixels"``, ``"pixel Gaussians"``, ``"edges"``, ``"file size"`` -> the same rows in that encoding.
            Raw pixels are scored by every detector that needs no head, pixel Gaussians by ``pixel_gaussians``, the
            others, of one or two numbers, by ``nearest_prototype``: the distance to the nearest class mean.
        confidence: of the intervals.
        seed: of the split.
        left_out: source, such as ``"near dogs"`` or ``"known test"`` -> how many of its inputs were left out before,
            being copies of known ones.
        level: what detectors may learn from; see `Support.at_level`. Labels of the known test inputs, where there are
            any, are only compared with what a head says.
        progress: called with (pipelines done, pipelines in all).
        asking: called with (rows done, rows in all) while the encoder makes passes of their own for detectors that ask
            for them: each of the known inputs learnt from only what fits read, each query only what scores read.

    Raises:
        WrongUse: when there is no unknown set, one name stands for two, or encodings hold other rows.
        BadInput: when a set is empty, holds other signals or widths than the known inputs, or the known test inputs
            have a class of their own.
        NotEnoughKnown: when known inputs are too few to split, or no detector can be fitted.

    Source: DeLong, DeLong, Clarke-Pearson, Biometrics 1988; groups as Obuchowski, "Nonparametric Analysis of Clustered
    ROC Curve Data", Biometrics 1997; near and far means as Zhang et al., "OpenOOD v1.5", 2023.

    >>> import torch
    >>> from unseen.signals import Signals
    >>> random = np.random.default_rng(0)
    >>> def made(shift):
    ...     return Support.of(Signals({"features": random.normal(shift, 1, (60, 4))}))
    >>> found = bench(Sources(made(0), near={"a bit": made(1)}, far={"a lot": made(9)}), detectors=["mahalanobis"])
    >>> [(kind, about["best"], about["auroc"] > 0.99) for kind, about in found.groups.items()]
    [('near', 'mahalanobis', False), ('far', 'mahalanobis', True)]
    """
    _check(sources)
    parts, warnings = _divided(sources, seed)
    classes = parts.fit.classes
    parts = replace(parts, fit=parts.fit.at_level(level))
    tried, not_tried = candidates(parts.fit, detectors)
    tried = list({candidate.name: candidate for candidate in tried}.values())
    parts = _asked(parts, [candidate.build({}) for candidate in tried], asking)
    warnings.extend(_other_classes(parts.fit, [candidate.build({}) for candidate in tried]))
    plans: list[tuple[_Parts, Candidate, BenchRow]] = [
        (parts, candidate, BenchRow(candidate.name, _short(sources.known.encoder))) for candidate in tried
    ]
    for what, other in (baselines or {}).items():
        if [(of, len(s)) for of, s in other.each()] != [(of, len(s)) for of, s in sources.each()]:
            raise WrongUse(f"the baseline {what!r} must hold the rows of every source, in their order")
        raw = _divided(other, seed)[0]
        raw = replace(raw, fit=raw.fit.at_level(level))
        alone = [c for c in tried if c.head is None and _reads_features(c)] if what == "pixels" else []
        for candidate in alone or [Candidate("pixel_gaussians" if what == DENSITY else SIMPLE)]:
            name = f"{what}: {candidate.name}" if what == "pixels" else what
            plans.append((raw, candidate, BenchRow(name, what, baseline=what)))

    scores: dict[str, _Scores] = {}
    rows: list[BenchRow] = []
    for done, (of, candidate, row) in enumerate(plans, start=1):
        try:
            scores[row.name] = _scored(of, candidate, row, confidence)
            rows.append(row)
        except (NotEnoughKnown, WrongUse) as error:
            not_tried[row.name] = str(error)
        if progress is not None:
            progress(done, len(plans))
    ours, trivial = ([row for row in rows if (row.baseline is not None) is flag] for flag in (False, True))
    if not ours:
        raise NotEnoughKnown("no detector could be fitted: " + "; ".join(f"{n}: {r}" for n, r in not_tried.items()))
    kinds = {name: kind for kind, name, _ in sources.unknown()}
    _rank(ours, list(kinds))
    groups: dict[str, dict[str, Any]] = {}
    for kind in KINDS:
        inside = [name for name, of_kind in kinds.items() if of_kind == kind]
        if inside:
            groups[kind] = _group(kind, inside, ours, trivial, scores, parts, confidence)
            warnings.extend(groups[kind].pop("warnings"))
    first = next(iter(groups))
    for some in (ours, trivial):
        some.sort(key=lambda row: -row.means[first]["auroc"])
    sets: dict[str, dict[str, Any]] = {}
    curves: dict[str, list[dict[str, Any]]] = {}
    for name, kind in kinds.items():
        best, plain = _best_on(name, ours), _best_on(name, trivial) if trivial else None
        sets[name] = _about(kind, best, plain, name) | {"left_out": (left_out or {}).get(f"{kind} {name}", 0)}
        shown = [next(row for row in ours if row.name == groups[kind]["best"]), *([plain] if plain else [])]
        curves[name] = [_curves(row, scores[row.name], name, parts, confidence, seed) for row in shown]
        if plain is not None:
            warnings.extend(_trivial_warning(kind, name, best, trivial))
    return Bench(
        rows=ours,
        baselines=trivial,
        sets=sets,
        groups=groups,
        curves=curves,
        warnings=list(dict.fromkeys(warnings)),
        not_tried=not_tried,
        n_fit=len(parts.fit),
        n_known_test=len(parts.test),
        seed=seed,
        confidence=confidence,
        encoder=sources.known.encoder,
        classes=classes or (parts.fit.text.classes if parts.fit.text is not None else ()),
        level=level,
        left_out=dict(left_out or {}),
        skipped=tuple((of, *pair) for of, support in sources.each() for pair in support.skipped),
        notes=tuple(f"{of}: {note}" for of, support in sources.each() for note in support.notes),
    )


@dataclass(frozen=True)
class _Parts:
    """What is learnt, and what is asked."""

    fit: Support
    test: Support
    unknown: dict[str, Support]


@dataclass(frozen=True)
class _Scores:
    """Float64 scores of one row: of the known test inputs, and of each unknown set."""

    known: Floats
    unknown: dict[str, Floats]
    correct: NDArray[np.bool_] | None

    def result(self, name: str) -> Evaluation:
        """Known test inputs against one set."""
        return evaluate(self.known, self.unknown[name], self.correct)

    def placements(self, name: str) -> tuple[Floats, Floats]:
        """Share of the unknown inputs below each known one, and of the known ones above each unknown one; ties count
        half. Both have the AUROC as their mean.
        """
        result = self.result(name)
        known_at, unknown_at = (np.searchsorted(result.scores, x) for x in (self.known, self.unknown[name]))
        lower, upper = result.unknown_below, result.known_below
        n, m = result.n_known, result.n_unknown
        of_known = (lower[known_at] + lower[known_at + 1]) / (2 * m)
        return of_known, 1 - (upper[unknown_at] + upper[unknown_at + 1]) / (2 * n)


def _check(sources: Sources) -> None:
    if not sources.near and not sources.far:
        raise WrongUse("a bench needs unknown inputs: name a near or a far set; `audit` works with known inputs alone")
    both = sorted(set(sources.near) & set(sources.far))
    if both:
        raise WrongUse(f"{both[0]!r} names a near and a far set: give each set a name of its own")
    known = sources.known.signals
    for of, support in sources.each():
        if not len(support):
            raise BadInput(f"{of}: there are no inputs")
        for name in known.names:
            if name not in support.signals:
                there = listed(support.signals.names)
                raise BadInput(f"{of}: there is no {name}; it holds {there}, the known inputs {listed(known.names)}")
            if support.signals.width(name) != known.width(name):
                raise BadInput(
                    f"{of}: {support.signals.width(name)} {name} an input, the known inputs have {known.width(name)}: "
                    "were they encoded with another model?"
                )


def _divided(sources: Sources, seed: int) -> tuple[_Parts, list[str]]:
    """Known inputs in two parts, less classes that are met in the test only; what was left out, in words."""
    unknown = {name: support for _, name, support in sources.unknown()}
    known, test = sources.known, sources.known_test
    if test is not None:
        if known.labels is not None and test.labels is not None:
            test = _recoded(test, known)
        elif test.labels is not None:
            test = replace(test, labels=None, classes=())
    else:
        if len(known) < 2:
            raise NotEnoughKnown("one known input cannot be split into fit and test: add inputs, or give a known test")
        fit_rows, test_rows = split(known.labels, known.groups, FIT_SHARE, seed, rows=len(known))
        if not len(fit_rows) or not len(test_rows):
            raise NotEnoughKnown(
                f"the {len(known):,} known inputs are in too few groups to be split into fit and test: "
                "add inputs of other groups, or give a known test"
            )
        known, test = known.take(fit_rows), known.take(test_rows)
    warnings = []
    if known.labels is not None:
        absent = [c for code, c in enumerate(known.classes) if not (known.labels == code).any()]
        for name in absent:
            lost = 0 if test.labels is None else int((test.labels == test.classes.index(name)).sum())
            if lost:
                takes = "input, which is in the test, takes" if lost == 1 else f"{lost:,} inputs, all in the test, take"
                warnings.append(f"class {name!r} has no group left to learn from: its {takes} no part")
            known = known.without(name)
            test = test if test.labels is None else test.without(name)
    if not len(test):
        raise NotEnoughKnown("no known test input is of a class that was learnt: add known inputs or a known test")
    if sources.learnt_unknown is not None:
        known = replace(known, unknown=sources.learnt_unknown.signals)
    return _Parts(known, test, unknown), warnings


def _recoded(test: Support, known: Support) -> Support:
    """The test inputs with the codes of the known classes."""
    assert test.labels is not None
    strange = [name for i, name in enumerate(test.classes) if name not in known.classes and (test.labels == i).any()]
    if strange:
        raise BadInput(
            f"known test: class {strange[0]!r} is not among the known ones"
            f"{did_you_mean(strange[0], known.classes)}: leave it out, or test it as an unknown set"
        )
    code = {name: i for i, name in enumerate(known.classes)}
    codes = np.array([code.get(name, -1) for name in test.classes], dtype=np.int64)
    return replace(test, labels=codes[test.labels], classes=known.classes, _moments={})


def _scored(parts: _Parts, candidate: Candidate, row: BenchRow, confidence: float) -> _Scores:
    """Fit once, score everything, and write the numbers of each set into the row."""
    if "features" in parts.fit.signals:
        parts.fit.moments("features")  # once for all detectors
    start = time.perf_counter()
    detector = candidate.build({}).fit(parts.fit)
    fitted = time.perf_counter()
    # What depends on the fit could not be asked for before; the passes are no part of the time.
    parts = replace(
        parts,
        test=parts.test.asked(detector.needs),
        unknown={name: support.asked(detector.needs) for name, support in parts.unknown.items()},
    )
    scoring = time.perf_counter()
    known = _scores_of(detector, parts.test, "known test")
    unknown = {name: _scores_of(detector, support, name) for name, support in parts.unknown.items()}
    spent = time.perf_counter() - scoring
    row.fit_seconds = fitted - start
    row.score_seconds = spent * 1000 / (len(known) + sum(map(len, unknown.values())))
    row.size = detector.size()
    row.passes = passes_of(detector)
    row.uses_unknown = "uses_unknown" in detector.traits
    scores = _Scores(known, unknown, _correct(detector, parts))
    for name, support in parts.unknown.items():
        result = scores.result(name)
        numbers = result.to_dict(confidence)
        if _grouped(parts.test) or _grouped(support):
            placed = [scores.placements(name)]
            numbers["auroc_interval"] = _interval(result.auroc, *_variance(placed, parts, [name]), confidence)
            numbers["auroc_interval_method"] = "delong, groups as one draw"
        else:
            numbers["auroc_interval_method"] = "delong"
        row.sets[name] = numbers
    if scores.correct is not None:
        row.accuracy = float(scores.correct.mean())
    return scores


def _correct(detector: Detector, parts: _Parts) -> NDArray[np.bool_] | None:
    """Whether the head names the class of each known test input; None where there is no head, or no label."""
    labels, known = parts.test.labels, parts.fit
    if labels is None:
        return None
    steps = detector.given[0] if isinstance(detector, Pipeline) else ()
    head = next((step for step in steps if isinstance(step, Head)), None)
    signals, classes = parts.test.signals, parts.test.classes
    if head is not None and len(head.bias) == len(names := head.named(known)):
        with inference_mode():
            logits = [head.apply_to(batch)["logits"] for batch in signals.batches(*sorted(head.reads()))]
    elif known.labels is not None and "logits" in detector.reads() and signals.width("logits") == len(known.classes):
        names = known.classes
        logits = [batch["logits"] for batch in signals.batches("logits")]
    else:
        return None
    said = np.concatenate([x.argmax(dim=1).cpu().numpy() for x in logits])
    place = {name: code for code, name in enumerate(classes)}
    return np.asarray(np.array([place.get(name, -1) for name in names])[said] == labels)


def _other_classes(known: Support, detectors: Sequence[Detector]) -> Iterator[str]:
    """Nothing, or a warning that detectors hear a network whose classes are not the known ones."""
    own = set(known.head.classes or ()) if known.head is not None else set()
    if known.labels is None or set(known.classes) <= own:
        return
    hear = [d.name for d in detectors if any(isinstance(need, Request) and need.of_head for need in d.needs)]
    if hear:
        yield (
            f"{listed(hear)} read the network's own answers, and its classes are not the known ones: what it was "
            "taught may be among the unknown inputs, and count as known"
        )


def _asked(parts: _Parts, detectors: Sequence[Detector], progress: Progress | None) -> _Parts:
    """The parts with answers to all that fits and queries ask the encoder for, each asked once."""
    fit, query = (
        frozenset(need for needs in some for need in needs if not isinstance(need, Climbed))
        for some in ([d.at_fit() for d in detectors], [d.needs for d in detectors])
    )
    known = parts.fit.asked(fit, progress)
    if known.unknown is not None:
        known = replace(known, unknown=known.unknown.asked(fit, progress))
    return _Parts(
        known,
        parts.test.asked(query, progress),
        {name: support.asked(query, progress) for name, support in parts.unknown.items()},
    )


def _reads_features(candidate: Candidate) -> bool:
    return candidate.build({}).reads() == {"features"}


def _scores_of(detector: Detector, support: Support, of: str) -> Floats:
    try:
        scores = detector.score(support.signals)
    except BadInput as error:  # it names the row, and there are several sources
        raise BadInput(f"{of}: {error}") from error
    return np.asarray(scores.cpu() if hasattr(scores, "cpu") else scores, dtype=np.float64)


def _rank(rows: Sequence[BenchRow], names: Sequence[str]) -> None:
    """Ranks among detectors on each set, 1 the highest AUROC, equals sharing their mean; baselines have none."""
    from scipy.stats import rankdata

    for name in names:
        ranks = rankdata([-row.sets[name]["auroc"] for row in rows])
        for row, rank in zip(rows, ranks.tolist(), strict=True):
            row.sets[name]["rank"] = rank


def _grouped(support: Support) -> bool:
    """Whether any inputs belong together."""
    return support.groups is not None and len(np.unique(support.groups)) < len(support)


def _draws(support: Support) -> int:
    """How many independent draws the inputs are."""
    return len(support) if support.groups is None else len(np.unique(support.groups))


def _variance_of_mean(x: Floats, support: Support) -> float:
    """Variance of the mean of ``(N,)`` values, the values of one group being one draw; NaN for a single draw."""
    rest = x - x.mean()
    if support.groups is not None:
        rest = np.bincount(np.unique(support.groups, return_inverse=True)[1], weights=rest)
    draws = len(rest)
    return float(draws / (draws - 1) * np.sum(rest**2) / len(x) ** 2) if draws > 1 else math.nan


def _variance(placed: Sequence[tuple[Floats, Floats]], parts: _Parts, names: Sequence[str]) -> tuple[float, int]:
    """Variance of the mean AUROC over sets, or of a difference, from its placements; and the fewest draws of a side.

    The known inputs are the same for all sets, so their placements are averaged over sets before they vary; the unknown
    inputs of one set are independent of those of another.
    """
    known = np.mean([of_known for of_known, _ in placed], axis=0)
    variance = _variance_of_mean(known, parts.test)
    for (_, of_unknown), name in zip(placed, names, strict=True):
        variance += _variance_of_mean(of_unknown, parts.unknown[name]) / len(placed) ** 2
    return variance, min(_draws(parts.test), *(_draws(parts.unknown[name]) for name in names))


def _interval(area: float, variance: float, draws: int, confidence: float) -> list[float] | None:
    """As `Evaluation.auroc_interval`; None where a side is a single draw, of which nobody can tell how it varies."""
    from scipy.special import expit, logit, ndtri

    if math.isnan(variance):
        return None
    if variance < 1e-18 or area in (0.0, 1.0):  # rounding: no input differs from another
        reach = -math.log1p(-confidence) / draws
        return [max(0.0, area - reach), min(1.0, area + reach)]
    reach = float(ndtri((1 + confidence) / 2)) * math.sqrt(variance) / (area * (1 - area))
    return [float(expit(logit(area) - reach)), float(expit(logit(area) + reach))]


def _group(
    kind: str,
    names: list[str],
    rows: list[BenchRow],
    trivial: list[BenchRow],
    scores: Mapping[str, _Scores],
    parts: _Parts,
    confidence: float,
) -> dict[str, Any]:
    """Means over the sets of one kind, the best detector, and every other beside it."""
    placed: dict[str, list[tuple[Floats, Floats]]] = {}
    for row in (*rows, *trivial):
        of_row = [scores[row.name].placements(name) for name in names]
        means: dict[str, Any] = {
            key: float(np.mean([row.sets[name][key] for name in names])) for key in MEANS if key in row.sets[names[0]]
        }
        means["auroc_interval"] = _interval(means["auroc"], *_variance(of_row, parts, names), confidence)
        row.means[kind] = means
        if row.baseline is None:
            placed[row.name] = of_row
    best = max(rows, key=lambda row: row.means[kind]["auroc"])
    comparisons = _compared(best.name, placed, parts, names, confidence)
    ties = [one["name"] for one in comparisons if one["p_holm"] is None or one["p_holm"] > 1 - confidence]
    plain = max(trivial, key=lambda row: row.means[kind]["auroc"], default=None)
    many = len(names)
    sets = f"{many} {kind} set{'s' if many > 1 else ''}"
    interval = best.means[kind]["auroc_interval"]
    between = "" if interval is None else f" ({100 * confidence:g} % interval {interval[0]:.3f} to {interval[1]:.3f})"
    sentence = f"{best.name} has the highest mean AUROC over {sets}, {best.means[kind]['auroc']:.3f}{between}"
    if len(rows) > 1:
        told = f"cannot tell it from {listed(ties)}" if ties else "put it above every other"
        sentence += f", of {len(rows)} detectors; it was picked on these very inputs, which {told}"
    single = [f"{kind} {name}" for name in names if _draws(parts.unknown[name]) < 2]
    if _draws(parts.test) < 2:
        single.insert(0, "known test")
    return {
        "sets": names,
        "best": best.name,
        "auroc": best.means[kind]["auroc"],
        "auroc_interval": best.means[kind]["auroc_interval"],
        "best_baseline": plain.name if plain is not None else None,
        "ties": ties,
        "comparisons": comparisons,
        "over": f"new inputs of {listed(names)} and of the known test; p-values are adjusted for all "
        f"{len(rows) * (len(rows) - 1) // 2} pairs of detectors (Holm); other sets may order them otherwise",
        "sentence": sentence + ".",
        "warnings": [f"{of}: there is a single input or group, so intervals with it cannot be given" for of in single],
    }


def _compared(
    best: str,
    placed: Mapping[str, list[tuple[Floats, Floats]]],
    parts: _Parts,
    names: Sequence[str],
    confidence: float,
) -> list[dict[str, Any]]:
    """Mean AUROC of the best less that of each other, tested on the same inputs, the nearest first.

    The best is picked after the scores are seen. So every pair is tested, and the p-values are adjusted for all of
    them: whichever detector comes out best, its comparisons are among those accounted for.
    """
    from scipy.special import ndtr, ndtri

    found: dict[tuple[str, str], tuple[float, float, int]] = {}
    for a, b in combinations(placed, 2):
        apart = [(x - p, y - q) for (x, y), (p, q) in zip(placed[a], placed[b], strict=True)]
        difference = float(np.mean([of_known.mean() for of_known, _ in apart]))
        found[a, b] = (difference, *_variance(apart, parts, names))
    p_values = []
    for difference, variance, draws in found.values():
        if variance < 1e-18:  # ranked alike, or both separate the sides: the bound of `_interval`
            p_values.append(math.exp(-abs(difference) * draws))
        else:
            p_values.append(2 * float(ndtr(-abs(difference) / math.sqrt(variance))))
    sure = not any(math.isnan(p) for p in p_values)
    adjusted = holm(p_values) if p_values and sure else p_values
    listing = []
    for (pair, (difference, variance, draws)), p, p_holm in zip(found.items(), p_values, adjusted, strict=True):
        if best not in pair:
            continue
        gap = difference if pair[0] == best else -difference
        reach = float(ndtri((1 + confidence) / 2)) * math.sqrt(variance) if sure else math.nan
        if sure and variance < 1e-18:
            reach = -math.log1p(-confidence) / draws
        listing.append(
            {
                "name": pair[1] if pair[0] == best else pair[0],
                "difference": gap,
                "interval": [max(-1.0, gap - reach), min(1.0, gap + reach)] if sure else None,
                "p_value": p if sure else None,
                "p_holm": p_holm if sure else None,
            }
        )
    return sorted(listing, key=lambda one: float(one["difference"]))


def _best_on(name: str, rows: Sequence[BenchRow]) -> BenchRow:
    return max(rows, key=lambda row: float(row.sets[name]["auroc"]))


def _about(kind: str, best: BenchRow, plain: BenchRow | None, name: str) -> dict[str, Any]:
    n, m = best.sets[name]["n_known"], best.sets[name]["n_unknown"]
    return {
        "kind": kind,
        "n_known": n,
        "n_unknown": m,
        "share_unknown": m / (n + m),
        "best": best.name,
        "best_baseline": plain.name if plain is not None else None,
    }


def _curves(row: BenchRow, scores: _Scores, name: str, parts: _Parts, confidence: float, seed: int) -> dict[str, Any]:
    """Both curves of one row on one set, with their bands."""
    result, sides = scores.result(name), (parts.test, parts.unknown[name])
    roc, precision = result.roc("known", POINTS), result.precision_recall("unknown", POINTS)
    of_roc = of_precision = None
    if min(map(_draws, sides)) > 1:
        groups = (parts.test.groups, parts.unknown[name].groups) if any(map(_grouped, sides)) else None
        between = bands(
            scores.known,
            scores.unknown[name],
            positive="known",
            groups=groups,
            confidence=confidence,
            replicates=REPLICATES,
            seed=seed,
        )
        of_roc = [_digits(at) for at in np.column_stack([between.levels, between.tpr])]
        # Nothing is found at recall 0, where a precision of 1 is a convention.
        of_precision = [_digits(at) for at in np.column_stack([between.levels, between.precision])[1:]]
    return {
        "name": row.name,
        "baseline": row.baseline,
        "roc": {"fpr": _digits(roc.fpr), "tpr": _digits(roc.tpr), "positive": "known", "band": of_roc},
        "precision_recall": {
            "recall": _digits(precision.recall),
            "precision": _digits(precision.precision),
            "positive": "unknown",
            "band": of_precision,
        },
    }


def _digits(values: Floats) -> list[float]:
    """For drawing: a hundred-thousandth is less than a pixel."""
    return [round(value, 5) for value in values.tolist()]


def _trivial_warning(kind: str, name: str, best: BenchRow, trivial: Sequence[BenchRow]) -> list[str]:
    """A sentence where baselines do as well as the best detector of this set, each kind of baseline by its best row."""
    ours = best.sets[name]["auroc"]
    told = []
    for what in dict.fromkeys(row.baseline for row in trivial):
        plain = _best_on(name, [row for row in trivial if row.baseline == what])
        if plain.sets[name]["auroc"] >= ours - MARGIN:
            told.append(f"{SAID.get(str(what), what)} alone ({plain.name}: AUROC {plain.sets[name]['auroc']:.3f})")
    if not told:
        return []
    return [
        f"{kind} {name}: told apart by {' or by '.join(told)} as well as by any detector (the best is {best.name}: "
        f"{ours:.3f}), so this set says little about new meaning"
    ]


def _short(encoder: str) -> str:
    return encoder.partition(":")[0] or "features"
