"""OpenOOD v1.5 as declared protocols: which images are known, near, far, known with another look, and where they lie.

A `Protocol` is data. Every `Part` of it lists the places in which people have it on disk, OpenOOD's own lists first:
these say which images take part, and leave out those whose class the known ones have too. `locate` finds the parts
below a folder. Nothing is fetched.

Source: Zhang et al., "OpenOOD v1.5: Enhanced Benchmark for Out-of-Distribution Detection", 2023; names of lists and
folders as in its repository.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unseen.data import ImageFiles, Inputs, open_inputs
from unseen.data.binaries import read_cifar, read_idx, read_svhn
from unseen.data.images import SUFFIXES
from unseen.data.joined import join
from unseen.errors import BadInput, WrongUse
from unseen.naming import did_you_mean, listed, printable

LISTS = "benchmark_imglist"
CLASSIC, LARGE = "images_classic", "images_largescale"
GROUPS = ("near", "far", "shifted")  # of which some may be absent
_LOOKED_AT = 5  # files of a list that are looked for, to know whether its images are there


# Where a part may lie


class Place(ABC):
    """One way in which people have a part on disk."""

    @abstractmethod
    def said(self) -> str:
        """Where that is, below the folder of all data sets."""

    @abstractmethod
    def open(self, root: Path, classes: tuple[str, ...]) -> Inputs | None:
        """The inputs; None where they are not there.

        Args:
            root: the folder of all data sets.
            classes: names in the order of the labels; empty for inputs that are read without labels.
        """


@dataclass(frozen=True)
class Listed(Place):
    """One of OpenOOD's lists, ``path label`` a line, and the folder that its paths are relative to."""

    path: str
    images: str

    def said(self) -> str:
        """The list and the folder."""
        return f"{LISTS}/{self.path} with {self.images}/"

    def open(self, root: Path, classes: tuple[str, ...]) -> Inputs | None:
        """Files in the order of the list; absent where neither the list nor a few of its images are there."""
        source = root / LISTS / self.path
        if not source.is_file():
            return None
        codes: dict[str, int] = {}
        try:
            lines = source.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"{source}: cannot be read as a list of images: {printable(str(error))}") from error
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            path, _, label = line.rstrip().rpartition(" ")
            try:
                code = int(label)
            except ValueError:
                raise BadInput(f"{source} row {number}: expected a path, a space and a number") from None
            if not path:
                raise BadInput(f"{source} row {number}: expected a path, a space and a number")
            if classes and not 0 <= code < len(classes):
                raise BadInput(f"{source} row {number}: label {code}, but there are {len(classes)} classes")
            codes.setdefault(path, code)
        if not codes:
            raise BadInput(f"{source}: names no images")
        names = tuple(codes)
        folder = root / self.images
        looked = np.unique(np.linspace(0, len(names) - 1, _LOOKED_AT).astype(int)).tolist()
        if not any((folder / names[row]).exists() for row in looked):
            return None
        listing: dict[str, Any] = {"source": printable(str(source))}
        if classes:
            listing |= {"classes": classes, "labels": np.fromiter(codes.values(), np.int64, len(codes))}
        paths = [os.path.join(folder, name) for name in names]  # noqa: PTH118 - Path is slow
        return ImageFiles(tuple(map(printable, names)), paths, **listing)


@dataclass(frozen=True)
class Folder(Place):
    """A folder; for known inputs with class folders, which have the names of the classes or are in their order."""

    path: str

    def said(self) -> str:
        """The folder."""
        return f"{self.path}/"

    def open(self, root: Path, classes: tuple[str, ...]) -> Inputs | None:
        """Files, sorted; of known inputs only those of the classes."""
        folder = root / self.path
        if not _holds_images(folder):
            return None
        if not classes:
            return open_inputs(folder, label_column=None)
        inputs = open_inputs(folder)
        if inputs.labels is None:  # all in one folder: only a list could say what they show
            return None
        if set(classes) <= set(inputs.classes):
            codes = np.array([classes.index(name) if name in classes else -1 for name in inputs.classes])
        elif len(inputs.classes) == len(classes) and any(map(_numbers, (classes, inputs.classes))):
            codes = np.arange(len(classes))
        else:
            raise BadInput(
                f"{folder}: its {len(inputs.classes)} class folders ({listed(inputs.classes, 3)}) are not the "
                f"{len(classes)} classes of this protocol ({listed(classes, 3)}): rename them, or number them from 0"
            )
        labels = codes[inputs.labels]
        inputs = inputs.take(labels >= 0)
        inputs.labels, inputs.classes = labels[labels >= 0], classes
        return inputs


@dataclass(frozen=True)
class Batches(Place):
    """CIFAR's pickled batches, as its authors and torchvision have them."""

    folder: str
    files: tuple[str, ...]

    def said(self) -> str:
        """The folder."""
        return f"{self.folder}/ (python version)"

    def open(self, root: Path, classes: tuple[str, ...]) -> Inputs | None:
        """All batches; absent where one is."""
        paths = [root / self.folder / name for name in self.files]
        if not all(path.is_file() for path in paths):
            return None
        return _unlabelled(read_cifar(paths, classes), classes)


@dataclass(frozen=True)
class Idx(Place):
    """MNIST's files of images, packed or not."""

    folder: str
    files: tuple[str, ...]

    def said(self) -> str:
        """The folder and the files."""
        return f"{self.folder}/{{{','.join(self.files)}}}[.gz]"

    def open(self, root: Path, classes: tuple[str, ...]) -> Inputs | None:
        """All files, one after the other; they have no labels."""
        found = {}
        for name in self.files:
            there = [path for path in (root / self.folder / name, root / self.folder / f"{name}.gz") if path.is_file()]
            if not there:
                return None
            found[name.partition("-")[0]] = read_idx(there[0])
        return join(found)


@dataclass(frozen=True)
class Mat(Place):
    """SVHN's cropped digits in Matlab's format."""

    path: str

    def said(self) -> str:
        """The file."""
        return self.path

    def open(self, root: Path, classes: tuple[str, ...]) -> Inputs | None:
        """The digits."""
        path = root / self.path
        return _unlabelled(read_svhn(path), classes) if path.is_file() else None


def _numbers(names: Sequence[str]) -> bool:
    """Whether classes are told by their place in an order, rather than by a name that can be compared."""
    return all(name.isdecimal() for name in names)


def _holds_images(folder: Path) -> bool:
    """Whether an image lies in it, however deep; a folder that waits for its images is as good as none."""
    return any(Path(name).suffix.lower() in SUFFIXES for _, _, names in os.walk(folder) for name in names)


def _unlabelled(inputs: Inputs, classes: tuple[str, ...]) -> Inputs:
    return inputs if classes else open_inputs(inputs, label_column=None)


# What a protocol consists of


@dataclass(frozen=True)
class Part:
    """One set of inputs of a protocol.

    Attributes:
        name: as in OpenOOD.
        title: for people.
        places: where it may lie; the first that is there is taken.
        home: the archive and the page where it is published.
        count: inputs in OpenOOD's list, where that is known.
        left_out: what its list leaves out; said where the list is not there.
    """

    name: str
    title: str
    places: tuple[Place, ...]
    home: str
    count: int | None = None
    left_out: str = ""


@dataclass(frozen=True)
class Protocol:
    """A declared experiment; `PROTOCOLS` holds them by name.

    Attributes:
        name: such as ``"openood/cifar10"``.
        classes: names of the known classes in the order of their labels, which is that of a usual network's outputs.
        train: what detectors learn from.
        test: known inputs to test on.
        near: unknown inputs like the known ones.
        far: unknown inputs unlike them.
        shifted: known classes with another look; of the full spectrum, they join the known test.
        known_validation: other known inputs, for a search.
        unknown_validation: unknown inputs for a search, other than the tested ones.
        published: file of the published numbers, in ``published/``.
        published_full_spectrum: likewise with ``shifted``; None where there are none.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    train: Part
    test: Part
    near: tuple[Part, ...]
    far: tuple[Part, ...]
    shifted: tuple[Part, ...]
    known_validation: Part
    unknown_validation: Part
    published: str
    published_full_spectrum: str | None = None

    def parts(self, *, full_spectrum: bool = False, validation: bool = False) -> Iterator[tuple[str, Part]]:
        """``(role, part)`` of what is needed; roles are those of a bench's sources, such as ``"near"``."""
        yield "known", self.train
        yield "known test", self.test
        for role in GROUPS if full_spectrum else GROUPS[:2]:
            for part in getattr(self, role):
                yield role, part
        if validation:
            yield "known validation", self.known_validation
            yield "unknown validation", self.unknown_validation


@dataclass(frozen=True)
class Located:
    """What of a protocol is there.

    Attributes:
        inputs: ``(role, name)`` -> inputs.
        found: every part in order, as plain JSON: ``role``, ``name``, ``title``, ``expected`` (inputs in OpenOOD's
            list, or None), ``n`` (inputs here, or None where it is missing), ``place`` (where it was found, or None),
            ``places`` (where it may lie) and ``home``.
        notes: where the parts are not those that OpenOOD's lists name.
    """

    inputs: Mapping[tuple[str, str], Inputs]
    found: list[dict[str, Any]]
    notes: tuple[str, ...] = field(default=())

    @property
    def missing(self) -> list[dict[str, Any]]:
        """The parts that were not found."""
        return [one for one in self.found if one["n"] is None]

    def group(self, role: str) -> dict[str, Inputs]:
        """The sets of one role by name."""
        return {name: inputs for (of, name), inputs in self.inputs.items() if of == role}


def find(name: str) -> Protocol:
    """The protocol of this name; ``openood:cifar10`` is ``openood/cifar10``.

    Raises:
        WrongUse: when there is none.
    """
    key = name.strip().replace(":", "/")
    if key not in PROTOCOLS:
        raise WrongUse(f"there is no protocol {name!r}; there are {listed(PROTOCOLS)}{did_you_mean(key, PROTOCOLS)}")
    return PROTOCOLS[key]


def locate(
    protocol: Protocol, root: str | os.PathLike[str], *, full_spectrum: bool = False, validation: bool = False
) -> Located:
    """Look for every part below a folder, and open what is there; nothing but names and small files is read.

    Args:
        protocol: what is looked for.
        root: the folder of all data sets, or one with a folder ``data`` of that kind.
        full_spectrum: look for the known inputs with another look too.
        validation: look for the inputs of a search too.

    Raises:
        WrongUse: when the full spectrum is asked for and the protocol has none.
        BadInput: when ``root`` is no folder, or a part is there and cannot be used.
    """
    if full_spectrum and not protocol.shifted:
        raise WrongUse(f"{protocol.name} has no known inputs with another look, so there is no full spectrum of it")
    top = Path(root)
    if not top.is_dir():
        raise BadInput(f"{top}: no such folder; it is to hold the data sets of {protocol.name}")
    roots = [top, *([top / "data"] if (top / "data").is_dir() else [])]
    inputs: dict[tuple[str, str], Inputs] = {}
    found: list[dict[str, Any]] = []
    notes: list[str] = []
    for role, part in protocol.parts(full_spectrum=full_spectrum, validation=validation):
        classes = protocol.classes if role.startswith("known") or role == "shifted" else ()
        about = _about(role, part)
        for folder, place in ((folder, place) for place in part.places for folder in roots):
            opened = place.open(folder, classes)
            if opened is None:
                continue
            inputs[role, part.name] = opened
            about |= {"n": len(opened), "place": f"{folder}: {place.said()}"}
            if part.count is not None and len(opened) != part.count:
                more = ""
                if not isinstance(place, Listed):
                    said = f" ({part.left_out})" if part.left_out else ""
                    more = f" {part.places[0].said().partition(' ')[0]}{said}"
                notes.append(
                    f"{called(role, part.name)}: {len(opened):,} inputs here, {part.count:,} in OpenOOD's list{more}"
                )
            break
        found.append(about)
    return Located(inputs, found, tuple(notes))


def usable(protocol: Protocol, located: Located, root: str | os.PathLike[str], *, partial: bool = False) -> list[str]:
    """Check that enough was found; what is left out, in words.

    Known inputs are always needed. Of the other groups single sets may be missing where ``partial`` says so, as long as
    one near or far set is there, and one of ``shifted`` where these were looked for.

    Raises:
        BadInput: otherwise; one message says what was found, what is missing, and what belongs where.
    """
    missing = located.missing
    if not missing:
        return []
    of_group = {role: [one for one in located.found if one["role"] == role] for role in GROUPS}
    unknown = [*of_group["near"], *of_group["far"]]
    needed = [one for one in missing if one["role"] not in GROUPS]
    none_left = [some for some in (unknown, of_group["shifted"]) if some and all(one["n"] is None for one in some)]
    if partial and not needed and not none_left:
        return [
            f"{called(one['role'], one['name'])} ({one['title']}) is missing and takes no part: the {one['role']} "
            "numbers are over other inputs than the protocol's and the published ones"
            for one in missing
        ]
    there = [called(one["role"], one["name"]) for one in located.found if one["n"] is not None]
    wanted = "; ".join(
        f"{called(one['role'], one['name'])}: put {' or '.join(one['places'][:2])} there (from {one['home']})"
        for one in missing
    )
    rest = "" if partial or needed or none_left else "; with --partial (partial=True) it is done without these"
    raise BadInput(
        f"{protocol.name} in {root}: found {listed(there, 30) or 'nothing'}; missing {wanted}{rest}; "
        f"`unseen bench --protocol {protocol.name} --what` says every place where it may lie"
    )


def what(protocol: Protocol, root: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """What a protocol needs, and where each part may lie, as plain JSON; with a folder also what is there.

    >>> [part["name"] for part in what(find("openood/cifar10"))["parts"] if part["role"] == "near"]
    ['cifar100', 'tin']
    """
    every = {"full_spectrum": bool(protocol.shifted), "validation": True}
    if root is None:
        parts = [_about(role, part) for role, part in protocol.parts(**every)]
        notes: tuple[str, ...] = ()
    else:
        located = locate(protocol, root, **every)
        parts, notes = located.found, located.notes
    return {
        "protocol": protocol.name,
        "title": protocol.title,
        "classes": len(protocol.classes),
        "root": None if root is None else str(root),
        "parts": parts,
        "notes": list(notes),
    }


def called(role: str, name: str) -> str:
    """A part as messages call it: ``"known test"``, ``"near tin"``."""
    return f"{role} {name}" if role in GROUPS else role


def _about(role: str, part: Part) -> dict[str, Any]:
    return {
        "role": role,
        "name": part.name,
        "title": part.title,
        "expected": part.count,
        "n": None,
        "place": None,
        "places": [place.said() for place in part.places],
        "home": part.home,
    }


# The protocols

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR_HOME = "https://www.cs.toronto.edu/~kriz/cifar.html"
_OPENOOD = "https://github.com/Jingkang50/OpenOOD, scripts/download"


def _either(path: str, *tops: str) -> tuple[Place, ...]:
    """The same folder directly in the root, and where OpenOOD has it."""
    return tuple(Folder(f"{top}/{path}" if top else path) for top in (*tops, ""))


def _cifar(known: str, kind: str, which: str) -> tuple[Place, ...]:
    """CIFAR-10 or CIFAR-100 as files and as batches; ``which`` is train or test."""
    if kind == "cifar10":
        files = tuple(f"data_batch_{i}" for i in range(1, 6)) if which == "train" else ("test_batch",)
        folders = ("cifar-10-batches-py", "cifar10/cifar-10-batches-py")
    else:
        files = (which,)
        folders = ("cifar-100-python", "cifar100/cifar-100-python")
    return (
        Listed(f"{known}/{which}_{kind}.txt", CLASSIC),
        *_either(f"{kind}/{which}", CLASSIC),
        *(Batches(folder, files) for folder in folders),
    )


def _cifar_part(known: str, kind: str, which: str) -> Part:
    title = "CIFAR-10" if kind == "cifar10" else "CIFAR-100"
    train = which == "train"
    return Part(
        kind,
        f"{title}, {which}ing images" if train else f"{title}, test images",
        _cifar(known, kind, which),
        f"cifar-{kind[5:]}-python.tar.gz, {_CIFAR_HOME}",
        50_000 if train else 9_000,
        "" if train else "1,000 of the 10,000 test images are in no test list",
    )


def _small(known: str, tiny: int, places: int) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Near and far sets of the CIFAR protocols."""
    other = "cifar100" if known == "cifar10" else "cifar10"
    near = (
        _cifar_part(known, other, "test"),
        Part(
            "tin",
            "Tiny ImageNet, validation images",
            (
                Listed(f"{known}/test_tin.txt", CLASSIC),
                *_either("tin/val", CLASSIC),
                Folder("tiny-imagenet-200/val"),
            ),
            "tiny-imagenet-200.zip, http://cs231n.stanford.edu/tiny-imagenet-200.zip",
            tiny,
            f"the list has {tiny:,} of the 10,000: not those of classes that the known ones have too, nor those for "
            "validation",
        ),
    )
    far = (
        Part(
            "mnist",
            "MNIST, training and test images",
            (
                Listed(f"{known}/test_mnist.txt", CLASSIC),
                *(
                    Idx(folder, ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"))
                    for folder in ("MNIST/raw", "mnist/MNIST/raw", "mnist")
                ),
                *_either("mnist", CLASSIC),
            ),
            "train-images-idx3-ubyte.gz and t10k-images-idx3-ubyte.gz, http://yann.lecun.com/exdb/mnist/",
            70_000,
        ),
        Part(
            "svhn",
            "SVHN, test images",
            (
                Listed(f"{known}/test_svhn.txt", CLASSIC),
                *_either("svhn/test", CLASSIC),
                *(Mat(path) for path in ("svhn/test_32x32.mat", "SVHN/test_32x32.mat", "test_32x32.mat")),
            ),
            "test_32x32.mat, http://ufldl.stanford.edu/housenumbers/",
            26_032,
        ),
        Part(
            "texture",
            "Describable Textures",
            (Listed(f"{known}/test_texture.txt", CLASSIC), *_either("texture", CLASSIC), Folder("dtd/images")),
            "dtd-r1.0.1.tar.gz, https://www.robots.ox.ac.uk/~vgg/data/dtd/",
            5_640,
        ),
        Part(
            "places365",
            "Places365, validation images",
            (
                Listed(f"{known}/test_places365.txt", CLASSIC),
                *_either("places365", CLASSIC),
                Folder("places365_standard/val"),
                Folder("val_256"),
            ),
            "val_256.tar, http://places2.csail.mit.edu/download.html",
            places,
            f"the list has {places:,} of the 36,500: not those of classes that the known ones have too",
        ),
    )
    return near, far


def _cifar_protocol(
    known: str, classes: tuple[str, ...], tiny: int, places: int, shifted: tuple[Part, ...]
) -> Protocol:
    title = "CIFAR-10" if known == "cifar10" else "CIFAR-100"
    near, far = _small(known, tiny, places)
    return Protocol(
        f"openood/{known}",
        f"OpenOOD v1.5, {title}",
        classes,
        _cifar_part(known, known, "train"),
        _cifar_part(known, known, "test"),
        near,
        far,
        shifted,
        Part(
            known,
            f"{title}, test images for validation",
            (Listed(f"{known}/val_{known}.txt", CLASSIC),),
            f"benchmark_imglist.zip, {_OPENOOD}",
            1_000,
        ),
        Part(
            "tin",
            "Tiny ImageNet, images for validation",
            (Listed(f"{known}/val_tin.txt", CLASSIC),),
            f"benchmark_imglist.zip, {_OPENOOD}",
            1_000,
        ),
        f"openood_{known}.json",
    )


def _large(known: str) -> tuple[tuple[Part, ...], tuple[Part, ...], Part]:
    """Near and far sets of the ImageNet protocols, and the unknown inputs of a search."""

    def lists(name: str, images: str = LARGE) -> tuple[Place, ...]:
        folders = dict.fromkeys((known, "imagenet"))  # they are the same for both, and older copies have one only
        return tuple(Listed(f"{folder}/{name}.txt", images) for folder in folders)

    near = (
        Part(
            "ssb_hard",
            "SSB-hard (ImageNet-21K)",
            (*lists("test_ssb_hard"), *_either("ssb_hard", LARGE)),
            f"ssb_hard.zip, {_OPENOOD}; https://github.com/sgvaze/SSB",
            49_000,
        ),
        Part(
            "ninco",
            "NINCO",
            (*lists("test_ninco"), *_either("ninco", LARGE), Folder("NINCO/NINCO_OOD_classes")),
            "NINCO_all.tar.gz, https://github.com/j-cb/NINCO",
            5_879,
        ),
    )
    far = (
        Part(
            "inaturalist",
            "iNaturalist, plants of 110 species",
            (*lists("test_inaturalist"), *_either("inaturalist", LARGE), Folder("iNaturalist/images")),
            "iNaturalist.tar.gz, http://pages.cs.wisc.edu/~huangrui/imagenet_ood_dataset/iNaturalist.tar.gz",
            10_000,
        ),
        Part(
            "textures",
            "Describable Textures",
            (*lists("test_textures", CLASSIC), *_either("texture", CLASSIC), Folder("dtd/images")),
            "dtd-r1.0.1.tar.gz, https://www.robots.ox.ac.uk/~vgg/data/dtd/",
            5_160,
            "the list has 5,160 of the 5,640: not those of classes that ImageNet has too",
        ),
        Part(
            "openimage_o",
            "OpenImage-O",
            (*lists("test_openimage_o"), *_either("openimage_o", LARGE)),
            f"openimage_o.zip, {_OPENOOD}; https://github.com/haoqiwang/vim",
            15_869,
            "the list has 15,869 of the 17,632, the others are for validation",
        ),
    )
    validation = Part(
        "openimage_o",
        "OpenImage-O, images for validation",
        lists("val_openimage_o"),
        f"benchmark_imglist.zip, {_OPENOOD}",
        1_763,
    )
    return near, far, validation


def _imagenet(known: str, title: str, classes: tuple[str, ...], counts: Mapping[str, int | None]) -> Protocol:
    """ImageNet-200 or ImageNet-1K; ``counts`` are those of its lists."""
    near, far, unknown = _large(known)
    stem = "imagenet200" if known == "imagenet200" else "imagenet"
    home = "ILSVRC2012_img_{}.tar, https://www.image-net.org/download.php"

    def images(which: str) -> tuple[Place, ...]:
        tops = (f"imagenet_1k/{which}", f"imagenet/{which}", f"ILSVRC2012/{which}")
        named = f"{known}/{'train' if which == 'train' else 'test'}_{stem}.txt"
        return (Listed(named, LARGE), *(place for top in tops for place in _either(top, LARGE)))

    shifted = tuple(
        Part(
            f"imagenet_{letter}",
            label,
            (Listed(f"{known}/test_{stem}_{letter}.txt", LARGE),),
            f"imagenet_{letter}.zip and benchmark_imglist.zip, {_OPENOOD}; {page}",
            counts[letter],
        )
        for letter, label, page in (
            ("v2", "ImageNet-V2", "https://github.com/modestyachts/ImageNetV2"),
            ("c", "ImageNet-C", "https://github.com/hendrycks/robustness"),
            ("r", "ImageNet-R", "https://github.com/hendrycks/imagenet-r"),
        )
    )
    return Protocol(
        f"openood/{'imagenet200' if known == 'imagenet200' else 'imagenet1k'}",
        f"OpenOOD v1.5, {title}",
        classes,
        Part(stem, f"{title}, training images", images("train"), home.format("train"), counts["train"]),
        Part(
            stem,
            f"{title}, validation images of ILSVRC2012",
            images("val"),
            home.format("val"),
            counts["test"],
            f"a tenth is in no test list but in that for validation, {counts['validation']:,} images",
        ),
        near,
        far,
        shifted,
        Part(
            stem,
            f"{title}, images for validation",
            (Listed(f"{known}/val_{stem}.txt", LARGE),),
            f"benchmark_imglist.zip, {_OPENOOD}",
            counts["validation"],
        ),
        unknown,
        f"openood_{'imagenet200' if known == 'imagenet200' else 'imagenet1k'}.json",
        f"openood_{'imagenet200' if known == 'imagenet200' else 'imagenet1k'}_full_spectrum.json",
    )


# WordNet numbers, whose names are those of the training folders, without the n before them.
_IMAGENET200 = """
01443537 01484850 01494475 01498041 01514859 01518878 01531178 01534433 01614925 01616318 01630670 01632777
01644373 01677366 01694178 01748264 01770393 01774750 01784675 01806143 01820546 01833805 01843383 01847000
01855672 01860187 01882714 01910747 01944390 01983481 01986214 02007558 02009912 02051845 02056570 02066245
02071294 02077923 02085620 02086240 02088094 02088238 02088364 02088466 02091032 02091134 02092339 02094433
02096585 02097298 02098286 02099601 02099712 02102318 02106030 02106166 02106550 02106662 02108089 02108915
02109525 02110185 02110341 02110958 02112018 02112137 02113023 02113624 02113799 02114367 02117135 02119022
02123045 02128385 02128757 02129165 02129604 02130308 02134084 02138441 02165456 02190166 02206856 02219486
02226429 02233338 02236044 02268443 02279972 02317335 02325366 02346627 02356798 02363005 02364673 02391049
02395406 02398521 02410509 02423022 02437616 02445715 02447366 02480495 02480855 02481823 02483362 02486410
02510455 02526121 02607072 02655020 02672831 02701002 02749479 02769748 02793495 02797295 02802426 02808440
02814860 02823750 02841315 02843684 02883205 02906734 02909870 02939185 02948072 02950826 02951358 02966193
02980441 02992529 03124170 03272010 03345487 03372029 03424325 03452741 03467068 03481172 03494278 03495258
03498962 03594945 03602883 03630383 03649909 03676483 03710193 03773504 03775071 03888257 03930630 03947888
04086273 04118538 04133789 04141076 04146614 04147183 04192698 04254680 04266014 04275548 04310018 04325704
04347754 04389033 04409515 04465501 04487394 04522168 04536866 04552348 04591713 07614500 07693725 07695742
07697313 07697537 07714571 07714990 07718472 07720875 07734744 07742313 07745940 07749582 07753275 07753592
07768694 07873807 07880968 07920052 09472597 09835506 10565667 12267677
"""
IMAGENET200 = tuple(f"n{number}" for number in _IMAGENET200.split())


def _numbered(many: int) -> tuple[str, ...]:
    return tuple(map(str, range(many)))


def _declared(protocols: Sequence[Protocol]) -> dict[str, Protocol]:
    return {one.name: one for one in protocols}


_CIFAR10C = Part(
    "cifar10c",
    "CIFAR-10-C",
    (Listed("cifar10/test_cifar10c.txt", CLASSIC),),
    f"cifar10c.zip and benchmark_imglist.zip, {_OPENOOD}",
    10_000,
)

PROTOCOLS = _declared(
    [
        _cifar_protocol("cifar10", CIFAR10, 7_793, 35_195, (_CIFAR10C,)),
        _cifar_protocol("cifar100", _numbered(100), 6_526, 33_773, ()),
        _imagenet(
            "imagenet200",
            "ImageNet-200",
            IMAGENET200,
            {"train": None, "test": 9_000, "validation": 1_000, "v2": 2_000, "c": None, "r": 30_000},
        ),
        _imagenet(
            "imagenet",
            "ImageNet-1K",
            _numbered(1000),
            {"train": 1_281_167, "test": 45_000, "validation": 5_000, "v2": 10_000, "c": None, "r": 30_000},
        ),
    ]
)
