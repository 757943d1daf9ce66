"""``unseen export``: a guard as an ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from unseen.cli.options import Guard, GuardEncoderOption, JsonOption, SeedOption, Source, writable
from unseen.cli.screen import finish, out, progress, show_facts, show_skipped


def export(
    guard: Guard,
    source: Source,
    path: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="File to write.")] = Path("guard.onnx"),
    encoder: GuardEncoderOption = None,
    tolerance: Annotated[
        float,
        typer.Option(metavar="SHARE", help="How far scores may differ, as a share of the calibration scores' spread."),
    ] = 1e-4,
    json: JsonOption = None,
    seed: SeedOption = 0,
    limit: Annotated[
        int, typer.Option(min=1, metavar="N", help="Compare on at most N inputs, drawn by class under the seed.")
    ] = 100,
) -> None:
    """Write a guard as one ONNX graph that says what the guard says.

    Before the file gets its name, ONNX Runtime and the guard both answer for the inputs, known or not, and must agree.
    The graph takes pixels of the encoder's size, or features; how to decode and resize stands in its metadata.

    Example: `unseen export guard.unseen photos/ -o guard.onnx`
    """
    writable(json)
    writable(path, ".onnx")
    with progress(kept=False) as report:
        from unseen import api

        made = api.export(
            guard, source, path, encoder=encoder, tolerance=tolerance, limit=limit, seed=seed, progress=report
        )
    about = made.to_dict()

    def show() -> None:
        _show_export(about)
        out.print(f"Saved {path}", style="bold", soft_wrap=True)

    finish(json, about, show)


def _show_export(about: Mapping[str, Any]) -> None:
    sizes = ", ".join(f"{size:,}" for size in about["batch_sizes"])
    moved, turned, named = (about[f"{name}_changed"] for name in ("p_values", "verdicts", "classes"))
    same = "all the same"
    lines = {
        "graph": f"{about['size'] / 1e6:.1f} MB, opset {about['opset']}",
        "takes": ", ".join(f"{name}: {what}" for name, what in about["inputs"].items()),
        "gives": ", ".join(about["outputs"]),
        "compared on": f"{about['n']:,} inputs in batches of {sizes}, with ONNX Runtime {about['runtime']}",
        "scores": f"differ by at most {about['score_difference']:.1e} of their spread; {about['tolerance']:.0e} may",
        "p-values": f"{moved:,} moved, scores being within rounding of a calibration score" if moved else same,
        "verdicts": f"{turned:,} of these turned" if turned else same,
        "classes": f"{named:,} turned, two logits being equal to rounding" if named else same,
    }
    show_facts(lines)
    show_skipped([(s["path"], s["reason"]) for s in about["skipped"]])
