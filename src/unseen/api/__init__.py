"""The verbs of a notebook, one a command: each does what the command of its name does and returns the result."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unseen import encoders, protocols, registry
from unseen.classifier import OpenSetClassifier, Verdicts, set_aside
from unseen.data import Inputs, open_inputs
from unseen.encoders import Encoder, open_encoder
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.files import replacing
from unseen.signals import Request, Support

Progress = Callable[[str, int, int], None]
Cache = str | os.PathLike[str] | bool | None
FEWEST_CLASSES = 3  # an audit holds one out and needs two to know


@dataclass(frozen=True)
class Fitted:
    """A fitted classifier and how its detector was chosen.

    Attributes:
        classifier: ready to `predict` and `save`.
        audit: the audit that chose the detector; None where one was named or none could be made.
        reason: one sentence.
    """

    classifier: OpenSetClassifier
    audit: protocols.Audit | None
    reason: str


def encode(
    source: Any,
    encoder: str | Encoder | None = None,
    wanted: Sequence[str | Request] | None = None,
    *,
    cache: Cache = None,
    limit: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Support:
    """One pass over the inputs: everything wanted, kept in a store.

    Args:
        source: a folder of class folders, a manifest, an array file, arrays, or `Inputs`.
        encoder: name or object; by default ``packaged`` for images and ``arrays`` for arrays.
        wanted: signals and requests; by default all that the encoder gives.
        cache: folder of the store; None is the user's cache folder, False keeps nothing.
        limit: at most so many inputs, drawn by class under the seed.
        seed: of that draw.
        device: where the network runs.
        progress: called with (what is being done, done, in all).

    Returns:
        A `Support`; unreadable inputs are listed in its ``skipped``.
    """
    inputs = open_inputs(source, limit=limit, seed=seed)
    made = _encoder(inputs, encoder, device)
    return encoders.encode(inputs, made, wanted, cache=cache, progress=_part(progress, "encoding"))


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
    pixels: bool = True,
    progress: Progress | None = None,
) -> protocols.Audit:
    """Say which detector should guard this data, and how good it will be on classes nobody has collected.

    Args:
        source: labelled known inputs, as for `encode`.
        encoder: as for `encode`.
        detectors: registered names to try; all by default.
        held_out: classes to hold out, or how many; all by default.
        repeats: random splits, averaged inside each class.
        cache: as for `encode`.
        limit: as for `encode`.
        seed: of every draw.
        device: where the network runs.
        pixels: also score raw pixels, the row that shows when a task is trivial.
        progress: called with (what is being done, done, in all).

    Raises:
        WrongUse: without labels or with fewer than three classes; `fit` works all the same.
    """
    inputs = open_inputs(source, limit=limit, seed=seed)
    made = _encoder(inputs, encoder, device)
    support = _features(inputs, made, cache, progress)
    raw = None
    if pixels and inputs.kind == "images" and made.name != "pixels":
        raw = encoders.encode(inputs, "pixels", cache=cache, progress=_part(progress, "pixels"))
    return _audit(support, detectors, held_out, repeats, seed, raw, progress)


def fit(
    source: Any,
    encoder: str | Encoder | None = None,
    detector: str = "auto",
    *,
    alpha: float = 0.05,
    calibration: float = 0.2,
    cache: Cache = None,
    limit: int | None = None,
    seed: int = 0,
    device: str = "cpu",
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
        cache: as for `encode`.
        limit: as for `encode`.
        seed: of every draw.
        device: where the network runs.
        progress: called with (what is being done, done, in all).

    Raises:
        NotEnoughKnown: when too few rows are set aside to promise ``alpha``.
    """
    inputs = open_inputs(source, limit=limit, seed=seed)
    made = _encoder(inputs, encoder, device)
    support = _features(inputs, made, cache, progress)
    found: protocols.Audit | None = None
    reason = f"{detector} was asked for."
    if detector == "auto":
        detector, found, reason = _choose(support, calibration, seed, progress)
    guard = OpenSetClassifier(made, detector, alpha=alpha, calibration=calibration, seed=seed).fit(support)
    guard.about |= {"source": inputs.source, "chosen": reason}
    if found is not None:
        guard.about["audit"] = {
            "recommended": found.recommended,
            "warnings": found.warnings,
            "repeats": found.repeats,
        }
    return Fitted(guard, found, reason)


def load(
    path: str | os.PathLike[str], *, encoder: str | Encoder | None = None, device: str = "cpu"
) -> OpenSetClassifier:
    """A classifier that was saved; see `OpenSetClassifier.load`."""
    return OpenSetClassifier.load(path, encoder=encoder, device=device)


def score(
    guard: str | os.PathLike[str] | OpenSetClassifier,
    source: Any,
    *,
    encoder: str | Encoder | None = None,
    alpha: float | None = None,
    cache: Cache = False,
    limit: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Verdicts:
    """Say which inputs are known.

    Args:
        guard: a fitted classifier or the file of one.
        source: inputs, labelled or not, as for `encode`.
        encoder: needed where the file cannot hold it.
        alpha: another false-alarm rate than that of the fit.
        cache: a store for the encoding; nothing is kept by default.
        limit: at most so many inputs.
        seed: of that draw.
        device: where the network runs.
        progress: called with (what is being done, done, in all).
    """
    classifier = guard if isinstance(guard, OpenSetClassifier) else load(guard, encoder=encoder, device=device)
    inputs = open_inputs(source, limit=limit, seed=seed)
    return classifier.predict(inputs, alpha=alpha, cache=cache, progress=_part(progress, "encoding"))


def info(guard: str | os.PathLike[str]) -> dict[str, Any]:
    """What a saved classifier holds; its encoder is not needed."""
    return load(guard).info()


def catalogue() -> dict[str, list[dict[str, Any]]]:
    """Every registered detector, head and encoder with what it needs and where it comes from."""
    rooms: dict[str, list[dict[str, Any]]] = {}
    for room in registry.ROOMS:
        rooms[room] = []
        for name in registry.names(room):
            part = registry.find(room, name)
            about: dict[str, Any] = {"name": name, "summary": (part.__doc__ or "").strip().splitlines()[0]}
            if room != "encoders":
                made = part()
                about |= {"reads": sorted(made.reads()), "labels": made.labels, "arguments": made.arguments()}
                paper = made.paper
                about["source"] = f"{paper.authors}, {paper.venue} {paper.year}" if paper else None
            else:
                about["reads"] = [part.accepts]
            rooms[room].append(about)
    return rooms


def write_arrays(support: Support, path: str | os.PathLike[str]) -> Path:
    """Write an encoding to one ``.npz`` file, which every verb reads again with the encoder ``arrays``.

    Raises:
        WrongUse: when the name does not end in ``.npz``.
    """
    target = Path(path)
    if target.suffix != ".npz":
        raise WrongUse(f"{target}: encodings are written as .npz")
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


def _encoder(inputs: Inputs, encoder: str | Encoder | None, device: str) -> Encoder:
    if encoder is None:
        encoder = "arrays" if inputs.kind == "arrays" else "packaged"
    return open_encoder(encoder, device)


def _features(inputs: Inputs, encoder: Encoder, cache: Cache, progress: Progress | None) -> Support:
    wanted = None if encoder.accepts == "arrays" else ["features"]
    return encoders.encode(inputs, encoder, wanted, cache=cache, progress=_part(progress, "encoding"))


def _audit(
    support: Support,
    detectors: Sequence[str] | None,
    held_out: int | Sequence[str] | None,
    repeats: int,
    seed: int,
    raw: Support | None,
    progress: Progress | None,
    calibration: float = 0.2,
) -> protocols.Audit:
    return protocols.audit(
        support,
        detectors=detectors,
        held_out=held_out,
        repeats=repeats,
        calibration=calibration,
        seed=seed,
        pixels=raw,
        progress=_part(progress, "holding out classes"),
    )


def _choose(
    support: Support, calibration: float, seed: int, progress: Progress | None
) -> tuple[str, protocols.Audit | None, str]:
    """The expression of the detector to fit, the audit behind it, and a sentence why."""
    if support.labels is None or len(support.classes) < FEWEST_CLASSES:
        rest = support.take(set_aside(support, calibration, seed)[0])
        why = "the inputs have no labels" if support.labels is None else f"{len(support.classes)} classes are too few"
        for k in (50, 5, 1):
            if len(rest) >= k:
                return (
                    f"knn(k={k})",
                    None,
                    f"knn(k={k}): {why} to hold a class out, so no audit could choose.",
                )
        raise NotEnoughKnown("there are no inputs to learn from once calibration rows are set aside")
    found = _audit(support, None, None, 3, seed, None, progress, calibration)
    return found.recommended["expression"], found, found.recommended["sentence"]


def _part(progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(what, done, total)
