"""The verbs of a notebook, one a command: each does what the command of its name does and returns the result."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unseen import encoders, protocols, registry, signals
from unseen.api import availability, learnt
from unseen.api import queue as labelling
from unseen.classifier import OpenSetClassifier, Verdicts
from unseen.data import ImageFiles, Inputs, open_inputs
from unseen.encoders import Encoder, open_encoder
from unseen.errors import BadInput, WrongUse
from unseen.files import replacing
from unseen.onnx import TOLERANCE, Exported, to_onnx
from unseen.parts import Step
from unseen.signals import Level, Request, Signals, Support, TextBank

if TYPE_CHECKING:
    from unseen.api.availability import Text

Progress = Callable[[str, int, int], None]
Cache = str | os.PathLike[str] | bool | None
PIXELS_OF_DENSITY = "pixels?size=32"  # the size of the images in the paper of that baseline
FEWEST_CLASSES = 3  # an audit holds one out and needs two to know


@dataclass(frozen=True)
class Fitted:
    """A fitted classifier and how its detector was chosen.

    Attributes:
        classifier: ready to `predict` and `save`.
        audit: the audit that chose the detector; None where one was named or none could be made.
        reason: one sentence.
        skipped: ``(key, reason)`` of known inputs that could not be read.
        notes: what was noticed about the known inputs, and classes that are pooled.
    """

    classifier: OpenSetClassifier
    audit: protocols.Audit | None
    reason: str
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Fitted({self.classifier!r})\n{self.reason}"


def encode(
    source: Any,
    encoder: str | Encoder | None = None,
    wanted: Sequence[str | Request] | None = None,
    *,
    cache: Cache = None,
    limit: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    workers: int | None = None,
    progress: Progress | None = None,
) -> Support:
    """One pass over the inputs: everything wanted, kept in a store.

    Args:
        source: a folder of class folders, a manifest, an array file, arrays, or `Inputs`. Of a labelling queue (see
            `score`) the rows that have a label by now.
        encoder: name or object; by default ``packaged`` for images and ``arrays`` for arrays.
        wanted: signals and requests; by default all that the encoder gives.
        cache: folder of the store; None is the user's cache folder, False keeps nothing.
        limit: at most so many inputs, drawn by class under the seed.
        seed: of that draw.
        device: where the network runs.
        workers: threads that read and decode; by default one for each usable core, at most 16. The result is the same,
            bit for bit, with any number.
        progress: called with (what is being done, done, in all).

    Returns:
        A `Support`; unreadable inputs are listed in its ``skipped``.
    """
    inputs = _inputs(source, limit, seed)
    made = _encoder(inputs, encoder, device)
    return encoders.encode(inputs, made, wanted, cache=cache, progress=_part(progress, "encoding"), workers=workers)


def audit(
    source: Any,
    encoder: str | Encoder | None = None,
    *,
    detectors: Sequence[str] | None = None,
    held_out: int | Sequence[str] | None = None,
    repeats: int = 3,
    cache: Cache = None,
    limit: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    labels: Level = "labels",
    text: Text = None,
    pixels: bool = True,
    workers: int | None = None,
    progress: Progress | None = None,
) -> protocols.Audit:
    """Say which detector should guard this data, and how good it will be on classes nobody has collected.

    Args:
        source: labelled known inputs, as for `encode`.
        encoder: as for `encode`.
        detectors: registered names or expressions to try; by default all that need nothing but features and a head.
            ``"all"`` adds those that read inner layers; what a network's own head says is never tried, as it knows the
            class held out.
        held_out: classes to hold out, or how many; all by default.
        repeats: random splits, averaged inside each class.
        cache: as for `encode`.
        limit: as for `encode`.
        seed: of every draw.
        device: where the network runs.
        labels: what detectors may learn from: ``"labels"``; ``"names"``, the class names as texts and no label; or
            ``"none"``. Below ``"labels"`` the labels only say which inputs are held out; where there are names and no
            labels, the nearest name does, and a warning says what that is worth.
        text: the class names as texts: `Texts` to be read by the encoder, a `TextBank`, or the file of one. By
            default the class names of the inputs where ``labels="names"``, else nothing.
        pixels: also score raw pixels, the row that shows when a task is trivial.
        workers: as for `encode`.
        progress: called with (what is being done, done, in all).

    Raises:
        WrongUse: without labels or with fewer than three classes; `fit` works all the same.
    """
    _check_names(detectors)
    inputs = _inputs(source, limit, seed)
    named = labels == "names" and (text is not None or bool(inputs.classes))
    if inputs.labels is not None and len(inputs.classes) < FEWEST_CLASSES:
        raise WrongUse(
            f"{inputs.source} has {len(inputs.classes)} classes and an audit needs {FEWEST_CLASSES}: one is held out, "
            "two are known. `fit` works without an audit"
        )
    if inputs.labels is None and not named:
        raise WrongUse(
            f"{inputs.source} has no labels and an audit holds out classes: put the images of each class into a folder "
            "of their own. `fit` works without labels"
        )
    made = _encoder(inputs, encoder, device)
    bank = availability.known_texts(text, labels, inputs, made, cache, _part(progress, "reading texts"))
    support = _features(inputs, made, detectors, bank, cache, progress, workers)
    raw = None
    if pixels and inputs.kind == "images" and made.name != "pixels":
        raw = encoders.encode(
            inputs, "pixels", ["features"], cache=cache, progress=_part(progress, "pixels"), workers=workers
        )
    return protocols.audit(
        support,
        detectors=detectors,
        held_out=held_out,
        repeats=repeats,
        seed=seed,
        pixels=raw,
        level=labels,
        progress=_part(progress, "holding out classes"),
    )


def bench(
    known: Any,
    near: Mapping[str, Any] | None = None,
    far: Mapping[str, Any] | None = None,
    encoder: str | Encoder | None = None,
    *,
    known_test: Any = None,
    learn_unknown: Any = None,
    detectors: Sequence[str] | None = None,
    labels: Level = "labels",
    text: Text = None,
    confidence: float = 0.95,
    cache: Cache = None,
    limit: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    workers: int | None = None,
    progress: Progress | None = None,
) -> protocols.Bench:
    """Measure every detector on unknown inputs that you have, near and far, beside baselines that need no network.

    Each source is encoded once. Every detector is fitted once, with its default setting, and nothing is chosen on
    unknown inputs. Inputs of an unknown set, or of the known test, that are exact copies of known ones are left out and
    counted. Images are also told apart by raw pixels, by the strength of their edges and, where all are files, by the
    size of the file; where one of these does as well as the best detector, a warning says so.

    Args:
        known: known inputs, as for `encode`; split 60/40 by class, groups whole, into those that are learnt from and
            those that are tested.
        near: name -> unknown inputs like the known ones, each as for `encode`; their labels are not read.
        far: name -> unknown inputs unlike them.
        encoder: as for `encode`.
        known_test: known inputs to test on; all of ``known`` is then learnt from.
        learn_unknown: unknown inputs, like none of the sets tested, for detectors that learn from some; copies of them
            are left out of the sets. Rows that saw them say so.
        detectors: registered names or expressions; by default all that need nothing but features and a head. ``"all"``
            stands for these and for those that ask the network for more: inner layers, slopes.
        labels: what detectors may learn from, as for `audit`; labels of known test inputs still say how often a head is
            right.
        text: the class names as texts, as for `audit`.
        confidence: of the intervals.
        cache: as for `encode`.
        limit: at most so many inputs of each source.
        seed: of every draw.
        device: where the network runs.
        workers: as for `encode`.
        progress: called with (what is being done, done, in all).

    Raises:
        WrongUse: without an unknown set, or when one name stands for two.
        BadInput: when nothing is left of a set, or its arrays do not fit the known ones.
        NotEnoughKnown: when known inputs are too few to split, or no detector can be fitted.

    >>> random = np.random.default_rng(0)
    >>> centres = 4 * random.normal(size=(5, 8))
    >>> rows = [centres[i % 5] + random.normal(size=8) for i in range(300)]
    >>> known = {"features": np.array(rows[:200]), "labels": np.arange(200) % 5}
    >>> unknown = {"new": {"features": np.array(rows[200:]) + 2}, "noise": {"features": random.normal(size=(50, 8))}}
    >>> found = bench(known, near={"new": unknown["new"]}, far={"noise": unknown["noise"]}, detectors=["knn(k=5)"])
    >>> found.groups["far"]["best"], found.sets["new"]["n_unknown"], found.n_known_test
    ('knn(k=5)', 100, 80)
    """
    _check_names(detectors)
    named = {f"near {name}": source for name, source in (near or {}).items()}
    named |= {f"far {name}": source for name, source in (far or {}).items()}
    if not named:
        raise WrongUse(
            "a bench needs unknown inputs: give at least one near or far set as NAME=SOURCE; `audit` works with known "
            "inputs alone"
        )
    beside = {"known test": known_test, "learnt unknown": learn_unknown}
    given = {"known": known, **{of: source for of, source in beside.items() if source is not None}, **named}
    inputs, left_out = _without_copies({of: _inputs(source, limit, seed) for of, source in given.items()})
    made = _encoder(inputs["known"], encoder, device)
    bank = availability.known_texts(text, labels, inputs["known"], made, cache, _part(progress, "reading texts"))
    encoded = {}
    at_fit, at_query = protocols.requests_of(detectors)
    free = {request for request in at_fit | at_query if request.passes == (0, 0)}
    for of, one in inputs.items():
        # Of known inputs that are learnt from, what costs a pass of its own and only queries need is not asked for.
        asked = free | (at_fit if of in ("known", "learnt unknown") else at_query)
        requests = [request for request in asked if made.refusal(request) is None]
        plain = availability.signals_for(detectors, made, bank is not None)
        wanted: list[str | Request] | None = None if made.accepts == "arrays" else [*plain, *requests]
        encoded[of] = encoders.encode(
            one, made, wanted, cache=cache, progress=_part(progress, f"encoding {of}"), workers=workers
        )
    encoded["known"] = replace(encoded["known"], text=bank)
    baselines, notes = _baselines(inputs, encoded, made, cache, progress, workers)
    found = protocols.bench(
        _sources(encoded, near, far),
        detectors=detectors,
        baselines={what: _sources(of, near, far) for what, of in baselines.items()},
        confidence=confidence,
        seed=seed,
        left_out=left_out,
        level=labels,
        progress=_part(progress, "fitting and scoring"),
        asking=_part(progress, "passes of their own"),
    )
    return replace(found, notes=(*found.notes, *notes))


def fit(
    source: Any,
    encoder: str | Encoder | None = None,
    detector: str = "auto",
    *,
    alpha: float = 0.05,
    calibration: float = 0.2,
    by_class: bool = False,
    labels: Level = "labels",
    text: Text = None,
    learn_unknown: Any = None,
    cache: Cache = None,
    limit: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    workers: int | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """A guard for these known inputs.

    Args:
        source: known inputs, labelled or not, as for `encode`.
        encoder: as for `encode`.
        detector: an expression such as ``"knn(k=10)"`` or ``"ridge >> energy"``; ``"auto"`` takes the one that an
            audit recommends, or ``knn`` where classes are too few to hold one out.
        alpha: share of known inputs that may be called unseen.
        calibration: share of the inputs set aside for p-values; the audit does not see them either.
        by_class: keep ``alpha`` among the inputs that are taken for any one class, not only over all; see
            `OpenSetClassifier`.
        labels: what may be learnt from, as for `audit`. With ``"names"`` the guard names classes by their texts, and
            ``"auto"`` chooses among detectors that need no label.
        text: the class names as texts, as for `audit`.
        learn_unknown: unknown inputs, as for `encode`, for a detector that learns from some, such as ``opengan``; exact
            copies of known ones are left out.
        cache: as for `encode`.
        limit: as for `encode`.
        seed: of every draw.
        device: where the network runs.
        workers: as for `encode`.
        progress: called with (what is being done, done, in all).

    Raises:
        NotEnoughKnown: when too few rows are set aside to promise ``alpha``.
        WrongUse: by class without labels of two classes or more; unknown inputs for a detector that reads none.
        BadInput: when all unknown inputs are copies of known ones.
    """
    inputs = _inputs(source, limit, seed)
    automatic = detector == "auto"
    # Made before anything is encoded, so that a slip in an argument is named at once.
    guard = OpenSetClassifier(
        _encoder(inputs, encoder, device),
        "knn" if automatic else detector,
        alpha=alpha,
        calibration=calibration,
        seed=seed,
        by_class=by_class,
    )
    if by_class and labels != "labels":
        raise WrongUse(f"by class needs labels, and labels={labels!r} leaves them aside: fit without by_class")
    guard.check_classes(inputs)
    if learn_unknown is not None and (automatic or "uses_unknown" not in guard.detector.traits):
        who = "what an audit chooses" if automatic else guard.detector.name
        raise WrongUse(
            f"{who} learns from known inputs alone: leave the unknown ones out, or name a detector such as opengan"
        )
    found: protocols.Audit | None = None
    reason = f"{detector} was asked for."
    assert guard.encoder is not None
    made = guard.encoder
    bank = availability.known_texts(text, labels, inputs, made, cache, _part(progress, "reading texts"))
    plain = automatic and made.accepts == "images"
    wanted = (
        availability.signals_for(None, made, bank is not None)
        if plain
        else guard.wanted(fitting=True, texts=bank is not None)
    )
    listed = learnt.Listed.of(inputs, workers)
    support = replace(_encoded(listed, made, wanted, cache, progress, "encoding", workers), text=bank)
    if automatic:
        expression, found, reason = _choose(support, guard, labels, progress)
        guard.detector = registry.create(expression)
    support = support.at_level(labels)
    beside = None
    if learn_unknown is not None:
        both, _ = _without_copies({"known": inputs, "learnt unknown": _inputs(learn_unknown, limit, seed)})
        extra = learnt.Listed.of(both["learnt unknown"], workers)
        beside = _encoded(extra, made, wanted, cache, progress, "encoding unknown", workers)
    guard.fit(support, unknown=beside)
    guard.about |= {
        "source": inputs.source,
        "chosen": reason,
        "labels": labels,
        "learnt": [learnt.record(source, listed, support, limit, seed)],
    }
    if found is not None:
        guard.about["audit"] = {
            "recommended": found.recommended,
            "warnings": found.warnings,
            "repeats": found.repeats,
        }
    return Fitted(guard, found, reason, support.skipped, (*support.notes, *guard.notes))


def extend(
    guard: str | os.PathLike[str] | OpenSetClassifier,
    source: Any,
    *,
    known: Sequence[Any] = (),
    encoder: str | Encoder | None = None,
    cache: Cache = None,
    limit: int | None = None,
    device: str = "cpu",
    workers: int | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """A guard that also knows these inputs: classes that it did not know, or more of those that it knows.

    What the guard learnt from is listed again, and what the store holds of it is not encoded again. Detector, alpha and
    share set aside are those of the guard; see `OpenSetClassifier.extend`. The guard that is given stays as it is.

    Args:
        guard: a fitted classifier or the file of one.
        source: new known inputs, as for `encode`; with labels where the guard was fitted with labels. Exact copies of
            what the guard learnt from are left out.
        known: what the guard learnt from, each source in its order; by default where the guard's file says it lay.
        encoder: needed where the file cannot hold it.
        cache: as for `encode`.
        limit: at most so many of the new inputs, drawn by class under the guard's seed.
        device: where the network runs.
        workers: as for `encode`.
        progress: called with (what is being done, done, in all).

    Raises:
        BadInput: when what the guard learnt from is not there, or no longer what it was.
        WrongUse: when the guard does not say what it learnt from, or only one of old and new has labels.
        NotEnoughKnown: as `fit`.
    """
    classifier = guard if isinstance(guard, OpenSetClassifier) else load(guard, encoder=encoder, device=device)
    classifier.check_encoder()
    before, of_encoder = classifier.info(), classifier.encoder
    assert of_encoder is not None
    inputs = _inputs(source, limit, classifier.seed)
    if before.get("labels", "labels") == "labels" and (inputs.labels is None) == bool(before["classes"]):
        here, there = ("no labels", "some") if inputs.labels is None else ("labels", "none")
        raise WrongUse(f"{inputs.source} has {here} and the inputs that the guard learnt from have {there}")
    old = learnt.known_sources(classifier, known, _inputs, workers)
    whole = learnt.Listed.of(inputs, workers)
    new, notes = learnt.without_known(whole, old)
    wanted = classifier.wanted(fitting=True)
    supports = [_encoded(one, of_encoder, wanted, cache, progress, "encoding known", workers) for one in old]
    added = _encoded(new, of_encoder, wanted, cache, progress, "encoding", workers)
    wider = classifier.extend(added, tuple(supports))
    wider.about |= {
        "source": ", ".join([*(one.inputs.source for one in old), inputs.source]),
        "learnt": [
            *learnt.records_again(classifier, known, old, supports),
            learnt.record(source, whole, added, limit, classifier.seed),
        ],
    }
    reason = learnt.sentence(before, wider.info())
    skipped = (*(pair for support in supports for pair in support.skipped), *added.skipped)
    return Fitted(wider, None, reason, skipped, (*notes, *added.notes, *wider.notes))


def load(
    path: str | os.PathLike[str], *, encoder: str | Encoder | None = None, device: str | None = None
) -> OpenSetClassifier:
    """A classifier that was saved; see `OpenSetClassifier.load`."""
    return OpenSetClassifier.load(path, encoder=encoder, device=device)


def score(
    guard: str | os.PathLike[str] | OpenSetClassifier,
    source: Any,
    *,
    encoder: str | Encoder | None = None,
    alpha: float | None = None,
    discoveries: float | None = None,
    cache: Cache = False,
    limit: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    copy_unseen: str | os.PathLike[str] | None = None,
    queue: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Verdicts:
    """Say which inputs are known.

    Args:
        guard: a fitted classifier or the file of one.
        source: inputs, labelled or not, as for `encode`.
        encoder: needed where the file cannot hold it.
        alpha: another false-alarm rate than that of the fit.
        discoveries: decide over all inputs together instead: of those called unseen at most this share is expected to
            be known; see `OpenSetClassifier.predict`.
        cache: a store for the encoding; nothing is kept by default.
        limit: at most so many inputs.
        seed: of that draw.
        device: where the network runs.
        copy_unseen: folder to copy the unseen files to, under the names they have in ``source``. A file there with
            other content stays, and the copy gets a number.
        queue: file to write all inputs to, the newest first, with a column ``label`` for a person to fill in: ``.csv``
            or ``.jsonl``. Filled in, it is a source for `fit`, `audit` and `extend`, which leave out rows without a
            label.
        workers: as for `encode`.
        progress: called with (what is being done, done, in all).

    Raises:
        NotEnoughKnown: when the calibration rows are too few for ``alpha``, or for any discovery.
        WrongUse: when ``copy_unseen`` is given and the inputs are not files, both ``alpha`` and ``discoveries`` are, or
            ``queue`` is a file in which labels stand.
    """
    if queue is not None:
        labelling.check_queue(Path(queue))
    classifier = guard if isinstance(guard, OpenSetClassifier) else load(guard, encoder=encoder, device=device)
    inputs = _inputs(source, limit, seed)
    if copy_unseen is not None and not isinstance(inputs, ImageFiles):
        raise WrongUse(f"{inputs.source} holds arrays: there are no files to copy, the table names the unseen rows")
    verdicts = classifier.predict(
        inputs,
        alpha=alpha,
        discoveries=discoveries,
        cache=cache,
        workers=workers,
        progress=_part(progress, "encoding"),
    )
    if queue is not None:
        labelling.write_queue(verdicts, queue, inputs)
    if copy_unseen is not None and isinstance(inputs, ImageFiles):
        verdicts = _copied(verdicts, inputs, Path(copy_unseen))
    return verdicts


def cache(
    folder: str | os.PathLike[str] | None = None,
    *,
    encoder: str = "",
    older_than: float = 0.0,
    clear: bool = False,
) -> dict[str, Any]:
    """What the store holds of each encoder, or what was removed of it.

    What is removed is encoded again when it is needed. Only files that the store wrote are removed, and a shard that is
    being written is left alone.

    Args:
        folder: the store; by default that in the user's cache folder.
        encoder: only encoders with this in their id.
        older_than: only what nobody has written or read for so many days.
        clear: remove it.

    Returns:
        ``folder``; ``removed``, whether it was removed; ``encoders``, the one used last first, each with ``encoder``
        (its id), ``signals``, ``shards``, ``inputs`` (rows), ``bytes`` and ``last_used``; ``shards``, ``inputs`` and
        ``bytes`` of all.

    Raises:
        BadInput: when ``folder`` is a file, or something in it cannot be read or removed.
        WrongUse: when ``older_than`` is below 0.
    """
    if older_than < 0:
        raise WrongUse(f"older_than={older_than}: give a number of days from 0")
    place = encoders.default_cache() if folder is None else Path(folder)
    found = (signals.clear if clear else signals.shelves)(place, encoder=encoder, older_than=older_than)
    rows: list[dict[str, Any]] = [
        {
            "encoder": shelf.encoder,
            "signals": list(shelf.signals),
            "shards": shelf.shards,
            "inputs": shelf.inputs,
            "bytes": shelf.size,
            "last_used": datetime.datetime.fromtimestamp(shelf.last_used, datetime.UTC).isoformat(timespec="seconds"),
        }
        for shelf in found
    ]
    total = {name: sum(shelf[name] for shelf in rows) for name in ("shards", "inputs", "bytes")}
    return {"folder": str(place), "removed": clear, "encoders": rows, **total}


def info(guard: str | os.PathLike[str] | OpenSetClassifier) -> dict[str, Any]:
    """What a classifier, or the file of one, holds and promises; the encoder of a file is not needed."""
    return guard.info() if isinstance(guard, OpenSetClassifier) else OpenSetClassifier.read_info(guard)


def export(
    guard: str | os.PathLike[str] | OpenSetClassifier,
    source: Any,
    path: str | os.PathLike[str] = "guard.onnx",
    *,
    encoder: str | Encoder | None = None,
    tolerance: float = TOLERANCE,
    limit: int | None = 100,
    seed: int = 0,
    progress: Progress | None = None,
) -> Exported:
    """Write a guard as one ONNX graph, once ONNX Runtime has said of real inputs what the guard says.

    Args:
        guard: a fitted classifier or the file of one.
        source: inputs to compare on, known or not, as for `encode`.
        path: file to write.
        encoder: needed where the guard's file cannot hold it.
        tolerance: largest difference of a score, as a share of the scores' spread.
        limit: compare on at most so many inputs.
        seed: of that draw.
        progress: called with (what is being done, done, in all).

    Raises:
        WrongUse: when the guard has a part that cannot be exported, or the graph disagrees; nothing is written.
        MissingExtra: without the packages of ``unseen[onnx]``.
    """
    inputs = _inputs(source, limit, seed)
    held = guard if isinstance(guard, OpenSetClassifier) else Path(guard)
    return to_onnx(held, Path(path), inputs, encoder=encoder, tolerance=tolerance, progress=progress)


def catalogue() -> dict[str, list[dict[str, Any]]]:
    """Every registered detector, step, head, encoder and objective with what it needs and where it comes from.

    Heads are steps too, and are listed by themselves, as they make logits.
    """
    rooms: dict[str, list[dict[str, Any]]] = {
        "detectors": [],
        "steps": [],
        "heads": [],
        "encoders": [],
        "objectives": [],
    }
    for room in registry.ROOMS:
        for name in registry.names(room):
            part = registry.find(room, name)
            about: dict[str, Any] = {"name": name, "summary": (part.__doc__ or "").strip().splitlines()[0]}
            if room != "encoders":
                made = part()
                # Of a request its kind: the arguments say the rest. An objective has no fit of its own.
                wanted = made.needs | (made.at_fit() if room != "objectives" else frozenset())
                reads = sorted({need if isinstance(need, str) else type(need).__name__ for need in wanted})
                about |= {"reads": reads, "labels": made.labels, "arguments": made.arguments()}
                paper = made.paper
                about["source"] = f"{paper.authors}, {paper.venue} {paper.year}" if paper else None
            else:
                about["reads"] = [part.accepts]
            step = room == "detectors" and issubclass(part, Step)
            rooms["steps" if step else room].append(about)
    return rooms


def write_arrays(support: Support, path: str | os.PathLike[str]) -> Path:
    """Write an encoding to one ``.npz`` file, which every verb reads again with the encoder ``arrays``.

    Raises:
        WrongUse: when the name does not end in ``.npz``.
    """
    target = Path(path)
    if target.suffix != ".npz":
        raise WrongUse(f"{target}: encodings are written as .npz; give a name that ends so")
    arrays: dict[str, np.ndarray] = {
        name: support.gather(name).numpy() for name in support.signals.names if name.isidentifier()
    }
    if support.labels is not None:
        arrays |= {"labels": support.labels, "classes": np.array(support.classes)}
    if support.keys:
        arrays["keys"] = np.array(list(support.keys))
    if support.groups is not None:
        arrays["groups"] = support.groups
    with replacing(target) as file:
        np.savez(file, allow_pickle=False, **arrays)
    return target


def _inputs(source: Any, limit: int | None, seed: int) -> Inputs:
    if seed < 0:
        raise WrongUse(f"seed={seed}: give a number from 0")
    return open_inputs(labelling.read_queue(source) if labelling.is_queue(source) else source, limit=limit, seed=seed)


def _encoded(
    listed: learnt.Listed,
    encoder: Encoder,
    wanted: Any,
    cache: Cache,
    progress: Progress | None,
    what: str,
    workers: int | None,
) -> Support:
    """Inputs of which it is known what they contain, encoded."""
    return encoders.encode(
        listed.inputs,
        encoder,
        wanted,
        cache=cache,
        progress=_part(progress, what),
        workers=workers,
        digests=listed.digests,
    )


def _encoder(inputs: Inputs, encoder: str | Encoder | None, device: str) -> Encoder:
    if encoder is None:
        encoder = "arrays" if inputs.kind == "arrays" else "packaged"
    return open_encoder(encoder, device)


def _features(
    inputs: Inputs,
    encoder: Encoder,
    detectors: Sequence[str] | None,
    bank: TextBank | None,
    cache: Cache,
    progress: Progress | None,
    workers: int | None,
) -> Support:
    plain = availability.signals_for(detectors, encoder, bank is not None)
    wanted = None if encoder.accepts == "arrays" else plain
    found = encoders.encode(inputs, encoder, wanted, cache=cache, progress=_part(progress, "encoding"), workers=workers)
    return replace(found, text=bank)


def _without_copies(inputs: dict[str, Inputs]) -> tuple[dict[str, Inputs], dict[str, int]]:
    """Every source less its exact copies of known inputs and of unknown ones that are learnt from, and how many.

    Copies of the known test in an unknown set would be known and unknown at once; copies of the known in the known test
    would be learnt and tested.
    """
    met: set[bytes] = set()
    kept: dict[str, Inputs] = {}
    counts: dict[str, int] = {}
    for of, one in inputs.items():
        digests = one.digests()
        apart = np.array([digest not in met for digest in digests], dtype=bool)
        if of in ("known", "known test", "learnt unknown"):
            met.update(digests)
        copies = int((~apart).sum())
        if copies and copies == len(one):
            raise BadInput(f"{of} ({one.source}): all {copies:,} inputs are exact copies of known ones: none is left")
        counts |= {of: copies} if copies else {}
        kept[of] = one.take(apart) if copies else one
    return kept, counts


def _sources(
    encoded: Mapping[str, Support], near: Mapping[str, Any] | None, far: Mapping[str, Any] | None
) -> protocols.Sources:
    """The sources of a bench by their own names."""
    return protocols.Sources(
        encoded["known"],
        near={name: encoded[f"near {name}"] for name in near or ()},
        far={name: encoded[f"far {name}"] for name in far or ()},
        known_test=encoded.get("known test"),
        learnt_unknown=encoded.get("learnt unknown"),
    )


def _baselines(
    inputs: Mapping[str, Inputs],
    encoded: Mapping[str, Support],
    encoder: Encoder,
    cache: Cache,
    progress: Progress | None,
    workers: int | None,
) -> tuple[dict[str, dict[str, Support]], list[str]]:
    """Pixels, edges and file sizes of the rows that could be encoded, and what cannot be compared, in words."""
    if encoder.accepts != "images":
        return {}, ["the inputs are arrays, so nobody can say whether pixels, edges or file sizes tell them apart"]
    readable = {}
    for of, one in inputs.items():
        skipped = {key for key, _ in encoded[of].skipped}
        readable[of] = one.take(np.array([key not in skipped for key in one.keys], dtype=bool)) if skipped else one
    found: dict[str, dict[str, Support]] = {}
    for what, name, signal in (
        ("pixels", "pixels", "features"),
        (protocols.DENSITY, PIXELS_OF_DENSITY, "pixels"),
        ("edges", "edges", "features"),
    ):
        if name != encoder.name:
            found[what] = {
                of: encoders.encode(
                    one, name, [signal], cache=cache, progress=_part(progress, f"{what} of {of}"), workers=workers
                )
                for of, one in readable.items()
            }
    files = {of: one for of, one in readable.items() if isinstance(one, ImageFiles)}
    if len(files) < len(readable):
        others = ", ".join(of for of in readable if of not in files)
        return found, [f"sizes of files are not compared, as these inputs are not files: {others}"]
    found["file size"] = {
        # The logarithm: a file of twice the size is as far off as one of half.
        of: replace(
            encoded[of],
            signals=Signals({"features": np.log([[float(one.size(row))] for row in range(len(one))])}),
            head=None,
            encoder="file size",
            _moments={},
        )
        for of, one in files.items()
    }
    return found, []


def _choose(
    support: Support, guard: OpenSetClassifier, level: Level, progress: Progress | None
) -> tuple[str, protocols.Audit | None, str]:
    """The expression of the detector to fit, the audit behind it, and a sentence why."""
    rest = support.take(guard.set_aside(support.at_level(level))[0])  # refuses too few rows before an audit is made
    why = "the inputs have no labels"
    if support.labels is not None or (level == "names" and support.text is not None):
        labelled = support.labels is not None
        there = len(np.unique(support.labels)) if labelled else len(support.bank("an audit"))  # type: ignore[arg-type]
        why = f"{there} class{'es are' if there > 1 else ' is'} too few to hold one out"
        if there >= FEWEST_CLASSES:
            try:
                found = protocols.audit(
                    support,
                    calibration=guard.calibration,
                    seed=guard.seed,
                    level=level,
                    progress=_part(progress, "holding out classes"),
                )
            except WrongUse as error:
                why = str(error)
            else:
                return found.recommended["expression"], found, found.recommended["sentence"]
    k = next((k for k in (50, 5) if len(rest) >= 10 * k), 1)
    return f"knn(k={k})", None, f"knn(k={k}): {why}, so no audit could choose."


def _copied(verdicts: Verdicts, inputs: ImageFiles, folder: Path) -> Verdicts:
    """Copy the unseen files into ``folder``, never over other content.

    Notes say how many needed another name, and how many could not be copied: they went away since they were scored.
    """
    origins = {key: inputs.path(row) for row, key in enumerate(inputs.keys)}
    renamed = 0
    lost: list[str] = []
    for key, unseen in zip(verdicts.keys, verdicts.unseen.tolist(), strict=True):
        if not unseen:
            continue
        # A manifest may name files anywhere; their copies all lie below the folder.
        wanted = folder.joinpath(*[part for part in Path(key).parts if part not in ("..", os.sep)])
        try:
            content = origins[key].read_bytes()
            target, number = wanted, 1
            while target.exists() and not (target.is_file() and target.read_bytes() == content):
                number += 1
                target = wanted.with_stem(f"{wanted.stem}-{number}")
            there = target.exists()
        except OSError as error:
            lost.append(f"{key} ({(error.strerror or str(error)).lower()})")
            continue
        renamed += target != wanted
        if not there:
            with replacing(target) as file:
                file.write(content)
    notes = list(verdicts.notes)
    if renamed:
        notes.append(f"{renamed:,} copies got a number: {folder} held other files of their names, which stay")
    if lost:
        notes.append(f"{len(lost):,} unseen file{'s' if len(lost) > 1 else ''} could not be copied, such as {lost[0]}")
    return replace(verdicts, notes=tuple(notes))


def _check_names(detectors: Sequence[str] | None) -> None:
    """A slip is named before hours of encoding."""
    for name in detectors or ():
        if name != protocols.ALL:
            registry.create(name)


def _part(progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(what, done, total)
