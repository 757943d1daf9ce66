"""Whether k-NN accuracy predicts 1-NN AUROC, over every encoder at hand. python experiments/backbones.py

The published claim, R^2 of 0.92 or more, is about CLIP image encoders of many sizes. None is among these: they are
small networks trained on ImageNet, CIFAR-10 and Tiny ImageNet, networks with random weights, and no network at all.
Rows that are other input sizes of one encoder are marked as variants, and lines are drawn with and without them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from networks import resnet20, resnet56
from record import record
from sources import archive, boxed, cifar10, decoded
from unseen.api.backbones import backbones
from unseen.data import Preprocess
from unseen.encoders import Encoder, open_encoder
from unseen.encoders.torch import Torch
from unseen.protocols import fit_line
from unseen.protocols.backbones import FEWEST

SEED = 0  # of random weights, of the rows that are drawn, of splits and resamples
TRAINED, RANDOM, NONE = "trained", "random weights", "no network"
MOST = {"known": 1500, "unknown": 1000}  # rows; the packaged network takes 30 ms an image of 224 x 224 pixels
WIDTHS, STRIDES = (64, 64, *[128] * 7), (1, 1, 2) * 3


class VGG32(nn.Module):
    """The network of the open-set literature: nine convolutions, batch norm and leaky rectifiers.

    Args:
        classes: outputs.
        pooled: whether the last map is averaged before a layer without bias, as for 64 x 64 pixels; else it is
            flattened before one with bias, as for 32 x 32.

    Source: Neal, Olson, Fern, Wong, Li, "Open Set Learning with Counterfactual Images", ECCV 2018.
    """

    def __init__(self, classes: int, *, pooled: bool) -> None:
        super().__init__()
        pairs = zip((3, *WIDTHS[:-1]), WIDTHS, STRIDES, strict=True)
        self.conv = nn.ModuleList(nn.Conv2d(before, after, 3, stride, 1, bias=False) for before, after, stride in pairs)
        self.bn = nn.ModuleList(map(nn.BatchNorm2d, WIDTHS))
        self.fc = nn.Linear(WIDTHS[-1] * (1 if pooled else 16), classes, bias=not pooled)
        self.pooled = pooled

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 3, H, W)``, normalised -> logits ``(B, C)``."""
        for conv, bn in zip(self.conv, self.bn, strict=True):
            x = leaky_relu(bn(conv(x)), 0.2)
        logits: Tensor = self.fc(x.mean((2, 3)) if self.pooled else x.flatten(1))
        return logits


class Candidate(NamedTuple):
    """An encoder of the study.

    Attributes:
        title: for people.
        family: one of three.
        open: makes it.
        variant_of: title of the encoder that this is another input size of.
        taught: benchmark -> which of its classes the network was trained on.
    """

    title: str
    family: str
    open: Callable[[], str | Encoder]
    variant_of: str | None = None
    taught: Mapping[str, str] = {}


def candidates() -> list[Candidate]:
    """Every encoder that is there without a download."""
    imagenet = {
        "cifar10": "the unknown, and sorts of the known",
        "tiny": "known and unknown",
        "photos": "sorts of dog, horse, elephant and guitar",
    }
    cifar = {"cifar10": "known", "photos": "dog and horse, both known"}
    six = {"cifar10": "six of the known"}
    tiny = {"cifar10": "18 of the unknown", "tiny": "known"}
    lite = "EfficientNet-Lite0, ImageNet, 224"
    return [
        Candidate(lite, TRAINED, lambda: "packaged", None, imagenet),
        *(
            Candidate(f"EfficientNet-Lite0, ImageNet, {size}", TRAINED, partial(packaged, size), lite, imagenet)
            for size in (128, 64)
        ),
        Candidate("ResNet-56, CIFAR-10", TRAINED, lambda: weighted(resnet56(), "cifar10_resnet56", 32), None, cifar),
        Candidate("ResNet-20, CIFAR-10", TRAINED, lambda: weighted(resnet20(), "cifar10_resnet20", 32), None, cifar),
        *(
            Candidate(
                f"VGG32, six of CIFAR-10, {title}",
                TRAINED,
                partial(six_known, name),
                None,
                six,
            )
            for name, title in (("ce", "cross-entropy"), ("cac", "anchors"))
        ),
        Candidate(
            "VGG32, 20 of Tiny ImageNet",
            TRAINED,
            lambda: weighted(VGG32(20, pooled=True), "tinyimagenet_vgg32_split0", 64),
            None,
            tiny,
        ),
        Candidate("ResNet-20, random", RANDOM, lambda: untrained(resnet20, 32)),
        Candidate("VGG32, random", RANDOM, lambda: untrained(lambda: VGG32(20, pooled=True), 64)),
        Candidate("ResNet-18, random", RANDOM, lambda: untrained(lambda: timm_model("resnet18"), 64)),
        Candidate(
            "ViT-Tiny, random", RANDOM, lambda: untrained(lambda: timm_model("vit_tiny_patch16_224", img_size=64), 64)
        ),
        Candidate("pixels 16 x 16", NONE, lambda: "pixels?size=16"),
        *(
            Candidate(f"pixels {size} x {size}", NONE, partial(str, f"pixels?size={size}"), "pixels 16 x 16")
            for size in (8, 32)
        ),
        Candidate("edges", NONE, lambda: "edges"),
    ]


def packaged(size: int) -> Encoder:
    """The packaged network on images of another size."""
    encoder: Any = open_encoder("packaged")
    shrunk = Preprocess(size, resize="crop", crop_fraction=0.875, interpolation="bicubic")
    encoder.set_up(encoder._module, shrunk, [127 / 255] * 3, [128 / 255] * 3)
    return encoder  # type: ignore[no-any-return]


def weighted(network: nn.Module, name: str, size: int) -> Encoder:
    """A network with the weights of an archive, whose metadata have its normalisation."""
    return Torch(network, weights=str(archive(f"net_{name}.safetensors")), size=size)


def six_known(name: str) -> Encoder:
    """One of the twins that were taught six classes of CIFAR-10."""
    return weighted(VGG32(6, pooled=False), f"cifar10_6known_vgg32_{name}", 32)


def untrained(make: Callable[[], nn.Module], size: int) -> Encoder:
    """A network as it is made, from a seed; batch norm keeps mean 0 and variance 1."""
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        return Torch(make(), size=size)


def timm_model(name: str, **options: Any) -> nn.Module:
    """An architecture of timm without its weights."""
    import timm

    network: nn.Module = timm.create_model(name, pretrained=False, **options)
    return network


class Benchmark(NamedTuple):
    """Known and unknown images as arrays; without a known test, known ones are split 60/40."""

    title: str
    about: str
    known: dict[str, Any]
    unknown: dict[str, Any]
    known_test: dict[str, Any] | None = None


def benchmarks() -> dict[str, Benchmark]:
    """Three, the known test of each apart from what neighbours are looked for among and what networks were taught."""
    return {"cifar10": of_cifar10(), "tiny": of_tiny(), "photos": of_photos()}


def of_cifar10() -> Benchmark:
    """CIFAR-10 against validation images of Tiny ImageNet, less the 27 classes that are sorts of CIFAR-10's."""
    known, test = cifar10("train"), cifar10("test")
    rows = drawn(len(known["labels"]), MOST["known"])
    about = json.loads(archive("tiny_imagenet_classes.json").read_text())
    with np.load(archive("tiny_imagenet_jpeg.npz")) as z:
        apart = ~np.isin(z["label"].astype(int), about["cifar10_overlap"])
        there = np.flatnonzero((z["split"] == 1) & apart)
        images = boxed(decoded(z, "jpeg", "offset", there[drawn(len(there), MOST["unknown"])]), 2)
    return Benchmark(
        "CIFAR-10 and Tiny ImageNet",
        "known: CIFAR-10; unknown: validation images of 173 classes of Tiny ImageNet, means of 2 x 2 pixels, without "
        "the 27 classes that are sorts of CIFAR-10's",
        {**known, "images": known["images"][rows], "labels": known["labels"][rows]},
        {"images": images},
        test,
    )


def of_tiny() -> Benchmark:
    """20 known classes of Tiny ImageNet, the others unknown; neighbours are training images, the rest validation."""
    with np.load(archive("tiny_imagenet_jpeg.npz")) as z:
        labels, names = z["label"].astype(int), z["wnid"].astype(str)
        inside, validation = np.isin(labels, z["osr_splits"][0]), z["split"] == 1
        learnt, tested = (np.flatnonzero(inside & (validation == flag)) for flag in (False, True))
        others = np.flatnonzero(~inside & validation)
        others = others[drawn(len(others), MOST["unknown"])]
        sides = [
            {"images": decoded(z, "jpeg", "offset", rows), "labels": names[labels[rows]]}
            for rows in (learnt, others, tested)
        ]
    return Benchmark(
        "Tiny ImageNet, 20 and 180",
        "known: 20 classes of Tiny ImageNet, the first split of Vaze et al. 2022; unknown: validation images of the "
        "other 180",
        *sides,
    )


def of_photos() -> Benchmark:
    """Photographs of seven classes: every second class in the order of names is unknown."""
    with np.load(archive("pacs96_webp.npz")) as z:
        rows = np.flatnonzero(z["domain"] == z["domain_name"].astype(str).tolist().index("photo"))
        names = z["name"].astype(str)[z["label"][rows]]
        images = decoded(z, "webp", "offset", rows)
    classes = sorted(set(names))
    known = np.isin(names, classes[::2])
    return Benchmark(
        "PACS photographs",
        f"known: photographs of {', '.join(classes[::2])}; unknown: of {', '.join(classes[1::2])}",
        {"images": images[known], "labels": names[known]},
        {"images": images[~known], "labels": names[~known]},
    )


def drawn(rows: int, most: int) -> np.ndarray:
    """At most so many row numbers, in order, under the seed."""
    return np.sort(np.random.default_rng(SEED).permutation(rows)[:most])


def main() -> None:
    listed = candidates()
    made = {one.title: one.open() for one in listed}
    families = {name: [one.title for one in listed if one.family == name] for name in (TRAINED, RANDOM, NONE)}
    found: dict[str, Any] = {}
    for name, one in benchmarks().items():
        study = backbones(one.known, one.unknown, made, known_test=one.known_test, families=families, seed=SEED)
        told = study.to_dict()
        for row in told["backbones"]:
            about = next(c for c in listed if c.title == row["encoder"])
            row |= {"variant_of": about.variant_of, "taught": about.taught.get(name)}
        found[name] = {
            "title": one.title,
            "about": one.about,
            **told,
            "lines_without_variants": lines(told["backbones"]),
        }
        print(one.title, found[name]["sentence"], study.warnings, study.failed, flush=True)
        for row in study.rows:
            print(f"  {row.encoder:36s} {row.accuracy:.3f} {row.auroc:.3f}", flush=True)
    record("backbones", {"seed": SEED, "benchmarks": found})


def lines(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Through one row of each encoder: all, the trained, and those that were taught no class of the benchmark."""
    own = [row for row in rows if row["variant_of"] is None]
    groups = {
        "all": own,
        TRAINED: [row for row in own if row["family"] == TRAINED],
        "never taught these classes": [row for row in own if row["taught"] is None],
    }
    return [
        fit_line([row["accuracy"] for row in some], [row["auroc"] for row in some], family=name, seed=SEED).to_dict()
        for name, some in groups.items()
        if len(some) >= FEWEST
    ]


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    main()
