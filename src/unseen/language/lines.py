"""Text files line by line, packed by gzip or not; every complaint names the file and the line."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

from unseen.errors import BadInput, DamagedFile

_GZIP = b"\x1f\x8b"


def read_lines(path: str | os.PathLike[str]) -> list[tuple[int, str]]:
    """Lines that are not blank, without the spaces around them, each with its number from 1; tabs stay.

    Raises:
        BadInput: when there is no such file, or a line is not UTF-8.
        DamagedFile: when what gzip packed is not whole.
    """
    return numbered(read_bytes(path), path)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The file, unpacked where it begins as gzip's files do, whatever its name."""
    target = Path(path)
    if not target.is_file():
        raise BadInput(f"{target}: there is no such file")
    try:
        data = target.read_bytes()
    except OSError as error:
        raise BadInput(f"{target}: cannot be read: {error.strerror or error}") from error
    if not data.startswith(_GZIP):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedFile(f"{target}: cannot be unpacked ({error}): it is not whole") from error


def numbered(data: bytes, where: object) -> list[tuple[int, str]]:
    """As `read_lines`, of bytes that are at hand."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise BadInput(f"{where} line {line:,}: not UTF-8 text: save the file as UTF-8") from error
    # Not splitlines(): that ends a line at letters of other writing too, and numbers would not be an editor's.
    return [(number, line.strip(" \r")) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
