"""CSV, TSV and JSON-lines manifests -> ``ImageFiles``. Rows are counted as a spreadsheet shows them."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unseen.data.inputs import ImageFiles
from unseen.errors import BadInput, WrongUse
from unseen.naming import check_label, did_you_mean, encode_groups, encode_labels, listed, printable

TABLES = frozenset({".csv", ".tsv"})
LINES = frozenset({".jsonl", ".ndjson"})

Row = tuple[int, Mapping[str, Any]]  # its number in the file, its fields


def read_manifest(path: Path, *, label_column: str | None, path_column: str, group_column: str | None) -> ImageFiles:
    """The rows that a manifest names; whether the files exist shows when they are read.

    Raises:
        BadInput: not UTF-8, a broken row, a missing column, a row without path or label, a negative label,
            one path with two labels or groups. The message names the file and the row.
    """
    text = _text(path)
    table = path.suffix.lower() in TABLES
    if table:
        columns, rows = _read_table(path, text, path_column)
    else:
        columns, rows = _read_lines(path, text)
    if not rows:
        raise BadInput(f"{path}: no rows" + (" below the header" if table else ""))
    if path_column not in columns:
        raise BadInput(
            f'{path}: no column "{path_column}" with paths; the columns are {listed(columns)}'
            f"{did_you_mean(path_column, columns)}"
        )
    notes: list[str] = []
    label_name = _optional(path, label_column, "label", columns, notes)
    group_name = _optional(path, group_column, "group", columns, notes)

    seen: dict[str, tuple[int, str | None, str | None]] = {}  # key -> row, label, group
    keys: list[str] = []
    paths: list[str] = []
    repeated = 0
    for number, fields in rows:
        written = fields.get(path_column)
        if not isinstance(written, str) or not written:
            raise BadInput(f'{path} row {number}: no path in column "{path_column}"')
        key = printable(written)
        label = None if label_name is None else _label(fields.get(label_name), f"{path} row {number}")
        group = None if group_name is None else _group(fields.get(group_name), f"{path} row {number}")
        before = seen.setdefault(key, (number, label, group))
        if before[0] == number:
            keys.append(key)
            paths.append(written)
        elif before[1:] == (label, group):
            repeated += 1
        else:
            raise BadInput(
                f"{path} row {number}: {key} stands in row {before[0]} too, with another label or group: "
                "keep one of them"
            )
    if repeated:
        notes.append(f"{repeated:,} rows repeat an earlier row and were passed over")

    classes: tuple[str, ...] = ()
    labels = None
    names = [seen[key][1] for key in keys]
    if label_name is not None and not any(names):
        notes.append(f'column "{label_name}" is empty: the rows are unlabelled')
    elif label_name is not None:
        for key, name in zip(keys, names, strict=True):
            if not name:
                raise BadInput(f'{path} row {seen[key][0]}: no label in column "{label_name}", other rows have one')
        classes, labels = encode_labels([name or "" for name in names])
    groups = None
    if group_name is not None:
        groups, alone = encode_groups([seen[key][2] for key in keys])
        if alone:
            notes.append(f"{alone:,} rows have no group and stand alone")
    folder = str(path.parent)
    return ImageFiles(
        tuple(keys),
        [os.path.join(folder, one) for one in paths],  # noqa: PTH118 - Path is slow
        source=printable(str(path)),
        classes=classes,
        labels=labels,
        groups=groups,
        notes=tuple(notes),
    )


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not UTF-8 text (byte {error.start:,}): save it as UTF-8") from error
    except OSError as error:
        raise BadInput(f"{path}: {(error.strerror or 'cannot be read').lower()}") from error


def _read_table(path: Path, text: str, path_column: str) -> tuple[list[str], list[Row]]:
    delimiters = "\t" if path.suffix.lower() == ".tsv" else ",;\t"
    delimiter = delimiters[0]
    for one in delimiters:  # spreadsheets of many countries write semicolons
        if path_column in _header(next(_records(path, text, one), (0, []))[1]):
            delimiter = one
            break
    records = _records(path, text, delimiter)
    _, first = next(records, (0, []))
    header = _header(first)
    if not any(header):
        raise BadInput(f"{path}: no header, expected column names such as {path_column},label in row 1")
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise BadInput(f'{path}: column "{twice[0]}" stands there twice')
    rows: list[Row] = []
    for number, fields in records:
        if len(fields) > len(header):
            raise BadInput(
                f"{path} row {number}: {len(fields)} fields, the header has {len(header)}: "
                "put quotes around a field that contains the separator"
            )
        if any(fields):
            rows.append((number, dict(zip(header, fields, strict=False))))
    return header, rows


def _header(fields: list[str]) -> list[str]:
    return [printable(name.strip()) for name in fields]


def _records(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    number = 0
    while True:
        number += 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise BadInput(f"{path} row {number}: {error}") from error
        yield number, fields


def _read_lines(path: Path, text: str) -> tuple[list[str], list[Row]]:
    columns: dict[str, None] = {}
    rows: list[Row] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except json.JSONDecodeError as error:
            raise BadInput(f"{path} row {number}: not JSON: {error.msg} at letter {error.colno}") from error
        except (ValueError, RecursionError) as error:  # a number of 5,000 digits, 100,000 brackets
            raise BadInput(f"{path} row {number}: not JSON that can be read") from error
        if not isinstance(fields, dict):
            raise BadInput(f'{path} row {number}: not an object like {{"path": "a.jpg", "label": "cat"}}')
        columns.update(dict.fromkeys(printable(name) for name in fields))
        rows.append((number, fields))
    return list(columns), rows


def _optional(path: Path, wanted: str | None, usual: str, columns: list[str], notes: list[str]) -> str | None:
    """The column to read, or None: one that was asked for by name must be there."""
    if wanted is None or wanted in columns:
        return wanted
    hint = did_you_mean(wanted, columns)
    if wanted != usual:
        raise WrongUse(f'{path}: no column "{wanted}"; the columns are {listed(columns)}{hint}')
    if hint:
        notes.append(f'no column "{wanted}"; the columns are {listed(columns)}{hint}')
    return None


def _label(label: object, where: str) -> str | None:
    return None if label is None or label == "" else check_label(label, where) or None


def _group(group: object, where: str) -> str | None:
    if group is None or group == "":
        return None
    if isinstance(group, bool) or not isinstance(group, (str, int)):
        raise BadInput(f"{where}: group {group!r} is neither a name nor an integer")
    return str(group).strip() or None
