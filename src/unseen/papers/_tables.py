"""What all papers share: tables and their scales, what a run gives, and the published numbers beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Literal, get_args

from unseen.encoders import Encoder
from unseen.errors import WrongUse
from unseen.naming import did_you_mean, listed
from unseen.papers import _sets

Scale = Literal["tiny", "small", "paper"]
SCALES: tuple[Scale, ...] = get_args(Scale)
METRICS = ("auroc", "fpr_at_tpr95")
ABOUT = {
    "tiny": "a made-up world, anywhere, in seconds",
    "small": "your own images, a small network, some of the rows",
    "paper": "all images, the network of the paper",
}

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Needs:
    """What one scale of a table needs.

    Attributes:
        about: what is run.
        data: names of data sets, as `unseen.papers._sets` has them.
        encoder: the network taken where none is named; empty where none is needed.
        limit: inputs of a set at most, where none is said.
        minutes: how long it takes, roughly, on a usual machine with or without a GPU.
        options: what else must be given, such as ``"--finetuned"``.
    """

    about: str
    data: tuple[str, ...] = ()
    encoder: str = ""
    limit: int | None = None
    minutes: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table or figure of a paper.

    Attributes:
        id: such as ``"table-5"``.
        title: what it shows.
        published: name of the file in ``published/``.
        scales: those that are offered, with what each needs.
    """

    id: str
    title: str
    published: str
    scales: Mapping[Scale, Needs]


@dataclass(frozen=True)
class Options:
    """How a table is to be run.

    Attributes:
        data: the folder of the data sets.
        encoder: name or object; None takes that of the scale.
        finetuned: the same network after fine-tuning, for tables that compare the two.
        limit: at most so many inputs of a set, drawn by class under the seed; None takes that of the scale.
        seed: of the made-up world, of the draw of inputs and of an attack; probes and k-means keep their own.
        device: where networks run.
        cache: folder of the store, as for `unseen.encode`.
        workers: threads that read images.
        progress: called with (what is being done, done, in all).
    """

    data: str | os.PathLike[str] | None = None
    encoder: str | Encoder | None = None
    finetuned: str | Encoder | None = None
    limit: int | None = None
    seed: int = 0
    device: str = "cpu"
    cache: str | os.PathLike[str] | bool | None = None
    workers: int | None = None
    progress: Progress | None = None

    def part(self, what: str) -> Callable[[int, int], None] | None:
        """Progress of one thing that is done."""
        progress = self.progress
        return None if progress is None else lambda done, total: progress(what, done, total)


@dataclass(frozen=True)
class Reproduced:
    """A table as it came out here, beside the published one.

    Attributes:
        paper: name of the module in `unseen.papers`.
        table: id of the table.
        title: what the table shows.
        scale: at which it was run.
        synthetic: whether the inputs are made up, so that no number is comparable with a published one.
        columns: what stands in the columns, each known -> unknown.
        rows: ``name``, ``level`` (what was learnt from), ``expression``, ``accuracy`` (column -> share of right
            answers, where there is a head or texts) and ``cells``: column -> ``auroc`` with ``auroc_interval``,
            ``fpr_at_tpr95``, ``n_known`` and ``n_unknown``; a column that was not run is absent. Beside these
            ``published``, column -> the published numbers of the same name, and ``difference``, column -> ours less
            theirs for AUROC, where both are there.
        published: the published table: ``source``, ``title``, ``columns``, ``cautions``, ``backbone`` (whose rows stand
            beside ours) and ``rows``; fractions.
        missing: column or row that was not run -> why.
        differences: in what this run is not the published one.
        warnings: what the reader must know before believing the numbers.
        encoder: the network that was asked.
        finetuned: likewise, where there are two.
        n_fit: column -> inputs that were learnt from.
        pseudo_labels: column -> as `Availability.pseudo_labels`, where texts were read.
        about: what else belongs to a table of this kind, such as a line and its R^2.
        seed: as in `Options`.
        confidence: of the intervals.
    """

    paper: str
    table: str
    title: str
    scale: Scale
    synthetic: bool
    columns: tuple[str, ...]
    rows: list[dict[str, Any]]
    published: dict[str, Any]
    missing: dict[str, str] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    encoder: str = ""
    finetuned: str = ""
    n_fit: dict[str, int] = field(default_factory=dict)
    pseudo_labels: dict[str, Any] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    confidence: float = 0.95

    def __repr__(self) -> str:
        made = ", made up" if self.synthetic else ""
        return f"Reproduced({self.paper} {self.table}, {self.scale}{made}; rows: {len(self.rows)})"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; fractions."""
        return {**vars(self), "columns": list(self.columns)}


def offered(tables: Iterable[Table]) -> list[dict[str, Any]]:
    """What can be run, as plain JSON: ``table``, ``title``, and ``scales`` with what each needs."""
    return [
        {
            "table": one.id,
            "title": one.title,
            "scales": {
                scale: {
                    "about": needs.about,
                    "data": _sets.needed(needs.data),
                    "encoder": needs.encoder,
                    "limit": needs.limit,
                    "minutes": needs.minutes,
                    "options": list(needs.options),
                }
                for scale, needs in one.scales.items()
            },
        }
        for one in tables
    ]


def chosen(tables: Iterable[Table], paper: str, table: str, scale: str) -> tuple[Table, Needs]:
    """The table and what its scale needs.

    Raises:
        WrongUse: when there is no such table, or not at this scale.
    """
    there = {one.id: one for one in tables}
    if table not in there:
        raise WrongUse(f"{paper} has no table {table!r}; it has {listed(there)}{did_you_mean(table, there)}")
    one = there[table]
    needs = {name: needs for name, needs in one.scales.items() if name == scale}
    if not needs:
        raise WrongUse(f"{paper} {table} is not offered at the scale {scale!r}: take {' or '.join(one.scales)}")
    return one, next(iter(needs.values()))


def published(file: str) -> dict[str, Any]:
    """A published table; shares as fractions.

    Args:
        file: name in ``published/``.

    >>> table = published("plp_table_5.json")
    >>> next(row["cells"]["ImageNet->NINCO"]["auroc"] for row in table["rows"] if row["name"] == "PLP + Energy")
    0.887
    """
    text = files("unseen.papers").joinpath("published", file).read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    for row in table["rows"]:
        for cell in row["cells"].values():
            cell |= {name: round(value / 100, 6) for name, value in cell.items() if value is not None}
    return table | {"unit": "fraction"}


def beside(rows: Iterable[dict[str, Any]], table: Mapping[str, Any], backbone: str) -> list[dict[str, Any]]:
    """Our rows with the published numbers of the same name on one backbone, and the difference of AUROCs."""
    theirs = {row["name"]: row["cells"] for row in table["rows"] if row["backbone"] == backbone}
    told = []
    for row in rows:
        cells = theirs.get(row["name"], {})
        gaps = {
            column: mine["auroc"] - cells[column]["auroc"]
            for column, mine in row["cells"].items()
            if cells.get(column, {}).get("auroc") is not None
        }
        told.append(row | {"published": cells, "difference": gaps})
    return told


def merged(results: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of several `Availability` results, by known set, as one row a method.

    Args:
        results: known set -> result, whose sets are named by their columns.
        names: methods in order.
    """
    rows: list[dict[str, Any]] = []
    for name in names:
        found = [row for result in results.values() for row in result.rows if row.name == name]
        if not found:
            continue
        cells: dict[str, Any] = {}
        accuracy: dict[str, float] = {}
        for row in found:
            cells |= {column: shown(numbers) for column, numbers in row.sets.items()}
            if row.accuracy is not None:
                accuracy |= dict.fromkeys(row.sets, row.accuracy)
        expressions = list(dict.fromkeys(row.expression for row in found))
        rows.append(
            {
                "name": name,
                "level": found[0].level,
                "expression": " / ".join(expressions),
                "accuracy": accuracy,
                "cells": cells,
            }
        )
    return rows


def shown(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """What a table keeps of `Evaluation.to_dict`."""
    kept = ("auroc", "auroc_interval", "fpr_at_tpr95", "n_known", "n_unknown")
    return {name: numbers[name] for name in kept}
