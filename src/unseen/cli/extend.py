"""``unseen extend``: more classes for a saved guard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unseen.cli.fit import finish_fit
from unseen.cli.options import (
    CacheOption,
    DeviceOption,
    Guard,
    GuardEncoderOption,
    JsonOption,
    LimitOption,
    Source,
    StrictOption,
    WorkersOption,
    writable,
)
from unseen.cli.screen import check_skipped, progress


def extend(
    guard: Guard,
    source: Source,
    path: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="File to write; may be the guard's.", show_default=False)
    ],
    known: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="SOURCE",
            help="Where the inputs of the fit lie now; once for each source. Default: where they lay.",
            show_default=False,
        ),
    ] = None,
    encoder: GuardEncoderOption = None,
    json: JsonOption = None,
    device: DeviceOption = "cpu",
    limit: LimitOption = None,
    cache: CacheOption = None,
    workers: WorkersOption = None,
    strict: StrictOption = False,
) -> None:
    """Add classes, or more inputs of known classes, to a saved guard.

    SOURCE holds the new inputs only, such as a labelling queue that was filled in. The guard's detector learns again
    from all inputs; those of the fit are read from the store, where it still holds them. The same of them are set aside
    as before, and the same share of the new ones joins them.

    Example: `unseen extend guard.unseen queue.csv -o wider.unseen`
    """
    writable(json)
    writable(path)
    with progress() as report:
        from unseen import api

        made = api.extend(
            guard,
            source,
            known=known or (),
            encoder=encoder,
            cache=cache,
            limit=limit,
            device=device,
            workers=workers,
            progress=report,
        )
        made.classifier.save(path)
    finish_fit(made, path, encoder, json)
    check_skipped(strict, made.skipped)
