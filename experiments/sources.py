"""Folders of real images, written from the archives that ``UNSEEN_TEST_DATA`` points to: one sub-folder a class.

The archives hold the encoded bytes of many images in one array, ``offset[i]:offset[i + 1]`` being image ``i``; they are
written as files unchanged, so that an experiment starts where a user starts. Experiments about a network of 32 x 32
pixels take the decoded images instead, as most sets must be shrunk first.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image


def archive(name: str) -> Path:
    """The path of one archive; ends the program with a sentence where the data are not there."""
    root = os.environ.get("UNSEEN_TEST_DATA")
    if not root or not (Path(root) / name).is_file():
        sys.exit(f"set UNSEEN_TEST_DATA to the folder that holds {name}")
    return Path(root) / name


def write(
    folder: Path,
    blob: np.ndarray,
    offset: np.ndarray,
    rows: Sequence[int],
    classes: Sequence[str],
    suffix: str,
) -> Path:
    """Write image ``rows[i]`` to ``folder/classes[i]/``, named by its row."""
    for row, name in zip(rows, classes, strict=True):
        path = folder / name / f"{row:05d}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(blob[offset[row] : offset[row + 1]].tobytes())
    return folder


def photos(folder: Path, domain: str = "photo") -> Path:
    """The seven classes of one domain of the multi-domain images, 96 x 96, 700 images at most."""
    with np.load(archive("pacs96_webp.npz")) as z:
        blob, offset = z["webp"], z["offset"]
        wanted = z["domain_name"].astype(str).tolist().index(domain)
        rows = np.flatnonzero(z["domain"] == wanted).tolist()
        names = z["name"].astype(str)[z["label"]]
    return write(folder, blob, offset, rows, [str(names[row]) for row in rows], ".webp")


def small_images(folder: Path, classes: int = 10, shift: int = 0) -> Path:
    """``classes`` classes of 64 x 64 images, evenly spaced over the 200 and moved by ``shift``, 78 images each."""
    with np.load(archive("tiny_imagenet_jpeg.npz")) as z:
        blob, offset, labels = z["jpeg"], z["offset"], z["label"].astype(int)
    about = json.loads(archive("tiny_imagenet_classes.json").read_text())
    names = [str(name).split(",")[0].replace(" ", "_").replace("/", "_") for name in about["names"]]
    chosen = (np.linspace(0, 199, classes).round().astype(int) + shift) % 200
    rows = np.flatnonzero(np.isin(labels, chosen)).tolist()
    return write(folder, blob, offset, rows, [names[labels[row]] for row in rows], ".jpg")


class ImageSet(NamedTuple):
    """Images that a CIFAR-10 network is asked about.

    Attributes:
        name: for files.
        title: for people.
        kind: ``"covariate"``: the classes of CIFAR-10 with another look. ``"overlap"``: mostly sorts of these classes,
            too. ``"near"``: other animals and things in colour. ``"far"``: textures, and grey digits, garments and
            characters.
        images: uint8 ``(N, H, W, 3)`` or grey ``(N, H, W)``.
        about: which images these are, and how they were made small.
    """

    name: str
    title: str
    kind: Literal["covariate", "overlap", "near", "far"]
    images: np.ndarray
    about: str


def cifar10(part: Literal["train", "test"]) -> dict[str, Any]:
    """Lossless CIFAR-10 images as `encode` takes them: 4,660 of the training part, or 846 of the test part."""
    with np.load(archive("cifar10_lossless_webp.npz")) as z:
        images, classes = decoded(z, f"{part}_webp", f"{part}_offset"), z["name"].astype(str)
        return {"images": images, "labels": z[f"{part}_label"].astype(int), "classes": classes}


def cifar10_sets() -> Iterator[ImageSet]:
    """Every set of other images than the lossless ones, each small enough in height and width or made so."""
    with np.load(archive("cifar10_test_jpeg75.npz")) as z:
        images = decoded(z, "jpeg", "offset", range(846, 4000))  # the rows before are the known ones
    about = "test rows 846 to 3999, compressed by JPEG at quality 75"
    yield ImageSet("jpeg", "CIFAR-10 by JPEG", "covariate", images, about)

    with np.load(archive("pacs96_webp.npz")) as z:
        rows = np.arange(0, len(z["label"]), 3)
        labels = z["name"].astype(str)[z["label"][rows]]
        images = boxed(decoded(z, "webp", "offset", rows), 3)
    shared = np.isin(labels, ["dog", "horse"])
    about = "photographs, paintings, cartoons and sketches, every third, means of 3 x 3 pixels"
    yield ImageSet("pacs_shared", "PACS dog and horse", "covariate", images[shared], f"dogs and horses: {about}")

    with np.load(archive("tiny_imagenet_jpeg.npz")) as z:
        rows = np.flatnonzero(z["split"] == 1)[::2]
        labels = z["label"][rows].astype(int)
        small = boxed(decoded(z, "jpeg", "offset", rows), 2)
    overlap = np.isin(labels, json.loads(archive("tiny_imagenet_classes.json").read_text())["cifar10_overlap"])
    about = "validation images, every second, means of 2 x 2 pixels"
    yield ImageSet(
        "tiny_overlap",
        "Tiny ImageNet 27",
        "overlap",
        small[overlap],
        f"27 classes such as tabby, sports car and gazelle: {about}",
    )
    with np.load(archive("imagenet400_webp.npz")) as z:
        pictures = boxed(decoded(z, "webp", "offset"), 5)
    of_these = "one image of each of 400 classes, sorts of CIFAR-10 classes among them, means of 5 x 5 pixels"
    yield ImageSet("imagenet", "ImageNet 400", "overlap", pictures, of_these)
    yield ImageSet("tiny", "Tiny ImageNet 173", "near", small[~overlap], f"all classes but these 27: {about}")
    yield ImageSet(
        "pacs",
        "PACS five",
        "near",
        images[~shared],
        "elephants, giraffes, guitars, houses, people: every third, means of 3 x 3 pixels",
    )

    with np.load(archive("far_ood.npz")) as z:
        textures = boxed(decoded(z, "dtd_webp", "dtd_offset"), 2)
        yield ImageSet("dtd", "DTD", "far", textures, "textures of ten categories, means of 2 x 2 pixels")
        yield ImageSet("mnist", "MNIST", "far", z["mnist"], "digits, 28 x 28 made larger bilinearly")
        yield ImageSet("fashion", "Fashion-MNIST", "far", z["fashion"], "garments, 28 x 28 made larger bilinearly")
        yield ImageSet("omniglot", "Omniglot", "far", z["omniglot"], "characters of five alphabets, 32 x 32")


def decoded(
    held: Mapping[str, Any], key: str, offset: str, rows: Sequence[int] | np.ndarray | None = None
) -> np.ndarray:
    """Images of one size from an archive of encoded bytes, uint8 ``(N, H, W, 3)``."""
    blob, at = held[key], held[offset]  # taken out once, as every access reads the archive again
    places = list(itertools.pairwise(at.tolist()))
    chosen = places if rows is None else [places[row] for row in rows]
    return np.stack([np.asarray(Image.open(io.BytesIO(blob[a:b].tobytes())).convert("RGB")) for a, b in chosen])


def boxed(images: np.ndarray, factor: int) -> np.ndarray:
    """Images shrunk by the mean of ``factor x factor`` pixels, rounded."""
    n, height, width, channels = images.shape
    cells = images.reshape(n, height // factor, factor, width // factor, factor, channels)
    return cells.mean((2, 4)).round().astype(np.uint8)
