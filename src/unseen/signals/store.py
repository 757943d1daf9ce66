"""The store on disk: what an encoder said, in shards that are whole or absent.

A shard is a fixed number of consecutive rows. It is named by what its rows contain, so that a run that was killed
and a listing that grew at its end find what is already there; rows put in earlier move those after them into other
shards, which are made again. Each signal is one
``.npy`` file and a small JSON beside it, written after it: a shard without its JSON is made again.
The time of a shard's folder says when it was last used; that of its files, when they were written.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from unseen.errors import BadInput
from unseen.files import fingerprint, replacing, write_json
from unseen.signals.signals import in_memory

FORMAT = 2  # 1 had no thumbnails


class Stored:
    """One finished array on disk, mapped only while it is read: ``(N, ...)``.

    A map holds an open file for as long as it lives, and a large store has more shards than a process may have
    open files.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        opened = self._map()
        self.shape: tuple[int, ...] = opened.shape
        self.dtype: np.dtype[Any] = opened.dtype

    def _map(self) -> np.ndarray:
        held: np.ndarray = np.load(self._path, mmap_mode="r", allow_pickle=False)
        return held

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        try:
            return np.array(self._map()[rows])
        except (OSError, ValueError, EOFError) as error:
            raise BadInput(
                f"{self._path}: went away or changed while it was being read; run the same command again"
            ) from error


class Rows(Protocol):
    """Rows of one signal, wherever they lie: ``(N, ...)``."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(N, ...)``."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of every row."""
        ...

    def __len__(self) -> int: ...
    def __getitem__(self, rows: Any, /) -> Any: ...


class Shards:
    """One signal over all shards, in memory or `Stored`: ``(N, ...)``.

    >>> column = Shards([np.zeros((2, 3)), np.ones((1, 3))])
    >>> column.shape, column[1:3][:, 0].tolist(), column[[2, 0]][:, 0].tolist()
    ((3, 3), [0.0, 1.0], [1.0, 0.0])
    """

    def __init__(self, parts: Sequence[Rows]) -> None:
        self._parts = list(parts)
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        self.dtype = np.result_type(*{part.dtype for part in parts})

    @property
    def shape(self) -> tuple[int, ...]:
        """``(N, ...)``."""
        return (int(self._starts[-1]), *self._parts[0].shape[1:])

    @property
    def in_memory(self) -> bool:
        """Whether every part is an array in memory."""
        return all(in_memory(part) for part in self._parts)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, rows: Any) -> np.ndarray:
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        rows = np.asarray(rows)
        if rows.dtype == np.bool_:
            if rows.shape != (len(self),):
                raise IndexError(f"a mask of shape {rows.shape} for {len(self):,} rows")
            rows = np.flatnonzero(rows)
        rows = rows.astype(np.int64)
        if rows.ndim == 0:
            row: np.ndarray = self[rows[None]][0]
            return row
        if rows.size and (rows.min() < -len(self) or rows.max() >= len(self)):
            raise IndexError(f"there are {len(self):,} rows, not {int(rows.min())} to {int(rows.max())}")
        rows = np.where(rows < 0, rows + len(self), rows)
        out = np.empty((len(rows), *self.shape[1:]), dtype=self.dtype)
        # Sorted once, each part is read once and in its own order, however the rows are mixed.
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        cuts = np.searchsorted(ascending, self._starts)
        for number in np.flatnonzero(np.diff(cuts)):
            here = slice(cuts[number], cuts[number + 1])
            out[order[here]] = self._parts[number][ascending[here] - self._starts[number]]
        return out


class Store:
    """Shards of one encoder below ``folder``.

    Args:
        folder: the cache; made where it is absent.
        encoder: id of the encoder with everything that changes its numbers.

    Raises:
        BadInput: when ``folder`` is a file.
    """

    def __init__(self, folder: Path, encoder: str) -> None:
        if folder.exists() and not folder.is_dir():
            raise BadInput(f"{folder}: the cache must be a folder")
        self.folder = folder / folder_name(FORMAT, encoder)
        self.encoder = encoder

    def shard(self, digests: Sequence[bytes]) -> Path:
        """The folder of the shard whose rows contain ``digests``."""
        return self.folder / fingerprint(*digests)[:32]

    def read(self, shard: Path, signal: str, rows: int) -> tuple[Stored, dict[int, str]] | None:
        """A finished shard with its unreadable rows and reasons; None when it must be made.

        A shard whose bytes are not those that were written is treated as absent.
        """
        array, marker = self._paths(shard, signal)
        try:
            about = json.loads(marker.read_bytes())
            if about["format"] != FORMAT or about["rows"] != rows or about["sha256"] != _sha256(array):
                return None
            unreadable = {int(row): str(reason) for row, reason in about["unreadable"].items()}
            held = Stored(array)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        with contextlib.suppress(OSError):  # a store that may only be read
            os.utime(shard)
        return (held, unreadable) if len(held) == rows and all(0 <= row < rows for row in unreadable) else None

    def thumbnails(self, shard: Path, signal: str, rows: int) -> np.ndarray | None:
        """What was written with a shard to tell near-duplicates, uint8 ``(N, 64)``; None where there is nothing."""
        try:
            text = json.loads(self._paths(shard, signal)[1].read_bytes())["thumbnails"]
            return np.frombuffer(base64.b64decode(text, validate=True), np.uint8).reshape(rows, 64)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def write(
        self,
        shard: Path,
        signal: str,
        values: np.ndarray,
        unreadable: Mapping[int, str],
        thumbnails: np.ndarray | None = None,
    ) -> None:
        """Write a shard, then its JSON.

        Args:
            shard: its folder.
            signal: its name there.
            values: ``(N, ...)``.
            unreadable: row -> reason of those that could not be read.
            thumbnails: uint8 ``(N, 64)`` of the images, where there are any.

        Raises:
            NoRoom: when the disk is full; what is finished stays.
        """
        array, marker = self._paths(shard, signal)
        # Never through a memory map: on a full disk a map dies of SIGBUS. Nor by np.save to the file: it says that
        # the disk is full without an error number, so that nobody can tell.
        header = io.BytesIO()
        plain = np.ascontiguousarray(values)
        np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(plain))
        digest = hashlib.sha256()  # of what was meant, so that a bad write is noticed when it is read
        with contextlib.suppress(OSError):  # what is wrong with it is said where the file is opened
            self.folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.folder.parent):  # from the array to its JSON, so that nobody clears half a shard
            with replacing(array) as file:
                for part in (header.getbuffer(), plain.reshape(-1).view(np.uint8).data):
                    digest.update(part)
                    file.write(part)
            write_json(
                marker,
                {
                    "format": FORMAT,
                    "encoder": self.encoder,
                    "signal": signal,
                    "rows": len(values),
                    "sha256": digest.hexdigest(),
                    "unreadable": {str(row): reason for row, reason in unreadable.items()},
                    "thumbnails": None if thumbnails is None else base64.b64encode(thumbnails.tobytes()).decode(),
                },
            )

    def _paths(self, shard: Path, signal: str) -> tuple[Path, Path]:
        name = file_name(signal)
        return shard / f"{name}.npy", shard / f"{name}.json"


def folder_name(version: int, encoder: str) -> str:
    """The name of an encoder's folder."""
    return fingerprint(str(version), encoder)[:16]


def file_name(signal: str) -> str:
    """What the files of a signal are called, without their endings."""
    return signal if signal.isidentifier() else fingerprint(signal)[:16]


@contextlib.contextmanager
def locked(folder: Path, *, alone: bool = False) -> Iterator[None]:
    """Work in a cache while nobody clears it or, ``alone``, while nobody writes to it.

    A lock of the folder that is never removed, not of one in it. It ends with the process that holds it; where a file
    system has no locks, the work goes on without one.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        yield
        return
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
