"""``unseen train``: learn an objective from features of an encoder, or together with the encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
from unseen.cli.screen import check_skipped, finish, out, progress, show_facts, show_notes, show_skipped


def train(
    objective: Annotated[
        str,
        typer.Argument(
            help="What is learnt, with options in brackets: relational, 'relational(ratio=1,width=192)'; see `unseen "
            "list`.",
            show_default=False,
        ),
    ],
    source: Source,
    folder: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", help="Folder for checkpoints, log and weights.", show_default=False),
    ],
    encoder: EncoderOption = None,
    images: Annotated[
        bool,
        typer.Option("--images", help="Train the network of the encoder too (torch:, timm:), on augmented images."),
    ] = False,
    steps: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Optimiser steps. Default: as in the source.", show_default=False),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Walks over the data, instead of --steps.", show_default=False),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Inputs, or pairs of them, a step. Default: as in the source.", show_default=False
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(metavar="RATE", help="Highest learning rate. Default: as in the source.", show_default=False),
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="sgd, nesterov, adam, adamw or lars. Default: as in the source.",
            show_default=False,
        ),
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(metavar="DECAY", help="Default: as in the source.", show_default=False)
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="constant or cosine. Default: as in the source.", show_default=False),
    ] = None,
    warmup: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Steps in which the rate rises from 0. Default: the share of the steps that it has in the source.",
            show_default=False,
        ),
    ] = None,
    clip: Annotated[
        float | None,
        typer.Option(metavar="LENGTH", help="Shorten longer gradients. Default: as they come.", show_default=False),
    ] = None,
    ema: Annotated[
        float | None,
        typer.Option(
            metavar="DECAY",
            help="Take a running mean of the weights, such as 0.999. Default: the last ones.",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(metavar="NAME", help="float32, or bfloat16 in products (weights stay float32).")
    ] = "float32",
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on from the last checkpoint in DIR, or begin where there is none."),
    ] = False,
    every: Annotated[int, typer.Option(min=1, metavar="N", help="Steps from one checkpoint to the next.")] = 500,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write TensorBoard's events to DIR.")] = False,
    json: JsonOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    limit: LimitOption = None,
    cache: CacheOption = None,
    workers: WorkersOption = None,
    strict: StrictOption = False,
) -> None:
    """Train on features of an encoder, which are made once, or with --images on images and the encoder too.

    Can be interrupted or killed at any time: with --resume the same command goes on from the last checkpoint and ends
    with the weights that it would have had. What is not given is as in the objective's source, which may take days.

    Example: `unseen train relational photos/ -e packaged -o relation/ --steps 2000 --optimizer adam --lr 1e-4`
    """
    writable(json)
    with progress() as report:
        from unseen.api.train import train as verb

        done = verb(
            objective,
            source,
            folder,
            encoder,
            images=images,
            steps=steps,
            epochs=epochs,
            batch=batch,
            lr=lr,
            optimizer=optimizer,
            weight_decay=weight_decay,
            schedule=schedule,
            warmup=warmup,
            clip=clip,
            ema=ema,
            precision=precision,
            resume=resume,
            every=every,
            tensorboard=tensorboard,
            cache=cache,
            limit=limit,
            seed=seed,
            device=device,
            workers=workers,
            progress=report,
        )

    def show() -> None:
        begun = f" (taken up after {done.resumed:,})" if done.resumed else ""
        out.print(
            f"{done.steps:,} steps{begun} on {done.inputs:,} inputs of {len(done.classes):,} classes", style="bold"
        )
        show_facts({name: f"{value:.4g}" for name, value in done.last.items()})
        show_notes([], done.notes)
        show_skipped(done.skipped)
        out.print(f"Weights: {done.weights}", style="bold", soft_wrap=True)
        if images:
            out.print(f"Encoder: -e {done.encoder_name!r}", style="bold", soft_wrap=True)

    finish(json, done.to_dict(), show)
    check_skipped(strict, done.skipped)
