"""The labelling queue: what a person should look at first, written as a manifest and read back once labels stand in it.

A queue has the columns ``path``, ``rank``, ``p_value``, ``nearest`` and ``label``, and ``group`` where the inputs came
with groups. Paths are relative to the queue where the files lie below its folder, else absolute.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unseen.classifier import Verdicts
from unseen.data import ImageFiles, Inputs, open_inputs
from unseen.errors import BadInput, WrongUse
from unseen.files import to_json, write_text
from unseen.naming import check_label, encode_labels, printable

COLUMNS = ("path", "rank", "p_value", "nearest", "label")


def write_queue(verdicts: Verdicts, path: str | os.PathLike[str], inputs: Inputs | None = None) -> Path:
    """Write all inputs, the newest first, with an empty label: CSV, or JSON lines where the name ends in ``.jsonl``.

    Args:
        verdicts: what a guard said.
        path: file to write; one that is there is replaced only while no label stands in it.
        inputs: what was scored. Where they are files, the queue names these, so that it can be read back; without
            them, paths are the keys of the verdicts.

    Raises:
        WrongUse: when the name ends otherwise, or the file holds labels, which are a person's work.
    """
    target = Path(path)
    check_queue(target)
    places = _places(inputs, target.parent) if isinstance(inputs, ImageFiles) else {}
    groups = {} if inputs is None or inputs.groups is None else dict(zip(inputs.keys, inputs.groups, strict=True))
    rows = [
        {**row, "path": places.get(row["path"], row["path"]), **({"group": int(groups[row["path"]])} if groups else {})}
        for row in verdicts.queue()
    ]
    if target.suffix == ".jsonl":
        return write_text(target, "".join(to_json(row, indent=None) + "\n" for row in rows))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*COLUMNS, "group"] if groups else COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return write_text(target, text.getvalue())


def check_queue(path: Path) -> None:
    """Raise, before hours of scoring, where `write_queue` would.

    Raises:
        WrongUse: as `write_queue`.
    """
    if path.suffix not in (".csv", ".jsonl"):
        raise WrongUse(f"{path}: the name of a queue must end in .csv or .jsonl")
    if path.is_dir():
        raise WrongUse(f"{path}: is a folder; give the name of a file")
    if is_queue(path) and any(_labels(path).values()):
        raise WrongUse(f"{path}: holds labels that somebody filled in; give another name, or move it away first")


def is_queue(source: Any) -> bool:
    """Whether a source is a file with all columns of a queue; a manifest with others is none."""
    if not isinstance(source, (str, os.PathLike)):
        return False
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".tsv", ".jsonl"):
        return False
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            first = file.readline(4096)
    except (OSError, ValueError):  # said by whoever opens it as inputs
        return False
    if suffix != ".jsonl":
        return set(COLUMNS) <= {
            name.strip().strip('"') for name in first.replace(";", ",").replace("\t", ",").split(",")
        }
    try:
        row = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(row, Mapping) and set(COLUMNS) <= set(row)


def read_queue(path: str | os.PathLike[str]) -> Inputs:
    """The rows of a queue that have a label by now; a note counts the others.

    Raises:
        BadInput: when no row has a label, one path has two, or the file cannot be read as a manifest.
    """
    rows = open_inputs(path, label_column=None)
    labels = _labels(Path(path))
    names = [labels.get(key, "") for key in rows.keys]
    if not any(names):
        raise BadInput(f'{rows.source}: no row has a label yet: fill in the column "label" of what you can name')
    filled = rows.take(np.array([bool(name) for name in names]))
    filled.classes, filled.labels = encode_labels([name for name in names if name])
    if left := len(rows) - len(filled):
        filled.notes = (
            *filled.notes,
            f"{left:,} {'row has no label and was' if left == 1 else 'rows have no label and were'} left out",
        )
    return filled


def _places(inputs: ImageFiles, folder: Path) -> dict[str, str]:
    """Key -> path that a manifest in ``folder`` would name the file by."""
    base = folder.absolute()
    found = {}
    for row, key in enumerate(inputs.keys):
        file = inputs.path(row).absolute()
        name = str(file.relative_to(base) if file.is_relative_to(base) else file)
        found[key] = f"./{name}" if name[0].isspace() else name  # a table loses spaces at the beginning of a field
    return found


def _labels(path: Path) -> dict[str, str]:
    """Label by key, empty where there is none."""
    found: dict[str, str] = {}
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read: not UTF-8 text, or not there") from error
    try:
        rows = _lines(text) if path.suffix.lower() == ".jsonl" else _table(text)
    except (ValueError, RecursionError, csv.Error) as error:
        raise BadInput(f"{path}: not a table that can be read: {error}") from error
    for row in rows:
        written, label = row.get("path"), row.get("label")
        if not isinstance(written, str) or not written:
            continue  # said by whoever reads it as a manifest
        key = printable(written)
        name = "" if label in (None, "") else check_label(label, f"{path}: {key}")
        if found.setdefault(key, name) != name:
            raise BadInput(f"{path}: {key} stands there twice, with another label: keep one of the rows")
    return found


def _lines(text: str) -> list[Mapping[str, Any]]:
    rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    return [row for row in rows if isinstance(row, Mapping)]


def _table(text: str) -> list[Mapping[str, Any]]:
    head = text.split("\n", 1)[0]
    delimiter = next((one for one in ",;\t" if "path" in (name.strip(' "\r') for name in head.split(one))), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    names = [name.strip() for name in next(reader, [])]
    return [dict(zip(names, fields, strict=False)) for fields in reader]
