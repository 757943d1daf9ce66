"""Files that are whole or absent: temporary name, sync, rename."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from unseen.errors import BadInput, NoRoom

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open ``path`` for writing bytes; it appears under its name only when everything is on disk.

    Raises:
        NoRoom: when the disk is full; nothing half-written is left.
        BadInput: when the folder cannot be written, or ``path`` is a folder.
    """
    target = Path(path)
    # The beginning of the name only: with its ends it must not be longer than a name may be.
    whole = fingerprint(target.name.encode(errors="surrogatepass"))[:8]
    temporary = target.with_name(f".{target.name[:32]}.{whole}.{os.getpid()}.part")
    try:
        if target.exists() and not target.is_file() and not target.is_dir():  # /dev/null, a pipe: never renamed over
            with target.open("wb") as file:
                yield file
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        if isinstance(error, NoRoom):
            raise
        if error.errno in _FULL:
            raise NoRoom(f"{target}: no space left on the disk; free some and run the same command again") from error
        raise BadInput(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):  # it is renamed by now, or could not even be made
            temporary.unlink()


def sync_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` survive a power cut (a folder is synced apart from its files)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write ``text`` as UTF-8, whole or not at all."""
    with replacing(path) as file:
        # A file name that is not UTF-8 arrives as a lone surrogate, which JSON can say and UTF-8 cannot.
        file.write(text.encode(errors="backslashreplace"))
    return Path(path)


def write_json(path: str | os.PathLike[str], value: Any) -> Path:
    """Write ``value`` as indented JSON, whole or not at all."""
    return write_text(path, to_json(value) + "\n")


def to_json(value: Any, *, indent: int | None = 2) -> str:
    """JSON text of plain values; not-a-number and infinities become null, as JSON has none."""
    text = json.dumps(_plain(value), indent=indent, ensure_ascii=False, allow_nan=False)
    # Bytes of a file name that are not UTF-8 are lone surrogates: spelled out as JSON does, they come back the same.
    return text.encode(errors="backslashreplace").decode()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays, tensors
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def fingerprint(*parts: bytes | str) -> str:
    """SHA-256, in hexadecimal, of ``parts``, each preceded by its length so that they cannot run together.

    >>> fingerprint("ab", "c") == fingerprint("a", "bc")
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()
