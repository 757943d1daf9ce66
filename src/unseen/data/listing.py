"""``open_inputs``: whatever a person points at -> ``Inputs``."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unseen.data import arrays, images, manifests
from unseen.data.inputs import ImageFiles, Inputs
from unseen.errors import BadInput, WrongUse
from unseen.naming import check_label, encode_labels, listed, printable


def open_inputs(
    source: str | os.PathLike[str] | ArrayLike | Mapping[str, Any] | Inputs,
    *,
    label_column: str | None = "label",
    path_column: str = "path",
    group_column: str | None = "group",
    limit: int | None = None,
    seed: int = 0,
) -> Inputs:
    """List the rows of a folder, a manifest, an array file or arrays; nothing but names is read.

    - A folder: the sub-folders directly in it are the classes, images may lie deeper. A folder with images
      directly in it and no class folders is unlabelled; both at once is an error. Hidden files are passed
      over; links are followed, but no folder is walked twice. Rows are sorted by key.
    - A manifest (.csv, .tsv, .jsonl, .ndjson), UTF-8, paths relative to it: columns path, label, group.
    - .npy: features ``(N, D)``, or images uint8 ``(N, H, W)``, ``(N, H, W, 1)``, ``(N, H, W, 3)``.
    - .npz, .safetensors, or a mapping of arrays: ``features``, ``logits``, ``embedding``, ``local``, ``temperature``
      or ``images``; ``labels``, ``classes``, ``groups``, ``keys``.
    - One image file: one unlabelled row. ``Inputs`` pass through.

    Args:
        source: as above.
        label_column: column of a manifest with class names. None: read everything unlabelled.
        path_column: column of a manifest with paths.
        group_column: column of a manifest with groups. None: no groups.
        limit: take at most so many rows, each class in proportion and at least once where that is possible,
            in their order.
        seed: which rows ``limit`` takes.

    Raises:
        BadInput: nothing was found, or what was found cannot be used; the message says where.
        WrongUse: a column asked for by name is missing, ``limit`` is below 1.

    >>> open_inputs({"features": np.eye(3), "labels": ["cat", "dog", "cat"]})
    <Inputs: 3 arrays, 2 classes, array>
    """
    if limit is not None and limit < 1:
        raise WrongUse(f"limit must be at least 1, got {limit}")
    inputs = _open(source, label_column, path_column, group_column)
    if label_column is None and inputs.labels is not None:
        inputs = inputs.take(np.arange(len(inputs)))  # a view: what was passed in stays labelled
        inputs.labels, inputs.classes = None, ()
    if limit is None or limit >= len(inputs):
        return inputs
    few = inputs.take(_sample(inputs.labels, len(inputs), limit, seed))
    few.notes = (*few.notes, f"{limit:,} of {len(inputs):,} rows were taken (seed {seed})")
    return few


def _open(source: Any, label_column: str | None, path_column: str, group_column: str | None) -> Inputs:
    if isinstance(source, Inputs):
        return source
    if isinstance(source, Mapping):
        return arrays.from_arrays(source)
    if not isinstance(source, (str, os.PathLike)):
        if not hasattr(source, "__array__"):
            raise WrongUse(f"inputs are a path, an array or a mapping of arrays, got {type(source).__name__}")
        return arrays.from_arrays({"array": np.asarray(source)})
    path = Path(source)
    suffix = path.suffix.lower()
    try:
        is_folder, there = path.is_dir(), path.exists()
    except (OSError, ValueError) as error:
        raise BadInput(f"{printable(str(path))}: cannot be opened: {error}") from error
    if is_folder:
        return _list_folder(path, labelled=label_column is not None)
    if not there:
        raise BadInput(f"{path}: no such file or folder{_sibling(path)}")
    if suffix in manifests.TABLES | manifests.LINES:
        return manifests.read_manifest(
            path, label_column=label_column, path_column=path_column, group_column=group_column
        )
    if suffix in arrays.SUFFIXES:
        return arrays.read_array_file(path)
    if suffix in images.SUFFIXES:
        return ImageFiles((printable(path.name),), (str(path),), source=printable(str(path)))
    raise BadInput(
        f'{path}: files that end in "{suffix}" are not read; expected a folder of images, an image, '
        "a manifest (.csv, .tsv, .jsonl) or arrays (.npy, .npz, .safetensors)"
    )


def _sibling(path: Path) -> str:
    try:
        names = os.listdir(path.parent)  # noqa: PTH208
    except OSError:
        return f"; {path.parent} is not there either"
    near = difflib.get_close_matches(path.name, names, n=1)
    return f'; did you mean "{path.parent / near[0]}"?' if near else ""


def _list_folder(root: Path, *, labelled: bool) -> ImageFiles:
    walk = _Walk(root)
    notes: list[str] = []
    if walk.others:
        many, example = len(walk.others), printable(min(walk.others))
        notes.append(
            f"1 file is not an image by name and was passed over: {example}"
            if many == 1
            else f"{many:,} files are not images by name and were passed over, such as {example}"
        )
    if walk.loops:
        loop = printable(min(walk.loops))
        notes.append(f"links to folders that are listed already were passed over, such as {loop}")
    if not walk.images:
        among = f"; there are {len(walk.others):,} other files, such as {min(walk.others)}" if walk.others else ""
        raise BadInput(
            f"{root}: no images in it or its sub-folders (looked for {listed(sorted(images.SUFFIXES), 30)})"
            f"{printable(among)}"
        )
    found = sorted((printable(relative), relative) for relative in walk.images)
    keys = tuple(key for key, _ in found)
    if len(set(keys)) != len(keys):
        twice = next(one for one, two in pairwise(keys) if one == two)
        raise BadInput(f"{root}: two files are called {twice} once their names are made printable")
    listing: dict[str, Any] = {"source": printable(str(root))}
    nested = [key for key in keys if "/" in key]
    if labelled and nested:
        if len(nested) < len(keys):
            lone = next(key for key in keys if "/" not in key)
            folders = sorted({key.split("/", 1)[0] for key in nested})
            raise BadInput(
                f"{root}: {len(keys) - len(nested):,} images lie directly in it (such as {lone}), beside "
                f"class folders ({listed(folders, 5)}): move them into one, or read all as unlabelled"
            )
        names = [check_label(key.split("/", 1)[0], str(root)) for key in keys]
        listing["classes"], listing["labels"] = encode_labels(names)
        empty = sorted({printable(one).strip() for one in walk.folders} - set(listing["classes"]))
        if empty:
            notes.append(f"folders without images are no classes: {listed(empty)}")
    paths = [str(root / relative) for _, relative in found]
    return ImageFiles(keys, paths, notes=tuple(notes), **listing)


class _Walk:
    """All files below a folder. Real folders are walked before linked ones, each once."""

    def __init__(self, root: Path) -> None:
        self.images: list[str] = []  # relative, with forward slashes
        self.others: list[str] = []
        self.loops: list[str] = []
        self.folders: list[str] = []  # those directly in the root
        self._root = root
        self._links: list[str] = []
        self._seen: set[tuple[int, int]] = set()
        above = root.resolve()
        self._above = {_identity(one) for one in above.parents}
        self._descend("")
        while self._links:
            links, self._links = sorted(self._links), []
            for link in links:
                self._descend(link)

    def _descend(self, start: str) -> None:
        waiting = [start]
        while waiting:
            relative = waiting.pop()
            folder = self._root / relative
            try:
                identity = _identity(folder)
                if identity in self._seen or identity in self._above:
                    self.loops.append(relative)
                    continue
                self._seen.add(identity)
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if not entry.name.startswith("."):
                            self._meet(entry, f"{relative}/{entry.name}".lstrip("/"), waiting)
            except OSError as error:
                raise BadInput(
                    f"{printable(str(folder))}: cannot be listed: {(error.strerror or str(error)).lower()}"
                ) from error

    def _meet(self, entry: os.DirEntry[str], relative: str, waiting: list[str]) -> None:
        try:
            folder = entry.is_dir()
        except OSError:  # a link that leads to itself; like a link to nothing, or a pipe, it is named when it is read
            folder = False
        if folder:
            (self._links if entry.is_symlink() else waiting).append(relative)
            if "/" not in relative:
                self.folders.append(relative)
            return
        if os.path.splitext(entry.name)[1].lower() in images.SUFFIXES:  # noqa: PTH122
            self.images.append(relative)
        else:
            self.others.append(relative)


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _sample(labels: NDArray[np.int64] | None, rows: int, limit: int, seed: int) -> NDArray[np.int64]:
    random = np.random.default_rng(seed)
    if labels is None:
        return np.sort(random.permutation(rows)[:limit])
    counts = np.bincount(labels)
    present = np.flatnonzero(counts)
    quota = np.zeros_like(counts)
    if limit <= len(present):
        quota[random.permutation(present)[:limit]] = 1
    else:  # one each, the rest in proportion; the largest remainders are rounded up
        quota[present] = 1
        rest = np.maximum(counts - 1, 0)
        share = rest * ((limit - len(present)) / rest.sum())
        quota += np.floor(share).astype(np.int64)
        order = np.lexsort((random.random(len(counts)), -(share - np.floor(share))))
        order = order[(quota < counts)[order]]
        quota[order[: limit - quota.sum()]] += 1
    order = np.lexsort((random.random(rows), labels))
    starts = np.cumsum(counts) - counts
    rank = np.arange(rows) - starts[labels[order]]
    return np.sort(order[rank < quota[labels[order]]])
