"""What the store on disk holds, by encoder, and how it is cleared without touching anything else."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from unseen.errors import BadInput
from unseen.files import fingerprint
from unseen.signals.store import file_name, folder_name, locked

_ENCODER = re.compile(r"[0-9a-f]{16}")
_SHARD = re.compile(r"[0-9a-f]{32}")
_PART = re.compile(r"\.(.+)\.([0-9a-f]{8})\.[0-9]+\.part")  # what `unseen.files.replacing` writes to
_DAY = 86400.0


@dataclass(frozen=True)
class Shelf:
    """What the store holds of one encoder.

    Attributes:
        encoder: its id, with everything that changes its numbers.
        signals: names of what is held, sorted.
        shards: how many there are.
        inputs: rows of all shards. An input counts once for each listing that it stood at another place of.
        size: bytes of all files.
        last_used: when a shard was last written or read, in seconds since 1970.
    """

    encoder: str
    signals: tuple[str, ...]
    shards: int
    inputs: int
    size: int
    last_used: float


def shelves(folder: Path, *, encoder: str = "", older_than: float = 0.0) -> list[Shelf]:
    """What the store below ``folder`` holds, the encoder used last first.

    Args:
        folder: the cache; one that is not there holds nothing.
        encoder: only encoders with this part in their id.
        older_than: only shards that nobody has used for so many days.

    Raises:
        BadInput: when ``folder`` is a file, or cannot be read.
    """
    return _by_encoder(_shards(folder, encoder, older_than))


def clear(folder: Path, *, encoder: str = "", older_than: float = 0.0) -> list[Shelf]:
    """Remove what `shelves` lists under the same arguments, and say what was removed.

    Only what the store wrote is removed: a JSON of its own with the array beside it, and, where no encoder is named,
    what runs that were killed have left half-written. Anything else stays, and so do the folders around it. A shard
    that was written or read meanwhile stays as well.

    Raises:
        BadInput: when ``folder`` is a file, or something cannot be read or removed.
    """
    removed = []
    for shard in _shards(folder, encoder, older_than):
        try:
            with locked(folder, alone=True):
                now = _shard(shard.folder)
                if now is None or now.used > shard.used:
                    continue
                # The array first: if we are killed in between, the JSON that is left is known for the store's.
                for path in now.files:
                    path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # other files lie there
                    shard.folder.rmdir()
                    shard.folder.parent.rmdir()
        except OSError as error:
            raise BadInput(f"{error.filename or folder}: cannot be removed: {error.strerror or error}") from error
        removed.append(now)
    return _by_encoder(removed)


@dataclass(frozen=True)
class _Shard:
    folder: Path
    encoder: str  # empty where nothing was finished
    signals: frozenset[str]
    rows: int
    size: int
    used: float
    files: tuple[Path, ...]


def _by_encoder(shards: Iterable[_Shard]) -> list[Shelf]:
    found: dict[str, list[_Shard]] = {}
    for shard in shards:
        if shard.encoder:
            found.setdefault(shard.encoder, []).append(shard)
    held = [
        Shelf(
            name,
            signals=tuple(sorted(frozenset[str]().union(*(shard.signals for shard in group)))),
            shards=len(group),
            inputs=sum(shard.rows for shard in group),
            size=sum(shard.size for shard in group),
            last_used=max(shard.used for shard in group),
        )
        for name, group in found.items()
    ]
    return sorted(held, key=lambda shelf: -shelf.last_used)


def _shards(folder: Path, encoder: str, older_than: float) -> Iterator[_Shard]:
    """The store's shards below a folder that are of the encoder and old enough."""
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder}: the cache must be a folder")
    before = time.time() - older_than * _DAY if older_than else None
    try:
        for place in _folders(folder, _ENCODER):
            for inside in _folders(place, _SHARD):
                shard = _shard(inside)
                if shard is not None and encoder in shard.encoder and (before is None or shard.used <= before):
                    yield shard
    except OSError as error:
        raise BadInput(f"{error.filename or folder}: cannot be read: {error.strerror or error}") from error


def _folders(folder: Path, name: re.Pattern[str]) -> list[Path]:
    """Folders that the store may have made: never links, which lead out of it."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if name.fullmatch(p.name) and p.is_dir() and not p.is_symlink())


def _shard(folder: Path) -> _Shard | None:
    """What the store wrote into a folder; None where that is nothing."""
    try:
        names, used = {path.name for path in folder.iterdir()}, folder.stat().st_mtime
    except FileNotFoundError:  # somebody else cleared it
        return None
    encoders: set[str] = set()
    signals: set[str] = set()
    rows = 0
    files = []
    for name in sorted(names):
        about = _marker(folder / name) if name.endswith(".json") else None
        part = _PART.fullmatch(name)
        if about is not None:
            encoders.add(about[0])
            signals.add(about[1])
            rows = max(rows, about[2])
            files += [folder / f"{name[:-5]}.npy", folder / name]
        elif part is not None and fingerprint(part[1])[:8] == part[2]:
            files.append(folder / name)
    if not files:
        return None
    size = 0
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size
    return _Shard(folder, min(encoders, default=""), frozenset(signals), rows, size, used, tuple(files))


def _marker(path: Path) -> tuple[str, str, int] | None:
    """Encoder, signal and rows from a JSON that the store wrote in this place; None for any other."""
    try:
        about = json.loads(path.read_bytes())
        version, encoder, signal, rows = (about[name] for name in ("format", "encoder", "signal", "rows"))
        own = path.parent.parent.name == folder_name(version, encoder) and path.stem == file_name(signal)
        return (encoder, signal, int(rows)) if own else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
