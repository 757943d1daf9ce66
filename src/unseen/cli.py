"""The command line: each command reads its options, calls its verb and shows the result.

Command bodies import what they use, so that ``--help`` loads no torch.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from unseen import __version__
from unseen.errors import BadInput, WrongUse
from unseen.files import to_json, write_json

if TYPE_CHECKING:
    from unseen.api import Progress as Report

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Is this input something the model was ever taught?\n\n"
    "Start with [bold]unseen demo[/bold], then on your own folder (one sub-folder a class):\n\n"
    "  unseen audit photos/\n\n  unseen fit photos/ -o guard.unseen\n\n  unseen score guard.unseen new/\n\n"
    "Exit codes: 0 done; 1 a defect of ours; 2 wrong use; 3 bad input (with --strict also skipped inputs); "
    "4 damaged or foreign model file; 5 a missing extra; 6 disk or memory full; 130 interrupted.",
)
out = Console()
err = Console(stderr=True)
DELAY = 2.0  # seconds before a progress bar is worth showing
SHOWN = 10  # lines of a list that a person reads; the rest is in the JSON

Source = Annotated[
    Path,
    typer.Argument(
        help="A folder with one sub-folder a class, a .csv/.tsv/.jsonl manifest, or a .npy/.npz/.safetensors file.",
        show_default=False,
    ),
]
EncoderOption = Annotated[
    str | None,
    typer.Option(
        "--encoder", "-e",
        help="packaged, pixels, arrays, timm:NAME, torch:FILE.py:NAME?weights=W.safetensors&size=32, ... "
        "(`unseen list`). Default: packaged for images, arrays for arrays.",
        show_default=False,
    ),
]  # fmt: skip
JsonOption = Annotated[
    Path | None, typer.Option("--json", help="Write everything found as JSON; - is standard output.")
]
SeedOption = Annotated[int, typer.Option(help="Of every random draw.")]
DeviceOption = Annotated[str, typer.Option(help="Where networks run: cpu, cuda, mps, ...")]
LimitOption = Annotated[int | None, typer.Option(min=1, help="Use at most so many inputs, drawn by class.")]
AlphaOption = Annotated[float, typer.Option(help="Share of known inputs that may be called unseen.")]
CacheOption = Annotated[
    Path | None,
    typer.Option(help="Folder that keeps encodings. Default: the user's cache folder.", show_default=False),
]
StrictOption = Annotated[bool, typer.Option("--strict", help="End with exit code 3 when an input had to be skipped.")]


@app.callback(invoke_without_command=True)
def main(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Hold the options that come before a command."""
    if version:
        out.print(__version__)
        raise typer.Exit


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")] = Path("unseen-demo"),
    encoder: EncoderOption = None,
    seed: SeedOption = 0,
    alpha: AlphaOption = 0.05,
    device: DeviceOption = "cpu",
    json: JsonOption = None,
) -> None:
    """Run the whole way on real data that is already installed: scikit-learn's handwritten digits.

    Seven digits are known. An audit holds each out in turn, a guard is fitted, and then it meets new images of the
    seven, the three digits it never saw, and two photographs. Ends with a table and a page to open.

    Example: unseen demo -o demo
    """
    from unseen.api.demo import demo as run

    with _progress() as report:
        found = run(folder, encoder=encoder or "pixels?size=8", seed=seed, alpha=alpha, device=device, progress=report)
    _show_audit(found["audit"])
    _show_scores(found["score"])
    out.print(f"\nThe page: [bold]{found['page']}[/bold]")
    out.print("Your own folder, one sub-folder a class:  [bold]unseen audit photos/[/bold]")
    _write(json, found)


@app.command()
def audit(
    source: Source,
    encoder: EncoderOption = None,
    detectors: Annotated[
        str | None,
        typer.Option(help="Names with commas; default: every one that applies.", show_default=False),
    ] = None,
    held_out: Annotated[
        str | None,
        typer.Option(
            help="How many classes to hold out, or their names with commas; default: all.", show_default=False
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Random splits, averaged inside each class.")] = 3,
    pixels: Annotated[bool, typer.Option(help="Also score raw pixels, which shows when a task is trivial.")] = True,
    json: JsonOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    limit: LimitOption = None,
    cache: CacheOption = None,
    strict: StrictOption = False,
) -> None:
    """Say which detector should guard this data, and how good it will be on classes never collected.

    Each class is held out in turn: detectors learn the others and must notice it. Inputs are encoded once. Intervals
    are over held-out classes; a fifth of the inputs is set aside for `fit` and never looked at.

    Example: unseen audit photos/ --json audit.json
    """
    from unseen import api

    with _progress() as report:
        found = api.audit(
            source,
            encoder,
            detectors=detectors.split(",") if detectors else None,
            held_out=int(held_out) if held_out and held_out.isdigit() else held_out.split(",") if held_out else None,
            repeats=repeats,
            cache=cache,
            limit=limit,
            seed=seed,
            device=device,
            pixels=pixels,
            progress=report,
        )
    result = found.to_dict()
    if not _is_stdout(json):
        _show_audit(result)
    _write(json, result)
    _strict(strict, found.skipped)


@app.command()
def fit(
    source: Source,
    path: Annotated[Path, typer.Option("--out", "-o", help="File to write.")] = Path("guard.unseen"),
    encoder: EncoderOption = None,
    detector: Annotated[
        str,
        typer.Option("--detector", "-d", help="auto (an audit chooses), knn, 'knn(k=10)', 'ridge >> energy', ..."),
    ] = "auto",
    alpha: AlphaOption = 0.05,
    calibration: Annotated[float, typer.Option(help="Share of the inputs set aside for p-values.")] = 0.2,
    json: JsonOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    limit: LimitOption = None,
    cache: CacheOption = None,
    strict: StrictOption = False,
) -> None:
    """Learn a guard from known inputs and save it in one file.

    Part of the inputs is set aside: they set the threshold, so that new known inputs are called unseen in at most a
    share alpha of the cases.

    Example: unseen fit photos/ -o guard.unseen --alpha 0.01
    """
    from unseen import api

    with _progress() as report:
        made = api.fit(
            source,
            encoder,
            detector,
            alpha=alpha,
            calibration=calibration,
            cache=cache,
            limit=limit,
            seed=seed,
            device=device,
            progress=report,
        )
    made.classifier.save(path)
    about = made.classifier.info()
    if not _is_stdout(json):
        out.print(made.reason)
        _show_info(about)
        if made.audit is not None:
            _show_notes(made.audit.warnings, made.audit.notes)
            _show_skipped(made.audit.skipped)
        out.print(f"Saved [bold]{path}[/bold]. Next: unseen score {path} NEW_INPUTS")
    _write(json, about | {"file": str(path)})
    _strict(strict, range(about["skipped"]))


@app.command()
def score(
    guard: Annotated[Path, typer.Argument(help="What `unseen fit` saved.", show_default=False)],
    source: Source,
    table: Annotated[Path, typer.Option("--out", "-o", help="Table to write: .csv or .jsonl.")] = Path("scores.csv"),
    copy_unseen: Annotated[
        Path | None, typer.Option(help="Copy the unseen files into this folder.", show_default=False)
    ] = None,
    encoder: EncoderOption = None,
    alpha: Annotated[
        float | None, typer.Option(help="Another false-alarm rate than at the fit.", show_default=False)
    ] = None,
    json: JsonOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    limit: LimitOption = None,
    cache: CacheOption = None,
    strict: StrictOption = False,
) -> None:
    """Say which inputs are known.

    The p-value of an input is small when few calibration inputs are as unfamiliar; `unseen` means p <= alpha.

    Example: unseen score guard.unseen new/ -o scores.csv --copy-unseen review/
    """
    from unseen import api

    with _progress() as report:
        verdicts = api.score(
            guard,
            source,
            encoder=encoder,
            alpha=alpha,
            cache=False if cache is None else cache,
            limit=limit,
            seed=seed,
            device=device,
            progress=report,
        )
    verdicts.write(table)
    if copy_unseen is not None:
        _copy(
            source,
            [key for key, unseen in zip(verdicts.keys, verdicts.unseen, strict=True) if unseen],
            copy_unseen,
        )
    result = verdicts.to_dict()
    if not _is_stdout(json):
        _show_scores(result)
        out.print(f"Table: [bold]{table}[/bold]")
    _write(json, result)
    _strict(strict, verdicts.skipped)


@app.command()
def encode(
    source: Source,
    encoder: EncoderOption = None,
    path: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Also write features, labels and keys to this .npz.", show_default=False),
    ] = None,
    json: JsonOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    limit: LimitOption = None,
    cache: CacheOption = None,
    strict: StrictOption = False,
) -> None:
    """Make every signal of every input once and keep it; what is there already is not made again.

    Can be interrupted or killed at any time: finished shards stay and the next run goes on from them.

    Example: unseen encode photos/ -e packaged -o photos.npz
    """
    from unseen import api
    from unseen.encoders._encode import default_cache

    start = time.perf_counter()
    with _progress() as report:
        support = api.encode(source, encoder, cache=cache, limit=limit, seed=seed, device=device, progress=report)
    if path is not None:
        api.write_arrays(support, path)
    about: dict[str, Any] = {
        "n": len(support),
        "signals": {name: support.signals.width(name) for name in support.signals.names},
        "classes": list(support.classes),
        "encoder": support.encoder,
        "cache": str(cache or default_cache()),
        "file": None if path is None else str(path),
        "seconds": time.perf_counter() - start,
        "skipped": [{"path": key, "reason": reason} for key, reason in support.skipped],
        "notes": list(support.notes),
    }
    if not _is_stdout(json):
        widths = ", ".join(f"{name} ({width:,} wide)" for name, width in about["signals"].items())
        out.print(f"{len(support):,} inputs of {len(support.classes)} classes: {widths}")
        out.print(f"Encoder: {support.encoder}", highlight=False)
        out.print(f"Kept in [bold]{path or about['cache']}[/bold]")
        _show_notes([], support.notes)
        _show_skipped(support.skipped)
    _write(json, about)
    _strict(strict, support.skipped)


@app.command(name="list")
def list_(json: JsonOption = None) -> None:
    """Show every detector, head and encoder that there is.

    Example: unseen list
    """
    from unseen import api

    rooms = api.catalogue()
    if not _is_stdout(json):
        for room, parts in rooms.items():
            table = Table(title=room, title_justify="left", show_edge=False)
            for column in ("name", "reads", "labels", "what it says", "source"):
                table.add_column(column, overflow="fold")
            for part in parts:
                table.add_row(
                    part["name"],
                    ", ".join(part["reads"]),
                    part.get("labels", ""),
                    part["summary"],
                    part.get("source") or "",
                )
            out.print(table, "")
    _write(json, rooms)


@app.command()
def info(
    guard: Annotated[Path, typer.Argument(help="What `unseen fit` saved.", show_default=False)],
    json: JsonOption = None,
) -> None:
    """Show what a saved guard holds and promises.

    Example: unseen info guard.unseen
    """
    from unseen import api

    about = api.info(guard)
    if not _is_stdout(json):
        _show_info(about)
    _write(json, about)


@contextmanager
def _progress() -> Iterator[Report]:
    """A bar with time left on standard error, once something has taken two seconds."""
    start = time.monotonic()
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    bar = Progress(*columns, console=err, transient=True)
    tasks: dict[str, Any] = {}

    def report(what: str, done: int, total: int) -> None:
        if time.monotonic() - start < DELAY and not bar.live.is_started:
            return
        if not bar.live.is_started:
            bar.start()
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=total, completed=done)
        bar.update(tasks[what], completed=done, total=total)

    try:
        yield report
    finally:
        bar.stop()


def _show_audit(found: Mapping[str, Any]) -> None:
    table = Table(
        title=f"Held-out classes: {len(found['held_out'])}, inputs: {found['n']:,} "
        f"({found['n_calibration']:,} set aside), repeats: {found['repeats']}",
        title_justify="left",
        show_edge=False,
    )
    level = f"{100 * found['confidence']:.0f} %"
    for column in ("detector", "AUROC %", level, "AP %", "FPR %", "fit ms", "us each"):
        table.add_column(column, justify="left" if column == "detector" else "right", no_wrap=True)
    for row in found["detectors"]:
        name = f"pixels: {row['name']}" if row["baseline"] else row["name"]
        best = name == found["recommended"]["name"]
        low, high = row["auroc_interval"]
        table.add_row(
            f"[bold]{name}[/bold] *" if best else name,
            f"{100 * row['auroc']:.1f}",
            "" if low is None else f"{100 * low:.1f} - {100 * high:.1f}",
            f"{100 * row['ap_unknown']:.1f}",
            f"{100 * row['fpr_at_tpr95']:.1f}",
            f"{1e3 * row['fit_seconds']:.0f}",
            f"{1e3 * row['score_seconds']:.0f}",
        )
    out.print(table)
    out.print(
        "AP: average precision, unknown positive. FPR: share of unknown taken for known while 95 % of the known are "
        "accepted.",
        style="dim",
        highlight=False,
    )
    pick = found["recommended"]
    out.print(f"\nWorst held-out classes, by {pick['name']}:", highlight=False)
    worst = Table(show_edge=False)
    worst.add_column("class", overflow="fold")
    worst.add_column("AUROC", justify="right")
    for held in found["held_out"][:SHOWN]:
        worst.add_row(held["class"], _percent(held["auroc"][pick["name"]]))
    out.print(worst)
    if len(found["held_out"]) > SHOWN:
        out.print(f"  and {len(found['held_out']) - SHOWN} more, in the JSON")
    out.print(f"\n[bold]{pick['sentence']}[/bold]\nSetting: {pick['expression']}", highlight=False)
    for name, reason in found["not_tried"].items():
        out.print(f"Not tried: {name}: {reason}", highlight=False)
    _show_notes(found["warnings"], found["notes"])
    _show_skipped([(s["path"], s["reason"]) for s in found["skipped"]])


def _show_scores(found: Mapping[str, Any]) -> None:
    table = Table(title="Least familiar", title_justify="left", show_edge=False)
    for column in ("input", "verdict", "p-value", "nearest class"):
        table.add_column(column, justify="right" if column == "p-value" else "left", overflow="fold")
    for record in sorted(found["records"], key=lambda r: (r["p_value"], r["familiarity"]))[:SHOWN]:
        table.add_row(record["path"], record["verdict"], f"{record['p_value']:.4f}", record["nearest"] or "")
    out.print(table, "")
    n, share = found["n"], found["share_unseen"] or 0.0
    low, high = found["expected_if_all_known"]
    about = found.get("labelled")
    if about and about["known"]:
        wrong = about["known_called_unseen"] / about["known"]
        line = f"Of {about['known']:,} inputs labelled with a known class {_percent(wrong)} were called unseen"
        if "accuracy_on_known" in about:
            line += f"; {_percent(about['accuracy_on_known'])} of them got the right class"
        out.print(line + ".")
    if about and about["other"]:
        caught = about["other_called_unseen"] / about["other"]
        out.print(f"Of {about['other']:,} inputs labelled with another class {_percent(caught)} were called unseen.")
    out.print(
        f"[bold]{found['unseen']:,} of {n:,} found unseen ({_percent(share)})[/bold]; promised at most "
        f"{_percent(found['alpha'])} of known inputs: were all {n:,} known, {low:,} to {high:,} would be."
    )
    _show_notes([], found["notes"])
    _show_skipped([(s["path"], s["reason"]) for s in found["skipped"]])


def _show_info(about: Mapping[str, Any]) -> None:
    table = Table(show_header=False, show_edge=False, box=None)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    low, high = about["false_alarm_interval"]
    names = ", ".join(about["classes"][:SHOWN]) + (" ..." if len(about["classes"]) > SHOWN else "")
    lines = {
        "detector": about["detector"],
        "encoder": about["encoder"],
        "classes": f"{len(about['classes'])}: {names}",
        "learnt from": f"{about['n_fit']:,} inputs; {about['n_calibration']:,} others set the threshold",
        "promise": f"at most {_percent(about['alpha'])} of known inputs are called unseen, averaged over such fits; for "
        f"this one the rate lies in {_percent(low)} - {_percent(high)} with 95 % confidence",
        "smallest alpha": f"{about['smallest_alpha']:.4f}",
        "accuracy": "-" if about["accuracy"] is None else f"{_percent(about['accuracy'])} on the inputs set aside",
        "made": f"{about['made']} with unseen {about['versions']['unseen']}, torch {about['versions']['torch']}",
    }
    for name, text in lines.items():
        table.add_row(name, text)
    out.print(table)


def _show_notes(warnings: Sequence[str], notes: Sequence[str]) -> None:
    for text in warnings:
        out.print(f"[bold yellow]Warning:[/bold yellow] {text}", highlight=False)
    for text in notes:
        out.print(f"Note: {text}", highlight=False)


def _show_skipped(skipped: Sequence[tuple[str, str]]) -> None:
    for key, reason in list(skipped)[:SHOWN]:
        out.print(f"Skipped {key}: {reason}", highlight=False, markup=False)
    if skipped:
        out.print(f"{len(skipped):,} inputs skipped" + (", all listed in the JSON" if len(skipped) > SHOWN else ""))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _is_stdout(path: Path | None) -> bool:
    return path is not None and str(path) == "-"


def _write(path: Path | None, result: Mapping[str, Any]) -> None:
    if path is None:
        return
    if _is_stdout(path):
        sys.stdout.write(to_json(result) + "\n")
    else:
        write_json(path, result)


def _strict(strict: bool, skipped: Sequence[Any]) -> None:
    if strict and len(skipped):
        raise BadInput(f"{len(skipped):,} inputs were skipped and --strict was given")


def _copy(source: Path, keys: Sequence[str], folder: Path) -> None:
    """Copy files below ``folder`` under the names they have below ``source``; never over something else."""
    root = source if source.is_dir() else source.parent
    for key in keys:
        origin = root / key
        if not origin.is_file():
            raise WrongUse(f"--copy-unseen copies files, and {key} is not one")
        inside = Path(*[part for part in Path(key).parts if part not in ("..", "/")])
        target = folder / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(origin, target)
    out.print(f"Copied {len(keys):,} unseen files to [bold]{folder}[/bold]")
