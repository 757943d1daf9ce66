"""A listing of rows, read one at a time: files of images, arrays of images, arrays of features."""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unseen.data.images import Unreadable, open_regular, read_image
from unseen.errors import WrongUse

Progress = Callable[[int, int], None]
"""What long work calls as it goes on: with what is done, and how much there is in all."""

COLUMNS = {"features": 2, "logits": 2, "embedding": 2, "local": 3, "samples": 3, "temperature": 2}
"""Arrays that a row may consist of, and how many axes each has, the rows' one included."""


class Inputs(ABC):
    """``N`` rows: a picture or a vector each, with a key, perhaps a label and a group.

    Made by ``open_inputs``. Nothing is read before it is asked for, and ``read`` and ``digest`` may be
    called from several threads.

    Attributes:
        kind: ``"images"`` or ``"arrays"``, what ``read`` gives.
        keys: a distinct name for each row.
        classes: class names; sorted, unless the source itself gives their order.
        labels: ``(N,)`` int64 codes into ``classes``, or None when the rows are unlabelled.
        groups: ``(N,)`` int64, equal for rows that must stay together (one video, one patient), or None.
        source: where the rows came from, for messages.
        notes: what a person should hear about the listing.
        columns: name -> ``(N, ...)`` array, for rows of arrays; empty for images.
    """

    kind: Literal["images", "arrays"]

    def __init__(
        self,
        keys: Sequence[str],
        *,
        source: str,
        classes: tuple[str, ...] = (),
        labels: NDArray[np.int64] | None = None,
        groups: NDArray[np.int64] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        for name, codes in (("labels", labels), ("groups", groups)):
            if codes is not None and codes.shape != (len(keys),):
                raise WrongUse(f"{name} have shape {codes.shape}, there are {len(keys):,} rows")
        self.keys = keys
        self.source = source
        self.classes = classes
        self.labels = labels
        self.groups = groups
        self.notes = notes
        self._rows = np.arange(len(keys))  # (N,) where row i of this view lies in the source

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        classes = f", {len(self.classes)} classes" if self.labels is not None else ""
        return f"<Inputs: {len(self):,} {self.kind}{classes}, {self.source}>"

    @property
    def columns(self) -> Mapping[str, NDArray[Any]]:
        """Arrays by name, each ``(N, ...)``; empty for images."""
        return {}

    @abstractmethod
    def read(self, i: int) -> NDArray[Any]:
        """Row ``i``: uint8 RGB ``(H, W, 3)``, or one float vector ``(D,)``.

        Raises:
            Unreadable: the row is missing or damaged; the message names it.
        """

    @abstractmethod
    def digest(self, i: int) -> bytes:
        """SHA-256 (32 bytes) of what row ``i`` consists of.

        Equal content gives equal digests, whatever the key. A missing, empty or forbidden file gets a
        digest of its key, so that two of them never count as duplicates.
        """

    def digests(self, progress: Progress | None = None, *, threads: int = 8) -> list[bytes]:
        """The digest of each row.

        Args:
            progress: called with (rows done, rows in all) now and then, in the calling thread.
            threads: how many files are read at once.
        """
        starts = range(0, len(self), _BLOCK)

        def block(start: int) -> list[bytes]:
            return [self.digest(i) for i in range(start, min(start + _BLOCK, len(self)))]

        digests: list[bytes] = []
        with ThreadPoolExecutor(threads) as pool:
            for part in pool.map(block, starts):
                digests += part
                if progress is not None:
                    progress(len(digests), len(self))
        return digests

    def take(self, index: ArrayLike) -> Self:
        """A view of some rows, in the order given; classes and group codes stay as they are.

        Args:
            index: row numbers, or a mask ``(N,)`` of bool.

        Raises:
            WrongUse: a row is named twice or does not exist.
        """
        chosen = np.asarray(index)
        if chosen.size == 0 and chosen.dtype != np.bool_:
            chosen = chosen.astype(np.int64)
        try:
            at = np.arange(len(self))[chosen]
        except IndexError as error:
            raise WrongUse(f"{self.source}: no such rows: {error}") from error
        if at.ndim != 1 or len(np.unique(at)) != len(at):
            raise WrongUse(f"{self.source}: rows are taken once each, by a list of numbers or a mask")
        view = copy.copy(self)
        view._rows = self._rows[at]
        view.keys = self.keys.at(at) if isinstance(self.keys, NumberedKeys) else _pick(self.keys, at)
        view.labels = None if self.labels is None else self.labels[at]
        view.groups = None if self.groups is None else self.groups[at]
        return view


_BLOCK = 64  # rows a thread hashes before it reports


def _pick(keys: Sequence[str], at: NDArray[np.int64]) -> tuple[str, ...]:
    return tuple(keys[i] for i in at.tolist())


class NumberedKeys(Sequence[str]):
    """``"file.npz[17]"`` for each row, written when asked for.

    >>> list(NumberedKeys("a.npy", np.array([3, 5])))
    ['a.npy[3]', 'a.npy[5]']
    """

    def __init__(self, name: str, numbers: NDArray[np.int64]) -> None:
        self.name = name
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> NumberedKeys: ...
    def __getitem__(self, i: int | slice) -> str | NumberedKeys:
        return self.at(i) if isinstance(i, slice) else f"{self.name}[{self.numbers[i]}]"

    def __iter__(self) -> Iterator[str]:
        return (f"{self.name}[{number}]" for number in self.numbers.tolist())

    def at(self, index: slice | NDArray[np.int64]) -> NumberedKeys:
        """The keys of some rows."""
        return NumberedKeys(self.name, self.numbers[index])


class ImageFiles(Inputs):
    """Image files; ``paths`` are where the rows' files lie."""

    kind = "images"

    def __init__(self, keys: Sequence[str], paths: Sequence[str | Path], **listing: Any) -> None:
        super().__init__(keys, **listing)
        self._paths = paths

    def path(self, i: int) -> Path:
        """Where the file of row ``i`` should lie."""
        return Path(self._paths[self._rows[i]])

    def size(self, i: int) -> int:
        """Bytes of file ``i``; its pixels are not looked at.

        Raises:
            Unreadable: as `read`, where there is no such file.
        """
        try:
            with open_regular(self._paths[self._rows[i]]) as (_, size):
                return size
        except Unreadable as error:
            raise Unreadable(error.reason, self.keys[i]) from error

    def read(self, i: int) -> NDArray[np.uint8]:
        """Pixels of file ``i``, see ``read_image``."""
        try:
            return read_image(self._paths[self._rows[i]])
        except Unreadable as error:
            raise Unreadable(error.reason, self.keys[i]) from error

    def digest(self, i: int) -> bytes:
        """SHA-256 of the bytes of file ``i``."""
        try:
            with open_regular(self._paths[self._rows[i]]) as (file, _):
                return hashlib.file_digest(file, "sha256").digest()
        except (Unreadable, OSError):
            return hashlib.sha256(b"unseen: unreadable\0" + self.keys[i].encode()).digest()


class ImageArray(Inputs):
    """Images of one size in an array uint8 ``(N, H, W)``, ``(N, H, W, 1)`` or ``(N, H, W, 3)``."""

    kind = "images"

    def __init__(self, keys: Sequence[str], images: NDArray[np.uint8], **listing: Any) -> None:
        super().__init__(keys, **listing)
        self._images = images

    def read(self, i: int) -> NDArray[np.uint8]:
        """Image ``i`` as RGB ``(H, W, 3)``, a copy."""
        image = self._images[self._rows[i]]
        height, width = image.shape[:2]
        return np.array(np.broadcast_to(image.reshape(height, width, -1), (height, width, 3)))

    def digest(self, i: int) -> bytes:
        """SHA-256 of type, shape and bytes of image ``i``."""
        return _hash_rows([("images", self._images[self._rows[i]])])


class FeatureArray(Inputs):
    """Signals computed elsewhere: arrays ``features (N, D)``, ``logits (N, C)`` and the like."""

    kind = "arrays"

    def __init__(self, keys: Sequence[str], arrays: Mapping[str, NDArray[Any]], **listing: Any) -> None:
        super().__init__(keys, **listing)
        self._arrays = arrays
        self._vector = next(name for name in COLUMNS if name in arrays and COLUMNS[name] == 2)

    @property
    def columns(self) -> Mapping[str, NDArray[Any]]:
        """Arrays by name, ``(N, ...)``: views where the rows lie in one piece, else copied when asked for."""
        return Columns(self._arrays, self._rows)

    def block(self, start: int, stop: int) -> dict[str, NDArray[Any]]:
        """Rows ``start:stop`` of each column, without touching the others."""
        return dict(Columns(self._arrays, self._rows[start:stop]))

    def read(self, i: int) -> NDArray[Any]:
        """The features of row ``i`` (else its embedding, else its logits): ``(D,)`` float32 or float64."""
        row = self._arrays[self._vector][self._rows[i]]
        return np.array(row, dtype=np.float64 if row.dtype == np.float64 else np.float32)

    def digest(self, i: int) -> bytes:
        """SHA-256 of name, type, shape and bytes of row ``i`` of each column."""
        at = self._rows[i]
        return _hash_rows([(name, array[at]) for name, array in self._arrays.items()])


class Columns(Mapping[str, NDArray[Any]]):
    """Some rows of some arrays, gathered when a name is asked for."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], rows: NDArray[np.int64]) -> None:
        self._arrays = arrays
        self._index: slice | NDArray[np.int64] = rows
        if len(rows) == 0 or (rows[-1] - rows[0] == len(rows) - 1 and bool((np.diff(rows) == 1).all())):
            self._index = slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return np.asarray(self._arrays[name][self._index])

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def _hash_rows(parts: Sequence[tuple[str, NDArray[Any]]]) -> bytes:
    whole = hashlib.sha256()
    for name, row in parts:
        little = np.ascontiguousarray(row, dtype=row.dtype.newbyteorder("<"))
        whole.update(f"{name} {little.dtype.str} {row.shape}\0".encode())
        whole.update(little.tobytes())
    return whole.digest()
