"""Adapting CLIP models for out-of-distribution detection: pseudo-label probing, its tables 3 to 6 and figure 2."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from unseen.data import Inputs, open_inputs
from unseen.encoders import Encoder, embed_texts, encode, open_encoder
from unseen.errors import UnseenError, WrongUse
from unseen.language import Texts, prototypes
from unseen.naming import listed
from unseen.optional import require
from unseen.papers import _sets
from unseen.papers._embedding_world import EmbeddingWorld
from unseen.papers._tables import (
    Needs,
    Options,
    Reproduced,
    Scale,
    Table,
    beside,
    chosen,
    merged,
    published,
    shown,
)
from unseen.protocols.attack import (
    ORIGINAL,
    PLAIN,
    SMOOTH,
    SMOOTHED,
    STEPS,
    Moved,
    attack,
    draw_targets,
    encode_pixels,
    perturb,
)
from unseen.protocols.availability import Availability, Method, availability, methods
from unseen.protocols.backbones import Encoded, backbones
from unseen.signals import Support, TextBank

NAME = "plp"
TITLE = "Adapting CLIP models for out-of-distribution detection (pseudo-label probing)"
SOURCE = (
    "Adaloglou, Michels, Kaiser, Kollmann, TMLR 2023, https://openreview.net/forum?id=YCgX7sJRF1; "
    "https://github.com/HHU-MMBS/plp-official-tmlr2024"
)

SMALL = "clip:ViT-B-32?pretrained=openai"
LARGE = "clip:ViT-bigG-14?pretrained=laion2b_s39b_b160k"
LARGER_SET = "timm:convnext_base.fb_in22k"  # of table 6; after fine-tuning timm:convnext_base.fb_in22k_ft_in1k
LIMIT = 10_000  # inputs of a set at the scale `small`
ATTACKED = {"small": 50, "paper": 1000}  # unknown images that are moved
USUAL = "CLIP ViT-G"  # whose published rows stand beside ours where the network is none of the paper's
BACKBONES = {  # what the name of a network has in it -> as the paper calls it
    "ViT-B-16": "CLIP ViT-B",
    "ViT-L-14": "CLIP ViT-L",
    "ViT-H-14": "CLIP ViT-H",
    "ViT-bigG-14": "CLIP ViT-G",
    "convnext_base": "ConvNext-B",
    "vit_large": "ViT-L",
    "vit_base_r50": "ResNet50+ViT-B",
}
BATCH = {"imagenet1k": 8192}  # of the probes; 256 elsewhere
NOISES = (0.8, 0.9, 1.0, 1.1, 1.2)  # of the worlds that stand for backbones

_CIFAR = {"CIFAR100->CIFAR10": ("cifar100", "cifar10"), "CIFAR10->CIFAR100": ("cifar10", "cifar100")}
_LARGE = {
    "iNaturalist": "inaturalist",
    "SUN": "sun",
    "Places": "places",
    "IN-O": "imagenet_o",
    "Texture": "textures",
    "NINCO": "ninco",
}
_ARROWS = {f"ImageNet->{name}": ("imagenet1k", _LARGE[name]) for name in ("IN-O", "NINCO")}
# Table -> column -> known set, unknown set.
COLUMNS: dict[str, dict[str, tuple[str, str]]] = {
    "table-3": {name: ("imagenet1k", _LARGE[name]) for name in ("iNaturalist", "SUN", "IN-O", "Texture", "NINCO")},
    "table-4": {name: ("imagenet1k", _LARGE[name]) for name in ("iNaturalist", "SUN", "Places", "Texture", "NINCO")},
    "table-5": {**_CIFAR, **_ARROWS},
    "table-6": {"ImageNet->NINCO": _ARROWS["ImageNet->NINCO"], "ImageNet->IN-O": _ARROWS["ImageNet->IN-O"], **_CIFAR},
}
READS_TEXTS = frozenset({"table-3", "table-5"})
TUNED = ("Finetune + Energy", "Finetune + MSP", "Finetune")


def _data(columns: Mapping[str, tuple[str, str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for pair in columns.values() for name in pair))


def _scales(table: str, tiny: str, small: str, paper: str, hours: tuple[str, str]) -> dict[Scale, Needs]:
    columns = COLUMNS[table]
    of_small = _data(_CIFAR if set(_CIFAR) <= set(columns) else columns)
    options = ("--finetuned",) if _tuned(table) else ()
    networks = (LARGER_SET, LARGER_SET) if table == "table-6" else (SMALL, LARGE)
    return {
        "tiny": Needs(tiny, minutes="some seconds"),
        "small": Needs(small, of_small, networks[0], LIMIT, hours[0], options),
        "paper": Needs(paper, _data(columns), networks[1], None, hours[1], options),
    }


def _tuned(table: str) -> tuple[str, ...]:
    """The rows of a network after fine-tuning."""
    return {"table-4": TUNED[:2], "table-6": TUNED[2:]}.get(table, ())


_IMAGES = f"at most {LIMIT:,} images of a set"
_UNTUNED = "the probe alone: the made-up world has no network to tune"
TABLES = (
    Table(
        "table-3",
        "Class names known, ImageNet: PLP + Energy against pseudo-MSP",
        "plp_table_3.json",
        _scales(
            "table-3",
            "both methods in the made-up world",
            f"both methods, {_IMAGES}",
            "both methods, all images",
            ("an hour on a CPU by estimate", "a day on one GPU by estimate"),
        ),
    ),
    Table(
        "table-4",
        "Labels known, ImageNet: linear probing against fine-tuning, CLIP",
        "plp_table_4.json",
        _scales(
            "table-4",
            _UNTUNED,
            f"the probe, and the fine-tuned network where one is given, {_IMAGES}",
            "the probe, and the fine-tuned network where one is given, all images",
            ("an hour on a CPU by estimate", "a day on one GPU by estimate"),
        ),
    ),
    Table(
        "table-5",
        "What is known: nothing, class names, labels; 13 methods",
        "plp_table_5.json",
        _scales(
            "table-5",
            "all methods in the made-up world",
            f"all methods on both CIFAR columns, {_IMAGES}",
            "all methods, all columns, all images",
            ("half an hour on a CPU by estimate", "a day on one GPU by estimate"),
        ),
    ),
    Table(
        "table-6",
        "Labels known: linear probing against fine-tuning, networks of ImageNet-21K",
        "plp_table_6.json",
        _scales(
            "table-6",
            _UNTUNED,
            f"the probe and the fine-tuned network on both CIFAR columns, {_IMAGES}",
            "the probe and the fine-tuned network, all columns, all images",
            ("half an hour on a CPU by estimate", "a day on one GPU by estimate"),
        ),
    ),
    Table(
        "adversarial",
        "Unknown images moved to a known one in feature space: CIFAR10-A and CIFAR10-AS",
        "plp_adversarial.json",
        {
            "small": Needs(
                f"{ATTACKED['small']} images moved, {_IMAGES}",
                ("cifar100", "cifar10"),
                SMALL,
                LIMIT,
                "an hour on a CPU by estimate",
            ),
            "paper": Needs(
                f"{ATTACKED['paper']:,} images moved",
                ("cifar100", "cifar10"),
                LARGE,
                None,
                "hours on one GPU by estimate",
            ),
        },
    ),
    Table(
        "figure-2",
        "Accuracy of neighbours against AUROC of the nearest neighbour, over backbones",
        "plp_figure_2.json",
        {"tiny": Needs(f"{len(NOISES)} made-up worlds of more and less noise for backbones", minutes="some seconds")},
    ),
)


def run(table: str, scale: Scale, options: Options) -> Reproduced:
    """One table at one scale; see `unseen.papers.reproduce`."""
    one, needs = chosen(TABLES, NAME, table, scale)
    if scale == "tiny":
        return _correlated(one, options) if table == "figure-2" else _made_up(one, options)
    return _attacked(one, scale, needs, options) if table == "adversarial" else _measured(one, scale, needs, options)


# The made-up world


def _made_up(one: Table, options: Options) -> Reproduced:
    world = EmbeddingWorld(options.seed)
    bank = world.bank(Texts(prompts="plp"))
    wanted = [method for method in _methods(one.id, "world", len(world.classes)) if method.name not in TUNED]
    found = availability(
        world.train,
        world.known,
        {"world far": world.far, "world near": world.near},
        text=bank,
        methods=wanted,
        progress=options.part("fitting and scoring"),
    )
    missing = dict.fromkeys(_tuned(one.id), "the made-up world has no network that could be tuned")
    return _result(
        one,
        "tiny",
        options,
        {"world": found},
        columns=("world far", "world near"),
        encoder=world.id,
        missing=missing,
        differences=[
            "inputs and texts are made up: compare the order of methods, and that with care, but no number",
            "noise has one covariance for all classes here, which MD and RMD assume, so they are better than on images",
        ],
        probes=256,
    )


def _correlated(one: Table, options: Options) -> Reproduced:
    def seen(noise: float) -> Encoded:
        world = EmbeddingWorld(options.seed, noise=noise, shots=50)
        return Encoded(world.train, world.near, known_test=world.known)

    encodings: dict[str, Callable[[], Encoded]] = {
        f"noise {noise}": lambda noise=noise: seen(noise)  # type: ignore[misc]
        for noise in NOISES
    }
    found = backbones(encodings, seed=options.seed, progress=options.part("worlds"))
    told = found.to_dict()
    rows = [
        {
            "name": row.encoder,
            "level": "none",
            "expression": "knn(k=1)",
            "accuracy": {"world near": row.accuracy},
            "cells": {
                "world near": {
                    "auroc": row.auroc,
                    "auroc_interval": None if row.auroc_interval is None else list(row.auroc_interval),
                    "fpr_at_tpr95": None,
                    "n_known": row.n_test,
                    "n_unknown": row.n_unknown,
                }
            },
        }
        for row in found.rows
    ]
    table = published(one.published)
    return Reproduced(
        paper=NAME,
        table=one.id,
        title=one.title,
        scale="tiny",
        synthetic=True,
        columns=("world near",),
        rows=beside(rows, table, USUAL),
        published=table | {"backbone": USUAL},
        differences=[
            "one made-up world under more and less noise stands for backbones, so that both numbers fall together by "
            "design: this shows how the line is drawn, and nothing about networks",
            "with encoders of your own the same study is `unseen backbones`",
        ],
        warnings=found.warnings,
        encoder="embedding-world",
        n_fit={"world": found.rows[0].n_fit},
        about={"lines": told["lines"]},
        seed=options.seed,
        confidence=found.confidence,
    )


# Images


@dataclass
class _Views:
    """Sets of images as one network sees them, each made once.

    Attributes:
        encoder: the network.
        wanted: signals.
    """

    encoder: Encoder
    wanted: list[str]
    options: Options
    limit: int | None
    inputs: Mapping[tuple[str, str], Inputs]
    seen: dict[tuple[str, str], Support] = field(default_factory=dict)

    def of(self, part: str, name: str) -> Support:
        """One part, ``"train"`` or ``"test"``, of one set."""
        if (part, name) not in self.seen:
            o = self.options
            some = open_inputs(self.inputs[part, name], limit=self.limit, seed=o.seed)
            self.seen[part, name] = encode(
                some,
                self.encoder,
                self.wanted,
                cache=o.cache,
                workers=o.workers,
                progress=o.part(f"encoding {name} {part}"),
            )
        return self.seen[part, name]


def _measured(one: Table, scale: Scale, needs: Needs, options: Options) -> Reproduced:
    """The columns whose images are there, by one network, and by the same after fine-tuning where one is given."""
    columns = {column: pair for column, pair in COLUMNS[one.id].items() if set(pair) <= set(needs.data)}
    sets = _sets.find(needs.data, options.data)
    there = {
        column: (known, unknown)
        for column, (known, unknown) in columns.items()
        if known in sets.train and known in sets.test and unknown in sets.test
    }
    if not there:
        raise _sets.all_missing(sets, f"{NAME} {one.id}", options.data)
    limit = needs.limit if options.limit is None else options.limit
    inputs = {("train", name): some for name, some in sets.train.items()}
    inputs |= {("test", name): some for name, some in sets.test.items()}
    encoder = open_encoder(options.encoder or needs.encoder, options.device)
    texts = one.id in READS_TEXTS
    if texts and not encoder.reads_text:
        raise WrongUse(
            f"{NAME} {one.id} reads class names and the encoder {encoder.name} reads no texts: take clip or hf"
        )
    views = _Views(encoder, ["features", "embedding"] if texts else ["features"], options, limit, inputs)
    missing = {column: "its images are missing" for column in COLUMNS[one.id] if column not in there}
    missing |= {column: f"not at the scale {scale!r}" for column in COLUMNS[one.id] if column not in columns}
    tuned = None
    if options.finetuned is not None and needs.options:
        tuned = _Views(open_encoder(options.finetuned, options.device), ["features"], options, limit, inputs)
    elif needs.options:
        missing |= dict.fromkeys(_tuned(one.id), "no fine-tuned network was given (--finetuned)")
    results: dict[str, Availability] = {}
    skipped = []
    for known in dict.fromkeys(pair[0] for pair in there.values()):
        met = {column: unknown for column, (of, unknown) in there.items() if of == known}
        train, test = views.of("train", known), views.of("test", known)
        bank = _bank(encoder, known, train.classes, options) if texts else None
        every = _methods(one.id, known, len(train.classes))
        fit = options.part(f"fitting and scoring, {known}")
        results[known] = availability(
            train,
            test,
            {column: views.of("test", unknown) for column, unknown in met.items()},
            text=bank,
            methods=[method for method in every if method.name not in TUNED],
            progress=fit,
        )
        skipped += [*train.skipped, *test.skipped]
        if tuned is not None:
            try:
                results[known] = _with(results[known], _after(tuned, known, met, every))
            except UnseenError as error:
                missing |= {f"{name}, {known}": str(error) for name in _tuned(one.id)}
    done = _result(
        one,
        scale,
        options,
        results,
        columns=tuple(there),
        encoder=encoder.id,
        missing=missing,
        differences=_differences(one, options.encoder or needs.encoder, limit, sets),
        probes=max(BATCH.get(known, 256) for known in results),
        backbone=_backbone(options.encoder or needs.encoder),
    )
    warnings = [*done.warnings, *([f"{len(skipped):,} images could not be read"] if skipped else [])]
    return replace(done, warnings=warnings, finetuned="" if tuned is None else tuned.encoder.id)


def _after(views: _Views, known: str, met: Mapping[str, str], every: Sequence[Method]) -> Availability:
    """The rows of the network after fine-tuning; the outputs of its head are the known classes in their order."""
    train, test = views.of("train", known), views.of("test", known)
    rows = [method for method in every if method.name in TUNED]
    if any(method.expression.startswith("own") for method in rows):
        head = train.head
        if head is None or len(head.bias) != len(train.classes):
            outputs = "no head" if head is None else f"{len(head.bias):,} outputs"
            raise WrongUse(f"the fine-tuned network has {outputs}, {known} {len(train.classes):,} classes")
        train = replace(train, head=replace(head, classes=train.classes))
    unknown = {column: views.of("test", name) for column, name in met.items()}
    return availability(train, test, unknown, methods=rows, progress=views.options.part(f"after fine-tuning, {known}"))


def _with(first: Availability, second: Availability) -> Availability:
    return replace(
        first, rows=[*first.rows, *second.rows], not_run=first.not_run | second.not_run, warnings=first.warnings
    )


def _bank(encoder: Encoder, known: str, classes: tuple[str, ...], options: Options) -> TextBank:
    """The class names in the five prompts; two classes of one name get one text, as in the paper."""
    names = _imagenet_names() if known == "imagenet1k" else classes

    def embed(texts: Sequence[str]) -> Any:
        return embed_texts(encoder, texts, cache=options.cache, progress=options.part("reading texts"))

    rows = prototypes(names, embed, prompts="plp")
    return TextBank(rows, classes, scale=encoder.scale, encoder=encoder.id, about={"prompts": "plp", "names": [*names]})


def _imagenet_names() -> tuple[str, ...]:
    """The text before the first comma of each of ImageNet's lists of synonyms, in the order of the labels."""
    info = require("timm.data", "timm").ImageNetInfo("imagenet-1k")
    return tuple(info.index_to_description(label).partition(",")[0] for label in range(1000))


def _attacked(one: Table, scale: Scale, needs: Needs, options: Options) -> Reproduced:
    """Nearest neighbour and pseudo-MSP before and after unknown images were moved to known ones."""
    sets = _sets.find(needs.data, options.data)
    if sets.missing:
        raise _sets.all_missing(sets, f"{NAME} {one.id}", options.data)
    limit = needs.limit if options.limit is None else options.limit
    encoder = open_encoder(options.encoder or needs.encoder, options.device)
    network = encoder.differentiable()
    wanted = ["features", *(["embedding"] if encoder.reads_text else [])]
    inputs = {("train", "cifar100"): sets.train["cifar100"], ("test", "cifar100"): sets.test["cifar100"]}
    views = _Views(encoder, wanted, options, limit, inputs)
    many = min(ATTACKED[scale], limit or ATTACKED[scale])
    some = open_inputs(sets.test["cifar10"], limit=many, seed=options.seed)
    fit, test = views.of("train", "cifar100"), views.of("test", "cifar100")
    missing = {}
    if encoder.reads_text:
        fit = replace(fit, text=_bank(encoder, "cifar100", fit.classes, options))
    else:
        missing["Pseudo-MSP"] = f"the encoder {encoder.name} reads no texts"
    originals = encode(some, encoder, wanted, cache=options.cache, workers=options.workers)
    targets = draw_targets(fit, len(originals), options.seed)
    goals = fit.gather("features")[torch.from_numpy(targets)]
    place = {key: row for row, key in enumerate(some.keys)}  # without those that could not be read
    pixels = np.stack([encoder.prepare(some.read(place[key])) for key in originals.keys])
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    moved = {}
    for name, weight in ((PLAIN, 0.0), (SMOOTHED, SMOOTH)):
        part = options.part("moving images" if name == PLAIN else "moving images smoothly")
        change = perturb(network, x, goals, smooth=weight, steps=STEPS, seed=options.seed, progress=part)
        rounded = encode({"images": change.eight_bit()}, encoder, wanted, cache=False, workers=options.workers)
        rounded = replace(rounded, keys=originals.keys, groups=originals.groups)
        moved[name] = Moved(weight, change, rounded, encode_pixels(encoder, change.images, wanted, rounded))
    asked = {method.name: method.expression for method in methods(len(fit.classes))}
    names = [name for name in ("1-NN", "Pseudo-MSP") if name not in missing]
    wanted_rows = [asked[name] for name in names]
    found = attack(fit, test, originals, moved, targets, detectors=wanted_rows, steps=STEPS, seed=options.seed)
    columns = dict(
        zip(
            published(one.published)["columns"],
            ((ORIGINAL, "8-bit"), (PLAIN, "float"), (SMOOTHED, "float")),
            strict=True,
        )
    )
    judged = {name: next(row for row in found.rows if row.name == asked[name]) for name in names}
    rows = []
    for name, row in judged.items():
        cells = {column: shown(row.cell(*where)) for column, where in columns.items()}
        level = "none" if name == "1-NN" else "names"
        rows.append({"name": name, "level": level, "expression": row.name, "accuracy": {}, "cells": cells})
    eight_bit = ", ".join(f"{name} is {row.cell(PLAIN)['auroc']:.3f}" for name, row in judged.items())
    return Reproduced(
        paper=NAME,
        table=one.id,
        title=one.title,
        scale=scale,
        synthetic=False,
        columns=tuple(columns),
        rows=beside(rows, published(one.published), USUAL),
        published=published(one.published) | {"backbone": USUAL},
        missing=missing,
        differences=[
            *_differences(one, options.encoder or needs.encoder, limit, sets),
            f"{len(originals):,} images, each once; the paper draws 1,000 with replacement",
            "detectors are fitted without the targets and read pixels in float, as in the paper; in 8 bits, as files "
            f"hold them, the AUROC on CIFAR10-A of {eight_bit}",
        ],
        warnings=found.warnings,
        encoder=encoder.id,
        n_fit={"cifar100": found.n_fit},
        about={"moved": found.sets},
        seed=options.seed,
        confidence=found.confidence,
    )


# What both have in common


def _methods(table: str, known: str, classes: int) -> tuple[Method, ...]:
    """The rows of a table, as pipelines."""
    every = methods(classes, batch=BATCH.get(known, 256))
    energy = next(one for one in every if one.name == "Probing + Energy")
    if table == "table-3":
        return tuple(one for one in every if one.name in ("Pseudo-MSP", "PLP + Energy"))
    if table == "table-4":
        return (
            Method("Finetune + Energy", "labels", "own >> energy"),
            Method("Finetune + MSP", "labels", "own >> msp"),
            energy,
        )
    if table == "table-6":
        tuned = "own >> energy" if known == "imagenet1k" else "mahalanobis"
        return (energy, Method("Finetune", "labels", tuned))
    return every


def _result(
    one: Table,
    scale: Scale,
    options: Options,
    results: Mapping[str, Availability],
    *,
    columns: tuple[str, ...],
    encoder: str,
    missing: Mapping[str, str],
    differences: Sequence[str],
    probes: int,
    backbone: str | None = None,
) -> Reproduced:
    table = published(one.published)
    networks = [row["backbone"] for row in table["rows"]]
    if backbone is None or backbone not in networks:
        backbone = USUAL if USUAL in networks else networks[0]
    order = dict.fromkeys(name for found in results.values() for name in [row.name for row in found.rows])
    rows = merged(results, list(order))
    first = next(iter(results.values()))
    not_run = {f"{name}, {of}": why for of, found in results.items() for name, why in found.not_run.items()}
    rule = "the probes' rate does not grow with the batch, as in the authors' program; the text says that it does"
    return Reproduced(
        paper=NAME,
        table=one.id,
        title=one.title,
        scale=scale,
        synthetic=scale == "tiny",
        columns=columns,
        rows=beside(rows, table, backbone),
        published=table | {"backbone": backbone},
        missing={**missing, **not_run},
        differences=[*differences, *([rule] if probes != 256 else [])],
        warnings=list(dict.fromkeys(text for found in results.values() for text in found.warnings)),
        encoder=encoder,
        n_fit={of: found.n_fit for of, found in results.items()},
        pseudo_labels={of: found.pseudo_labels for of, found in results.items() if found.pseudo_labels is not None},
        seed=options.seed,
        confidence=first.confidence,
    )


def _differences(one: Table, encoder: str | Encoder, limit: int | None, sets: _sets.Found) -> list[str]:
    told = []
    networks = list(dict.fromkeys(row["backbone"] for row in published(one.published)["rows"]))
    if _backbone(encoder) not in networks:
        name = encoder if isinstance(encoder, str) else encoder.name
        told.append(f"the network is {name}, none of the paper's, which are {listed(networks)}")
    if limit is not None:
        told.append(f"at most {limit:,} inputs of a set take part")
    if _tuned(one.id):
        told.append("known images that are scored are never those that were learnt from")
    return [*told, *sets.notes]


def _backbone(encoder: str | Encoder) -> str | None:
    """The network of the paper that a name stands for; None where it stands for none."""
    name = encoder if isinstance(encoder, str) else encoder.id
    return next((theirs for ours, theirs in BACKBONES.items() if ours in name), None)
