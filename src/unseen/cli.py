"""The command line: each command reads its options, calls its verb and shows the result.

Command bodies import what they use, so that ``--help`` loads no torch.
"""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from unseen import __version__
from unseen.errors import BadInput, WrongUse
from unseen.files import to_json, write_json

if TYPE_CHECKING:
    from unseen.api import Fitted
    from unseen.api import Progress as Report
    from unseen.protocols import Bench

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Is this input something the model was ever taught?\n\n"
    "Start with `unseen demo`, then on your own folder (one sub-folder a class):\n\n"
    "- `unseen audit photos/`\n- `unseen fit photos/ -o guard.unseen`\n- `unseen score guard.unseen new/`\n\n"
    "Exit codes: 0 done; 1 a defect of ours; 2 wrong use; 3 bad input (with --strict also skipped inputs); "
    "4 damaged or foreign model file; 5 a missing extra; 6 disk or memory full; 130 interrupted.",
)
# What people named (paths, classes) is printed as it is: no markup, no emoji, no guessed colours.
out = Console(markup=False, emoji=False, highlight=False)
err = Console(markup=False, emoji=False, highlight=False, stderr=True)
DELAY = 2.0  # seconds before progress is worth showing
EVERY = 10.0  # seconds between its lines in a log
PASSES = (
    "encoding",
    "passes of their own",
    "pixels",
    "pixel Gaussians",
    "edges",
)  # what goes through inputs one by one
LONG = 60.0  # seconds from which a log says beforehand how long it will take
SHOWN = 10  # lines of a list that a person reads; the rest is in the JSON

Source = Annotated[
    Path,
    typer.Argument(
        help="A folder with one sub-folder a class, a manifest (.csv, .tsv, .jsonl), or arrays (.npy, .npz, "
        ".safetensors).",
        show_default=False,
    ),
]
EncoderOption = Annotated[
    str | None,
    typer.Option(
        "--encoder", "-e",
        metavar="NAME",
        help="packaged, pixels?size=8, timm:MODEL, torch:FILE.py:NET, arrays; see `unseen list`. "
        "Default: packaged for images, arrays for arrays.",
        show_default=False,
    ),
]  # fmt: skip
GuardEncoderOption = Annotated[
    str | None,
    typer.Option(
        "--encoder", "-e",
        metavar="NAME",
        help="Only for a guard of your own network (torch:FILE.py:NET), which its file cannot hold.",
        show_default=False,
    ),
]  # fmt: skip
JsonOption = Annotated[
    Path | None,
    typer.Option(
        "--json", metavar="FILE", help="Write everything found as JSON; - is standard output.", show_default=False
    ),
]
ReportOption = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE.html",
        help="Also write a page to read: charts, pictures and tables in one file that asks nothing of any network.",
        show_default=False,
    ),
]
SeedOption = Annotated[int, typer.Option(metavar="N", help="Seed of every random draw.")]
DeviceOption = Annotated[str, typer.Option(metavar="NAME", help="Where networks run: cpu, cuda, mps, ...")]
LimitOption = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Use at most N inputs, drawn by class under the seed. Default: all."),
]
AlphaOption = Annotated[
    float, typer.Option(metavar="SHARE", help="Share of known inputs that may be called unseen, between 0 and 1.")
]
CacheOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Folder that keeps encodings. Default: the user's cache folder.", show_default=False
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Threads that read and decode; results do not depend on it. Default: one for each core, at most 16.",
        show_default=False,
    ),
]
StrictOption = Annotated[bool, typer.Option("--strict", help="End with exit code 3 when an input had to be skipped.")]


@app.callback(invoke_without_command=True)
def main(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Hold the options that come before a command."""
    if version:
        out.print(f"unseen {__version__}")
        raise typer.Exit


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write.")] = Path("unseen-demo"),
    encoder: Annotated[
        str, typer.Option("--encoder", "-e", metavar="NAME", help="An image encoder; see `unseen list`.")
    ] = "pixels?size=8",
    alpha: AlphaOption = 0.05,
    json: JsonOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
) -> None:
    """Run the whole way on real data that is already installed: scikit-learn's handwritten digits.

    Seven digits are known. An audit holds each out in turn, a guard is fitted, and then it meets new images of the
    seven, the three digits it never saw, and two photographs. Ends with a table and a page to open.

    Example: `unseen demo -o demo`
    """
    _writable(json)
    with _progress() as report:
        from unseen.api.demo import demo as run

        found = run(folder, encoder=encoder, seed=seed, alpha=alpha, device=device, progress=report)

    def show() -> None:
        _show_audit(found["audit"])
        out.print()
        _show_scores(found["score"])
        out.print(f"\nThe page: {found['page']}", style="bold", soft_wrap=True)
        out.print("Next, your own folder with one sub-folder a class:  unseen audit photos/")

    _finish(json, found, show)


@app.command()
def audit(
    source: Source,
    encoder: EncoderOption = None,
    detectors: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Names or expressions with commas, such as knn,react. Default: those that need features and a head; "
            "all: also those that ask the network for inner layers or slopes.",
            show_default=False,
        ),
    ] = None,
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
    _writable(json)
    _writable_page(page)
    with _progress() as report:
        from unseen import api

        found = api.audit(
            source,
            encoder,
            detectors=_expressions(detectors) if detectors else None,
            held_out=int(held_out) if held_out and held_out.isdecimal() else _listed(held_out) if held_out else None,
            repeats=repeats,
            cache=cache,
            limit=limit,
            seed=seed,
            device=device,
            pixels=pixels,
            workers=workers,
            progress=report,
        )
        if page is not None:
            from unseen.api.pages import audit_page
            from unseen.report import render

            render(audit_page(found, source, command=_typed()), page)
    result = found.to_dict()
    options = {"-e": encoder, "--cache": cache, "--limit": limit, "--seed": seed or None}

    def show() -> None:
        _show_audit(result)
        _show_page(page)
        _next("unseen", "fit", source, "-d", result["recommended"]["expression"], "-o", "guard.unseen", **options)

    _finish(json, result, show)
    _strict(strict, found.skipped)


@app.command()
def bench(
    known: Annotated[
        Path | None,
        typer.Option(
            metavar="SOURCE",
            help="Known inputs: a folder with one sub-folder a class, a manifest, or arrays.",
            show_default=False,
        ),
    ] = None,
    near: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SOURCE", help="Unknown inputs like the known ones; may be repeated.", show_default=False
        ),
    ] = None,
    far: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SOURCE", help="Unknown inputs unlike them; may be repeated.", show_default=False),
    ] = None,
    known_test: Annotated[
        Path | None,
        typer.Option(
            metavar="SOURCE",
            help="Known inputs to test on. Default: two fifths of the known ones, groups whole.",
            show_default=False,
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Instead of --known, --near and --far, a declared protocol: openood/cifar10, openood/cifar100, "
            "openood/imagenet200 or openood/imagenet1k.",
            show_default=False,
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="With --protocol: the folder of its data sets.", show_default=False),
    ] = None,
    what: Annotated[
        bool, typer.Option("--what", help="With --protocol: only say what belongs where, with --root what is there.")
    ] = False,
    full_spectrum: Annotated[
        bool,
        typer.Option("--full-spectrum", help="With --protocol: known inputs with another look join the known test."),
    ] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="With --protocol: go on without the near and far sets that are missing.")
    ] = False,
    search_on_unknown: Annotated[
        bool,
        typer.Option(
            "--search-on-unknown",
            help="Choose settings on unknown inputs for validation first, as OpenOOD does. Rows are marked: nobody has "
            "such inputs when a detector is used.",
        ),
    ] = False,
    learn_unknown: Annotated[
        Path | None,
        typer.Option(
            metavar="SOURCE",
            help="Unknown inputs for detectors that learn from some, such as opengan; none of them is tested.",
            show_default=False,
        ),
    ] = None,
    search_on_known: Annotated[
        bool, typer.Option("--search-on-known", help="Choose settings first by holding out known classes.")
    ] = False,
    unknown_validation: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SOURCE",
            help="With --search-on-unknown and sets of your own: unknown inputs to choose on; may be repeated.",
            show_default=False,
        ),
    ] = None,
    encoder: EncoderOption = None,
    detectors: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Names or expressions with commas, such as knn,react. Default: those that need features and a head; "
            "all: also those that ask the network for inner layers or slopes.",
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
    strict: StrictOption = False,
) -> None:
    """Measure every detector on unknown inputs that you have, near and far.

    Detectors are fitted once, with default settings, on known inputs; they then score other known inputs and each
    unknown set. Beside them stand baselines that need no network: raw pixels, edges, the size of the file. --limit
    holds for each source. A declared protocol brings its sets with it, and published numbers to stand beside.

    Examples: `unseen bench --known photos/ --near breeds=breeds/ --far textures=textures/ --json bench.json`;
    `unseen bench --protocol openood/cifar10 --root data/ -e torch:nets.py:resnet18?size=32`
    """
    _writable(json)
    _writable_page(page)
    named = {"near": near, "far": far, "unknown-validation": unknown_validation}
    sets = {kind: _named(given or [], kind) for kind, given in named.items()}
    _one_kind_of_bench(
        protocol,
        {"--known": known, "--known-test": known_test, **{f"--{kind}": given for kind, given in sets.items()}},
        {"--root": root, "--what": what, "--full-spectrum": full_spectrum, "--partial": partial},
    )
    if search_on_unknown and search_on_known:
        raise WrongUse("--search-on-unknown and --search-on-known: choose settings on one of them")
    search = "unknown" if search_on_unknown else "known" if search_on_known else None
    if unknown_validation and not search_on_unknown:
        raise WrongUse("--unknown-validation is for --search-on-unknown")
    if learn_unknown is not None and (protocol is not None or search is not None):
        raise WrongUse("--learn-unknown is for a bench of your own sets without a search")
    if protocol is not None and what:
        _what(protocol, root, json)
        return
    with _progress() as report:
        from unseen import api

        common: dict[str, Any] = {
            "detectors": _expressions(detectors) if detectors else None,
            "cache": cache,
            "limit": limit,
            "seed": seed,
            "device": device,
            "workers": workers,
            "progress": report,
        }
        found: Bench
        if protocol is not None and root is not None:
            from unseen.api.declared import bench_protocol

            kinds: dict[str, Any] = {"full_spectrum": full_spectrum, "partial": partial, "search": search}
            found = bench_protocol(protocol, root, encoder, **kinds, **common)
        elif search is not None:
            from unseen.api.declared import bench_searched

            tried: dict[str, Any] = {"search": search, "unknown_validation": sets["unknown-validation"]}
            found = bench_searched(known, sets["near"], sets["far"], encoder, known_test=known_test, **tried, **common)
        else:
            beside: dict[str, Any] = {"known_test": known_test, "learn_unknown": learn_unknown}
            found = api.bench(known, sets["near"], sets["far"], encoder, **beside, **common)
        if page is not None:
            from unseen.api.pages import bench_page
            from unseen.report import render

            render(bench_page(found, command=_typed()), page)
    result = found.to_dict()

    def show() -> None:
        _show_bench(result)
        _show_page(page)

    _finish(json, result, show)
    _strict(strict, found.skipped)


@app.command()
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
    _writable(json)
    _writable(path)
    with _progress() as report:
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
            seed=seed,
            device=device,
            workers=workers,
            progress=report,
        )
        made.classifier.save(path)
    _finish_fit(made, path, encoder, json)
    _strict(strict, made.skipped)


@app.command()
def score(
    guard: Annotated[Path, typer.Argument(help="What `unseen fit` saved.", show_default=False)],
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
    _writable(json)
    _writable(table, ".csv", ".jsonl")
    _writable_page(page)
    if known and page is None:
        raise WrongUse("--known names what a page shows beside new inputs: give --report FILE.html too")
    with _progress(kept=cache is not None) as report:
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
                command=_typed(),
                progress=report,
            )
            render(made, page)
    result = verdicts.to_dict()

    def show() -> None:
        _show_scores(result)
        out.print(f"Table: {table}", style="bold", soft_wrap=True)
        if queue is not None:
            out.print(f"Labelling queue: {queue}", style="bold", soft_wrap=True)
        _show_page(page)
        if copy_unseen is not None:
            out.print(f"Copies of the {result['unseen']:,} unseen files: {copy_unseen}", style="bold", soft_wrap=True)

    _finish(json, result, show)
    _strict(strict, verdicts.skipped)


@app.command()
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
    _writable(json)
    if path is not None:
        _writable(path, ".npz")
    start = time.perf_counter()
    with _progress() as report:
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
        _show_notes([], support.notes)
        _show_skipped(support.skipped)
        if kept is not None:
            out.print(f"Kept in {kept}", style="bold", soft_wrap=True)
        if path is not None:
            out.print(f"Arrays: {path}", style="bold", soft_wrap=True)
            _next("unseen", "audit", path)
        else:
            _next("unseen", "audit", source, **{"-e": encoder, "--cache": cache, "--limit": limit})

    _finish(json, about, show)
    _strict(strict, support.skipped)


@app.command()
def extend(
    guard: Annotated[Path, typer.Argument(help="What `unseen fit` saved.", show_default=False)],
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
    _writable(json)
    _writable(path)
    with _progress() as report:
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
    _finish_fit(made, path, encoder, json)
    _strict(strict, made.skipped)


@app.command()
def cache(
    folder: Annotated[
        Path | None,
        typer.Option(
            "--cache", metavar="DIR", help="Folder of the store. Default: the user's cache folder.", show_default=False
        ),
    ] = None,
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder", "-e", metavar="PART", help="Only encoders with this in their id.", show_default=False
        ),
    ] = "",
    older_than: Annotated[
        float,
        typer.Option(min=0, metavar="DAYS", help="Only what nobody has used for so many days.", show_default=False),
    ] = 0.0,
    clear: Annotated[bool, typer.Option("--clear", help="Remove what is shown.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove without asking.")] = False,
    json: JsonOption = None,
) -> None:
    """Show what the store holds of each encoder, or remove it.

    What is removed is encoded again when it is needed. Only files that the store wrote are removed, and a shard that is
    being written stays.

    Example: `unseen cache --clear --older-than 30`
    """
    _writable(json)
    from unseen import api

    held = api.cache(folder, encoder=encoder, older_than=older_than)
    if clear and held["shards"]:
        if not yes and not _agreed(f"Remove {_size(held['bytes'])} in {held['folder']}?"):
            err.print("unseen: nothing was removed", soft_wrap=True)
            raise typer.Exit(0)
        held = api.cache(folder, encoder=encoder, older_than=older_than, clear=True)
    _finish(json, held, lambda: _show_cache(held))


@app.command()
def export(
    guard: Annotated[Path, typer.Argument(help="What `unseen fit` saved.", show_default=False)],
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
    _writable(json)
    _writable(path, ".onnx")
    with _progress(kept=False) as report:
        from unseen import api

        made = api.export(
            guard, source, path, encoder=encoder, tolerance=tolerance, limit=limit, seed=seed, progress=report
        )
    about = made.to_dict()

    def show() -> None:
        _show_export(about)
        out.print(f"Saved {path}", style="bold", soft_wrap=True)

    _finish(json, about, show)


@app.command(name="list")
def list_(json: JsonOption = None) -> None:
    """Show every detector, head, encoder and declared protocol that there is.

    Example: `unseen list`
    """
    from unseen import api
    from unseen.api.declared import protocols_listed

    rooms, protocols = api.catalogue(), protocols_listed()

    def show() -> None:
        for room, parts in rooms.items():
            paper = any(part.get("source") for part in parts)
            table = _table("name", "reads", "what it says", *(["source"] if paper else []))
            out.print(room, style="bold")
            for part in parts:
                row = [part["name"], ", ".join(part["reads"]), part["summary"].replace("`", "")]
                table.add_row(*row, *([part["source"] or ""] if paper else []))
            out.print(table)
            out.print()
        out.print("protocols", style="bold")
        for one in protocols:
            sets = "; ".join(f"{role}: {', '.join(one[role])}" for role in ("near", "far", "shifted") if one[role])
            out.print(f"{one['name']}: {one['classes']:,} classes; {sets}")
        out.print("What belongs where:  unseen bench --protocol NAME --what\n")
        out.print("Put together as step >> detector, options in brackets:  'ridge >> react >> energy(temperature=2)'")

    _finish(json, rooms | {"protocols": protocols}, show)


@app.command()
def info(
    guard: Annotated[Path, typer.Argument(help="What `unseen fit` saved.", show_default=False)],
    json: JsonOption = None,
) -> None:
    """Show what a saved guard holds and promises.

    Example: `unseen info guard.unseen`
    """
    from unseen import api

    _writable(json)
    about = api.info(guard)
    _finish(json, about, lambda: _show_info(about))


@contextmanager
def _progress(kept: bool = True) -> Iterator[Report]:
    """Progress with time left on standard error, once the work has taken two seconds; a sentence at Ctrl-C.

    A bar where a person looks on. In a log now and then a line, and before more than a minute's work one that says how
    long it will take, judged by its first part.
    """
    start = time.monotonic()
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    bar = Progress(*columns, console=err, transient=True)
    tasks: dict[str, Any] = {}
    first: dict[str, tuple[float, int]] = {}  # when each thing was first heard of, and how far it was
    spoken = start
    judged: set[str] = set()

    def report(what: str, done: int, total: int) -> None:
        nonlocal spoken
        now = time.monotonic()
        begun, before = first.setdefault(what, (now, done))
        if now - start < DELAY:
            return
        if err.is_terminal:
            bar.start()
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total, completed=done)
            bar.update(tasks[what], completed=done, total=total)
        elif done > before:
            left = (now - begun) * (total - done) / (done - before)
            if what not in judged and left >= LONG:
                spoken = now
                err.print(f"{what}: {_long(now - begun + left, total - before, what)}", soft_wrap=True)
            elif now - spoken >= EVERY:
                spoken = now
                err.print(f"{what}: {done:,} of {total:,}, {left:.0f} s left")
            judged.add(what)

    try:
        yield report
    except KeyboardInterrupt:
        if bar.live.is_started:
            bar.stop()
        err.print(
            "unseen: interrupted; what is encoded stays, the same command goes on from there"
            if kept
            else "unseen: interrupted; nothing was written (with --cache, what is encoded stays)",
            soft_wrap=True,
        )
        raise typer.Exit(130) from None
    finally:
        if bar.live.is_started:
            bar.stop()


def _long(seconds: float, parts: int, what: str) -> str:
    """How long work will take, in words.

    >>> _long(700, 40_000, "encoding"), _long(9000, 60, "holding out classes")
    ('about 12 minutes for 40,000 inputs on this machine', 'about 2.5 hours on this machine')
    """
    minutes = round(seconds / 60)
    words = f"{seconds / 3600:.1f} hours" if minutes >= 90 else f"{minutes} minutes" if minutes > 1 else "1 minute"
    each = f" for {parts:,} inputs" if what.startswith(PASSES) else ""
    return f"about {words}{each} on this machine"


def _table(*columns: str, numbers: Sequence[str] = ()) -> Table:
    """A table whose numbers keep their width at 80 columns; names are folded instead."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        number = column in numbers
        table.add_column(column, justify="right" if number else "left", no_wrap=number, overflow="fold")
    return table


def _show_audit(found: Mapping[str, Any]) -> None:
    pick = found["recommended"]
    level = f"{100 * found['confidence']:.0f} % interval"
    numbers = ("AUROC", level, "AP", "FPR", "fit ms", "us each")
    out.print(
        f"{found['n']:,} inputs, {found['n_calibration']:,} of them set aside; {len(found['held_out'])} classes held "
        f"out in turn, {found['repeats']} split{'s' if found['repeats'] > 1 else ''} each",
        style="bold",
    )
    table = _table("detector", *numbers, numbers=numbers)
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
    worst = _table("class", *columns, numbers=columns)
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
    _show_notes(found["warnings"], found["notes"])
    _show_skipped([(s["path"], s["reason"]) for s in found["skipped"]])


def _show_bench(found: Mapping[str, Any]) -> None:
    kinds, level = list(found["groups"]), f"{100 * found['confidence']:.0f} % interval"
    shown = {row["name"]: row for row in (*found["detectors"], *found["baselines"])}
    out.print(
        f"{found['n_fit']:,} known inputs learnt from, {found['n_known_test']:,} tested; "
        + "; ".join(f"{kind}: {', '.join(about['sets'])}" for kind, about in found["groups"].items()),
        style="bold",
    )
    each = ("AUROC", f"{100 * found['confidence']:.0f} %")
    costs = (
        "rank",
        "acc.",
        "fit\nms",
        "us\neach",
        *(["passes"] if any(any(r["passes"]) for r in shown.values()) else []),
    )
    numbers = (*(f"{kind}\n{name}" for kind in kinds for name in each), *costs)
    table = _table("detector", *numbers, numbers=numbers)
    for name, row in shown.items():
        best = [kind for kind in kinds if found["groups"][kind]["best"] == name]
        tuned = f" (tuned on {row['tuned_on']})" if row.get("tuned_on") else ""
        tuned += " (saw unknown)" if row["uses_unknown"] else ""
        table.add_row(
            f"{name}{tuned} *" if best else f"{name}{tuned}",
            *(cell for kind in kinds for cell in _mean_cells(row["means"][kind])),
            _mean_rank(row["sets"].values()),
            "" if row["accuracy"] is None else f"{100 * row['accuracy']:.1f}",
            f"{1e3 * row['fit_seconds']:.0f}",
            f"{1e3 * row['score_seconds']:.0f}",
            *([_passes(row["passes"])] if "passes" in costs else []),
            style="bold" if best else "dim" if row["baseline"] else None,
        )
    out.print(table)
    out.print(
        "Per cent, unweighted means over the sets of a kind, with their interval; * is the best of a kind. rank: mean "
        "over all sets. AUROC: 50 is a guess, 100 never errs. AP: average precision, unknown positive. FPR: share of "
        "the unknown taken for known while 95 % of the known are accepted. acc.: known test inputs whose class the "
        "head names. Times: one fit, one input"
        + (
            "; the network's passes that a detector asks for beside the common one, forward + backward, come to that."
            if "passes" in costs
            else "."
        ),
        style="dim",
    )
    _show_published(found)
    _show_search(found)
    for kind, about in found["groups"].items():
        out.print(f"\n{kind.capitalize()} sets, by {about['best']}", style="bold")
        plain = list(dict.fromkeys(row["baseline"] for row in found["baselines"]))
        # A line a word: with four baselines their names side by side leave no room for that of the set.
        columns = ("inputs", "AUROC", level, "AP", "FPR", *("\n".join(what.split()) for what in plain))
        sets = _table("set", *columns, numbers=columns)
        for name in about["sets"]:
            of_set = shown[about["best"]]["sets"][name]
            interval = of_set["auroc_interval"]
            trivial = [
                max(row["sets"][name]["auroc"] for row in found["baselines"] if row["baseline"] == what)
                for what in plain
            ]
            sets.add_row(
                name,
                f"{of_set['n_unknown']:,}",
                f"{100 * of_set['auroc']:.1f}",
                "" if interval is None else f"{100 * interval[0]:.1f} - {100 * interval[1]:.1f}",
                f"{100 * of_set['ap_unknown']:.1f}",
                f"{100 * of_set['fpr_at_tpr95']:.1f}",
                *(f"{100 * value:.1f}" for value in trivial),
            )
        out.print(sets)
        out.print(about["sentence"])
        out.print(f"Intervals and p-values are over {about['over']}.", style="dim")
    out.print()
    for name, reason in found["not_tried"].items():
        out.print(f"Not tried: {name}: {reason}")
    for name, copies in found["left_out"].items():
        out.print(f"Left out of {name}: {copies:,} exact {'copy' if copies == 1 else 'copies'} of known inputs")
    _show_notes(found["warnings"], found["notes"])
    _show_skipped([(f"{s['source']}: {s['path']}", s["reason"]) for s in found["skipped"]])


def _mean_cells(means: Mapping[str, Any]) -> list[str]:
    """Mean AUROC of one kind, and its interval."""
    interval = means["auroc_interval"]
    between = "" if interval is None else f"{100 * interval[0]:.0f}-{100 * interval[1]:.0f}"
    return [f"{100 * means['auroc']:.1f}", between]


def _mean_rank(sets: Iterable[Mapping[str, Any]]) -> str:
    """Over all sets; baselines have none."""
    ranks = [of_set["rank"] for of_set in sets if of_set.get("rank") is not None]
    return f"{sum(ranks) / len(ranks):.1f}" if ranks else ""


def _passes(counted: Sequence[int]) -> str:
    forward, backward = counted
    return "" if not forward else f"{forward} + {backward}"


def _show_published(found: Mapping[str, Any]) -> None:
    """The rows of a declared protocol beside the published ones of the same detectors."""
    beside = [row for row in found["detectors"] if row.get("published")]
    if not beside:
        return
    table_of = found["published"]
    kinds = list(found["groups"])
    numbers = tuple(f"{kind}\n{which}" for kind in kinds for which in ("here", "published"))
    table = _table("detector", *numbers, "published as", numbers=numbers)
    for row in beside:
        theirs = row["published"]
        cells = [f"{100 * value:.1f}" for kind in kinds for value in (row["means"][kind]["auroc"], theirs[kind])]
        marks = " T" if theirs["tuned_on_unknown"] else ""
        differs = f" ({theirs['differs']})" if theirs["differs"] else ""
        table.add_row(row["name"], *cells, f"{theirs['postprocessor']}{marks}{differs}")
    out.print(f"\nMean AUROC beside {table_of['benchmark']}, {table_of['architecture']}", style="bold")
    out.print(table)
    out.print(table_of["sentence"], style="dim")


def _show_search(found: Mapping[str, Any]) -> None:
    """What was chosen before, and on what."""
    search = found.get("search")
    if not search:
        return
    sides = f"{search['n_known']:,} known and {search['n_unknown']:,} unknown inputs for validation"
    on = sides if search["on"] == "unknown" else "held-out known classes"
    out.print(f"\nSettings chosen on {on}", style="bold")
    for expression, about in search["rows"].items():
        auroc = f", AUROC there {100 * about['auroc']:.1f}" if "auroc" in about else ""
        out.print(f"{about['name']}: {expression}, of {about['tried']} settings{auroc}")


def _what(name: str, root: Path | None, json: Path | None) -> None:
    """What a declared protocol needs, and with a folder what of it is there."""
    from unseen.protocols import openood

    told = openood.what(openood.find(name), root)

    def show() -> None:
        out.print(f"{told['title']} ({told['protocol']}), {told['classes']:,} known classes", style="bold")
        for part in told["parts"]:
            many = "" if part["expected"] is None else f", {part['expected']:,} inputs"
            out.print(f"\n{openood.called(part['role'], part['name'])}: {part['title']}{many}", style="bold")
            if part["place"] is not None:
                out.print(f"  {part['n']:,} here: {part['place']}", soft_wrap=True)
                continue
            if root is not None:
                out.print("  missing; it may lie in", style="yellow")
            for place in part["places"]:
                out.print(f"  {place}", soft_wrap=True)
            out.print(f"  from {part['home']}", style="dim", soft_wrap=True)
        out.print()
        _show_notes([], told["notes"])
        out.print(
            "Places are below the folder that --root names. OpenOOD's lists are taken first: they leave out what the "
            "known classes have too. Sets called shifted are for --full-spectrum, those for validation for "
            "--search-on-unknown.",
            style="dim",
        )

    _finish(json, told, show)


def _show_scores(found: Mapping[str, Any]) -> None:
    n, share = found["n"], found["share_unseen"] or 0.0
    out.print(f"Least familiar of {n:,} inputs", style="bold")
    numbers = ("p-value",) if found["discoveries"] is None else ("p-value", "q-value")
    table = _table("input", "verdict", *numbers, "nearest class", numbers=numbers)
    for record in sorted(found["records"], key=lambda r: (r["p_value"], r["familiarity"]))[:SHOWN]:
        values = [f"{record[name.replace('-', '_')]:.4f}" for name in numbers]
        table.add_row(record["path"], record["verdict"], *values, record["nearest"] or "")
    out.print(table)
    out.print()
    about = found.get("labelled")
    if about and about["known"]:
        wrong = about["known_called_unseen"] / about["known"]
        line = f"Of {about['known']:,} inputs labelled with a known class {_percent(wrong)} were called unseen"
        if "accuracy_on_known" in about:
            line += f"; for {_percent(about['accuracy_on_known'])} the nearest class is the right one"
        out.print(line + ".")
    if about and about["other"]:
        caught = about["other_called_unseen"] / about["other"]
        out.print(f"Of {about['other']:,} inputs labelled with another class {_percent(caught)} were called unseen.")
    out.print(f"{found['unseen']:,} of {n:,} found unseen ({_percent(share)}).", style="bold")
    if found["discoveries"] is None:
        low, high = found["expected_if_all_known"]
        more = " More were found: some are new, or known inputs look different here." if found["unseen"] > high else ""
        each = ", among those taken for each class" if found["by_class"] else ""
        out.print(
            f"Promised: at most {_percent(found['alpha'])} of known inputs{each}; were all {n:,} known, {low:,} to "
            f"{high:,} would be called unseen.{more}"
        )
    else:
        level = _percent(found["discoveries"])
        out.print(
            f"Decided over all {n:,} together (Benjamini-Hochberg): of those called unseen at most {level} are known, "
            f"averaged over such batches. Were all known, any would be called unseen in at most {level} of batches."
        )
    _show_notes([], found["notes"])
    _show_skipped([(s["path"], s["reason"]) for s in found["skipped"]])


def _show_info(about: Mapping[str, Any]) -> None:
    from unseen.classifier import short_id

    table = Table(show_header=False, show_edge=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    classes, each = about["classes"], about["by_class"]
    rate = "" if each else _rate(about["false_alarm_interval"])
    whose = "the known inputs taken for any one class" if each else "known inputs"
    names = ", ".join(classes[:SHOWN]) + (" ..." if len(classes) > SHOWN else "")
    lines = {
        "detector": about["detector"],
        "encoder": short_id(about["encoder"]),
        "classes": f"{len(classes)}: {names}" if classes else "not told apart: the inputs had no labels",
        "learnt from": f"{about['n_fit']:,} inputs; {about['n_calibration']:,} others set the threshold"
        + ("s, one a class" if each else ""),
        "promise": f"at most {_percent(about['alpha'])} of {whose} are called unseen, averaged over such fits",
        "this guard": rate and f"{rate} of known inputs are called unseen (95 % confidence)",
        "smallest alpha": f"{about['smallest_alpha']:.4f}",
        "accuracy": "" if about["accuracy"] is None else f"{_percent(about['accuracy'])} on the inputs set aside",
        "source": about.get("source", ""),
        "made": f"{about['made']} with unseen {about['versions']['unseen']}, torch {about['versions']['torch']}",
    }
    for name, text in lines.items():
        if text:
            table.add_row(name, text)
    out.print(table)
    if each:
        _show_classes(about["per_class"])


def _show_classes(classes: Sequence[Mapping[str, Any]]) -> None:
    """The false-alarm rate of each class, those with the fewest inputs set aside first."""
    out.print("\nHow many of the known inputs taken for a class are called unseen", style="bold")
    columns = ("set aside", "95 % interval")
    table = _table("class", *columns, numbers=columns)
    for row in sorted(classes, key=lambda row: row["n_calibration"])[:SHOWN]:
        interval = row["false_alarm_interval"]
        rate = "pooled: no promise" if interval is None else _rate(interval)
        table.add_row(row["class"], f"{row['n_calibration']:,}", rate)
    out.print(table)
    if len(classes) > SHOWN:
        out.print(f"and {len(classes) - SHOWN:,} more, which have more set aside, in the JSON (--json FILE)")


def _show_cache(held: Mapping[str, Any]) -> None:
    from unseen.classifier import short_id

    shelves = held["encoders"]
    if not shelves:
        out.print(
            f"{'Nothing to remove' if held['removed'] else 'Nothing is kept'} in {held['folder']}", soft_wrap=True
        )
        return
    columns = ("inputs", "shards", "size", "last used")
    table = _table("encoder", *columns, numbers=columns)
    for shelf in shelves:
        when = shelf["last_used"][:16].replace("T", " ")
        table.add_row(
            short_id(shelf["encoder"]).partition("|")[0],
            f"{shelf['inputs']:,}",
            f"{shelf['shards']:,}",
            _size(shelf["bytes"]),
            when,
        )
    out.print(table)
    done = "removed from" if held["removed"] else "kept in"
    out.print(f"{_size(held['bytes'])} {done} {held['folder']}", style="bold", soft_wrap=True)


def _size(number: float) -> str:
    """Bytes as people read them."""
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:,.0f} {unit}"
        number /= 1000
    return f"{number:,.1f} GB"


def _show_export(about: Mapping[str, Any]) -> None:
    table = Table(show_header=False, show_edge=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
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
    for name, text in lines.items():
        table.add_row(name, text)
    out.print(table)
    _show_skipped([(s["path"], s["reason"]) for s in about["skipped"]])


def _show_notes(warnings: Sequence[str], notes: Sequence[str]) -> None:
    for text in warnings:
        out.print(f"Warning: {text}", style="yellow")
    for text in notes:
        out.print(f"Note: {text}")


def _show_skipped(skipped: Sequence[tuple[str, str]]) -> None:
    for key, reason in list(skipped)[:SHOWN]:
        out.print(f"Skipped {key}: {reason}")
    if skipped:
        more = ", all listed in the JSON (--json FILE)" if len(skipped) > SHOWN else ""
        out.print(f"{len(skipped):,} {'input was' if len(skipped) == 1 else 'inputs were'} skipped{more}")


def _show_page(page: Path | None) -> None:
    if page is not None:
        out.print(f"Page: {page}", style="bold", soft_wrap=True)


def _next(*words: object, **options: object) -> None:
    """The command that a person runs next, ready to be copied."""
    given = [word for name, value in options.items() if value is not None for word in (name, value)]
    out.print(f"Next:  {shlex.join(map(str, [*words, *given]))}", soft_wrap=True)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _rate(interval: Sequence[float]) -> str:
    return " to ".join(map(_percent, interval))


def _listed(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    return [name for name in names if name]


def _named(given: Sequence[str], option: str) -> dict[str, Path]:
    """Sources by name, from ``NAME=SOURCE``."""
    sources: dict[str, Path] = {}
    for text in given:
        name, sep, source = text.partition("=")
        if not (name.strip() and sep and source):
            raise WrongUse(f"--{option} {text}: write NAME=SOURCE, such as --{option} textures=photos/textures")
        if name.strip() in sources:
            raise WrongUse(f"--{option} {text}: {name.strip()!r} is given twice; give each set a name of its own")
        sources[name.strip()] = Path(source)
    return sources


def _one_kind_of_bench(protocol: str | None, own: Mapping[str, Any], declared: Mapping[str, Any]) -> None:
    """Raise where options of a bench on own sets and of a declared one are mixed, or neither is there."""
    given, asked = ([name for name, value in some.items() if value] for some in (own, declared))
    if protocol is None and "--known" not in given:
        raise WrongUse("give --known SOURCE with --near or --far NAME=SOURCE, or --protocol NAME with --root DIR")
    if protocol is None and asked:
        raise WrongUse(f"{asked[0]} is for a declared protocol: give --protocol NAME, such as openood/cifar10")
    if protocol is not None and given:
        raise WrongUse(f"{given[0]} beside --protocol: a declared protocol brings its own sets")
    if protocol is not None and not {"--root", "--what"} & set(asked):
        raise WrongUse(
            f"--protocol {protocol}: give --root DIR, the folder of its data sets; --what says what belongs there"
        )


def _expressions(text: str) -> list[str]:
    """Detectors with commas between them; those inside brackets belong to arguments."""
    return [name.strip() for name in re.split(r",(?![^(]*\))", text) if name.strip()]


def _writable(path: Path | None, *suffixes: str) -> None:
    """Raise before hours of work rather than after them."""
    if path is None or str(path) == "-":
        return
    if suffixes and path.suffix not in suffixes:
        raise WrongUse(f"{path}: the name of this file must end in {' or '.join(suffixes)}")
    if path.is_dir():
        raise WrongUse(f"{path}: is a folder; give the name of a file")


def _writable_page(page: Path | None) -> None:
    """As `_writable`, and its folder is there: a page is written after the work, and alone."""
    _writable(page, ".html", ".htm")
    if page is not None and not page.parent.is_dir():
        raise WrongUse(f"{page}: there is no folder {page.parent}: make it first")


def _typed() -> str:
    """The command as it was typed, for a page to repeat."""
    return shlex.join(["unseen", *sys.argv[1:]])


def _finish(json: Path | None, result: Mapping[str, Any], show: Callable[[], None]) -> None:
    """Show a result to a person, or write it for a program; nothing but JSON goes to standard output with ``-``."""
    if json is not None and str(json) == "-":
        sys.stdout.write(to_json(result) + "\n")
        return
    show()
    if json is not None:
        write_json(json, result)


def _finish_fit(made: Fitted, path: Path, encoder: str | None, json: Path | None) -> None:
    about = made.classifier.info()
    asked = {"-e": None if made.classifier.encoder is None or made.classifier.encoder.rebuildable else encoder}

    def show() -> None:
        out.print(made.reason)
        _show_info(about)
        _show_notes(made.audit.warnings if made.audit is not None else [], made.notes)
        _show_skipped(made.skipped)
        out.print(f"Saved {path}", style="bold", soft_wrap=True)
        _next("unseen", "score", path, "NEW_INPUTS", **asked)

    listed = [{"path": key, "reason": why} for key, why in made.skipped]
    _finish(json, about | {"file": str(path), "skipped": listed, "notes": list(made.notes)}, show)


def _agreed(question: str) -> bool:
    """Whether a person says yes."""
    if not sys.stdin.isatty():
        raise WrongUse("--clear asks before it removes anything, and there is nobody to answer: give --yes")
    err.print(f"{question} [y/N] ", end="", soft_wrap=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _strict(strict: bool, skipped: Sequence[Any]) -> None:
    if strict and len(skipped):
        raise BadInput(f"{len(skipped):,} inputs were skipped and --strict was given")
