"""What is known about the known inputs, and what each method makes of it: nothing, class names, or labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np

from unseen.data import Progress
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.heads.plp import pseudo_labels
from unseen.metrics.scores import check_confidence
from unseen.naming import listed
from unseen.protocols.bench import BenchRow, Sources, _check, _divided, _Parts, _scored
from unseen.protocols.candidates import Candidate
from unseen.registry import create
from unseen.signals import Level, Support, TextBank

LEVELS: tuple[Level, ...] = get_args(Level)
RMD = "relative_mahalanobis(on='logits')"
PRESET = {  # what a paper calls a method -> its read-out behind a head
    "MSP": "msp",
    "RMD": RMD,
    "Energy": "energy",
}


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        name: as a paper calls it.
        level: what it may learn from; its fit gets no more.
        expression: the pipeline.
    """

    name: str
    level: Level
    expression: str


def methods(classes: int, shots: int = 10, batch: int = 256) -> tuple[Method, ...]:
    """The methods of the paper's table, by level.

    Args:
        classes: how many there are, which k-means is told at the level ``"none"``.
        shots: labelled inputs of each class of the few-shot rows.
        batch: inputs of a step of a probe. The paper takes 256 for CIFAR, 8192 for ImageNet.

    >>> [one.name for one in methods(10) if one.level == "none"]
    ['k-means MD', '1-NN']
    """
    step = "" if batch == 256 else f"batch={batch}"
    few = ", ".join(filter(None, (f"shots={shots}", step)))
    plp, probe = (f"{head}({step})" if step else head for head in ("plp", "probe"))
    return (
        Method("k-means MD", "none", f"kmeans_mahalanobis(clusters={classes})"),
        Method("1-NN", "none", "knn(k=1)"),
        Method("Pseudo-MSP", "names", "mcm"),
        *(Method(f"PLP + {name}", "names", f"{plp} >> {part}") for name, part in PRESET.items()),
        Method("MD", "labels", "mahalanobis"),
        Method("RMD", "labels", "relative_mahalanobis"),
        *(
            Method(f"Few-shot p={shots} + {name}", "labels", f"probe({few}) >> {part}")
            for name, part in PRESET.items()
            if name != "RMD"
        ),
        *(Method(f"Probing + {name}", "labels", f"{probe} >> {part}") for name, part in PRESET.items()),
    )


@dataclass
class AvailabilityRow(BenchRow):
    """A method at its level.

    Attributes:
        level: what it learnt from.
        expression: the pipeline.
    """

    level: Level = "none"
    expression: str = ""


@dataclass
class Availability:
    """What each method made of what its level allows.

    Attributes:
        rows: methods in the order in which they were given. Each set has the numbers of `Evaluation.to_dict`.
            ``accuracy`` is that of the head on the known test inputs, or of the nearest text where a method reads texts
            and has no head.
        sets: name -> ``n_known`` and ``n_unknown``.
        pseudo_labels: what the texts say of the inputs that are learnt from: ``classes``, ``n_active`` (classes that
            some input has as its pseudo-label), ``inactive`` (names of the others), ``accuracy`` and
            ``accuracy_interval`` (Wilson), where there are labels to compare with, else None; ``test_accuracy`` of the
            nearest text. None without texts.
        not_run: method -> why.
        warnings: what the reader must know.
        n_fit: inputs that are learnt from.
        n_known_test: known inputs tested.
        confidence: of the intervals.
        encoder: id.
    """

    rows: list[AvailabilityRow]
    sets: dict[str, dict[str, int]]
    pseudo_labels: dict[str, Any] | None
    not_run: dict[str, str]
    warnings: list[str]
    n_fit: int
    n_known_test: int
    confidence: float
    encoder: str

    def row(self, name: str) -> AvailabilityRow:
        """The row of a method.

        Raises:
            WrongUse: where there is none.
        """
        found = next((row for row in self.rows if row.name == name), None)
        if found is None:
            raise WrongUse(f"there is no row {name!r}; there are {listed([row.name for row in self.rows], 20)}")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; fractions."""
        return {**vars(self), "rows": [row.to_dict() for row in self.rows]}


def availability(
    known: Support,
    known_test: Support,
    unknown: Mapping[str, Support],
    *,
    text: TextBank | None = None,
    methods: Sequence[Method] | None = None,
    confidence: float = 0.95,
    progress: Progress | None = None,
) -> Availability:
    """Fit each method on what its level allows, and ask it about known and unknown inputs.

    A method of the level ``"none"`` is fitted on the inputs alone, one of ``"names"`` also on the class names as texts,
    one of ``"labels"`` on labels too: the support that it gets has nothing else in it (`Support.at_level`). Labels of
    the known test inputs, and of the others where the level has none, only say how often a head is right. No unknown
    input takes part in a fit, and each method has one setting.

    Args:
        known: known inputs to learn from; with labels for the level ``"labels"``.
        known_test: other known inputs.
        unknown: name -> unknown inputs.
        text: the class names as texts; by default those that ``known`` carries.
        methods: by default those of `methods`, with as many clusters as there are classes. Methods that need what is
            not there are left out and named in ``not_run``.
        confidence: of the intervals, DeLong's.
        progress: called with (methods done, methods in all).

    Raises:
        WrongUse: when a method learns from more than its level has, or no method can be run.
        BadInput: when a set is empty or holds other signals than the known inputs.

    Source: Adaloglou, Michels, Kaiser, Kollmann, "Adapting Contrastive Language-Image Pretrained (CLIP) Models for
        Out-of-Distribution Detection", TMLR 2023, table 5.

    >>> random = np.random.default_rng(0)
    >>> def made(n, shift):
    ...     return Support.of({"features": random.normal(size=(n, 4)) + shift})
    >>> one = Method("1-NN", "none", "knn(k=1)")
    >>> found = availability(made(90, 5), made(30, 5), {"away": made(30, -5)}, methods=[one])
    >>> found.row("1-NN").sets["away"]["auroc"], found.row("1-NN").sets["away"]["n_unknown"]
    (1.0, 30)
    """
    check_confidence(confidence)
    if text is not None:
        known = replace(known, text=text)
    many = len(known.classes) or (0 if known.text is None else len(known.text))
    wanted = tuple(methods) if methods is not None else _usual(many)
    for one in wanted:
        needed = create(one.expression).availability
        if LEVELS.index(needed) > LEVELS.index(one.level):
            raise WrongUse(
                f"{one.name}: {one.expression} learns from {needed} and is declared for the level {one.level!r}: "
                f"declare it for {needed!r}"
            )
    named = known.text  # before classes are told apart by the rows that are there
    sources = Sources(known, dict(unknown), known_test=known_test)
    _check(sources)
    parts, warnings = _divided(sources, seed=0)
    rows: list[AvailabilityRow] = []
    not_run: dict[str, str] = {}
    guessed = _guessed(parts, named, confidence) if named is not None and "embedding" in known.signals else None
    for done, one in enumerate(wanted, start=1):
        try:
            rows.append(_row(one, parts, guessed, confidence))
        except (NotEnoughKnown, WrongUse) as error:
            not_run[one.name] = str(error)
        if progress is not None:
            progress(done, len(wanted))
    if not rows:
        raise WrongUse("no method could be run: " + "; ".join(f"{name}: {why}" for name, why in not_run.items()))
    return Availability(
        rows=rows,
        sets={name: {"n_known": len(parts.test), "n_unknown": len(one)} for name, one in parts.unknown.items()},
        pseudo_labels=guessed,
        not_run=not_run,
        warnings=[*warnings, *_silent(guessed)],
        n_fit=len(parts.fit),
        n_known_test=len(parts.test),
        confidence=confidence,
        encoder=known.encoder,
    )


def _usual(classes: int) -> tuple[Method, ...]:
    """All methods; without a number of classes, those that need none."""
    return tuple(one for one in methods(max(1, classes)) if classes or not one.expression.startswith("kmeans"))


def _row(one: Method, parts: _Parts, guessed: Mapping[str, Any] | None, confidence: float) -> AvailabilityRow:
    # A detector with optional labels would go on without them, and the row would say what is not so.
    if one.level == "labels" and parts.fit.labels is None:
        raise WrongUse(f"{one.name} stands for what labels give, and the known inputs have none")
    if one.level == "names" and parts.fit.text is None:
        raise WrongUse(f"{one.name} reads class names as texts, and there are none: give a TextBank as text=")
    row = AvailabilityRow(one.name, parts.fit.encoder.partition(":")[0] or "features", level=one.level)
    row.expression = one.expression
    _scored(replace(parts, fit=parts.fit.at_level(one.level)), Candidate(one.expression), row, confidence)
    if row.accuracy is None and guessed is not None and "text_bank" in create(one.expression).traits:
        row.accuracy = guessed["test_accuracy"]
    return row


def _guessed(parts: _Parts, text: TextBank, confidence: float) -> dict[str, Any]:
    """Pseudo-labels of the inputs that are learnt from, and how often they are the labels."""
    from scipy.stats import binomtest

    codes = pseudo_labels(parts.fit, text)
    counts = np.bincount(codes, minlength=len(text))
    right = _agree(codes, text, parts.fit)
    of_test = _agree(pseudo_labels(parts.test, text), text, parts.test)
    interval = None
    if right is not None:
        proportion = binomtest(int(right.sum()), len(right)).proportion_ci(confidence, method="wilson")
        interval = [float(proportion.low), float(proportion.high)]
    return {
        "classes": len(text),
        "n_active": int((counts > 0).sum()),
        "inactive": [name for name, count in zip(text.classes, counts.tolist(), strict=True) if not count],
        "accuracy": None if right is None else float(right.mean()),
        "accuracy_interval": interval,
        "test_accuracy": None if of_test is None else float(of_test.mean()),
    }


def _agree(codes: np.ndarray, text: TextBank, support: Support) -> np.ndarray | None:
    """Whether the nearest text is that of the label, ``(N,)``; None without labels that the texts name."""
    if support.labels is None or not set(support.classes) & set(text.classes):
        return None
    place = {name: code for code, name in enumerate(support.classes)}
    same: np.ndarray = np.array([place.get(name, -1) for name in text.classes])[codes] == support.labels
    return same


def _silent(guessed: Mapping[str, Any] | None) -> list[str]:
    if guessed is None or not guessed["inactive"]:
        return []
    names = guessed["inactive"]
    return [
        f"{len(names):,} of {guessed['classes']:,} classes are no known input's nearest text ({listed(names, 3)}), so "
        "that PLP never answers them"
    ]
