"""``unseen bench``: detectors on unknown inputs that one has, beside baselines and published numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    StrictOption,
    TextOption,
    WordedOption,
    WorkersOption,
    expressions,
    named,
    texts,
    typed,
    writable,
    writable_page,
)
from unseen.cli.screen import check_skipped, finish, new_table, out, progress, show_notes, show_page, show_skipped
from unseen.errors import WrongUse

if TYPE_CHECKING:
    from unseen.protocols import Bench


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
    """Measure every detector on unknown inputs that you have, near and far.

    Detectors are fitted once, with default settings, on known inputs; they then score other known inputs and each
    unknown set. Beside them stand baselines that need no network: raw pixels, edges, the size of the file. --limit
    holds for each source. A declared protocol brings its sets with it, and published numbers to stand beside.

    Examples: `unseen bench --known photos/ --near breeds=breeds/ --far textures=textures/ --json bench.json`;
    `unseen bench --protocol openood/cifar10 --root data/ -e torch:nets.py:resnet18?size=32`
    """
    writable(json)
    writable_page(page)
    given = {"near": near, "far": far, "unknown-validation": unknown_validation}
    sets = {kind: named(each or [], kind) for kind, each in given.items()}
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
    read = texts(labels, names, prompts, negatives, text)
    if (protocol is not None or search is not None) and (read is not None or labels != "labels"):
        raise WrongUse("--labels and class names as texts are for a bench of your own sets without a search")
    if protocol is not None and what:
        _what(protocol, root, json)
        return
    with progress() as report:
        from unseen import api

        common: dict[str, Any] = {
            "detectors": expressions(detectors) if detectors else None,
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
            beside |= {"labels": labels, "text": read}
            found = api.bench(known, sets["near"], sets["far"], encoder, **beside, **common)
        if page is not None:
            from unseen.api.pages import bench_page
            from unseen.report import render

            render(bench_page(found, command=typed()), page)
    result = found.to_dict()

    def show() -> None:
        _show_bench(result)
        show_page(page)

    finish(json, result, show)
    check_skipped(strict, found.skipped)


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
        show_notes([], told["notes"])
        out.print(
            "Places are below the folder that --root names. OpenOOD's lists are taken first: they leave out what the "
            "known classes have too. Sets called shifted are for --full-spectrum, those for validation for "
            "--search-on-unknown.",
            style="dim",
        )

    finish(json, told, show)


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
    table = new_table("detector", *numbers, numbers=numbers)
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
        sets = new_table("set", *columns, numbers=columns)
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
    show_notes(found["warnings"], found["notes"])
    show_skipped([(f"{s['source']}: {s['path']}", s["reason"]) for s in found["skipped"]])


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
    table = new_table("detector", *numbers, "published as", numbers=numbers)
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
