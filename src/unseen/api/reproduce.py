"""Published tables, run here: what there is, and one of them at one scale."""

from __future__ import annotations

import os
from typing import Any

from unseen import papers
from unseen.api import Cache, Progress
from unseen.api.pages import _level, _reproduce
from unseen.encoders import Encoder
from unseen.errors import WrongUse
from unseen.papers import Options, Reproduced, Scale


def reproduce(
    paper: str,
    table: str,
    scale: Scale = "tiny",
    *,
    data: str | os.PathLike[str] | None = None,
    encoder: str | Encoder | None = None,
    finetuned: str | Encoder | None = None,
    limit: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    cache: Cache = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Reproduced:
    """Run a table of a paper with the parts of this library, the published numbers beside ours.

    Args:
        paper: name, such as ``"plp"``; `reproducible` lists all.
        table: such as ``"table-5"``.
        scale: ``"tiny"`` runs in a made-up world, anywhere and in seconds; its numbers show an order of methods at
            best. ``"small"`` takes your copies of some of the images and a small network; ``"paper"`` all images and
            the paper's network.
        data: folder of the data sets, for the scales that need some.
        encoder: the network; by default that of the scale.
        finetuned: the same network after fine-tuning on the known classes, for tables that compare the two. Its outputs
            are the known classes in their order.
        limit: at most so many inputs of each set; by default as the scale says.
        seed: of the made-up world, of the draw of inputs and of an attack; probes and k-means keep their own.
        device: where networks run.
        cache: as for `encode`.
        workers: as for `encode`.
        progress: called with (what is being done, done, in all).

    Returns:
        A `Reproduced`: our numbers with their counts and intervals, the published ones, and in what the two differ.

    Raises:
        WrongUse: for a paper, table or scale that there is not, or a network that reads no class names where some are
            needed.
        BadInput: when the images of every column are missing; the message says what belongs where.

    >>> found = reproduce("plp", "table-3")
    >>> [row["name"] for row in found.rows], found.synthetic
    (['Pseudo-MSP', 'PLP + Energy'], True)
    """
    if seed < 0:
        raise WrongUse(f"seed={seed}: give a number from 0")
    if limit is not None and limit < 1:
        raise WrongUse(f"limit={limit}: give a number from 1")
    options = Options(data, encoder, finetuned, limit, seed, device, cache, workers, progress)
    return papers.reproduce(paper, table, scale, options)


def reproducible(paper: str | None = None) -> list[dict[str, Any]]:
    """What can be run, as plain JSON.

    Args:
        paper: only this one.

    Returns:
        For each paper ``paper``, ``title``, ``source`` and ``tables``, as `unseen.papers.tables` has them.

    Raises:
        WrongUse: when there is no such paper.

    >>> [one["paper"] for one in reproducible("plp")]
    ['plp']
    """
    return [
        {"paper": name, "title": module.TITLE, "source": module.SOURCE, "tables": papers.tables(name)}
        for name in ((paper,) if paper is not None else papers.names())
        for module in [papers.find(name)]
    ]


def reproduced_page(found: Reproduced, *, command: str | None = None) -> dict[str, Any]:
    """The page of a table.

    Args:
        found: what `reproduce` returned.
        command: as it was typed, to be repeated.

    Returns:
        Results for `unseen.report.render`.
    """
    told = found.to_dict()
    theirs, level = told["published"], _level(found.confidence)
    columns = theirs["columns"]
    blocks = []
    for column in found.columns:
        rows = [row for row in found.rows if column in row["cells"]]
        first = rows[0]["cells"][column]
        shown = [
            {
                "name": row["name"],
                "level": row["level"],
                "accuracy": row["accuracy"].get(column),
                "published": row["published"].get(column, {}).get("auroc"),
                **row["cells"][column],
            }
            for row in rows
        ]
        sizes = {"n_known": first["n_known"], "n_unknown": first["n_unknown"]}
        blocks.append({"name": column, "rows": shown, "shared": column in columns, **sizes})
    gaps = [gap for row in found.rows for gap in row["difference"].values()]
    beside = (
        f"ours lie {100 * min(gaps):+.1f} to {100 * max(gaps):+.1f} points from the published AUROCs of "
        f"{theirs['backbone']} over {len(gaps)} cells."
        if gaps
        else "no cell is of the same inputs as a published one."
    )
    made = "the inputs are made up; " if found.synthetic else ""
    return {
        "title": f"unseen: {found.paper} {found.table}",
        "question": f"What do the parts of this library give in the place of {found.paper} {found.table}, at the scale "
        f"{found.scale}?",
        "answer": f"{len(found.rows)} methods on {len(found.columns)} pairs of known and unknown inputs; "
        f"{made}{beside}",
        "paper": told
        | {
            "blocks": blocks,
            "theirs": [
                {"name": row["name"], "cells": [row["published"].get(of, {}).get("auroc") for of in columns]}
                for row in found.rows
                if row["published"]
            ],
            "promise_title": "What the numbers say",
            "promise": "Every method was fitted on what stands beside it and nothing else, once, at one setting, and "
            f"asked about the same held-out known inputs. Intervals ({level}) are for new inputs of these very sets.",
            "does_not_title": "What they do not say",
            "does_not_promise": "Where inputs, network or number of inputs are not the paper's, a difference from the "
            "published number is not the method's alone; the list above says in what this run differs.",
        },
        "reproduce": _reproduce(command, found.seed),
    }
