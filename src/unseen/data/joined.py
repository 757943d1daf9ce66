"""Several sources of images as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unseen.data.images import Unreadable
from unseen.data.inputs import ImageFiles, Inputs
from unseen.errors import WrongUse
from unseen.naming import listed


def join(parts: Mapping[str, Inputs]) -> Inputs:
    """The rows of several sources of images, one after the other, under ``name/key``.

    Labels are kept where every part has them, over the same classes. Files stay files; images of arrays are read where
    they lie. Groups are those of the parts, those of two parts being different ones.

    Args:
        parts: name -> inputs; a single one is returned as it is.

    Raises:
        WrongUse: when there is no part, or one is not of images, or labelled parts have other classes.

    >>> from unseen.data import open_inputs
    >>> grey = {"images": np.zeros((2, 4, 4), np.uint8)}
    >>> list(join({"a": open_inputs(grey), "b": open_inputs(grey)}).keys)
    ['a/array[0]', 'a/array[1]', 'b/array[0]', 'b/array[1]']
    """
    if not parts:
        raise WrongUse("there is nothing to join")
    if len(parts) == 1:
        return next(iter(parts.values()))
    held = list(parts.values())
    if any(part.kind != "images" for part in held):
        raise WrongUse(
            f"only images are joined: {listed(n for n, p in parts.items() if p.kind != 'images')} are arrays"
        )
    listing: dict[str, Any] = {
        "source": listed(part.source for part in held),
        "notes": tuple(f"{name}: {note}" for name, part in parts.items() for note in part.notes),
    }
    if all(part.labels is not None for part in held):
        if any(part.classes != held[0].classes for part in held):
            raise WrongUse("sources with other classes are not joined: read them as unlabelled")
        listing["classes"] = held[0].classes
        listing["labels"] = np.concatenate([part.labels for part in held if part.labels is not None])
    if any(part.groups is not None for part in held):
        listing["groups"] = _groups(held)
    keys = tuple(f"{name}/{key}" for name, part in parts.items() for key in part.keys)
    if all(isinstance(part, ImageFiles) for part in held):
        paths = [part.path(i) for part in held if isinstance(part, ImageFiles) for i in range(len(part))]
        return ImageFiles(keys, paths, **listing)
    return JoinedImages(keys, held, **listing)


class JoinedImages(Inputs):
    """Images of several sources; ``parts`` are read where they lie."""

    kind = "images"

    def __init__(self, keys: tuple[str, ...], parts: list[Inputs], **listing: Any) -> None:
        super().__init__(keys, **listing)
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts])

    def _place(self, i: int) -> tuple[Inputs, int]:
        row = int(self._rows[i])
        part = int(np.searchsorted(self._ends, row, side="right"))
        return self._parts[part], row - (int(self._ends[part - 1]) if part else 0)

    def read(self, i: int) -> NDArray[Any]:
        """Pixels of image ``i``."""
        part, row = self._place(i)
        try:
            return part.read(row)
        except Unreadable as error:
            raise Unreadable(error.reason, self.keys[i]) from error

    def digest(self, i: int) -> bytes:
        """That of the part."""
        part, row = self._place(i)
        return part.digest(row)


def _groups(parts: list[Inputs]) -> NDArray[np.int64]:
    codes: list[NDArray[np.int64]] = []
    start = 0
    for part in parts:
        own = np.arange(len(part)) if part.groups is None else np.unique(part.groups, return_inverse=True)[1]
        codes.append(own + start)
        start += int(own.max(initial=-1)) + 1
    return np.concatenate(codes).astype(np.int64)
