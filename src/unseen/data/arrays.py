"""Arrays in files (.npy, .npz, .safetensors) or in memory -> ``FeatureArray`` or ``ImageArray``."""

from __future__ import annotations

import errno
import json
import struct
import sys
import warnings
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import safetensors
from numpy.typing import NDArray

from unseen.data.inputs import COLUMNS, FeatureArray, ImageArray, NumberedKeys
from unseen.errors import BadInput, NoRoom
from unseen.naming import check_label, did_you_mean, encode_groups, encode_labels, listed, printable

SUFFIXES = frozenset({".npy", ".npz", ".safetensors"})

_FACTS = ("labels", "classes", "groups", "keys")  # what may stand beside the columns
_KNOWN = (*COLUMNS, "images", *_FACTS)
_WANTED = f"{', '.join(COLUMNS)} or images; labels, classes, groups, keys beside them"
_HEADER = 100_000_000  # bytes: the longest header that safetensors reads
# A compressed array is unpacked into memory. Below a gigabyte anything may be; beyond it only what shrank no more than
# features and images do, so that a small file cannot fill the memory.
_UNPACKED = 1 << 30  # bytes
_SHRUNK = 100  # times
_PIECE = 1 << 20  # bytes unpacked at a time
# bfloat16 is missing on purpose: numpy has no such type, so it is widened below.
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip


def read_array_file(path: Path) -> FeatureArray | ImageArray:
    """Rows of an array file, memory-mapped where the file allows it (not inside a compressed .npz).

    Raises:
        BadInput: truncated, pickled, of a wrong shape or type, without an array that is known by name, or a compressed
            array of more than 1 GiB that is more than 100 times smaller in the file.
        NoRoom: when there is no memory to map it.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy":
            found: dict[str, Any] = {"array": _map_npy(path)}
        elif suffix == ".npz":
            found = _read_npz(path)
        else:
            found = _read_safetensors(path)
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise NoRoom(f"{path}: out of memory; close other programs, or give fewer rows") from error
        raise BadInput(f"{path}: {(error.strerror or str(error)).lower()}") from error
    return from_arrays(found, name=printable(path.name), source=printable(str(path)))


def from_arrays(found: Mapping[str, Any], *, name: str = "array", source: str = "array") -> FeatureArray | ImageArray:
    """Rows of named arrays that share their first axis.

    Args:
        found: ``features (N, D)``, ``logits (N, C)``, ``embedding (N, E)``, ``local (N, P, D)`` and
            ``samples (N, R, C)``, or ``images`` uint8; ``labels (N,)`` integers or strings, ``groups (N,)``,
            ``keys (N,)``, and ``classes (C,)``: names in the order of the integer labels and of the logits. A lone
            ``array`` is features when it has two axes, else images.
        name: what keys begin with.
        source: what messages begin with.

    Raises:
        BadInput: see ``read_array_file``.
    """
    found = dict(found)
    notes: list[str] = []
    if "array" in found and len(found) == 1:
        lone = _array(found.pop("array"), "array", source)
        found["features" if lone.ndim == 2 else "images"] = lone
    columns = {one: _column(_array(found[one], one, source), one, source) for one in COLUMNS if one in found}
    unknown = [printable(str(one)) for one in found if one not in _KNOWN]
    if "images" in found and columns:
        raise BadInput(f"{source}: holds images and {listed(columns)}: keep one kind")
    if "images" not in found and not any(COLUMNS[one] == 2 for one in columns):
        hint = next((hint for one in unknown if (hint := did_you_mean(one, _KNOWN))), "")
        raise BadInput(
            f"{source}: no features; it holds {listed(map(str, found)) or 'nothing'}, "
            f"names that are read are {_WANTED}{hint}"
        )
    if unknown:
        notes.append(f"arrays that are not read: {listed(unknown)}")
    if "images" in found:
        columns["images"] = _images(_array(found["images"], "images", source), source)

    first = next(iter(columns))
    rows = len(columns[first])
    if rows == 0:
        raise BadInput(f"{source}: no rows, {first} has shape {columns[first].shape}")
    for one, column in columns.items():
        if len(column) != rows:
            raise BadInput(f"{source}: {first} has {rows:,} rows, {one} has {len(column):,}")
    facts = {one: _fact(found[one], one, source) for one in _FACTS if found.get(one) is not None}
    for one, fact in facts.items():
        if one != "classes" and len(fact) != rows:
            raise BadInput(f"{source}: {first} has {rows:,} rows, {one} has {len(fact):,}")

    listing: dict[str, Any] = {"source": source}
    keys: Sequence[str] = NumberedKeys(name, np.arange(rows))
    if "keys" in facts:
        keys = tuple(printable(str(key)) for key in facts["keys"].tolist())
        if len(set(keys)) != rows:
            twice = Counter(keys).most_common(1)[0][0]
            raise BadInput(f'{source}: two rows have the key "{twice}", keys must differ')
    if "labels" in facts:
        width = columns["logits"].shape[1] if "logits" in columns else None
        listing["classes"], listing["labels"] = _labels(
            facts["labels"], facts.get("classes"), width, name, source, notes
        )
    if "groups" in facts:
        listing["groups"], _ = encode_groups(facts["groups"].tolist())
    listing["notes"] = tuple(notes)
    if "images" in columns:
        return ImageArray(keys, columns["images"], **listing)
    return FeatureArray(keys, columns, **listing)


def _array(value: Any, name: str, source: str) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.asarray(value)
    except Exception as error:  # rows of different length, a tensor that numpy has no type for
        raise BadInput(f"{source}: {name} is not an array: {_one_line(error)}") from error
    if array.dtype.kind == "O" and all(isinstance(one, str) for one in array.flat):
        return array.astype(np.str_)
    if array.dtype.kind == "O" or array.dtype.names:
        raise BadInput(f"{source}: {name} holds Python objects or records, not numbers or strings")
    return array


def _column(array: NDArray[Any], name: str, source: str) -> NDArray[Any]:
    if array.ndim != COLUMNS[name] or 0 in array.shape[1:]:
        axes = "(N, R, C)" if name == "samples" else {2: "(N, D)", 3: "(N, P, D)"}[COLUMNS[name]]
        raise BadInput(f"{source}: {name} has shape {array.shape}, expected {axes}")
    if array.dtype.kind not in "fiu" or array.dtype.itemsize > 8:  # torch has no longer numbers
        raise BadInput(f"{source}: {name} is of type {array.dtype}, expected real numbers of at most 64 bits")
    return array


def _images(array: NDArray[Any], source: str) -> NDArray[np.uint8]:
    shape = array.shape
    if array.ndim == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3):
        raise BadInput(f"{source}: images have shape {shape}: put the channels last, (N, H, W, 3)")
    if array.ndim not in (3, 4) or (array.ndim == 4 and shape[3] not in (1, 3)) or 0 in shape[1:]:
        raise BadInput(f"{source}: shape {shape} is neither features (N, D) nor images (N, H, W), (N, H, W, 1 or 3)")
    if array.dtype != np.uint8:
        raise BadInput(f"{source}: images are of type {array.dtype}, expected uint8 from 0 to 255")
    return array


def _fact(value: Any, name: str, source: str) -> NDArray[Any]:
    array = _array(value, name, source)
    if array.ndim != 1:
        raise BadInput(f"{source}: {name} has shape {array.shape}, expected one axis")
    if array.dtype.kind == "S":
        try:
            array = np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            raise BadInput(f"{source}: {name} are bytes that are not UTF-8") from error
    if array.dtype.kind == "U" and array.size and array.dtype.itemsize:
        # A damaged file may hold any number for a letter, at which Python gives up with a SystemError.
        letters = np.ascontiguousarray(array).view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
        if letters.max() > sys.maxunicode:
            raise BadInput(f"{source}: {name} hold text that is not Unicode")
    if array.dtype.kind not in "iuU":
        raise BadInput(f"{source}: {name} are of type {array.dtype}, expected integers or strings")
    return array


def _labels(
    labels: NDArray[Any],
    given: NDArray[Any] | None,
    width: int | None,
    name: str,
    source: str,
    notes: list[str],
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    integers = labels.dtype.kind != "U"
    if integers and (negative := np.flatnonzero(labels < 0)).size:
        check_label(int(labels[negative[0]]), f"{name}[{negative[0]}]")
    if given is None and integers and width is not None:
        if labels.max() < width:  # keeps label i the column i of the logits
            return tuple(map(str, range(width))), labels.astype(np.int64)
        notes.append(f"labels reach {labels.max()}, the logits have {width} columns: the classes are not theirs")
    if given is None and integers:
        present, codes = np.unique(labels, return_inverse=True)
        return tuple(map(str, present.tolist())), codes.astype(np.int64)
    if given is None:
        return encode_labels([_name(one, f"{name}[{row}]") for row, one in enumerate(labels.tolist())])
    classes = tuple(_name(one, f"{source}: classes") for one in given.tolist())
    if len(set(classes)) != len(classes):
        twice = next(one for one in classes if classes.count(one) > 1)
        raise BadInput(f'{source}: class "{twice}" stands in classes twice')
    if integers:
        if (beyond := np.flatnonzero(labels >= len(classes))).size:
            raise BadInput(f"{name}[{beyond[0]}]: label {labels[beyond[0]]}, but there are {len(classes)} classes")
        return classes, labels.astype(np.int64)
    code = {one: number for number, one in enumerate(classes)}
    codes = np.empty(len(labels), np.int64)
    for row, one in enumerate(labels.tolist()):
        label = _name(one, f"{name}[{row}]")
        if label not in code:
            raise BadInput(
                f'{name}[{row}]: label "{label}" is not among the {len(classes)} classes{did_you_mean(label, classes)}'
            )
        codes[row] = code[label]
    return classes, codes


def _name(label: object, where: str) -> str:
    text = check_label(label, where)
    if not text:
        raise BadInput(f"{where}: empty label")
    return text


def _map_npy(path: Path) -> NDArray[Any]:
    size = path.stat().st_size
    if size == 0:
        raise BadInput(f"{path}: empty file")
    with path.open("rb") as file:
        return _map_stream(file, path, size, str(path))


def _map_stream(file: IO[bytes], path: Path, end: int, where: str) -> NDArray[Any]:
    """Map the .npy stream that begins where ``file`` stands and may go on to byte ``end``."""
    begin = file.tell()
    shape, fortran, dtype = _npy_header(file, where)
    needed = file.tell() + prod(shape) * dtype.itemsize
    if needed > end:
        raise BadInput(f"{where}: truncated after {end - begin:,} of {needed - begin:,} bytes")
    return _map(path, dtype, shape, file.tell(), fortran=fortran)


def _npy_header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran's order, and type of the .npy stream that begins where ``file`` stands."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy remarks on headers that Python 2 wrote
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            elif version == (2, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
            else:
                raise BadInput(f"{where}: .npy format {version[0]}.{version[1]} is for records, not for numbers")
    except BadInput:
        raise
    except Exception as error:  # the header is Python text: its reader raises much besides ValueError
        raise BadInput(f"{where}: not an .npy array") from error
    if dtype.hasobject or dtype.names:
        raise BadInput(f"{where}: holds Python objects (pickle), which are never loaded: save plain arrays")
    if any(length < 0 for length in shape) or dtype.subdtype or dtype.itemsize == 0:
        raise BadInput(f"{where}: not an .npy array: shape {shape}, type {dtype}")
    return shape, fortran, dtype


def _unpack(member: IO[bytes], size: int, packed: int, where: str) -> NDArray[Any]:
    """The array of a compressed member of ``packed`` bytes that claims to be an .npy stream of ``size``."""
    if size > _UNPACKED and size > _SHRUNK * packed:
        raise BadInput(
            f"{where}: {size:,} bytes packed into {packed:,}, which is more than {_SHRUNK} times smaller: "
            "if you trust the file, save it again with np.savez"
        )
    shape, fortran, dtype = _npy_header(member, where)
    begin, rest = member.tell(), prod(shape) * dtype.itemsize
    if begin + rest > size:
        raise BadInput(f"{where}: truncated after {size:,} of {begin + rest:,} bytes")
    whole = np.empty(prod(shape), dtype)
    into, at = whole.view(np.uint8), 0
    while at < rest:  # in pieces, so that nothing is held twice
        piece = member.read(min(_PIECE, rest - at))
        if not piece:
            raise BadInput(f"{where}: truncated after {begin + at:,} of {begin + rest:,} bytes")
        into[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
        at += len(piece)
    member.read(1)  # only at its end is the checksum compared
    return whole.reshape(shape, order="F" if fortran else "C")


def _map(
    path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int, *, fortran: bool = False
) -> NDArray[Any]:
    if prod(shape) * dtype.itemsize == 0:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, mode="r", offset=offset, shape=shape, order="F" if fortran else "C")


def _read_npz(path: Path) -> dict[str, Any]:
    if path.stat().st_size == 0:
        raise BadInput(f"{path}: empty file")
    found: dict[str, Any] = {}
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name in found:
                    raise BadInput(f"{path}: holds {printable(name)} twice")
                if name not in _KNOWN:
                    found[name] = None
                elif info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1:
                    # A stored member is the .npy file itself, behind a header of 30 bytes and two fields.
                    file.seek(info.header_offset)
                    lengths = struct.unpack("<26x2H", file.read(30))
                    begin = info.header_offset + 30 + sum(lengths)
                    file.seek(begin)
                    found[name] = _map_stream(file, path, begin + info.file_size, f"{path} [{name}]")
                else:
                    with archive.open(info) as member:
                        found[name] = _unpack(member, info.file_size, info.compress_size, f"{path} [{name}]")
    except (BadInput, OSError, MemoryError):
        raise
    except RuntimeError as error:  # a password, an unknown compression
        raise BadInput(f"{path}: cannot be read: {_one_line(error)}") from error
    except Exception as error:  # zipfile and its decoders raise much: zlib.error, LZMAError, EOFError, struct.error
        raise BadInput(f"{path}: damaged .npz file: {_one_line(error)}") from error
    return found


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _read_safetensors(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    if size == 0:
        raise BadInput(f"{path}: empty file")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if length <= min(size - 8, _HEADER) else b""
    try:
        # Their reader checks offsets, overlaps and length; the arrays are then mapped, not copied.
        with safetensors.safe_open(path, framework="numpy") as checked:
            metadata = checked.metadata() or {}
        entries = json.loads(header)
    except (safetensors.SafetensorError, ValueError, RecursionError) as error:
        stop = _declared_end(header, length)
        if stop > size:
            raise BadInput(f"{path}: truncated after {size:,} of {stop:,} bytes") from error
        raise BadInput(f"{path}: not a safetensors file: {_one_line(error)}") from error
    found: dict[str, Any] = {}
    for name, entry in entries.items():
        if name == "__metadata__":
            continue
        if name not in _KNOWN:
            found[name] = None
            continue
        kind, shape, offset = entry["dtype"], tuple(entry["shape"]), 8 + length + entry["data_offsets"][0]
        if kind == "BF16":
            halves = _map(path, np.dtype("<u2"), shape, offset)
            found[name] = (halves.astype(np.uint32) << 16).view(np.float32)
        elif kind in _DTYPES:
            found[name] = _map(path, np.dtype(_DTYPES[kind]), shape, offset)
        else:
            raise BadInput(f"{path}: {name} is of type {kind}: save it as F32")
    for name in ("classes", "keys"):
        if name in metadata and name not in found:
            found[name] = _string_list(metadata[name], name, path)
    return found


def _declared_end(header: bytes, length: int) -> int:
    """Where a safetensors file with this header ends; 0 when the header cannot be read."""
    try:
        entries = json.loads(header)
        ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
        return 8 + length + max(map(int, ends))
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return 0


def _string_list(text: str, name: str, path: Path) -> NDArray[Any]:
    try:
        strings = json.loads(text)
    except (ValueError, RecursionError):
        strings = None
    if not isinstance(strings, list) or not all(isinstance(one, str) for one in strings):
        raise BadInput(f"{path}: metadata {name} is not a JSON list of strings")
    return np.array(strings, dtype=np.str_)
