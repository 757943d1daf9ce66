"""The binary files in which small data sets are published: CIFAR's batches, MNIST's idx files, SVHN's .mat file.

Each becomes an ``ImageArray``. The class of a row is its number as text, ``"0"`` upwards, unless names are given.
"""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unseen.data.inputs import ImageArray, NumberedKeys
from unseen.errors import BadInput
from unseen.naming import printable

_SIDE = 32  # pixels of a CIFAR image
_LABELS = (b"fine_labels", b"labels")  # CIFAR-100 has coarse ones beside
_IDX_IMAGES = 0x00000803  # unsigned bytes, three axes
_MOST = 1 << 30  # bytes: no idx file of images here comes near, so a small .gz cannot fill the memory


def read_cifar(paths: Sequence[Path], classes: Sequence[str] = ()) -> ImageArray:
    """Rows of CIFAR-10's or CIFAR-100's "python version": pickled batches, one after the other.

    A pickle can run any code when it is loaded. These are read by an unpickler that knows arrays, dictionaries, lists,
    numbers and strings, and refuses everything else by name.

    Args:
        paths: such as ``cifar-10-batches-py/data_batch_1`` to ``data_batch_5``, or ``cifar-100-python/test``.
        classes: names in the order of the labels; by default ``"0"`` upwards.

    Raises:
        BadInput: a file is missing, no such batch, or asks for anything but arrays.
    """
    images, labels = [], []
    for path in paths:
        batch = _unpickled(path)
        if not isinstance(batch, dict):
            raise BadInput(f"{path}: not a CIFAR batch: holds {type(batch).__name__}, not a dictionary")
        held = {key.encode() if isinstance(key, str) else key: value for key, value in batch.items()}
        data = held.get(b"data")
        codes = next((held[name] for name in _LABELS if name in held), None)
        if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3 * _SIDE**2,):
            raise BadInput(f"{path}: not a CIFAR batch: no array data of type uint8 and shape (N, 3072)")
        if not isinstance(codes, (list, np.ndarray)) or len(codes) != len(data):
            raise BadInput(f"{path}: not a CIFAR batch: no label for each of its {len(data):,} images")
        images.append(data.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1))  # (N, 32, 32, 3)
        labels.append(_codes(codes, path))
    return _rows(np.concatenate(images), np.concatenate(labels), classes, paths[0], paths[0].parent.name)


def read_idx(path: Path) -> ImageArray:
    """Images of an idx file, as MNIST and its relatives are published, packed (``.gz``) or not; no labels.

    Raises:
        BadInput: missing, not an idx file of images, truncated, or larger than 1 GiB.
    """
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rb") as file:
                content = file.read(_MOST + 1)
        else:
            with path.open("rb") as plain:
                content = plain.read(_MOST + 1)
    except (EOFError, zlib.error) as error:
        raise BadInput(f"{path}: damaged: {error}") from error
    except OSError as error:
        raise BadInput(f"{path}: {(error.strerror or str(error)).lower()}") from error
    if len(content) > _MOST:
        raise BadInput(f"{path}: more than 1 GiB, which no idx file of images is")
    if len(content) < 16 or struct.unpack(">I", content[:4])[0] != _IDX_IMAGES:
        raise BadInput(f"{path}: not an idx file of images")
    rows, height, width = struct.unpack(">3I", content[4:16])
    needed = 16 + rows * height * width
    if not rows * height * width or len(content) < needed:
        raise BadInput(f"{path}: truncated after {len(content):,} of {needed:,} bytes")
    images = np.frombuffer(content, np.uint8, rows * height * width, 16).reshape(rows, height, width)
    return ImageArray(NumberedKeys(printable(path.name), np.arange(rows)), images, source=printable(str(path)))


def read_svhn(path: Path) -> ImageArray:
    """Cropped digits of SVHN, ``test_32x32.mat`` and the like, with their labels; the label 10 is the digit 0.

    Raises:
        BadInput: missing, not such a file, or damaged.
    """
    from scipy.io import loadmat

    try:
        held = loadmat(path, variable_names=["X", "y"])
    except OSError as error:
        raise BadInput(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except Exception as error:  # scipy's readers raise anything: ValueError, TypeError, MatReadError, zlib.error
        raise BadInput(f"{path}: not a .mat file that can be read: {printable(str(error))}") from error
    images, labels = held.get("X"), held.get("y")
    if images is None or images.ndim != 4 or images.shape[2] != 3 or images.dtype != np.uint8 or labels is None:
        raise BadInput(f"{path}: no uint8 array X of shape (H, W, 3, N) with labels y beside")
    codes = labels.ravel()
    if len(codes) != images.shape[3]:
        raise BadInput(f"{path}: {images.shape[3]:,} images, {len(codes):,} labels")
    return _rows(images.transpose(3, 0, 1, 2), _codes(codes % 10, path), (), path, path.name)


def _rows(
    images: NDArray[np.uint8], labels: NDArray[np.int64], classes: Sequence[str], path: Path, name: str
) -> ImageArray:
    names = tuple(classes) or tuple(map(str, range(int(labels.max(initial=-1)) + 1)))
    if len(labels) and int(labels.max()) >= len(names):
        raise BadInput(f"{path}: label {labels.max()}, but there are {len(names)} classes")
    keys = NumberedKeys(printable(name), np.arange(len(images)))
    return ImageArray(keys, images, source=printable(str(path.parent)), classes=names, labels=labels)


def _codes(labels: Any, path: Path) -> NDArray[np.int64]:
    codes = np.asarray(labels)
    if codes.ndim != 1 or codes.dtype.kind not in "iu" or (codes.size and codes.min() < 0):
        raise BadInput(f"{path}: labels are not integers from 0")
    return codes.astype(np.int64)


def _unpickled(path: Path) -> Any:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: {(error.strerror or str(error)).lower()}") from error
    try:
        return _Arrays(io.BytesIO(content), encoding="bytes").load()
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error
    except Exception as error:  # a damaged pickle raises anything
        raise BadInput(f"{path}: not a pickle that can be read: {printable(str(error))}") from error


def _latin(text: object, encoding: object = "latin1") -> bytes:
    """Python 3 writes bytes for Python 2 so; the codecs themselves would do more than that."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise BadInput("asks for another codec than latin1, which is not run")
    return text.encode("latin-1")


class _Arrays(pickle.Unpickler):
    """Arrays and what Python is made of; no other name is looked up, so no code of the file runs."""

    def find_class(self, module: str, name: str) -> Any:
        made: dict[tuple[str, str], Callable[..., Any]] = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): _latin,
        }
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            from numpy._core.multiarray import _reconstruct

            return _reconstruct
        if (module, name) not in made:
            raise BadInput(
                f"holds {printable(f'{module}.{name}')}, which could run code and is not loaded: a CIFAR batch has "
                "arrays, lists and names only"
            )
        return made[module, name]
