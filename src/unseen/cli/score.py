"""``unseen score``: whether inputs are known or unseen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from unseen.cli.options import (
    DeviceOption,
    Guard,
    GuardEncoderOption,
    JsonOption,
    LimitOption,
    ReportOption,
    SeedOption,
    Source,
    StrictOption,
    WorkersOption,
    typed,
    writable,
    writable_page,
)
from unseen.cli.screen import (
    SHOWN,
    check_skipped,
    finish,
    new_table,
    out,
    percent,
    progress,
    show_notes,
    show_page,
    show_skipped,
)
from unseen.errors import WrongUse


def score(
    guard: Guard,
    source: Source,
    table: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Table to write: .csv or .jsonl.")] = Path(
        "scores.csv"
    ),
    copy_unseen: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Copy the unseen files into this folder.", show_default=False),
    ] = None,
    queue: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also write a labelling queue, .csv or .jsonl: all inputs, the newest first, with labels to fill in.",
            show_default=False,
        ),
    ] = None,
    encoder: GuardEncoderOption = None,
    alpha: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Another false-alarm rate. Default: that of the fit.", show_default=False),
    ] = None,
    discoveries: Annotated[
        float | None,
        typer.Option(
            metavar="LEVEL",
            help="Decide over all inputs together instead of by alpha: of those called unseen, at most LEVEL known.",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = None,
    page: ReportOption = None,
    known: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="SOURCE",
            help="Known inputs that --report shows beside the new; may be repeated. Default: those of the fit.",
            show_default=False,
        ),
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    limit: LimitOption = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder that keeps encodings. Default: none of new inputs.", show_default=False
        ),
    ] = None,
    workers: WorkersOption = None,
    strict: StrictOption = False,
) -> None:
    """Say of each input whether it is known or unseen.

    The p-value of an input is small when few of the known inputs set aside at the fit are as unfamiliar; `unseen`
    means p <= alpha. With --discoveries LEVEL the smallest p-values are called unseen, as many as keep the expected
    share of known inputs among them below LEVEL. Inputs in class folders, or with labels, are also counted by label.

    Example: `unseen score guard.unseen new/ -o scores.csv --copy-unseen review/ --report score.html`
    """
    writable(json)
    writable(table, ".csv", ".jsonl")
    writable_page(page)
    if known and page is None:
        raise WrongUse("--known names what a page shows beside new inputs: give --report FILE.html too")
    with progress(kept=cache is not None) as report:
        from unseen import api

        held = api.load(guard, encoder=encoder, device=device)
        if page is not None:
            from unseen.api.pages import known_inputs, score_page
            from unseen.report import render

            beside = known_inputs(held, *(known or ()))  # a slip is named before hours of scoring
        verdicts = api.score(
            held,
            source,
            alpha=alpha,
            discoveries=discoveries,
            cache=False if cache is None else cache,
            limit=limit,
            seed=seed,
            device=device,
            copy_unseen=copy_unseen,
            queue=queue,
            workers=workers,
            progress=report,
        )
        verdicts.write(table)
        if page is not None:
            made = score_page(
                verdicts,
                held,
                source,
                beside,
                cache=cache,
                seed=seed,
                workers=workers,
                command=typed(),
                progress=report,
            )
            render(made, page)
    result = verdicts.to_dict()

    def show() -> None:
        show_scores(result)
        out.print(f"Table: {table}", style="bold", soft_wrap=True)
        if queue is not None:
            out.print(f"Labelling queue: {queue}", style="bold", soft_wrap=True)
        show_page(page)
        if copy_unseen is not None:
            out.print(f"Copies of the {result['unseen']:,} unseen files: {copy_unseen}", style="bold", soft_wrap=True)

    finish(json, result, show)
    check_skipped(strict, verdicts.skipped)


def show_scores(found: Mapping[str, Any]) -> None:
    """The least familiar inputs, and how many were found unseen of how many."""
    n, share = found["n"], found["share_unseen"] or 0.0
    out.print(f"Least familiar of {n:,} inputs", style="bold")
    numbers = ("p-value",) if found["discoveries"] is None else ("p-value", "q-value")
    table = new_table("input", "verdict", *numbers, "nearest class", numbers=numbers)
    for record in sorted(found["records"], key=lambda r: (r["p_value"], r["familiarity"]))[:SHOWN]:
        values = [f"{record[name.replace('-', '_')]:.4f}" for name in numbers]
        table.add_row(record["path"], record["verdict"], *values, record["nearest"] or "")
    out.print(table)
    out.print()
    about = found.get("labelled")
    if about and about["known"]:
        wrong = about["known_called_unseen"] / about["known"]
        line = f"Of {about['known']:,} inputs labelled with a known class {percent(wrong)} were called unseen"
        if "accuracy_on_known" in about:
            line += f"; for {percent(about['accuracy_on_known'])} the nearest class is the right one"
        out.print(line + ".")
    if about and about["other"]:
        caught = about["other_called_unseen"] / about["other"]
        out.print(f"Of {about['other']:,} inputs labelled with another class {percent(caught)} were called unseen.")
    out.print(f"{found['unseen']:,} of {n:,} found unseen ({percent(share)}).", style="bold")
    if found["discoveries"] is None:
        low, high = found["expected_if_all_known"]
        more = " More were found: some are new, or known inputs look different here." if found["unseen"] > high else ""
        each = ", among those taken for each class" if found["by_class"] else ""
        out.print(
            f"Promised: at most {percent(found['alpha'])} of known inputs{each}; were all {n:,} known, {low:,} to "
            f"{high:,} would be called unseen.{more}"
        )
    else:
        level = percent(found["discoveries"])
        out.print(
            f"Decided over all {n:,} together (Benjamini-Hochberg): of those called unseen at most {level} are known, "
            f"averaged over such batches. Were all known, any would be called unseen in at most {level} of batches."
        )
    show_notes([], found["notes"])
    show_skipped([(s["path"], s["reason"]) for s in found["skipped"]])
