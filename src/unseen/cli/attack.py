"""``unseen attack``: unknown images moved until a network takes them for known ones, detectors before and after."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from unseen.cli.options import (
    CacheOption,
    DetectorsOption,
    DeviceOption,
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
    texts,
    typed,
    writable,
    writable_page,
)
from unseen.cli.screen import (
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

SHORT = {"original": "before", "attack": "attack", "attack-smooth": "smooth"}


def attack(
    known: Source,
    unknown: Annotated[
        Path, typer.Option(metavar="SOURCE", help="Unknown images; their labels are not needed.", show_default=False)
    ],
    known_test: Annotated[
        Path | None,
        typer.Option(
            metavar="SOURCE",
            help="Known images to test on. Default: two fifths of the known ones, groups whole.",
            show_default=False,
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            "-e",
            metavar="NAME",
            help="A network: packaged, timm:MODEL, torch:FILE.py:NET; see `unseen list`. Default: packaged.",
            show_default=False,
        ),
    ] = None,
    folder: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the images, a manifest and a grid.")
    ] = Path("unseen-attack"),
    smooth: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="WEIGHT",
            help="Weight of the smoothness of the second set, beside one without; 0: only that one.",
        ),
    ] = 5000.0,
    steps: Annotated[
        int, typer.Option(min=1, metavar="N", help="Steps of the attack; each is a pass forward and one backward.")
    ] = 250,
    number: Annotated[int, typer.Option("--n", min=1, metavar="N", help="Use at most N unknown images.")] = 200,
    detectors: DetectorsOption = None,
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
    """Change unknown images until the network takes them for known ones, and ask every detector again.

    Each unknown image is moved until its features point where those of a random known image do: once freely, once so
    that the change is smooth. Detectors are asked before and after, with the targets among what they learnt from and
    without. --limit holds for the known images.

    Example: `unseen attack photos/ --unknown other/ -o attacked --report attack.html`
    """
    writable(json)
    writable_page(page)
    with progress() as report:
        from unseen.api.attack import attack as run

        found = run(
            known,
            unknown,
            encoder,
            known_test=known_test,
            out=folder,
            smooth=smooth,
            steps=steps,
            n=number,
            detectors=expressions(detectors) if detectors else None,
            cache=cache,
            limit=limit,
            labels=labels,  # type: ignore[arg-type]
            text=texts(labels, names, prompts, negatives, text),
            seed=seed,
            device=device,
            workers=workers,
            progress=report,
        )
        if page is not None:
            from unseen.api.attack import attack_page
            from unseen.report import render

            render(attack_page(found, command=typed()), page)
    result = found.to_dict()

    def show() -> None:
        show_attack(result)
        out.print(f"Images: {folder}", style="bold", soft_wrap=True)
        show_page(page)

    finish(json, result, show)
    check_skipped(strict, found.skipped)


def show_attack(found: Mapping[str, Any]) -> None:
    """Every detector before and after, the first one in every way, and how far images were moved."""
    names = ("original", *found["sets"])
    first = found["detectors"][0]
    out.print(
        f"{found['n_unknown']:,} unknown images moved to {found['n_targets']:,} of {found['n_fit']:,} known ones in "
        f"{found['steps']:,} steps; {found['n_known_test']:,} known tested",
        style="bold",
    )
    level = f"{100 * found['confidence']:.0f} %"
    # The interval of the originals is left to the JSON: with it there is no room for names at 80 columns.
    heads = ["AUROC\nbefore", *(f"{what}\n{SHORT[name]}" for name in found["sets"] for what in ("AUROC", level))]
    heads += [f"known\n{SHORT[name]}" for name in names]
    table = new_table("detector", *heads, numbers=heads)
    for row in found["detectors"]:
        cells = {name: _cell(row, name) for name in names}
        areas = [f"{100 * cells['original']['auroc']:.1f}"]
        for name in found["sets"]:
            areas += [f"{100 * cells[name]['auroc']:.1f}", _between(cells[name]["auroc_interval"])]
        known = [f"{100 * cell['success']:.0f}" for cell in cells.values()]
        table.add_row(row["name"], *areas, *known, style="bold" if row is first else None)
    out.print(table)
    out.print(
        "Per cent; learnt without the targets, images in 8 bits. AUROC: 50 is a guess, 100 never errs. known: share of "
        "the images taken for known, above the threshold that 95 % of the known pass.",
        style="dim",
    )
    out.print(f"\n{first['name']} in every way", style="bold")
    heads = ["AUROC", level, "known"]
    table = new_table("images", "pixels", "targets learnt", *heads, numbers=heads)
    for cell in first["cells"]:
        numbers = (f"{100 * cell['auroc']:.1f}", _between(cell["auroc_interval"]), f"{100 * cell['success']:.0f}")
        table.add_row(cell["images"], cell["pixels"], "yes" if cell["targets"] else "no", *numbers)
    out.print(table)
    out.print("\nHow far images were moved, means", style="bold")
    heads = ["smoothness", "cosine before", "after", "in 8 bits", "L2", "L-inf."]
    table = new_table("images", *heads, numbers=heads)
    for name, about in found["sets"].items():
        means = [about[what]["mean"] for what in ("before", "after", "rounded", "l2", "linf")]
        table.add_row(name, f"{about['smooth']:g}", *(f"{value:.3f}" for value in means))
    out.print(table)
    out.print("Cosine: of the features and the target's. L2, L-inf.: of the change, pixels from 0 to 1.", style="dim")
    before, after = (_cell(first, name) for name in ("original", "attack"))
    out.print(
        f"\n{first['name']}: AUROC {percent(before['auroc'])} before and {percent(after['auroc'])} after the attack; "
        f"{percent(after['success'])} of the images are then taken for known, {percent(before['success'])} before.",
        style="bold",
    )
    for name, reason in found["not_tried"].items():
        out.print(f"Not tried: {name}: {reason}")
    for name, copies in found["left_out"].items():
        out.print(f"Left out of {name}: {copies:,} exact {'copy' if copies == 1 else 'copies'} of known inputs")
    show_notes(found["warnings"], found["notes"])
    show_skipped([(f"{s['source']}: {s['path']}", s["reason"]) for s in found["skipped"]])


def _cell(row: Mapping[str, Any], images: str) -> dict[str, Any]:
    """A detector on one set, in 8 bits and without the targets."""
    return next(c for c in row["cells"] if (c["images"], c["pixels"], c["targets"]) == (images, "8-bit", False))


def _between(interval: list[float] | None) -> str:
    return "" if interval is None else f"{100 * interval[0]:.0f}-{100 * interval[1]:.0f}"
