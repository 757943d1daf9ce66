"""Folders of real images, written from the archives that ``UNSEEN_TEST_DATA`` points to: one sub-folder a class.

The archives hold the encoded bytes of many images in one array, ``offset[i]:offset[i + 1]`` being image ``i``; they are
written as files unchanged, so that an experiment starts where a user starts.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np


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
