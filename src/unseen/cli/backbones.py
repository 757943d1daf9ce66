"""``unseen backbones``: many encoders on the same inputs, and whether the accurate ones notice the unknown better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from unseen.cli.options import (
    CacheOption,
    DeviceOption,
    JsonOption,
    LimitOption,
    ReportOption,
    SeedOption,
    Source,
    StrictOption,
    WorkersOption,
    listed,
    typed,
    writable,
    writable_page,
)
from unseen.cli.screen import check_skipped, finish, new_table, out, progress, show_notes, show_page, show_skipped
from unseen.errors import WrongUse


def backbones(
    known: Source,
    unknown: Annotated[
        Path, typer.Option(metavar="SOURCE", help="Unknown inputs; their labels are not needed.", show_default=False)
    ],
    encoder: Annotated[
        list[str],
        typer.Option(
            "--encoder",
            "-e",
            metavar="NAME",
            help="An encoder, such as packaged, pixels?size=8, timm:MODEL, torch:FILE.py:NET; once for each.",
            show_default=False,
        ),
    ],
    known_test: Annotated[
        Path | None,
        typer.Option(
            metavar="SOURCE",
            help="Known inputs to test on, with labels. Default: two fifths of the known ones, classes in proportion.",
            show_default=False,
        ),
    ] = None,
    family: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=ENC,ENC",
            help="A line of their own for these encoders, as they are named with -e, or patterns such as timm:*; once "
            "for each family.",
            show_default=False,
        ),
    ] = None,
    neighbours: Annotated[
        int,
        typer.Option("--k", min=1, metavar="N", help="Neighbours that vote for a class; the AUROC is of the nearest."),
    ] = 20,
    json: JsonOption = None,
    page: ReportOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    limit: LimitOption = None,
    cache: CacheOption = None,
    workers: WorkersOption = None,
    strict: StrictOption = False,
) -> None:
    """Say which of several encoders notices the unknown, and whether accuracy on the known predicts it.

    Of each encoder: the accuracy of a k-NN vote on known test inputs, and the AUROC of the distance to the nearest
    known feature. Nothing is trained. A line is drawn through all encoders and through each family.

    Example: `unseen backbones photos/ --unknown other/ -e packaged -e pixels -e edges`
    """
    families = _families(family or ())
    writable(json)
    writable_page(page)
    with progress() as report:
        from unseen.api.backbones import backbones as study

        found = study(
            known,
            unknown,
            encoder,
            known_test=known_test,
            families=families,
            k=neighbours,
            cache=cache,
            limit=limit,
            seed=seed,
            device=device,
            workers=workers,
            progress=report,
        )
        if page is not None:
            from unseen.api.backbones import backbones_page
            from unseen.report import render

            render(backbones_page(found, command=typed()), page)
    result = found.to_dict()

    def show() -> None:
        _show(result)
        show_page(page)

    finish(json, result, show)
    check_skipped(strict, found.skipped)


def _families(given: Sequence[str]) -> dict[str, list[str]]:
    """Encoders by family, from ``NAME=ENC,ENC``."""
    families: dict[str, list[str]] = {}
    for text in given:
        name, _, members = text.partition("=")
        if not (name.strip() and listed(members)):
            raise WrongUse(f"--family {text}: write NAME=ENC,ENC, such as --family networks=packaged,timm:resnet18")
        if name.strip() in families:
            raise WrongUse(f"--family {text}: {name.strip()!r} is given twice; give each family a name of its own")
        families[name.strip()] = listed(members)
    return families


def _show(found: Mapping[str, Any]) -> None:
    rows, first = found["backbones"], found["backbones"][0]
    out.print(
        f"{first['n_fit']:,} known inputs to look for neighbours among, {first['n_test']:,} tested; "
        f"{first['n_unknown']:,} unknown inputs",
        style="bold",
    )
    level = f"{100 * found['confidence']:.0f} %"
    of_family = any(row["family"] for row in rows)
    numbers = ("dim", "AUROC", level, "accuracy", f"{level} ")
    table = new_table("encoder", *(["family"] if of_family else []), *numbers, numbers=numbers)
    for row in rows:
        table.add_row(
            row["encoder"],
            *([row["family"] or ""] if of_family else []),
            f"{row['dim']:,}",
            f"{100 * row['auroc']:.1f}",
            _between(row["auroc_interval"]),
            f"{100 * row['accuracy']:.1f}",
            _between(row["accuracy_interval"]),
        )
    out.print(table)
    out.print(
        "Per cent, the highest AUROC first. AUROC: of the distance to the nearest known feature; 50 is a guess. "
        f"accuracy: known test inputs whose class their {found['k']} nearest known inputs vote for. Intervals are for "
        "new inputs.",
        style="dim",
    )
    if found["lines"]:
        out.print("\nLines of AUROC over accuracy", style="bold")
        columns = ("encoders", "slope", f"{level}", "R^2", f"{level} ")
        lines = new_table("through", *columns, numbers=columns)
        for line in found["lines"]:
            lines.add_row(
                "all" if line["family"] is None else line["family"],
                f"{line['n']:,}",
                f"{line['slope']:+.2f}",
                _reach(line["slope_interval"], "+.2f"),
                f"{line['r2']:.2f}",
                _reach(line["r2_interval"], ".2f"),
            )
        out.print(lines)
        out.print(
            "slope: points of AUROC that go with one of accuracy. R^2: share of the variance of the AUROC that the "
            "line explains. Intervals resample encoders, five at least; versions of one network are not independent.",
            style="dim",
        )
    out.print()
    for name, reason in found["failed"].items():
        out.print(f"Failed: {name}: {reason}", style="yellow")
    for name, copies in found["left_out"].items():
        out.print(f"Left out of {name}: {copies:,} exact {'copy' if copies == 1 else 'copies'} of known inputs")
    show_notes(found["warnings"], found["notes"])
    show_skipped([(f"{s['source']}: {s['path']}", s["reason"]) for s in found["skipped"]])


def _between(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"{100 * interval[0]:.1f} - {100 * interval[1]:.1f}"


def _reach(interval: Sequence[float] | None, digits: str) -> str:
    return "" if interval is None else f"{interval[0]:{digits}} to {interval[1]:{digits}}"
