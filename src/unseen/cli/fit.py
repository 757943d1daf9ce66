"""``unseen fit``: a guard from known inputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unseen.cli.info import show_info
from unseen.cli.options import (
    AlphaOption,
    CacheOption,
    DeviceOption,
    EncoderOption,
    JsonOption,
    LabelsOption,
    LimitOption,
    NamesOption,
    NegativesOption,
    SeedOption,
    Source,
    StrictOption,
    TextOption,
    WordedOption,
    WorkersOption,
    texts,
    writable,
)
from unseen.cli.screen import check_skipped, finish, out, progress, show_next, show_notes, show_skipped

if TYPE_CHECKING:
    from unseen.api import Fitted


def fit(
    source: Source,
    path: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="File to write.")] = Path("guard.unseen"),
    encoder: EncoderOption = None,
    detector: Annotated[
        str,
        typer.Option(
            "--detector", "-d", metavar="NAME", help="auto (an audit chooses), knn, 'knn(k=10)', 'ridge >> energy', ..."
        ),
    ] = "auto",
    alpha: AlphaOption = 0.05,
    calibration: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of the inputs set aside for p-values.")
    ] = 0.2,
    by_class: Annotated[
        bool, typer.Option("--by-class", help="Keep alpha among the inputs taken for each class, not only over all.")
    ] = False,
    learn_unknown: Annotated[
        Path | None,
        typer.Option(
            metavar="SOURCE",
            help="Unknown inputs for detectors that learn from some, such as opengan.",
            show_default=False,
        ),
    ] = None,
    labels: LabelsOption = "labels",
    names: NamesOption = None,
    prompts: WordedOption = None,
    negatives: NegativesOption = None,
    text: TextOption = None,
    json: JsonOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    limit: LimitOption = None,
    cache: CacheOption = None,
    workers: WorkersOption = None,
    strict: StrictOption = False,
) -> None:
    """Learn a guard from known inputs and save it in one file.

    Part of the inputs is set aside: they set the threshold, so that new known inputs are called unseen in at most a
    share alpha of the cases; with --by-class each class has a threshold of its own. Labels are used where there are
    some; a folder without class folders will do.

    Example: `unseen fit photos/ -o guard.unseen --alpha 0.01`
    """
    writable(json)
    writable(path)
    with progress() as report:
        from unseen import api

        made = api.fit(
            source,
            encoder,
            detector,
            alpha=alpha,
            calibration=calibration,
            by_class=by_class,
            learn_unknown=learn_unknown,
            cache=cache,
            limit=limit,
            labels=labels,  # type: ignore[arg-type]
            text=texts(labels, names, prompts, negatives, text),
            seed=seed,
            device=device,
            workers=workers,
            progress=report,
        )
        made.classifier.save(path)
    finish_fit(made, path, encoder, json)
    check_skipped(strict, made.skipped)


def finish_fit(made: Fitted, path: Path, encoder: str | None, json: Path | None) -> None:
    """Show what a fitted guard promises and where it lies, or write it for a program."""
    about = made.classifier.info()
    asked = {"-e": None if made.classifier.encoder is None or made.classifier.encoder.rebuildable else encoder}

    def show() -> None:
        out.print(made.reason)
        show_info(about)
        show_notes(made.audit.warnings if made.audit is not None else [], made.notes)
        show_skipped(made.skipped)
        out.print(f"Saved {path}", style="bold", soft_wrap=True)
        show_next("unseen", "score", path, "NEW_INPUTS", **asked)

    listed = [{"path": key, "reason": why} for key, why in made.skipped]
    finish(json, about | {"file": str(path), "skipped": listed, "notes": list(made.notes)}, show)
