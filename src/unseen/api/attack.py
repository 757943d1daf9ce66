"""The adversarial audit: unknown images moved until a network takes them for known ones; the files, the page."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from unseen import api, encoders, protocols
from unseen.api import availability
from unseen.api.pages import _level, _percent, _reproduce
from unseen.classifier import short_id
from unseen.data import Inputs
from unseen.encoders import Encoder
from unseen.errors import BadInput
from unseen.files import replacing, write_text
from unseen.protocols.attack import (
    MEASURED,
    ORIGINAL,
    PLAIN,
    SMOOTH,
    SMOOTHED,
    STEPS,
    Adversarial,
    Moved,
    Pictures,
    draw_targets,
    encode_pixels,
    perturb,
    sides,
)
from unseen.report import thumbnail
from unseen.signals import Level, Request, Support

if TYPE_CHECKING:
    from unseen.api.availability import Text

MANIFEST, GRID = "attack.csv", "attack.png"
SHOWN = 6  # images on the grid and on the page
SIDE = 128  # pixels of a small picture on the grid, at least
GAP, LINE = 8, 16  # pixels between pictures, and of a line of text
FACTORS = (1, 2, 5, 10, 20, 50, 100, 200, 500)  # by which a change is magnified, so that it can be seen


def attack(
    known: Any,
    unknown: Any,
    encoder: str | Encoder | None = None,
    *,
    known_test: Any = None,
    out: str | os.PathLike[str] | None = None,
    smooth: float = SMOOTH,
    steps: int = STEPS,
    n: int = 200,
    detectors: Sequence[str] | None = None,
    labels: Level = "labels",
    text: Text = None,
    confidence: float = 0.95,
    cache: api.Cache = None,
    limit: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    workers: int | None = None,
    progress: api.Progress | None = None,
) -> protocols.Attack:
    """Move unknown images until the network takes them for known ones, and ask every detector before and after.

    Each unknown image gets a random known image as target and is changed so that its features point where the target's
    do. Detectors are asked about the images as files hold them, in 8 bits, and as the attack left them, in float; and
    they are fitted with the targets and without them. See `unseen.protocols.attack`.

    Args:
        known: known images, as for `encode`; split 60/40 by class, groups whole, into those that are learnt from, the
            targets among them, and those that are tested.
        unknown: unknown images, as for `encode`; their labels are not read.
        encoder: a network; by default ``packaged``.
        known_test: known images to test on; all of ``known`` is then learnt from.
        out: folder for ``attack/`` and ``attack-smooth/`` (PNG), a manifest ``attack.csv`` and a grid ``attack.png``;
            nothing is written by default.
        smooth: weight of the smoothness of the second set; with 0 there is only the first, which has none.
        steps: of the attack; each is a pass forward and one backward.
        n: at most so many unknown images.
        detectors: registered names or expressions; by default ``knn(k=1)``, which the paper reads, and all that need
            nothing but features and a head.
        labels: what detectors may learn from, as for `audit`.
        text: the class names as texts, as for `audit`.
        confidence: of the intervals.
        cache: as for `encode`; moved images are not kept there.
        limit: at most so many known inputs, and known test inputs.
        seed: of every draw: the split, the images, their targets, the noise at the start.
        device: where the network runs.
        workers: as for `encode`.
        progress: called with (what is being done, done, in all).

    Raises:
        WrongUse: when the encoder has no network, or for settings that make no sense.
        BadInput: when inputs are arrays, too few unknown images are left, or ``out`` holds an attack already.
        NotEnoughKnown: when known inputs are too few to split, a class has only targets, or no detector can be fitted.

    Source: Adaloglou, Michels, Kaiser, Kollmann, "Adapting Contrastive Language-Image Pretrained (CLIP) Models for
    Out-of-Distribution Detection", TMLR 2023, section 3.4.
    """
    api._check_names(detectors)
    folder = None if out is None else _free(Path(out))
    given = {"known": known, "known test": known_test, "unknown": unknown}
    inputs = {
        of: api._inputs(source, n if of == "unknown" else limit, seed)
        for of, source in given.items()
        if source is not None
    }
    for of, one in inputs.items():
        if one.kind != "images":
            raise BadInput(f"{of} ({one.source}) holds arrays, and an attack moves pixels: give images")
    inputs, left_out = api._without_copies(inputs)
    made = api._encoder(inputs["known"], encoder, device)
    network = made.differentiable()  # refuses before anything is encoded
    bank = availability.known_texts(text, labels, inputs["known"], made, cache, api._part(progress, "reading texts"))
    at_fit, at_query = protocols.requests_of(detectors)
    free = {request for request in at_fit | at_query if request.passes == (0, 0)}
    plain = availability.signals_for(detectors, made, bank is not None)
    encoded: dict[str, Support] = {}
    for of, one in inputs.items():
        wanted = _wanted(plain, free | (at_fit if of == "known" else at_query), made)
        part = api._part(progress, f"encoding {of}")
        encoded[of] = encoders.encode(one, made, wanted, cache=cache, progress=part, workers=workers)
    encoded["known"] = replace(encoded["known"], text=bank)
    originals = encoded["unknown"]
    if len(originals) < 2:
        raise BadInput(f"unknown ({inputs['unknown'].source}): one image is too few to judge an attack by: give more")
    fit, test, warnings = sides(encoded["known"], originals, encoded.get("known test"), seed)
    targets = draw_targets(fit, len(originals), seed)
    pixels = _prepared(inputs["unknown"], originals.keys, made)
    goals = fit.gather("features")[torch.from_numpy(targets)]
    moved = {}
    for name, weight in {PLAIN: 0.0, **({SMOOTHED: smooth} if smooth else {})}.items():
        what = "moving images" if name == PLAIN else "moving images smoothly"
        x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        part = api._part(progress, what)
        change = perturb(network, x, goals, smooth=weight, steps=steps, seed=seed, progress=part)
        moved[name] = _moved(change, weight, originals, _wanted(plain, free | at_query, made), made, workers)
    found = protocols.attack(
        fit,
        test,
        originals,
        moved,
        targets,
        copies=_copies(inputs["known"], fit, targets),
        detectors=detectors,
        confidence=confidence,
        steps=steps,
        seed=seed,
        level=labels,
        progress=api._part(progress, "fitting and scoring"),
        asking=api._part(progress, "passes of their own"),
    )
    shown = np.linspace(0, len(originals) - 1, min(SHOWN, len(originals))).astype(int)
    goal = _prepared(inputs["known"], [fit.keys[row] for row in targets[shown].tolist()], made)
    found = replace(
        found,
        warnings=[*warnings, *found.warnings],
        left_out=left_out,
        skipped=tuple((of, *pair) for of, support in encoded.items() for pair in support.skipped),
        notes=tuple(f"{of}: {note}" for of, support in encoded.items() for note in support.notes),
        pictures=tuple(
            _pictures(found, row, pixels[row], goal[at], {name: one.change for name, one in moved.items()})
            for at, row in enumerate(shown.tolist())
        ),
    )
    if folder is not None:
        _write(found, {name: one.change for name, one in moved.items()}, folder)
    return found


def _free(folder: Path) -> Path:
    """The folder, where nothing of an attack would be written over."""
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder}: is a file; name a folder to write the images to")
    there = [name for name in (PLAIN, SMOOTHED, MANIFEST, GRID) if (folder / name).exists()]
    if there:
        raise BadInput(f"{folder}: holds {there[0]} already; name another folder, or remove it")
    return folder


def _wanted(plain: Sequence[str], requests: set[Request] | frozenset[Request], encoder: Encoder) -> list[str | Request]:
    return [*plain, *(request for request in requests if encoder.refusal(request) is None)]


def _prepared(inputs: Inputs, keys: Sequence[str], encoder: Encoder) -> NDArray[np.uint8]:
    """Images by their keys as the network sees them, ``(N, H, W, 3)``."""
    place = {key: row for row, key in enumerate(inputs.keys)}
    return np.stack([encoder.prepare(inputs.read(place[key])) for key in keys])


def _moved(
    change: Adversarial,
    smooth: float,
    originals: Support,
    wanted: Sequence[str | Request],
    encoder: Encoder,
    workers: int | None,
) -> Moved:
    # Not kept: nobody will ask for these very images again.
    made = encoders.encode({"images": change.eight_bit()}, encoder, wanted, cache=False, workers=workers)
    eight_bit = replace(made, keys=originals.keys, groups=originals.groups)
    return Moved(smooth, change, eight_bit, encode_pixels(encoder, change.images, wanted, eight_bit))


def _copies(known: Inputs, fit: Support, targets: NDArray[np.int64]) -> list[int]:
    """Rows to learn from whose bytes are those of a target."""
    digest = dict(zip(known.keys, known.digests(), strict=True))
    of_targets = {digest[fit.keys[row]] for row in targets.tolist()}
    return [row for row, key in enumerate(fit.keys) if digest[key] in of_targets]


def _pictures(
    found: protocols.Attack,
    row: int,
    original: NDArray[np.uint8],
    goal: NDArray[np.uint8],
    changes: Mapping[str, Adversarial],
) -> Pictures:
    about = found.images[PLAIN][row]
    moved = {name: change.images[row].permute(1, 2, 0).numpy() for name, change in changes.items()}
    return Pictures(
        about["source"],
        about["target"],
        original,
        goal,
        {name: (255 * image).round().astype(np.uint8) for name, image in moved.items()},
        {name: image - np.float32(1 / 255) * original.astype(np.float32) for name, image in moved.items()},
    )


def _write(found: protocols.Attack, changes: Mapping[str, Adversarial], folder: Path) -> None:
    """The images without loss, the manifest over them, and the grid."""
    text = io.StringIO()
    columns = ["path", "set", "source", "target", *MEASURED, "success", "detector"]
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    digits = max(4, len(str(found.n_unknown)))
    for name, change in changes.items():
        for row, (pixels, about) in enumerate(zip(change.eight_bit(), found.images[name], strict=True)):
            path = f"{name}/{row:0{digits}d}.png"
            with replacing(folder / path) as file:
                Image.fromarray(pixels).save(file, "PNG")
            writer.writerow({"path": path, "set": name, **about, "detector": found.rows[0].name})
    with replacing(folder / GRID) as file:
        grid(found.pictures).save(file, "PNG")
    write_text(folder / MANIFEST, text.getvalue())


def factors(pictures: Sequence[Pictures]) -> dict[str, int]:
    """By how much the change of each set is magnified where it is shown: as far as the largest one allows.

    >>> grey = np.full((2, 2, 3), 128, dtype=np.uint8)
    >>> factors([Pictures("a", "b", grey, grey, {"attack": grey}, {"attack": np.full((2, 2, 3), 0.02, np.float32)})])
    {'attack': 20}
    """
    largest = {name: max(float(np.abs(one.change[name]).max()) for one in pictures) for name in pictures[0].change}
    return {name: max([1, *(f for f in FACTORS if f * most <= 0.5)]) for name, most in largest.items()}


def _magnified(change: NDArray[np.float32], factor: int) -> NDArray[np.uint8]:
    """Grey where nothing changed, lighter and darker by ``factor`` times the change."""
    return np.asarray((255 * (0.5 + factor * change).clip(0, 1)).round().astype(np.uint8))


def _strip(one: Pictures, by: Mapping[str, int]) -> list[tuple[str, NDArray[np.uint8]]]:
    """Pictures of one image with what is written over them, from the original to the target."""
    strip = [(ORIGINAL, one.original)]
    for name, image in one.moved.items():
        strip += [(name, image), (f"change x {by[name]}", _magnified(one.change[name], by[name]))]
    return [*strip, ("target", one.goal)]


def grid(pictures: Sequence[Pictures]) -> Image.Image:
    """One picture of some images: a row each, from the original over what became of it to the target.

    Changes are shown on grey, magnified by the factor that stands above them.
    """
    by, font = factors(pictures), ImageFont.load_default()
    strips = [_strip(one, by) for one in pictures]
    height, width = pictures[0].original.shape[:2]
    enlarged = max(1, SIDE // max(height, width))
    height, width = height * enlarged, max(width * enlarged, SIDE)
    columns = len(strips[0])
    sheet = Image.new("RGB", (GAP + columns * (width + GAP), GAP + LINE + len(strips) * (height + GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, (title, _) in enumerate(strips[0]):
        draw.text((GAP + column * (width + GAP), GAP // 2), title, fill="black", font=font)
    for row, strip in enumerate(strips):
        for column, (_, pixels) in enumerate(strip):
            image = Image.fromarray(pixels)
            image = image.resize((image.width * enlarged, image.height * enlarged), Image.Resampling.NEAREST)
            sheet.paste(image, (GAP + column * (width + GAP), GAP + LINE + row * (height + GAP)))
    return sheet


def attack_page(found: protocols.Attack, *, command: str | None = None) -> dict[str, Any]:
    """The page of an attack.

    Args:
        found: what `attack` returned.
        command: as it was typed, to be repeated.

    Returns:
        Results for `unseen.report.render`.
    """
    told, first = found.to_dict(), found.rows[0]
    names = (ORIGINAL, *found.sets)
    before, after = first.cell(ORIGINAL), first.cell(PLAIN)
    by = factors(found.pictures)
    return {
        "title": "unseen: attack",
        "question": f"Do detectors notice {found.n_unknown:,} unknown images after they were changed so that the "
        "network finds in them what it finds in known ones?",
        "answer": f"{first.name}: AUROC {_percent(before['auroc'])} before and {_percent(after['auroc'])} after; "
        f"{_percent(after['success'])} of the changed images are taken for known, {_percent(before['success'])} of the "
        "originals.",
        "attack": told
        | {
            "encoder": short_id(found.encoder),
            "notes": [
                *(f"{count:,} of {of} left out: exact copies of known inputs" for of, count in found.left_out.items()),
                *found.notes,
            ],
            "names": names,
            "table": [{"name": row.name, "cells": [row.cell(name) for name in names]} for row in found.rows],
            "first": [
                {"images": cell["images"], "pixels": cell["pixels"], "targets": cell["targets"], **cell}
                for cell in first.cells
            ],
            "first_name": first.name,
            "pictures": [
                {
                    "source": one.source,
                    "target": one.target,
                    "images": [
                        {"title": title, "image": thumbnail(pixels, 128), "alt": _alt(title, one)}
                        for title, pixels in _strip(one, by)
                    ],
                }
                for one in found.pictures
            ],
            "promise_title": "What the numbers say",
            "promise": f"Each image was moved towards the features of one known image, in {found.steps:,} steps, by "
            "somebody who has the network. Detectors were not attacked themselves; they were fitted at their defaults, "
            f"in the table without any of the {found.n_targets:,} targets, and read the images in 8 bits, as files "
            f"hold them. Intervals ({_level(found.confidence)}) are for new images like these, under the same attack.",
            "does_not_title": "What they do not say",
            "does_not_promise": "How a detector fares under an attack on itself, which may take it further down; nor "
            "that a detector that stands here is safe. Other networks were not asked about these images.",
        },
        "reproduce": _reproduce(command, found.seed),
    }


def _alt(title: str, one: Pictures) -> str:
    if title == ORIGINAL:
        return f"The unknown image {one.source} as it was"
    if title == "target":
        return f"The known image {one.target} that {one.source} was moved towards"
    if title.startswith("change"):
        return f"What was changed of {one.source}, {title.removeprefix('change x ')} times magnified, on grey"
    return f"{one.source} after the {'smooth attack' if title == SMOOTHED else 'attack'}"
