"""``unseen audit``: which detector should guard this data, and how good it will be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from unseen.cli.options import (
    CacheOption,
    DetectorsOption,
    DeviceOption,
    EncoderOption,
    JsonOption,
    LabelsOption,
    LimitOption,
    NamesOption,
    NegativesOption,
    ReportOption,
    SeedOption,
    Source,
    StrictOption,
    TextOption,
    WordedOption,
    WorkersOption,
    expressions,
    listed,
    texts,
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
    progress,
    show_next,
    show_notes,
    show_page,
    show_skipped,
)


def audit(
    source: Source,
    encoder: EncoderOption = None,
    detectors: DetectorsOption = None,
    held_out: Annotated[
        str | None,
        typer.Option(
            metavar="N|NAMES",
            help="How many classes to hold out, or their names with commas (`7,` is the class 7). Default: all.",
            show_default=False,
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, metavar="N", help="Random splits, averaged inside each class.")] = 3,
    pixels: Annotated[bool, typer.Option(help="Also score raw pixels, which shows when a task is trivial.")] = True,
    labels: LabelsOption = "labels",
    names: NamesOption = None,
    prompts: WordedOption = None,
    negatives: NegativesOption = None,
    text: TextOption = None,
    json: JsonOption = None,
    page: ReportOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    limit: LimitOption = None,
    cache: CacheOption = None,
    workers: WorkersOption = None,
    strict: StrictOption = False,
) -> None:
    """Say which detector should guard this data, and how good it will be on classes never collected.

    Each class is held out in turn: detectors learn the others and must notice it. Inputs are encoded once. Intervals
    are over held-out classes; a fifth of the inputs is set aside for `fit` and never looked at.

    Example: `unseen audit photos/ --report audit.html`
    """
    writable(json)
    writable_page(page)
    with progress() as report:
        from unseen import api

        found = api.audit(
            source,
            encoder,
            detectors=expressions(detectors) if detectors else None,
            held_out=int(held_out) if held_out and held_out.isdecimal() else listed(held_out) if held_out else None,
            repeats=repeats,
            cache=cache,
            limit=limit,
            labels=labels,  # type: ignore[arg-type]
            text=texts(labels, names, prompts, negatives, text),
            seed=seed,
            device=device,
            pixels=pixels,
            workers=workers,
            progress=report,
        )
        if page is not None:
            from unseen.api.pages import audit_page
            from unseen.report import render

            render(audit_page(found, source, command=typed()), page)
    result = found.to_dict()
    options = {"-e": encoder, "--cache": cache, "--limit": limit, "--seed": seed or None}
    options |= {
        "--labels": None if labels == "labels" else labels,
        "--names": names,
        "--prompts": prompts,
        "--text": text,
    }
    said = [word for file in negatives or () for word in ("--negatives", file)]

    def show() -> None:
        show_audit(result)
        show_page(page)
        show_next(
            "unseen", "fit", source, "-d", result["recommended"]["expression"], *said, "-o", "guard.unseen", **options
        )

    finish(json, result, show)
    check_skipped(strict, found.skipped)


def show_audit(found: Mapping[str, Any]) -> None:
    """The ranking, the classes it was worst at, and the detector to take."""
    pick = found["recommended"]
    level = f"{100 * found['confidence']:.0f} % interval"
    numbers = ("AUROC", level, "AP", "FPR", "fit ms", "us each")
    out.print(
        f"{found['n']:,} inputs, {found['n_calibration']:,} of them set aside; {len(found['held_out'])} classes held "
        f"out in turn, {found['repeats']} split{'s' if found['repeats'] > 1 else ''} each",
        style="bold",
    )
    table = new_table("detector", *numbers, numbers=numbers)
    for row in found["detectors"]:
        name = row["name"]
        low, high = row["auroc_interval"]
        best = name == pick["name"]
        table.add_row(
            f"{name} *" if best else name,
            f"{100 * row['auroc']:.1f}",
            "" if low is None else f"{100 * low:.1f} - {100 * high:.1f}",
            f"{100 * row['ap_unknown']:.1f}",
            f"{100 * row['fpr_at_tpr95']:.1f}",
            f"{1e3 * row['fit_seconds']:.0f}",
            f"{1e3 * row['score_seconds']:.0f}",
            style="bold" if best else None,
        )
    out.print(table)
    out.print(
        "Per cent, means over held-out classes. AUROC: 50 is a guess, 100 never errs. AP: average precision, unknown "
        "positive. FPR: share of the unknown taken for known while 95 % of the known are accepted. Times: one fit, one "
        "input.",
        style="dim",
    )
    out.print(f"\nHeld-out classes, the worst first, by {pick['name']}", style="bold")
    baseline = any(row["baseline"] for row in found["detectors"])
    columns = ("inputs", "AUROC", level, *(["pixels"] if baseline else []))
    worst = new_table("class", *columns, numbers=columns)
    for held in found["held_out"][:SHOWN]:
        raw = [value for name, value in held["auroc"].items() if name.startswith("pixels: ")]
        low, high = held["auroc_interval"][pick["name"]]
        cells = [
            f"{held['n_unknown']:,}",
            f"{100 * held['auroc'][pick['name']]:.1f}",
            f"{100 * low:.1f} - {100 * high:.1f}",
        ]
        worst.add_row(held["class"], *cells, *([f"{100 * max(raw):.1f}"] if baseline else []))
    out.print(worst)
    if len(found["held_out"]) > SHOWN:
        out.print(f"and {len(found['held_out']) - SHOWN:,} more, in the JSON (--json FILE)")
    out.print(f"\n{pick['sentence']}", style="bold")
    out.print(f"Setting: {pick['expression']}")
    for name, reason in found["not_tried"].items():
        out.print(f"Not tried: {name}: {reason}")
    show_notes(found["warnings"], found["notes"])
    show_skipped([(s["path"], s["reason"]) for s in found["skipped"]])
