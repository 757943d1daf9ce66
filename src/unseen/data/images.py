"""One file -> uint8 RGB pixels, or one line that says why not."""

from __future__ import annotations

import functools
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from unseen.errors import BadInput

SUFFIXES = frozenset(
    {".apng", ".avif", ".bmp", ".dib", ".gif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpf"}
    | {".jpg", ".jpx", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
"""File names that end so are taken for images."""

# Formats are named so that Pillow never tries the others: EPS, for one, starts Ghostscript.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "MPO", "JPEG2000", "AVIF", "ICO")
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")
_ORIENTATION = 0x0112  # the EXIF tag
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Unreadable(BadInput):
    """One row cannot be read; the others may be fine.

    Args:
        reason: one line without the row's name, such as ``"empty file"``.
        key: the row's key; it goes before the reason in the message.

    >>> str(Unreadable("empty file", "cat/1.jpg"))
    'cat/1.jpg: empty file'
    """

    def __init__(self, reason: str, key: str = "") -> None:
        super().__init__(f"{key}: {reason}" if key else reason)
        self.reason = reason
        self.key = key


@contextmanager
def open_regular(path: str | os.PathLike[str]) -> Iterator[tuple[BufferedReader, int]]:
    """Open a non-empty regular file; gives the file and its size in bytes.

    Raises:
        Unreadable: missing, empty, a folder, a device, not permitted.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - before opening: a FIFO would block for ever
        if stat.S_ISDIR(found.st_mode):
            raise Unreadable("a folder, not a file")
        if not stat.S_ISREG(found.st_mode):
            raise Unreadable("not a regular file")
        if found.st_size == 0:
            raise Unreadable("empty file")
        file = open(path, "rb")  # noqa: PTH123, SIM115 - closed below
    except Unreadable:  # which is a ValueError
        raise
    except FileNotFoundError as error:
        broken = os.path.islink(path)  # noqa: PTH114
        raise Unreadable("a link to a file that is not there" if broken else "no such file") from error
    except OSError as error:
        raise Unreadable((error.strerror or type(error).__name__).lower()) from error
    except ValueError as error:  # a zero byte, or letters this system cannot write in a name
        raise Unreadable("not a possible file name") from error
    with file:
        yield file, found.st_size


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Pixels of an image file, upright, as uint8 RGB ``(H, W, 3)``; a fresh, writable array.

    EXIF orientation is applied. Grey, palette and CMYK become RGB; alpha is composited on white; 16-bit
    grey is scaled by 255/65535; of several frames or pages the first is taken; colour profiles are ignored.
    An image above ``PIL.Image.MAX_IMAGE_PIXELS`` is refused. May be called from several threads.

    Raises:
        Unreadable: whatever is wrong with the file, in one line.
    """
    with open_regular(path) as (file, size):
        try:
            with _quiet_pillow(), Image.open(file, formats=_formats()) as image:
                _refuse_bomb(image.size)
                image.load()
                return _rgb(_upright(image))
        except Unreadable:
            raise
        except Image.DecompressionBombError as error:
            raise Unreadable(_too_many_pixels()) from error
        except MemoryError as error:
            raise Unreadable("needs more memory than there is") from error
        except Exception as error:  # Pillow's decoders raise anything: struct.error, SyntaxError, KeyError
            raise Unreadable(_reason(error, file, size)) from error


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _upright(image: Image.Image) -> Image.Image:
    turn = None
    with suppress(Exception):  # damaged EXIF is no reason to refuse good pixels
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode == "F":
        raise Unreadable("floating-point pixels have no fixed range: save the image with 8 or 16 bits")
    if image.mode == "I" or image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.int64)  # (H, W)
        if grey.min() < 0 or grey.max() > 65535:
            raise Unreadable("32-bit pixels have no fixed range: save the image with 8 or 16 bits")
        eight = ((grey * 255 + 32767) // 65535).astype(np.uint8)
        return np.repeat(eight[:, :, None], 3, axis=2)  # (H, W, 3)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _refuse_bomb(size: tuple[int, int]) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and size[0] * size[1] > limit:
        raise Unreadable(_too_many_pixels(size))


def _too_many_pixels(size: tuple[int, int] | None = None) -> str:
    limit = Image.MAX_IMAGE_PIXELS or 0
    what = "too many pixels" if size is None else f"{size[0] * size[1]:,} pixels"
    return f"{what}, the limit is {limit:,}: if you trust the file, raise PIL.Image.MAX_IMAGE_PIXELS"


def _reason(error: Exception, file: BufferedReader, size: int) -> str:
    try:
        file.seek(0)
        head = file.read(16)
    except OSError as again:  # the disk, not the picture
        return f"cannot be read: {(again.strerror or str(again)).lower()}"
    declared = 0
    if head[:2] == b"BM":
        declared = int.from_bytes(head[2:6], "little")
    elif head[:4] == b"RIFF":
        declared = int.from_bytes(head[4:8], "little") + 8
    if declared > size:
        return f"truncated after {size:,} of {declared:,} bytes"
    if isinstance(error, UnidentifiedImageError):
        return "damaged image: its header cannot be read" if head.startswith(_MAGIC) else "not an image"
    text = " ".join(str(error).split()) or type(error).__name__
    if "truncated" in text.lower() or isinstance(error, EOFError):
        return f"truncated after {size:,} bytes"
    return f"damaged image: {text}"


# catch_warnings would put back a stale list of filters when threads overlap, so one filter is added when the
# first reader starts and removed when the last one ends.
_LOCK = threading.Lock()
_QUIET: tuple[object, ...] | None = None
_READERS = 0


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Pillow's remarks on odd files (metadata, bombs) neither reach the screen nor become errors."""
    global _READERS, _QUIET  # noqa: PLW0603
    with _LOCK:
        _READERS += 1
        if _READERS == 1:
            warnings.filterwarnings("ignore", module=r"PIL\.")
            _QUIET = warnings.filters[0]
    try:
        yield
    finally:
        with _LOCK:
            _READERS -= 1
            if _READERS == 0:
                with suppress(ValueError):  # someone has put other filters in place meanwhile
                    warnings.filters.remove(_QUIET)  # type: ignore[attr-defined]
