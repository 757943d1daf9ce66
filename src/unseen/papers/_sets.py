"""Data sets of papers as people have them on disk: where each may lie, and one message for all that is missing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from unseen.data import Inputs
from unseen.errors import BadInput
from unseen.naming import listed
from unseen.protocols.openood import CIFAR10, PROTOCOLS, Folder, Listed, Part

# fmt: off
CIFAR100 = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish",
    "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
    "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange",
    "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine",
    "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk",
    "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
    "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
    "willow_tree", "wolf", "woman", "worm",
)
# fmt: on


@dataclass(frozen=True)
class DataSet:
    """A set of known classes, or of unknown inputs.

    Attributes:
        name: such as ``"cifar10"``.
        train: what is learnt from; None for a set that is only met as unknown.
        test: what is tested.
        classes: names of the labels in their order, where those of the parts are numbers; empty for unknown inputs.
        numbered: names under which the parts are opened.
    """

    name: str
    train: Part | None
    test: Part
    classes: tuple[str, ...] = ()
    numbered: tuple[str, ...] = ()


def whole(part: Part, count: int | None = None) -> Part:
    """The part as its authors published it, without OpenOOD's lists, which leave images out."""
    places = tuple(place for place in part.places if not isinstance(place, Listed))
    return replace(part, places=places, count=count, left_out="")


def _of_openood(name: str, classes: tuple[str, ...] = (), counts: tuple[int, int] | None = None) -> DataSet:
    protocol = PROTOCOLS[f"openood/{name}"]
    train, test = (
        whole(part, None if counts is None else counts[i]) for i, part in enumerate((protocol.train, protocol.test))
    )
    return DataSet(name, train, test, classes or protocol.classes, protocol.classes)


def _unknown(name: str) -> Part:
    protocol = PROTOCOLS["openood/imagenet1k"]
    return next(part for part in (*protocol.near, *protocol.far) if part.name == name)


def _folders(*paths: str) -> tuple[Folder, ...]:
    return tuple(Folder(path) for path in paths)


_HUANG = "{0}.tar.gz, http://pages.cs.wisc.edu/~huangrui/imagenet_ood_dataset/{0}.tar.gz"

SETS: dict[str, DataSet] = {
    one.name: one
    for one in (
        _of_openood("cifar10", CIFAR10, (50_000, 10_000)),
        _of_openood("cifar100", CIFAR100, (50_000, 10_000)),
        _of_openood("imagenet1k", counts=(1_281_167, 50_000)),
        DataSet("ninco", None, whole(_unknown("ninco"), 5_879)),
        DataSet("inaturalist", None, whole(_unknown("inaturalist"), 10_000)),
        DataSet("textures", None, whole(_unknown("textures"), 5_640)),
        DataSet(
            "sun",
            None,
            Part("sun", "SUN, 50 scenes", _folders("SUN/images", "SUN", "sun"), _HUANG.format("SUN"), 10_000),
        ),
        DataSet(
            "places",
            None,
            Part(
                "places",
                "Places, 50 scenes",
                _folders("Places/images", "Places", "places"),
                _HUANG.format("Places"),
                10_000,
            ),
        ),
        DataSet(
            "imagenet_o",
            None,
            Part(
                "imagenet_o",
                "ImageNet-O",
                _folders("imagenet-o", "imagenet_o", "imagenet-o/imagenet-o"),
                "imagenet-o.tar, https://people.eecs.berkeley.edu/~hendrycks/imagenet-o.tar",
                2_000,
            ),
        ),
    )
}


@dataclass(frozen=True)
class Found:
    """What lies below a folder.

    Attributes:
        train: name -> known inputs to learn from.
        test: name -> inputs to test, without labels where the set is unknown inputs alone.
        missing: what was looked for and is not there -> where to put it and where it is published.
        notes: where other numbers of inputs are there than were published.
    """

    train: Mapping[str, Inputs]
    test: Mapping[str, Inputs]
    missing: Mapping[str, str]
    notes: tuple[str, ...]


def find(names: Iterable[str], root: str | os.PathLike[str] | None) -> Found:
    """Look for data sets below a folder, or in its folder ``data``; names and small files are all that is read.

    Args:
        names: of ``SETS``.
        root: the folder of all data sets; None finds nothing.

    Raises:
        BadInput: when ``root`` is no folder, or a set is there and cannot be used.
    """
    roots = []
    if root is not None:
        top = Path(root)
        if not top.is_dir():
            raise BadInput(f"{top}: no such folder; it is to hold the data sets")
        roots = [top, *([top / "data"] if (top / "data").is_dir() else [])]
    train: dict[str, Inputs] = {}
    test: dict[str, Inputs] = {}
    missing: dict[str, str] = {}
    notes = []
    for name in dict.fromkeys(names):
        one = SETS[name]
        for held, part in ((train, one.train), (test, one.test)):
            if part is None:
                continue
            opened = _opened(part, one, roots)
            if opened is None:
                places = " or ".join(place.said() for place in part.places[:3])
                missing[part.title] = f"put {places} there, from {part.home}"
                continue
            held[name] = opened
            if part.count is not None and len(opened) != part.count:
                notes.append(f"{part.title}: {len(opened):,} inputs here, {part.count:,} were published")
    return Found(train, test, missing, tuple(notes))


def needed(names: Iterable[str]) -> dict[str, str]:
    """Title of every part of these sets -> where it may lie, and where it is published."""
    return dict(find(names, None).missing)


def all_missing(found: Found, what: str, root: object) -> BadInput:
    """One message that says everything."""
    there = listed([*found.train, *found.test], 20) or "nothing"
    where = "no folder of data sets was named (--data DIR)" if root is None else f"{root} has {there}"
    wanted = "; ".join(f"{title}: {where}" for title, where in found.missing.items())
    return BadInput(f"{what}: {where}; missing {wanted}")


def _opened(part: Part, one: DataSet, roots: Iterable[Path]) -> Inputs | None:
    for place in part.places:
        for folder in roots:
            opened = place.open(folder, one.numbered)
            if opened is not None:
                if one.classes and opened.labels is not None:
                    opened.classes = one.classes
                return opened
    return None
