"""Rows of exactly the same content: found, described, kept on one side of a split. Images that look the same: named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from unseen.data.inputs import Inputs
from unseen.errors import WrongUse

SIDE = 8  # pixels of a thumbnail
# Of 8-bit grey levels, as root mean squares over a thumbnail. Measured on 10,000 photographs of 64 x 64 (Tiny
# ImageNet): copies in JPEG of quality 50 or in half the size are found in more than 99 % of the cases, and no two
# different photographs come as near as this.
_NEAR = 2.0
_SHARE = 0.1  # of the thumbnail's own contrast: two pale pictures are near each other without being copies
_CONTRAST = 8.0  # below it a picture is nearly one grey, of which there are many
_NEIGHBOURS = 4  # looked at for each row, itself included, so that a thousand frames of one scene cost no more


@dataclass(frozen=True)
class Duplicates:
    """Sets of rows with the same content.

    Attributes:
        groups: row numbers of each set, two or more, ascending.
        conflicting: those of the sets whose rows carry different labels.
    """

    groups: tuple[tuple[int, ...], ...]
    conflicting: tuple[tuple[int, ...], ...]

    @property
    def surplus(self) -> int:
        """How many rows repeat an earlier one."""
        return sum(len(group) - 1 for group in self.groups)

    def describe(self, inputs: Inputs) -> tuple[str, ...]:
        """Nothing, or one line on the repeats, and one on those across classes with an example."""
        lines = []
        if self.groups:
            rows = "1 row repeats an" if self.surplus == 1 else f"{self.surplus:,} rows repeat an"
            lines.append(f"{rows} earlier row exactly")
        if self.conflicting:
            one, *others = self.conflicting[0]
            labels = inputs.labels
            other = next((i for i in others if labels is not None and labels[i] != labels[one]), others[0])
            pictures = (
                "1 exact duplicate" if len(self.conflicting) == 1 else f"{len(self.conflicting):,} exact duplicates"
            )
            lines.append(f"{pictures} across classes, such as {inputs.keys[one]} = {inputs.keys[other]}")
        return tuple(lines)


def duplicates(inputs: Inputs, digests: Sequence[bytes]) -> Duplicates:
    """Rows with equal digests.

    Args:
        inputs: ``N`` rows.
        digests: what ``inputs.digests()`` returned.

    Raises:
        WrongUse: not one digest a row.

    >>> from unseen.data import open_inputs
    >>> rows = open_inputs({"features": np.array([[1.0], [2.0], [1.0]]), "labels": ["a", "a", "b"]})
    >>> duplicates(rows, rows.digests())
    Duplicates(groups=((0, 2),), conflicting=((0, 2),))
    """
    groups = _repeats(inputs, digests)
    labels = inputs.labels
    conflicting = () if labels is None else tuple(g for g in groups if len(set(labels[list(g)].tolist())) > 1)
    return Duplicates(groups, conflicting)


def merge_groups(inputs: Inputs, digests: Sequence[bytes]) -> NDArray[np.int64]:
    """Group codes ``(N,)``, from 0, that unite the given groups with exact duplicates.

    Rows are in one group when a chain of shared groups and equal contents joins them, so no content
    stands on both sides of a ``split`` by these codes.

    Raises:
        WrongUse: not one digest a row.
    """
    repeats = _repeats(inputs, digests)
    own = np.arange(len(inputs)) if inputs.groups is None else np.unique(inputs.groups, return_inverse=True)[1]
    groups = int(own.max(initial=-1)) + 1
    joined = _Sets(groups)
    for rows in repeats:
        first, *others = own[list(rows)].tolist()
        for other in others:
            joined.unite(first, other)
    roots = np.fromiter((joined.root(group) for group in range(groups)), np.int64, groups)
    return np.unique(roots[own], return_inverse=True)[1].astype(np.int64)


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mean grey of the 8 x 8 parts of an image, uint8 ``(64,)``; of an image uint8 ``(H, W, 3)`` of any size.

    Nearly the same for the same picture in another size or encoding, unlike for a turned, cropped or recoloured one.
    """
    grey = Image.fromarray(image).convert("L")
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX)).reshape(-1)


def near_duplicates(thumbnails: ArrayLike) -> tuple[tuple[int, ...], ...]:
    """Sets of rows whose thumbnails are nearly the same: one picture in several sizes or encodings, frames of a scene.

    Two rows are near when their thumbnails differ by at most 2 of 255 grey levels and at most a tenth of their own
    contrast (root mean squares); a set is what a chain of near rows joins. Rows with equal thumbnails count; pictures
    of nearly one grey never do. Each row is compared with its nearest three only, which costs about 0.1 s for 10,000
    rows; in a crowd of near rows a set may therefore come in parts.

    Args:
        thumbnails: ``(N, 64)`` uint8, a row what `thumbnail` gave.

    Returns: row numbers of each set, two or more, ascending.

    >>> stripes = np.tile([0, 0, 200, 200], 16)
    >>> near_duplicates([stripes, stripes + 1, stripes[::-1]])
    ((0, 1),)
    """
    from scipy.spatial import cKDTree  # where it is used, as it loads slowly

    pictures, which = np.unique(np.asarray(thumbnails, dtype=np.float32), axis=0, return_inverse=True)  # (P, 64), (N,)
    if not len(pictures):
        return ()
    contrast = np.sqrt(((pictures - pictures.mean(axis=1, keepdims=True)) ** 2).mean(axis=1))  # (P,)
    # The tree speaks of sums where we speak of means, and leaves out what is exactly as far as its bound.
    bound = np.nextafter(_NEAR * SIDE, np.inf)
    distances, nearest = cKDTree(pictures).query(pictures, k=_NEIGHBOURS, distance_upper_bound=bound)
    near = (distances / SIDE <= _SHARE * contrast[:, None]) & (contrast[:, None] >= _CONTRAST)
    joined = _Sets(len(pictures))
    for one, at in np.argwhere(near).tolist():
        if nearest[one, at] < len(pictures):  # a neighbour that is not there has this number
            joined.unite(one, int(nearest[one, at]))
    rows: defaultdict[int, list[int]] = defaultdict(list)
    for row, picture in enumerate(which.reshape(-1).tolist()):
        if contrast[picture] >= _CONTRAST:
            rows[joined.root(picture)].append(row)
    return tuple(sorted(tuple(same) for same in rows.values() if len(same) > 1))


class _Sets:
    """Numbers below ``n`` in disjoint sets, at first each alone."""

    def __init__(self, n: int) -> None:
        self._parent = list(range(n))

    def root(self, one: int) -> int:
        parent = self._parent
        while parent[one] != one:
            parent[one] = parent[parent[one]]  # halves the path
            one = parent[one]
        return one

    def unite(self, one: int, other: int) -> None:
        self._parent[self.root(other)] = self.root(one)


def _repeats(inputs: Inputs, digests: Sequence[bytes]) -> tuple[tuple[int, ...], ...]:
    if len(digests) != len(inputs):
        raise WrongUse(f"{len(digests):,} digests for {len(inputs):,} rows: pass what inputs.digests() returned")
    rows: defaultdict[bytes, list[int]] = defaultdict(list)
    for row, digest in enumerate(digests):
        rows[digest].append(row)
    return tuple(tuple(same) for same in rows.values() if len(same) > 1)
