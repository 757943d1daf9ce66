"""Unknown images moved until a network takes them for known ones, and detectors before and after."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from unseen.data import Progress
from unseen.encoders import Encoder
from unseen.errors import BadInput, NotEnoughKnown, WrongUse
from unseen.metrics.counts import needed
from unseen.protocols.bench import BenchRow, Sources, _asked, _check, _divided, _other_classes, _Parts, _scored
from unseen.protocols.candidates import Candidate, candidates
from unseen.signals import Level, Request, Signals, Support, key_of

STEPS, RATE, NOISE = 250, 1e-3, 1e-3  # of the paper; the last is the deviation of the first perturbation
SMOOTH = 5e3  # the weight of the smoothness in the paper
BATCH = 16  # images that are moved at once, as in the paper; they do not depend on each other
ROWS = 32  # images of float pixels that the encoder answers about at once
FIRST = "knn(k=1)"  # the score that the paper's table reads
ACCEPTED = 0.95  # share of the known test inputs above the threshold that a success passes
ORIGINAL, PLAIN, SMOOTHED = "original", "attack", "attack-smooth"


def roughness(change: Tensor) -> Tensor:
    """Mean square of the differences between neighbouring pixels, down and across: ``(B, C, H, W) -> (B,)``.

    Differences are forward; beyond the last row and column they are 0 and count in the mean.

    Source: Adaloglou, Michels, Kaiser, Kollmann, "Adapting Contrastive Language-Image Pretrained (CLIP) Models for
    Out-of-Distribution Detection", TMLR 2023, section 3.4.

    >>> roughness(torch.tensor([[[[0.0, 1.0], [2.0, 4.0]]]]))  # (2^2 + 3^2) / 4 + (1^2 + 2^2) / 4
    tensor([4.5000])
    """
    down, across = (change.diff(dim=axis).square().sum(dim=(1, 2, 3)) for axis in (2, 3))
    return (down + across) / math.prod(change.shape[1:])


@dataclass(frozen=True)
class Adversarial:
    """Images that were moved towards targets, and how far.

    Attributes:
        images: ``(N, C, H, W)`` float in ``[0, 1]``, on the CPU.
        before: ``(N,)`` cosine of each original's features and its target's.
        after: ``(N,)`` the same of the moved image.
        rounded: ``(N,)`` the same of the moved image in 8 bits.
        l2: ``(N,)`` length of the change, in units of ``[0, 1]``.
        linf: ``(N,)`` its largest value.
        roughness: ``(N,)`` of the change; see `roughness`.
    """

    images: Tensor
    before: Tensor
    after: Tensor
    rounded: Tensor
    l2: Tensor
    linf: Tensor
    roughness: Tensor

    def eight_bit(self) -> NDArray[np.uint8]:
        """The images as a file holds them, ``(N, H, W, C)``."""
        return np.asarray(_rounded(self.images).permute(0, 2, 3, 1).contiguous().numpy())


def perturb(
    network: nn.Module,
    images: Tensor,
    targets: Tensor,
    *,
    smooth: float = 0.0,
    steps: int = STEPS,
    rate: float = RATE,
    noise: float = NOISE,
    seed: int = 0,
    batch: int = BATCH,
    progress: Progress | None = None,
) -> Adversarial:
    """Move images until a network's features of them point where those of their targets do.

    Each change ``r`` of an image ``x`` is ``argmin -cos(g(t), g(x + r)) + smooth * roughness(r)`` by Adam, from normal
    noise. After the start and after each step it is cut so that ``x + r`` stays in ``[0, 1]``; its size has no other
    bound. Losses are summed over a batch, so that an image does not depend on the others.

    Args:
        network: pixels ``(B, C, H, W)`` in ``[0, 1]`` -> features ``(B, D)``; see `Encoder.differentiable`.
        images: ``(N, C, H, W)`` in ``[0, 1]``.
        targets: ``(N, D)`` features that the images shall have.
        smooth: weight of the roughness; 0 leaves it out.
        steps: of Adam, from 1.
        rate: of Adam.
        noise: standard deviation of the first change.
        seed: of that noise. An image's noise depends on its place, not on the batch.
        batch: images that are moved at once.
        progress: called with (steps done, steps in all), over all batches.

    Raises:
        WrongUse: for arguments that make no sense, or a network without slopes.

    Source: Adaloglou et al., TMLR 2023, section 3.4 and appendix: 250 steps at a rate of 1e-3, ``smooth`` 0 or 5e3.
    Differs: the authors' code takes the mean of a batch. Adam does not mind the scale of a loss, up to its epsilon.

    >>> grey, target = torch.full((1, 3, 2, 2), 0.5), torch.linspace(0, 1, 12)[None]
    >>> moved = perturb(nn.Flatten(), grey, target, steps=50)  # features are the pixels themselves
    >>> round(moved.before.item(), 2), round(moved.after.item(), 2), round(moved.linf.item(), 2)
    (0.85, 0.89, 0.05)
    """
    if images.ndim != 4 or not bool(((images >= 0) & (images <= 1)).all()):
        raise WrongUse(f"images are (N, C, H, W) within 0 and 1, got {tuple(images.shape)}")
    if len(targets) != len(images):
        raise WrongUse(f"{len(images):,} images came with {len(targets):,} targets: give each its own")
    _check_settings(smooth, steps, rate, noise, batch)
    device = next(itertools.chain(network.parameters(), network.buffers()), images).device
    generator = torch.Generator().manual_seed(seed)
    total = steps * math.ceil(len(images) / batch)
    parts: list[Adversarial] = []
    # A caller's inference mode would forbid the slopes.
    with torch.inference_mode(False), torch.enable_grad():
        for start in range(0, len(images), batch):
            x, goal = (some[start : start + batch].clone().to(device) for some in (images, targets))
            first = torch.stack([torch.randn(x.shape[1:], generator=generator, dtype=x.dtype) for _ in x])
            change = _cut(noise * first.to(device), x).requires_grad_(True)
            optimiser = torch.optim.Adam([change], lr=rate)
            for step in range(steps):
                features = network(x + change)
                if not features.requires_grad:
                    raise WrongUse("the network gives features without slopes: it cuts the gradient on its way")
                loss = -cosine_similarity(features, goal, dim=1).sum()
                if smooth:
                    loss = loss + smooth * roughness(change).sum()
                (change.grad,) = torch.autograd.grad(loss, change)
                optimiser.step()
                with torch.no_grad():
                    change.copy_(_cut(change, x))
                if progress is not None:
                    progress(steps * (start // batch) + step + 1, total)
            parts.append(_judged(network, x, change.detach(), goal))
    names = Adversarial.__dataclass_fields__
    return Adversarial(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def _check_settings(smooth: float, steps: int, rate: float, noise: float, batch: int) -> None:
    for name, value, least in (("smooth", smooth, 0), ("noise", noise, 0), ("steps", steps, 1), ("batch", batch, 1)):
        if not (math.isfinite(value) and value >= least):
            raise WrongUse(f"{name}={value}: give a number from {least}")
    if not (math.isfinite(rate) and rate > 0):
        raise WrongUse(f"rate={rate}: give a number above 0")


def _cut(change: Tensor, x: Tensor) -> Tensor:
    """The change, where it would leave the range of pixels cut to its ends."""
    return change.clamp(min=-x, max=1 - x)


def _rounded(images: Tensor) -> Tensor:
    return (255 * images).round().to(torch.uint8)


def _judged(network: nn.Module, x: Tensor, change: Tensor, goal: Tensor) -> Adversarial:
    moved = (x + change).clamp(0, 1)  # x + (1 - x) may be off by a rounding
    with torch.no_grad():
        before, after, rounded = (
            cosine_similarity(network(one), goal, dim=1).cpu() for one in (x, moved, _rounded(moved).to(x) / 255)
        )
    flat = change.flatten(1)
    return Adversarial(
        moved.cpu(),
        before,
        after,
        rounded,
        l2=flat.norm(dim=1).cpu(),
        linf=flat.abs().amax(dim=1).cpu(),
        roughness=roughness(change).cpu(),
    )


def encode_pixels(encoder: Encoder, images: Tensor, wanted: Sequence[str | Request], like: Support) -> Support:
    """Signals of float pixels, which no file holds; rows are those of ``like``, whose keys and groups they get.

    Args:
        encoder: one with a network.
        images: ``(N, 3, H, W)`` in ``[0, 1]``, of the size that the encoder prepares.
        wanted: signals and requests.
        like: the same rows, encoded otherwise.
    """
    more = _Pixels(encoder, images)
    columns = more(np.arange(len(images)), frozenset(wanted), None)
    return replace(like, signals=Signals(columns, more=more), _moments={})


class _Pixels:
    """An encoder with float pixels at hand: what signals ask when a detector needs more of them."""

    def __init__(self, encoder: Encoder, images: Tensor) -> None:
        self.encoder, self.images = encoder, images

    def refusal(self, request: Request) -> str | None:
        return self.encoder.refusal(request)

    def __call__(
        self, rows: NDArray[Any], wanted: frozenset[str | Request], progress: Progress | None
    ) -> dict[str, NDArray[Any]]:
        parts: dict[str, list[NDArray[Any]]] = {key_of(want): [] for want in wanted}
        for start in range(0, len(rows), ROWS):
            some = self.images[torch.from_numpy(rows[start : start + ROWS])]
            pixels = (255 * some).permute(0, 2, 3, 1).contiguous().numpy()
            for key, answer in self.encoder.answer(pixels, wanted).items():
                parts[key].append(answer.cpu().numpy())
            if progress is not None:
                progress(min(start + ROWS, len(rows)), len(rows))
        return {key: np.concatenate(part) for key, part in parts.items()}


@dataclass(frozen=True)
class Moved:
    """One adversarial set.

    Attributes:
        smooth: weight of the roughness that it was made with.
        change: the images and how far they were moved.
        eight_bit: signals of the images as files hold them.
        exact: signals of the same images in float, as the attack left them.
    """

    smooth: float
    change: Adversarial
    eight_bit: Support
    exact: Support


@dataclass(frozen=True)
class Pictures:
    """What one image, its target and what became of it look like.

    Attributes:
        source: key of the image.
        target: key of its target.
        original: ``(H, W, 3)`` uint8.
        goal: the target, likewise.
        moved: name of the set -> the moved image, likewise.
        change: name of the set -> ``(H, W, 3)`` float, the change in units of ``[0, 1]``.
    """

    source: str
    target: str
    original: NDArray[np.uint8]
    goal: NDArray[np.uint8]
    moved: dict[str, NDArray[np.uint8]]
    change: dict[str, NDArray[np.float32]]


@dataclass
class AttackRow:
    """One detector on the originals and on each adversarial set.

    Attributes:
        name: expression of the pipeline.
        cells: of each set ``images`` (``"original"``, ``"attack"``, ``"attack-smooth"``), ``pixels`` (``"8-bit"`` or
            ``"float"``) and ``targets`` (whether the detector learnt from the targets too): numbers as
            `Evaluation.to_dict` gives them, ``success``, the share of the images above the threshold that 95 % of the
            known test inputs pass, and ``success_interval`` (Wilson).
    """

    name: str
    cells: list[dict[str, Any]] = field(default_factory=list)

    def cell(self, images: str, pixels: str = "8-bit", targets: bool = False) -> dict[str, Any]:
        """The numbers of one set."""
        return next(c for c in self.cells if (c["images"], c["pixels"], c["targets"]) == (images, pixels, targets))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; fractions."""
        return {"name": self.name, "cells": self.cells}


@dataclass
class Attack:
    """What an attack found.

    Attributes:
        rows: detectors; the first that was tried, by default ``knn(k=1)``, then the others by their AUROC before.
        sets: ``"attack"``, ``"attack-smooth"`` -> ``smooth``, and of ``before``, ``after``, ``rounded`` (cosine to the
            target), ``l2``, ``linf`` and ``roughness`` the ``mean``, ``least`` and ``most`` over images.
        images: the same set -> of each image ``source`` and ``target`` (keys), these numbers, and ``success``: whether
            the first detector, fitted without the targets, takes the image in 8 bits for known.
        warnings: what the reader must know before believing the numbers.
        not_tried: detector -> why it could not be tried.
        n_targets: distinct known inputs that were targets.
        n_removed: known inputs that were taken away with them, exact copies of targets among them.
        left_out: source -> how many of its inputs were exact copies of known ones, where there were any.
        skipped: ``(source, key, reason)`` of inputs that could not be read.
        pictures: some of the images, to be looked at; not part of the JSON.
    """

    rows: list[AttackRow]
    sets: dict[str, dict[str, Any]]
    images: dict[str, list[dict[str, Any]]]
    warnings: list[str]
    not_tried: dict[str, str]
    n_fit: int
    n_known_test: int
    n_unknown: int
    n_targets: int
    n_removed: int
    steps: int
    seed: int
    confidence: float
    encoder: str
    classes: tuple[str, ...]
    level: Level = "labels"
    left_out: dict[str, int] = field(default_factory=dict)
    skipped: tuple[tuple[str, str, str], ...] = ()
    notes: tuple[str, ...] = ()
    pictures: tuple[Pictures, ...] = ()

    def __repr__(self) -> str:
        first = self.rows[0]
        found = ", ".join(f"{name} {first.cell(name)['auroc']:.3f}" for name in (ORIGINAL, *self.sets))
        return f"Attack({first.name}: {found}; detectors: {len(self.rows)}, images: {self.n_unknown})"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; fractions."""
        return {
            "detectors": [row.to_dict() for row in self.rows],
            "sets": self.sets,
            "images": self.images,
            "warnings": self.warnings,
            "not_tried": self.not_tried,
            "n_fit": self.n_fit,
            "n_known_test": self.n_known_test,
            "n_unknown": self.n_unknown,
            "n_targets": self.n_targets,
            "n_removed": self.n_removed,
            "classes": len(self.classes),
            "steps": self.steps,
            "seed": self.seed,
            "confidence": self.confidence,
            "encoder": self.encoder,
            "level": self.level,
            "left_out": self.left_out,
            "skipped": [{"source": of, "path": key, "reason": reason} for of, key, reason in self.skipped],
            "notes": list(self.notes),
        }


def sides(
    known: Support, unknown: Support, known_test: Support | None = None, seed: int = 0
) -> tuple[Support, Support, list[str]]:
    """Known inputs to learn from and to test on, as a bench divides them, and warnings.

    Raises:
        BadInput: when a source is empty, or has other signals than the known inputs.
        NotEnoughKnown: when known inputs are too few to split.
    """
    sources = Sources(known, near={ORIGINAL: unknown}, known_test=known_test)
    _check(sources)
    parts, warnings = _divided(sources, seed)
    return parts.fit, parts.test, warnings


def draw_targets(fit: Support, n: int, seed: int) -> NDArray[np.int64]:
    """Rows of the known inputs to learn from that ``n`` unknown images are moved towards; with replacement."""
    return np.random.default_rng(seed).integers(len(fit), size=n)


def attack(
    fit: Support,
    test: Support,
    originals: Support,
    moved: Mapping[str, Moved],
    targets: NDArray[np.int64],
    *,
    copies: Sequence[int] = (),
    detectors: Sequence[str] | None = None,
    confidence: float = 0.95,
    steps: int = STEPS,
    seed: int = 0,
    level: Level = "labels",
    progress: Progress | None = None,
    asking: Progress | None = None,
) -> Attack:
    """Detectors on unknown images before and after they were moved towards known ones.

    Every detector is fitted twice at its defaults: on all known inputs to learn from, and without any of the targets,
    so that no image is known merely by lying beside the one it was moved to.

    Args:
        fit: known inputs to learn from, the targets among them.
        test: known inputs to test on.
        originals: the unknown images before.
        moved: ``"attack"``, ``"attack-smooth"`` -> what became of them, in the same order.
        targets: ``(N,)`` the row of ``fit`` that each image was moved to.
        copies: other rows of ``fit`` that are exact copies of targets and leave with them.
        detectors: registered names or expressions, as for `candidates`; by default all that it tries by itself, and
            ``knn(k=1)`` before them.
        confidence: of the intervals.
        steps: that the attack took, for the record.
        seed: likewise.
        level: what detectors may learn from; see `Support.at_level`.
        progress: called with (fits done, fits in all).
        asking: called with (rows done, rows in all) while the encoder makes passes of their own.

    Raises:
        BadInput: when rows of a moved set are not those of the originals.
        NotEnoughKnown: when a class has only targets, or no detector can be fitted.

    Source: Adaloglou et al., TMLR 2023, sections 3.4 and 5.
    """
    for name, one in moved.items():
        if {len(one.eight_bit), len(one.exact), len(originals)} != {len(targets)}:
            raise BadInput(f"{name}: {len(one.eight_bit):,} images for {len(targets):,} targets: give each its own")
    removed = np.union1d(targets, np.asarray(copies, dtype=np.int64))
    kept = np.setdiff1d(np.arange(len(fit)), removed)
    _check_left(fit, kept)
    unknown = {(ORIGINAL, "8-bit"): originals}
    for name, one in moved.items():
        unknown |= {(name, "8-bit"): one.eight_bit, (name, "float"): one.exact}
    tried, not_tried = _tried(fit.at_level(level), detectors)
    built = [candidate.build({}) for candidate in tried]
    named = {" ".join(key): support for key, support in unknown.items()}
    whole = _asked(_Parts(fit.at_level(level), test, named), built, asking)
    both = {True: whole, False: replace(whole, fit=whole.fit.take(kept))}
    rows: list[AttackRow] = []
    success: dict[str, NDArray[np.bool_]] = {}
    for done, candidate in enumerate(tried, start=1):
        row = AttackRow(candidate.name)
        passed: dict[str, NDArray[np.bool_]] = {}
        try:
            for with_targets, parts in both.items():
                numbers = BenchRow(candidate.name, fit.encoder)
                scores = _scored(parts, candidate, numbers, confidence)
                threshold = np.sort(scores.known)[len(scores.known) - needed(ACCEPTED, len(scores.known))]
                for (images, pixels), name in zip(unknown, named, strict=True):
                    above = scores.unknown[name] >= threshold
                    row.cells.append(
                        {"images": images, "pixels": pixels, "targets": with_targets}
                        | numbers.sets[name]
                        | {"success": float(above.mean()), "success_interval": _wilson(above, confidence)}
                    )
                    if pixels == "8-bit" and not with_targets:
                        passed[images] = above
            rows.append(row)
            success = success or passed
        except (NotEnoughKnown, WrongUse) as error:
            not_tried[candidate.name] = str(error)
        if progress is not None:
            progress(done, len(tried))
    if not rows:
        raise NotEnoughKnown("no detector could be fitted: " + "; ".join(f"{n}: {r}" for n, r in not_tried.items()))
    rows[1:] = sorted(rows[1:], key=lambda row: -float(row.cell(ORIGINAL)["auroc"]))
    return Attack(
        rows=rows,
        sets={name: {"smooth": one.smooth, **_told(one.change)} for name, one in moved.items()},
        images={name: _each(one.change, originals, fit, targets, success[name]) for name, one in moved.items()},
        warnings=[*_other_classes(whole.fit, built), *_little_to_lose(rows[0])],
        not_tried=not_tried,
        n_fit=len(fit),
        n_known_test=len(test),
        n_unknown=len(originals),
        n_targets=len(np.unique(targets)),
        n_removed=len(removed),
        steps=steps,
        seed=seed,
        confidence=confidence,
        encoder=fit.encoder,
        classes=fit.classes,
        level=level,
    )


def _tried(fit: Support, detectors: Sequence[str] | None) -> tuple[list[Candidate], dict[str, str]]:
    tried, not_tried = candidates(fit, detectors)
    first = [] if detectors else candidates(fit, [FIRST])[0]
    return list({one.name: one for one in (*first, *tried)}.values()), not_tried


def _check_left(fit: Support, kept: NDArray[np.int64]) -> None:
    """Raise where the targets are all that is known, or all of a class."""
    hint = "attack fewer images (n), or give more known ones"
    if not len(kept):
        raise NotEnoughKnown(f"all {len(fit):,} known inputs to learn from are targets, and none is left: {hint}")
    if fit.labels is None:
        return
    left = np.bincount(fit.labels[kept], minlength=len(fit.classes))
    if not left.all():
        name = fit.classes[int(left.argmin())]
        raise NotEnoughKnown(f"all known inputs of class {name!r} are targets, and none is left: {hint}")


def _wilson(above: NDArray[np.bool_], confidence: float) -> list[float]:
    """Interval of a share. Source: Wilson, "Probable Inference", JASA 1927."""
    from scipy.special import ndtri

    n, share, z = len(above), float(above.mean()), float(ndtri((1 + confidence) / 2))
    middle = share + z**2 / (2 * n)
    reach = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low, high = ((middle + side) / (1 + z**2 / n) for side in (-reach, reach))
    # Rounding must not put an end of the range outside its interval.
    return [min(max(0.0, low), share), max(min(1.0, high), share)]


MEASURED: tuple[str, ...] = ("before", "after", "rounded", "l2", "linf", "roughness")


def _told(change: Adversarial) -> dict[str, dict[str, float]]:
    columns: dict[str, Tensor] = {name: getattr(change, name).double() for name in MEASURED}
    return {
        name: {"mean": float(x.mean()), "least": float(x.min()), "most": float(x.max())} for name, x in columns.items()
    }


def _each(
    change: Adversarial, originals: Support, fit: Support, targets: NDArray[np.int64], success: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    numbers = {name: getattr(change, name).tolist() for name in MEASURED}
    return [
        {
            "source": originals.keys[row] if originals.keys else str(row),
            "target": fit.keys[target] if fit.keys else str(target),
            **{name: values[row] for name, values in numbers.items()},
            "success": bool(success[row]),
        }
        for row, target in enumerate(targets.tolist())
    ]


def _little_to_lose(first: AttackRow) -> list[str]:
    """Nothing, or a warning that the unknown images were hardly told apart before."""
    low, _ = first.cell(ORIGINAL)["auroc_interval"] or (None, None)
    if low is None or low > 0.5:
        return []
    return [
        f"{first.name} cannot tell the unknown images from known ones before the attack either "
        f"(AUROC {first.cell(ORIGINAL)['auroc']:.3f}), so the attack has little to take away"
    ]
