"""``unseen encode``: every signal of every input, once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from unseen.cli.options import (
    CacheOption,
    DeviceOption,
    EncoderOption,
    JsonOption,
    LimitOption,
    SeedOption,
    Source,
    StrictOption,
    WorkersOption,
    writable,
)
from unseen.cli.screen import check_skipped, finish, out, progress, show_next, show_notes, show_skipped


def encode(
    source: Source,
    encoder: EncoderOption = None,
    path: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Also write signals, labels and keys to this .npz.", show_default=False
        ),
    ] = None,
    json: JsonOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    limit: LimitOption = None,
    cache: CacheOption = None,
    workers: WorkersOption = None,
    strict: StrictOption = False,
) -> None:
    """Make every signal of every input once and keep it; what is there already is not made again.

    Can be interrupted or killed at any time: finished shards stay and the next run goes on from them.

    Example: `unseen encode photos/ -e packaged -o photos.npz`
    """
    writable(json)
    if path is not None:
        writable(path, ".npz")
    start = time.perf_counter()
    with progress() as report:
        from unseen import api
        from unseen.classifier import short_id
        from unseen.encoders import default_cache

        support = api.encode(
            source, encoder, cache=cache, limit=limit, seed=seed, device=device, workers=workers, progress=report
        )
        if path is not None:
            api.write_arrays(support, path)
    kept = None if support.encoder.startswith("arrays") else str(cache or default_cache())
    about: dict[str, Any] = {
        "n": len(support),
        "signals": {name: support.signals.width(name) for name in support.signals.names},
        "classes": list(support.classes),
        "encoder": support.encoder,
        "cache": kept,
        "file": None if path is None else str(path),
        "seconds": time.perf_counter() - start,
        "skipped": [{"path": key, "reason": reason} for key, reason in support.skipped],
        "notes": list(support.notes),
    }

    def show() -> None:
        widths = ", ".join(f"{name} ({width:,} wide)" for name, width in about["signals"].items())
        whose = f"of {len(support.classes):,} classes" if support.labels is not None else "without labels"
        out.print(f"{len(support):,} inputs {whose}: {widths}")
        out.print(f"Encoder: {short_id(support.encoder)}")
        show_notes([], support.notes)
        show_skipped(support.skipped)
        if kept is not None:
            out.print(f"Kept in {kept}", style="bold", soft_wrap=True)
        if path is not None:
            out.print(f"Arrays: {path}", style="bold", soft_wrap=True)
            show_next("unseen", "audit", path)
        else:
            show_next("unseen", "audit", source, **{"-e": encoder, "--cache": cache, "--limit": limit})

    finish(json, about, show)
    check_skipped(strict, support.skipped)
