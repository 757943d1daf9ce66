"""Hold out each class of the user's own data in turn, and see which detector notices."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from unseen.classifier import set_aside
from unseen.data import Progress, split
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.metrics import Floats, evaluate, holm, mean_interval, paired_difference
from unseen.metrics.resampling import LEVELS, read_curves
from unseen.protocols.candidates import Candidate, candidates
from unseen.registry import create
from unseen.signals import Climbed, Level, Support

FIT_SHARE = 0.6  # of the known rows of a fold; the rest tests
INNER_CLASSES = 3  # held-out known classes that may choose a setting
FEWEST_ROWS = 5  # a class with fewer inputs is neither held out nor known in an audit
MARGIN = 0.01  # mean AUROC that a cheaper detector may cost
NAMED = 5  # detectors as good as the recommended, in its sentence; the rest stand in the list
FEWEST_CLASSES = 5  # held-out classes below which no winner is claimed
SAID_OF: dict[Level, str] = {
    "none": "detectors learnt without labels and without class names; the labels only said which inputs were held out",
    "names": "detectors learnt from the names of the classes and from no label. How good that is depends on how well "
    "the texts tell these classes apart, which the numbers here include, and on whether a new class lies near a name, "
    "which no audit of these classes can say",
}


@dataclass
class Row:
    """One candidate over all folds.

    Attributes:
        auroc: held-out class -> AUROC, repeats averaged; likewise ``ap_unknown`` and ``fpr``.
        auroc_interval: held-out class -> interval over its inputs (DeLong), ends averaged over repeats: these share
            the class's inputs, so they do not narrow it.
        tpr: held-out class -> ``(101,)`` true positive rate, known positive, at the false positive rates 0, 0.01, ...
            1, repeats averaged.
        precision: held-out class -> ``(101,)`` precision, unknown positive, at these recalls; likewise.
        share_unknown: held-out class -> share of the unknown among the inputs that it was met with; likewise.
        settings: setting chosen in each fold, as text -> how often.
        fit_seconds: mean of one fit.
        score_seconds: mean for 1,000 inputs.
        size: numbers held after a fit.
    """

    name: str
    encoder: str
    auroc: dict[str, float] = field(default_factory=dict)
    auroc_interval: dict[str, tuple[float, float]] = field(default_factory=dict)
    ap_unknown: dict[str, float] = field(default_factory=dict)
    fpr: dict[str, float] = field(default_factory=dict)
    tpr: dict[str, Floats] = field(default_factory=dict, repr=False, compare=False)
    precision: dict[str, Floats] = field(default_factory=dict, repr=False, compare=False)
    share_unknown: dict[str, float] = field(default_factory=dict)
    settings: dict[str, int] = field(default_factory=dict)
    fit_seconds: float = 0.0
    score_seconds: float = 0.0
    size: int = 0

    def mean(self) -> float:
        """AUROC averaged over held-out classes."""
        return float(np.mean(list(self.auroc.values())))

    def to_dict(self, confidence: float) -> dict[str, Any]:
        """Means over held-out classes and the interval of the AUROC's; fractions."""
        values = list(self.auroc.values())
        interval = mean_interval(values, confidence, bounds=(0.0, 1.0)) if len(values) > 1 else (None, None)
        return {
            "name": self.name,
            "encoder": self.encoder,
            "auroc": self.mean(),
            "auroc_interval": list(interval),
            "ap_unknown": float(np.mean(list(self.ap_unknown.values()))),
            "fpr_at_tpr95": float(np.mean(list(self.fpr.values()))),
            "fit_seconds": self.fit_seconds,
            "score_seconds": self.score_seconds,
            "size": self.size,
            "settings": self.settings,
        }

    def curves(self, confidence: float) -> dict[str, Any]:
        """Curves averaged over held-out classes at fixed rates, with the interval of the mean at each.

        The band is over held-out classes, Student's t at each rate by itself, cut to 0 and 1; with a single class there
        is none. An averaged curve belongs to no threshold: at one score the classes lie at different rates.

        Args:
            confidence: of the band, in ``(0, 1)``.

        Returns:
            ``name``, ``roc`` (known positive: ``fpr``, ``tpr``, ``band``) and ``precision_recall`` (unknown positive:
            ``recall`` from 0.01 on, ``precision``, ``band``), a ``band`` being ``[rate, low, high]`` at each rate or
            None; and ``share_unknown``, the mean of the classes' shares, on which precision depends. Plain JSON.

        Source: Fawcett, "An Introduction to ROC Analysis", Pattern Recognition Letters 2006, on vertical averaging.
        """
        tpr, of_roc = _averaged(list(self.tpr.values()), confidence)
        precision, of_precision = _averaged(list(self.precision.values()), confidence)
        return {
            "name": self.name,
            "roc": {"fpr": LEVELS.tolist(), "tpr": tpr, "positive": "known", "band": of_roc},
            # Nothing is found at recall 0, where a precision of 1 is a convention.
            "precision_recall": {
                "recall": LEVELS[1:].tolist(),
                "precision": precision[1:],
                "positive": "unknown",
                "band": of_precision and of_precision[1:],
            },
            "share_unknown": float(np.mean(list(self.share_unknown.values()))),
        }


@dataclass
class Audit:
    """What an audit found.

    Attributes:
        rows: candidates on the encoding that was asked about, best mean AUROC first.
        pixels: the same detectors on raw pixels; empty where there was no image.
        held_out: class -> its number of inputs, in the order of the classes.
        recommended: ``name``, ``expression`` (what to pass to ``fit``), ``setting``, ``auroc``, ``ties``,
            ``confident`` and a ``sentence``.
        warnings: what the reader must know before believing the numbers.
        not_tried: detector -> why it could not be tried.
        level: what detectors could learn from: labels, class names or neither.
    """

    rows: list[Row]
    pixels: list[Row]
    held_out: dict[str, int]
    recommended: dict[str, Any]
    warnings: list[str]
    not_tried: dict[str, str]
    n: int
    n_calibration: int
    repeats: int
    seed: int
    confidence: float
    encoder: str
    classes: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    level: Level = "labels"

    def __repr__(self) -> str:
        best = f"{self.recommended['expression']}: mean AUROC {self.recommended['auroc']:.3f}"
        return f"Audit({best} over {len(self.held_out)} held-out classes of {self.n:,} inputs)"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; ``held_out`` is sorted from the worst class of the recommended detector on, whose `Row.curves`
        are ``curves``.
        """
        rows = [(row.name, row) for row in self.rows] + [(f"pixels: {row.name}", row) for row in self.pixels]
        worst = sorted(self.held_out, key=lambda c: self._recommended_row().auroc[c])
        return {
            "recommended": self.recommended,
            "detectors": [
                row.to_dict(self.confidence) | {"name": label, "baseline": label != row.name} for label, row in rows
            ],
            "held_out": [
                {
                    "class": name,
                    "n_unknown": self.held_out[name],
                    "auroc": {label: row.auroc[name] for label, row in rows},
                    "auroc_interval": {label: list(row.auroc_interval[name]) for label, row in rows},
                }
                for name in worst
            ],
            "curves": self._recommended_row().curves(self.confidence),
            "warnings": self.warnings,
            "not_tried": self.not_tried,
            "n": self.n,
            "n_calibration": self.n_calibration,
            "classes": len(self.classes),
            "repeats": self.repeats,
            "seed": self.seed,
            "confidence": self.confidence,
            "encoder": self.encoder,
            "level": self.level,
            "skipped": [{"path": key, "reason": reason} for key, reason in self.skipped],
            "notes": list(self.notes),
        }

    def _recommended_row(self) -> Row:
        return next(row for row in self.rows if row.name == self.recommended["name"])


def audit(
    support: Support,
    *,
    detectors: Sequence[str] | None = None,
    held_out: int | Sequence[str] | None = None,
    repeats: int = 3,
    calibration: float = 0.2,
    confidence: float = 0.95,
    seed: int = 0,
    pixels: Support | None = None,
    level: Level = "labels",
    progress: Progress | None = None,
) -> Audit:
    """Hold out each class in turn, learn the rest, and ask every detector who is new.

    The calibration rows that `OpenSetClassifier.fit` will use are set aside first and never looked at. For each
    repeat the remaining rows are split 60/40 by class with groups kept whole; for each class, detectors learn the
    60 % without it (the head is refitted without it) and score the 40 % of the others as known and all rows of the
    class as unknown, less those that share a group with a learnt row. A setting other than the default is chosen on
    at most three held-out classes of the fit part.
    The unit of every interval is the held-out class.

    Args:
        support: labelled known inputs, from one encoding.
        detectors: registered names or expressions to try, such as ``"knn"`` or ``"react >> knn"``; all by default.
        held_out: which classes, or how many (drawn under the seed); all by default.
        repeats: random splits; they are averaged inside each class.
        calibration: share of the rows set aside.
        confidence: of the intervals.
        seed: of all splits.
        pixels: the same inputs as raw pixels, for the rows that show when the task is trivial.
        level: what detectors may learn from; see `Support.at_level`. Below ``"labels"`` the labels only say which
            inputs are held out, and every detector keeps its default setting. With ``"names"`` the name of a held-out
            class is held out too; and where there are names and no labels, the nearest name stands for the label,
            which a warning says.
        progress: called with (folds done, folds in all).

    Raises:
        WrongUse: without labels and without names that could stand for them, with fewer than three classes, for an
            unknown class or detector, or where a class has no text and names are all that is known.
        NotEnoughKnown: when no class has five inputs, or no detector can be fitted.
    """
    warnings: list[str] = []
    rest_rows, aside = set_aside(support.at_level(level), calibration, seed)  # as `fit` will, which sees no more
    if support.labels is None:
        support = _by_nearest_name(support, level)
        warnings.append(
            "nobody labelled these inputs: those of a held-out class are the ones whose text is nearest. Inputs that "
            "the texts misread count on the wrong side, and detectors that read the same texts are judged by "
            "themselves: numbers for them are likely too good"
        )
    if level == "names":
        unnamed = [name for name in support.classes if name not in support.bank("an audit by names").classes]
        if unnamed:
            raise WrongUse(
                f"class {unnamed[0]!r} has no text ({len(unnamed)} of {len(support.classes)}): name them all"
            )
    if level != "labels":
        warnings.append(SAID_OF[level])
    whole = support.take(rest_rows)
    counts = np.bincount(whole.labels, minlength=len(whole.classes)) if whole.labels is not None else np.zeros(0)
    for name, count in zip(support.classes, counts.tolist(), strict=True):
        if count < FEWEST_ROWS:
            whole = whole.without(name)
            warnings.append(f"class {name!r} has only {count} inputs besides calibration and takes no part")
    if len(whole.classes) < 3:
        raise WrongUse(
            f"an audit needs at least three classes of {FEWEST_ROWS} inputs or more, here are {len(whole.classes)}: "
            "one is held out and detectors that read logits need two to know; `fit` works without an audit"
        )
    warnings.extend(_mixed_groups(whole))
    chosen = _chosen_classes(whole.classes, held_out, seed)
    tried, not_tried = candidates(whole.at_level(level), detectors, refit=True)
    asked = (candidate.build({}) for candidate in tried)
    whole = whole.asked({n for d in asked for n in d.needs | d.at_fit() if not isinstance(n, Climbed)})  # once for all
    raw = None
    if pixels is not None:
        raw = pixels.take(rest_rows)
        for name in support.classes:
            if name not in whole.classes:
                raw = raw.without(name)
    # A detector that asks a network has nothing to ask pixels.
    plain = [c for c in tried if c.head is None and all(isinstance(n, str) for n in c.build({}).needs)]
    pixel_candidates = plain if raw is not None else []

    total = repeats * len(chosen) * (1 + (raw is not None))
    folds = _Folds(chosen, repeats, seed, confidence, progress, total, level)
    rows = folds.run(whole, tried, support.encoder.split(":")[0] or "features", not_tried)
    raw_rows = folds.run(raw, pixel_candidates, "pixels", {}) if raw is not None else []
    if not rows:
        raise NotEnoughKnown("no detector could be fitted: " + "; ".join(f"{n}: {r}" for n, r in not_tried.items()))
    rows.sort(key=lambda row: -row.mean())
    raw_rows.sort(key=lambda row: -row.mean())

    recommended = _recommend(rows, whole.at_level(level), tried, seed, confidence)
    best = next(row for row in rows if row.name == recommended["name"])
    if support.head is not None and any(row.name.startswith("own ") for row in rows):
        warnings.append(
            "this network was trained on the held-out classes: 'own' loses the column of the class, but the features "
            "have met it, so classes nobody has collected may be harder to notice than these numbers say"
        )
    if raw_rows and support.encoder.split(":")[0] != "pixels":
        warnings.extend(_pixel_warning(best, raw_rows[0]))
    return Audit(
        rows=rows,
        pixels=raw_rows,
        held_out={name: int(counts[support.classes.index(name)]) for name in chosen},
        recommended=recommended,
        warnings=warnings,
        not_tried=not_tried,
        n=len(support),
        n_calibration=len(aside),
        repeats=repeats,
        seed=seed,
        confidence=confidence,
        encoder=support.encoder,
        classes=whole.classes,
        skipped=support.skipped,
        notes=support.notes,
        level=level,
    )


Part = tuple[Support, Support, Support]  # what is learnt, and new inputs known and unknown to it


def inner_parts(support: Support, seed: int) -> list[Part]:
    """At most three classes of ``support`` held out in turn within its rows; none where there are fewer than three."""
    if len(support.classes) < 3:
        return []
    rng = np.random.default_rng([seed, len(support)])
    fit_rows, test_rows = split(support.labels, support.groups, FIT_SHARE, seed, rows=len(support))
    fit, test = support.take(fit_rows), support.take(test_rows)
    parts = []
    for code in sorted(rng.permutation(len(support.classes))[:INNER_CLASSES].tolist()):
        known = fit.without(support.classes[code])
        parts.append((known, test.take(_labels(test) != code), _unknown(support, known, code)))
    return parts


def recommend_setting(
    support: Support, candidate: Candidate, seed: int, parts: Callable[[], Sequence[Part]] | None = None
) -> dict[str, Any]:
    """The setting that notices held-out known classes best; the default where it does as well.

    At most three classes of ``support`` are held out; with fewer than three classes the default that can be fitted.

    Args:
        support: known inputs.
        candidate: whose settings are compared.
        seed: of the classes and the split.
        parts: gives `inner_parts` of the same support and seed, where several candidates are asked about.
    """
    settings = candidate.settings()
    if len(settings) == 1 or support.labels is None:  # without labels nothing can be held out to choose by
        return settings[0]
    inner = inner_parts(support, seed) if parts is None else parts()
    totals: list[float] = []
    reason: NotEnoughKnown | None = None
    for setting in settings:
        try:
            if not inner:
                candidate.build(setting).fit(support)
                totals.append(0.0)
                continue
            values = []
            for known, new, unknown in inner:
                detector = candidate.build(setting).fit(known)
                values.append(evaluate(detector.score(new), detector.score(unknown)).auroc)
            totals.append(float(np.mean(values)))
        except NotEnoughKnown as error:
            reason = error
            totals.append(-1.0)
    best = int(np.argmax(totals))  # the first of equals, so the default wins a tie
    if totals[best] < 0 and reason is not None:
        raise reason
    return settings[best]


class _Folds:
    """Every class held out in every repeat, for any encoding of the same rows."""

    def __init__(
        self,
        classes: Sequence[str],
        repeats: int,
        seed: int,
        confidence: float,
        progress: Progress | None,
        total: int,
        level: Level,
    ) -> None:
        self.classes, self.repeats, self.seed, self.confidence = classes, repeats, seed, confidence
        self.progress, self.total, self.done = progress, total, 0
        self.level = level

    def run(
        self, support: Support, candidates: Sequence[Candidate], encoder: str, not_tried: dict[str, str]
    ) -> list[Row]:
        """One row a candidate that could be fitted in every fold; the others go to ``not_tried`` with the reason."""
        if not candidates:
            return []
        rows = {candidate.name: Row(candidate.name, encoder) for candidate in candidates}
        found: dict[str, dict[str, list[Floats]]] = {c.name: {} for c in candidates}
        clock: dict[str, list[tuple[float, float]]] = {c.name: [] for c in candidates}
        for repeat in range(self.repeats):
            seed = self.seed + 1 + repeat
            fit_rows, test_rows = split(support.labels, support.groups, FIT_SHARE, seed, rows=len(support))
            fit, test = support.take(fit_rows), support.take(test_rows)
            if "features" in support.signals and self.level == "labels":
                fit.moments("features")  # once; each fold takes its class away
            for name in self.classes:
                code = support.classes.index(name)
                known = fit.without(name)
                new, unknown = test.take(_labels(test) != code), _unknown(support, known, code)
                known = known.at_level(self.level)
                parts = functools.cache(
                    functools.partial(inner_parts, known, seed)
                )  # where some setting must be chosen
                # Once for all candidates behind it; what it took counts for each of them.
                heads = {head: _seconds(create(head).fit, known) for head in {c.head for c in candidates if c.head}}
                for candidate in candidates:
                    if candidate.name not in rows:
                        continue
                    try:
                        setting = recommend_setting(known, candidate, seed, parts)
                        detector = candidate.build(setting)
                        start = time.perf_counter()
                        detector.fit(known)
                    except NotEnoughKnown as error:
                        not_tried[candidate.name] = str(error)
                        del rows[candidate.name]
                        continue
                    fitted = time.perf_counter()
                    scores = detector.score(new), detector.score(unknown)
                    spent = (time.perf_counter() - fitted) * 1000 / (len(new) + len(unknown))
                    result = evaluate(*scores)
                    numbers = [
                        result.auroc,
                        result.average_precision(positive="unknown"),
                        result.fpr_at_tpr(0.95, positive="known", rule="first"),
                        *result.auroc_interval(self.confidence),
                        result.n_unknown / (result.n_known + result.n_unknown),
                    ]
                    curves = read_curves(result, "known")
                    found[candidate.name].setdefault(name, []).append(np.concatenate([numbers, *curves]))
                    clock[candidate.name].append((fitted - start + heads.get(candidate.head or "", 0.0), spent))
                    row = rows[candidate.name]
                    text = ", ".join(f"{k}={v}" for k, v in {**detector.arguments(), **setting}.items())
                    row.settings[text] = row.settings.get(text, 0) + 1
                    row.size = max(row.size, detector.size())
                self.done += 1
                if self.progress is not None:
                    self.progress(self.done, self.total)
        for name, row in rows.items():
            for held, values in found[name].items():
                means, row.tpr[held], row.precision[held] = np.split(
                    np.mean(values, axis=0), [-2 * LEVELS.size, -LEVELS.size]
                )
                row.auroc[held], row.ap_unknown[held], row.fpr[held], low, high, share = means.tolist()
                row.auroc_interval[held], row.share_unknown[held] = (low, high), share
            row.fit_seconds, row.score_seconds = np.mean(clock[name], axis=0).tolist()
        return list(rows.values())


def _by_nearest_name(support: Support, level: Level) -> Support:
    """The support with the nearest name as the label of each input."""
    if level != "names" or support.text is None or "embedding" not in support.signals:
        raise WrongUse(
            "an audit holds out classes and these inputs have no labels; "
            "`fit` works with detectors that ignore labels, such as knn"
        )
    head = create("zero_shot").fit(support)
    with torch.inference_mode():
        codes = [head.apply_to(batch)["logits"].argmax(dim=1) for batch in support.signals.batches("embedding")]
    return replace(support, labels=torch.cat(codes).cpu().numpy(), classes=support.text.classes, _moments={})


def _averaged(curves: Sequence[Floats], confidence: float) -> tuple[list[float], list[list[float]] | None]:
    """Mean over classes at each of the `LEVELS`, and ``[level, low, high]`` of it; None for a single class."""
    values = np.stack(curves)  # (classes, levels)
    mean: list[float] = values.mean(axis=0).tolist()
    if len(values) < 2:
        return mean, None
    ends = [mean_interval(at, confidence, bounds=(0.0, 1.0)) for at in values.T]
    return mean, [[level, *end] for level, end in zip(LEVELS.tolist(), ends, strict=True)]


def _seconds(call: Callable[[Support], Any], support: Support) -> float:
    """How long it took; 0 where too little is known, which each candidate will say for itself."""
    start = time.perf_counter()
    try:
        call(support)
    except NotEnoughKnown:
        return 0.0
    return time.perf_counter() - start


def _chosen_classes(classes: tuple[str, ...], held_out: int | Sequence[str] | None, seed: int) -> list[str]:
    if held_out is None:
        return list(classes)
    if isinstance(held_out, int):
        if held_out < 1:
            raise WrongUse(f"held_out={held_out}: hold out at least one class")
        drawn = np.random.default_rng(seed).permutation(len(classes))[:held_out]
        return [classes[i] for i in sorted(drawn.tolist())]
    unknown = [name for name in held_out if name not in classes]
    if unknown:
        raise WrongUse(f"there is no class {unknown[0]!r} to hold out; there are {', '.join(classes[:10])}")
    return list(held_out)


def _recommend(
    rows: list[Row], support: Support, tried: Sequence[Candidate], seed: int, confidence: float
) -> dict[str, Any]:
    best = rows[0]
    values = list(best.auroc.values())
    few = len(values) < FEWEST_CLASSES
    equal = [best]
    if len(values) > 1 and len(rows) > 1:
        p_values = [paired_difference(values, list(row.auroc.values()))["p_value"] for row in rows[1:]]
        equal += [row for row, p in zip(rows[1:], holm(p_values), strict=True) if p > 1 - confidence]
    # With few classes a test cannot tell much apart, so what may stand in for the best must also be as good as it.
    # Numbers held, not seconds: the same choice on every machine, and for these methods what a query costs.
    near = [row for row in equal if best.mean() - row.mean() <= MARGIN]
    pick = best if few else min(near, key=lambda row: (row.size, -row.mean()))
    candidate = next(c for c in tried if c.name == pick.name)
    setting = recommend_setting(support, candidate, seed)
    ties = [row.name for row in equal if row is not pick]
    sentence = f"Use {pick.name}: mean AUROC {pick.mean():.3f}"
    if few:
        sentence = (
            f"{pick.name} had the highest mean AUROC ({pick.mean():.3f}), but {len(values)} held-out classes are too "
            "few to claim a winner."
        )
    elif not ties:
        sentence += f", better than every other over {len(values)} held-out classes."
    else:
        if pick is not best:
            sentence += f", within {MARGIN} of the best ({best.name}, {best.mean():.3f}) and cheaper"
        more = f" and {len(ties) - NAMED} others" if len(ties) > NAMED + 1 else ""
        listed = ", ".join(ties[:NAMED] if more else ties)
        sentence += f"; {len(values)} held-out classes cannot tell it from {listed}{more}."
    confident = not few and not ties
    return {
        "name": pick.name,
        "expression": candidate.build(setting).expression(),
        "setting": {**create(candidate.expression).arguments(), **setting},
        "auroc": pick.mean(),
        "ties": ties,
        "confident": confident,
        "sentence": sentence,
    }


def _pixel_warning(best: Row, raw: Row) -> list[str]:
    values, other = list(best.auroc.values()), list(raw.auroc.values())
    if best.mean() <= raw.mean():
        return [
            f"raw pixels do as well ({raw.name} on pixels: mean AUROC {raw.mean():.3f} against {best.mean():.3f}): "
            "these classes differ in plain colour or shape, so this audit says little about semantic novelty"
        ]
    if len(values) > 1 and paired_difference(values, other)["p_value"] > 0.05:
        return [
            f"raw pixels do nearly as well ({raw.name} on pixels: mean AUROC {raw.mean():.3f} against "
            f"{best.mean():.3f}, a difference that these classes cannot show)"
        ]
    return []


def _unknown(support: Support, known: Support, code: int) -> Support:
    """The rows of the held-out class, less those of a group that was learnt from.

    A video that shows several classes, or copies of one image under two labels, would otherwise be met as unknown
    after it was learnt. Where nothing would be left, all rows stay; `audit` warns of it.
    """
    rows = _labels(support) == code
    if support.groups is None or known.groups is None:
        return support.take(rows)
    apart = rows & ~np.isin(support.groups, known.groups)
    return support.take(apart if apart.any() else rows)


def _mixed_groups(support: Support) -> list[str]:
    """A warning for every class all of whose groups hold other classes too."""
    if support.groups is None:
        return []
    pairs = np.unique(np.stack([support.groups, _labels(support)]), axis=1)
    groups, counts = np.unique(pairs[0], return_counts=True)
    mixed = np.isin(support.groups, groups[counts > 1])
    return [
        f"every group of class {name!r} holds other classes too, so its inputs may have been met in their company"
        for code, name in enumerate(support.classes)
        if (rows := _labels(support) == code).any() and mixed[rows].all()
    ]


def _labels(support: Support) -> np.ndarray:
    if support.labels is None:
        raise WrongUse("labels are needed")
    return support.labels
