"""``unseen reproduce``: tables of papers, run here, beside the published numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from unseen.cli.options import (
    CacheOption,
    DeviceOption,
    EncoderOption,
    JsonOption,
    LimitOption,
    ReportOption,
    SeedOption,
    WorkersOption,
    typed,
    writable,
    writable_page,
)
from unseen.cli.screen import finish, new_table, out, progress, show_next, show_notes, show_page
from unseen.errors import WrongUse


def reproduce(
    paper: Annotated[
        str | None,
        typer.Argument(metavar="PAPER", help="Name of a paper, such as plp. Default: list all.", show_default=False),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Table to run, such as table-5. Default: list them.", show_default=False),
    ] = None,
    scale: Annotated[
        str,
        typer.Option(
            metavar="SCALE",
            help="tiny: a made-up world, anywhere, in seconds. small: your images, a small network. paper: all of it.",
        ),
    ] = "tiny",
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the data sets, for small and paper.", show_default=False),
    ] = None,
    encoder: EncoderOption = None,
    finetuned: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The same network after fine-tuning on the known classes, for tables that compare the two.",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = None,
    page: ReportOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    limit: LimitOption = None,
    cache: CacheOption = None,
    workers: WorkersOption = None,
) -> None:
    """Run a table of a paper, with the published numbers beside ours.

    Alone it lists papers, with a paper its tables and what each scale of them needs. Nothing is downloaded but by the
    encoder. At the scale tiny inputs are made up, and numbers show an order of methods at best.

    Examples: `unseen reproduce plp`; `unseen reproduce plp --table table-5`;
    `unseen reproduce plp --table table-5 --scale small --data data/ --json table-5.json`
    """
    writable(json)
    writable_page(page)
    if paper is None or table is None:
        _only_listed(paper, table, page)
        from unseen.api.reproduce import reproducible

        listing = reproducible(paper)
        finish(json, {"papers": listing}, lambda: _show_papers(listing, whole=paper is not None))
        return
    with progress() as report:
        from unseen.api.reproduce import reproduce as verb

        found = verb(
            paper,
            table,
            scale,  # type: ignore[arg-type] # the verb says which there are
            data=data,
            encoder=encoder,
            finetuned=finetuned,
            limit=limit,
            seed=seed,
            device=device,
            cache=cache,
            workers=workers,
            progress=report,
        )
        if page is not None:
            from unseen.api.reproduce import reproduced_page
            from unseen.report import render

            render(reproduced_page(found, command=typed()), page)
    result = found.to_dict()

    def show() -> None:
        _show_table(result)
        show_page(page)

    finish(json, result, show)


def _only_listed(paper: str | None, table: str | None, page: Path | None) -> None:
    """Raise where something was asked that a list does not give."""
    if paper is None and table is not None:
        raise WrongUse(f"--table {table}: of which paper? Such as unseen reproduce plp --table {table}")
    if page is not None:
        raise WrongUse("--report is of a table: give a paper and --table ID")


def _show_papers(papers: Sequence[Mapping[str, Any]], *, whole: bool) -> None:
    """Papers and their tables, with ``whole`` also what each scale needs."""
    for one in papers:
        out.print(f"{one['paper']}: {one['title']}", style="bold", soft_wrap=True)
        out.print(one["source"], style="dim", soft_wrap=True)
        for table in one["tables"]:
            out.print(f"\n{table['table']}: {table['title']}", style="bold", soft_wrap=True)
            if not whole:
                out.print(f"  scales: {', '.join(table['scales'])}")
                continue
            for scale, needs in table["scales"].items():
                out.print(f"  {scale}: {needs['about']}; {needs['minutes']}", soft_wrap=True)
                if needs["encoder"]:
                    out.print(f"    network: {needs['encoder']}, or --encoder NAME", soft_wrap=True)
                if needs["options"]:
                    out.print(f"    with {', '.join(needs['options'])} for the rows of a fine-tuned network")
        if whole:
            _show_places(one["tables"])
        out.print()
    if whole:
        show_next("unseen", "reproduce", papers[0]["paper"], "--table", papers[0]["tables"][0]["table"])
    else:
        out.print("What each scale of a table needs:  unseen reproduce PAPER")


def _show_places(tables: Sequence[Mapping[str, Any]]) -> None:
    """Every data set once, with the tables that need it."""
    places: dict[str, tuple[str, list[str]]] = {}
    for table in tables:
        for scale, needs in table["scales"].items():
            for title, where in needs["data"].items():
                places.setdefault(title, (where, []))[1].append(f"{table['table']} ({scale})")
    if places:
        out.print("\nData sets, below the folder that --data names", style="bold")
    for title, (where, asked) in places.items():
        out.print(f"{title}: {where}", soft_wrap=True)
        out.print(f"  for {', '.join(asked)}", style="dim", soft_wrap=True)


def _show_table(found: Mapping[str, Any]) -> None:
    made = "; inputs are made up" if found["synthetic"] else ""
    out.print(f"{found['title']} ({found['paper']} {found['table']}, {found['scale']}{made})", style="bold")
    theirs = found["published"]["columns"]
    shared = [column for column in found["columns"] if column in theirs]
    for column in found["columns"]:
        _show_column(found, column, published=column in shared)
    if not shared:
        _show_published(found["rows"], found["published"])
    out.print(
        "Per cent. AUROC: 50 is a guess, 100 never errs. FPR: share of the unknown taken for known while 95 % of the "
        "known are accepted. acc.: known test inputs whose class is named right. Published: "
        f"{found['published']['source']}; rows of {found['published']['backbone']}.",
        style="dim",
    )
    for line in found["about"].get("lines", []):
        of, slope = line["family"] or "all", f"slope {line['slope']:.2f}"
        out.print(f"Line through {of}: R^2 {line['r2']:.3f} over {line['n']}, {slope}")
    for what, why in found["missing"].items():
        out.print(f"Not run: {what}: {why}")
    for text in found["differences"]:
        out.print(f"Differs: {text}")
    show_notes(found["warnings"], [f"published: {text}" for text in found["published"]["cautions"]])


def _show_column(found: Mapping[str, Any], column: str, *, published: bool) -> None:
    """All methods on one pair of known and unknown inputs."""
    rows = [row for row in found["rows"] if column in row["cells"]]
    first = rows[0]["cells"][column]
    out.print(f"\n{column}: {first['n_known']:,} known, {first['n_unknown']:,} unknown", style="bold")
    right = [_right(row, column) for row in rows]
    numbers = (
        "AUROC",
        f"{100 * found['confidence']:.0f} %",
        "FPR",
        *(["acc."] if any(right) else []),
        *(["published", "ours less"] if published else []),
    )
    table = new_table("method", "learns from", *numbers, numbers=numbers)
    for row, accuracy in zip(rows, right, strict=True):
        mine, gap = row["cells"][column], row["difference"].get(column)
        table.add_row(
            row["name"],
            row["level"],
            _percent(mine["auroc"]),
            _between(mine["auroc_interval"]),
            _percent(mine["fpr_at_tpr95"]),
            *([accuracy] if any(right) else []),
            *([_theirs(row, column), "" if gap is None else f"{100 * gap:+.1f}"] if published else []),
        )
    out.print(table)


def _show_published(rows: Sequence[Mapping[str, Any]], published: Mapping[str, Any]) -> None:
    """The published numbers of the same methods, where they are of other inputs than ours."""
    columns, told = published["columns"], [row for row in rows if row["published"]]
    if not told:
        return
    heads = [column.replace("->", "\n-> ") for column in columns]
    out.print("\nPublished AUROC, of other inputs", style="bold")
    table = new_table("method", *heads, numbers=heads)
    for row in told:
        table.add_row(row["name"], *(_theirs(row, column) for column in columns))
    out.print(table)


def _right(row: Mapping[str, Any], column: str) -> str:
    """How often the head of a method names the class of a known test input of this column."""
    return _percent(row["accuracy"].get(column))


def _theirs(row: Mapping[str, Any], column: str) -> str:
    return _percent(row["published"].get(column, {}).get("auroc"))


def _between(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"{100 * interval[0]:.1f} - {100 * interval[1]:.1f}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"
