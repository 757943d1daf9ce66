"""Draw every table of measured numbers from its JSON: python docs/tables.py.

The pages include ``docs/tables/*.md``; a test draws them again and compares, so that a number in the docs is always one
that a command in the tree wrote.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from unseen import registry
from unseen.signals import Climbed

ROOT = Path(__file__).parent.parent
TABLES = ROOT / "docs" / "tables"


def tables() -> dict[str, str]:
    """File name -> Markdown, for every table."""
    return {name: draw() for name, draw in DRAWN.items()}


def audit(source: str) -> str:
    found = _read("experiments", f"audit_{source}")
    rows = [
        (
            f"`{row['name']}`",
            _percent(row["auroc"]),
            _range(row["auroc_interval"]),
            _percent(row["ap_unknown"]),
            _percent(row["fpr_at_tpr95"]),
        )
        for row in found["detectors"]
    ]
    best = found["recommended"]["name"]
    classes = [
        (
            held["class"],
            str(held["n_unknown"]),
            _percent(held["auroc"][best]),
            _range(held["auroc_interval"][best]),
            _percent(held["auroc"]["pixels: knn"]),
        )
        for held in found["held_out"]
    ]
    interval = f"{100 * found['confidence']:.0f} %"
    return "\n\n".join(
        [
            _table(("detector", "AUROC %", interval, "AP %, unknown positive", "FPR % at 95 % TPR"), rows),
            f"> {found['recommended']['sentence']}",
            *(f"> Warning: {text}" for text in found["warnings"]),
            "Each held-out class, worst first:",
            _table(("class", "its images", f"AUROC % of `{best}`", interval, "AUROC % of `pixels: knn`"), classes),
            f"{found['n']:,} images of {found['classes']} classes, {found['n_calibration']:,} of them set aside and "
            f"not looked at; {found['repeats']} splits averaged inside each class; intervals over the "
            f"{len(found['held_out'])} held-out classes.",
            _made(found),
        ]
    )


def meet_a_new_class() -> str:
    found = _read("experiments", "meet_a_new_class")
    rows = [
        (
            _percent(row["alpha"]),
            _percent(row["exact_promise"]),
            f"{_percent(row['false_alarms'])} ({_range(row['false_alarms_interval'])})",
            f"{_percent(row['caught'])} ({_range(row['caught_interval'])})",
            _percent(row["accuracy_on_known"]),
        )
        for row in found["summary"]
    ]
    head = (
        "alpha %",
        "exact promise %",
        "new known called unseen %",
        "seventh class called unseen %",
        "known, right class %",
    )
    by_class = []
    for name in sorted({row["seventh"] for row in found["rows"]}):
        mine = [row for row in found["rows"] if row["seventh"] == name and row["alpha"] == found["summary"][0]["alpha"]]
        alarms = sum(r["known_called_unseen"] for r in mine) / sum(r["known"] for r in mine)
        caught = sum(r["other_called_unseen"] for r in mine) / sum(r["other"] for r in mine)
        by_class.append((name, _percent(alarms), _percent(caught)))
    alpha = _percent(found["summary"][0]["alpha"])
    return "\n\n".join(
        [
            _table(head, rows),
            f"At alpha = {alpha} %, by the class that was met as new:",
            _table(("seventh class", "new known called unseen %", "seventh class called unseen %"), by_class),
            f"{found['summary'][0]['fits']} fits: each of seven classes in turn, {found['seeds']} seeds; 95 % "
            "intervals over seeds. The exact promise is floor(alpha (n + 1)) / (n + 1) with n calibration images.",
            _made(found),
        ]
    )


def model_card() -> str:
    found = _read("experiments", "model_card")
    rows = [
        (name, f"{_percent(about['top1'])} ({_range(about['top1_interval'])})", _percent(about["top5"]))
        for name, about in (
            ("declared: (x - 127) / 128", found["declared_preprocessing"]),
            ("ImageNet's usual mean and deviation", found["usual_imagenet_mean_and_std"]),
        )
    ]
    held = []
    for source in ("photos", "small"):
        seen = _read("experiments", f"audit_{source}")
        best = next(r for r in seen["detectors"] if r["name"] == seen["recommended"]["name"] and not r["baseline"])
        raw = max((r for r in seen["detectors"] if r["baseline"]), key=lambda r: r["auroc"])
        held.append(
            (
                f"{seen['classes']} classes, {seen['n']} images ({source})",
                f"{_percent(best['auroc'])} ({_range(best['auroc_interval'])}), `{best['name']}`",
                f"{_percent(raw['auroc'])} ({_range(raw['auroc_interval'])}), `{raw['name']}`",
            )
        )
    return "\n\n".join(
        [
            f"Accuracy on {found['n']} ImageNet images of 160 x 160, one for each of {found['n']} classes, probably "
            "from the training set; 95 % Wilson intervals:",
            _table(("normalisation", "top-1 %", "top-5 %"), rows),
            "Mean AUROC over held-out classes, against the better detector on raw pixels; 95 % intervals over classes:",
            _table(("images", "packaged", "raw pixels"), held),
            _made(found),
        ]
    )


def ridge_penalty() -> str:
    found = _read("experiments", "ridge_penalty")
    rows = [
        (
            r["source"],
            f"{r['penalty']:g}",
            _percent(r["auroc_msp"]),
            _percent(r["auroc_energy"]),
            _percent(r["accuracy"]),
        )
        for r in found["rows"]
    ]
    head = ("images", "penalty", "AUROC % `msp`", "AUROC % `energy`", "accuracy %")
    return "\n\n".join([_table(head, rows), _made(found)])


def cifar10_sets() -> str:
    found = _read("experiments", "cifar10_detectors")
    known = next(iter(found["networks"].values()))["n_known"]
    rows = [(one["title"], one["kind"], f"{one['n']:,}", one["about"]) for one in found["sets"]]
    return "\n\n".join(
        [_table(("set", "kind", "images", "which"), rows), f"Each set is told apart from {known} known images."]
    )


def cifar10_network(name: str) -> str:
    found = _read("experiments", "cifar10_detectors")
    about, sets = found["networks"][name], found["sets"]
    others = [one for one in sets if one["kind"] in ("overlap", "covariate")]
    means = [
        (
            f"`{row['name']}`",
            *(_percent(row[what][kind]) for kind in ("near", "far") for what in ("mean_auroc", "mean_fpr_at_tpr95")),
            *(_percent(row["sets"][one["name"]]["auroc"]) for one in others),
        )
        for row in about["detectors"]
    ]
    each = [
        (f"`{row['name']}`", *(_bold_if_first(row["sets"][one["name"]]) for one in _near_and_far(found)))
        for row in about["detectors"]
    ]
    right, seen = about["accuracy"], about["accuracy_train"]
    head = ("detector", "near: AUROC %", "FPR %", "far: AUROC %", "FPR %")
    return "\n\n".join(
        [
            f"{about['title']} classifies {_percent(right['share'])} % of the {right['n']:,} known images right "
            f"({_range(right['interval'])}, Wilson), and {round(seen['share'] * seen['n']):,} of the {seen['n']:,} "
            "that detectors learn from. Means over near and far sets, and AUROC on the others:",
            _table((*head, *(f"{one['kind']}, {one['title']}" for one in others)), means),
            "AUROC % on each near and far set; bold: the best there, and what Holm's test at 5 % over all pairs of "
            "detectors does not tell apart from it.",
            _table(("detector", *(one["title"] for one in _near_and_far(found))), each),
            *(f"Left out: `{left}`: {why}." for left, why in about["left_out"].items()),
            _made(found),
        ]
    )


def attack_cifar10() -> str:
    found = _read("experiments", "attack_cifar10")
    names = ["original", *found["sets"]]

    def cell(row: dict[str, Any], images: str) -> dict[str, Any]:
        wanted = (images, "8-bit", False)
        return next(c for c in row["cells"] if (c["images"], c["pixels"], c["targets"]) == wanted)

    first = found["detectors"][0]
    ways = [
        (
            c["images"],
            c["pixels"],
            "yes" if c["targets"] else "no",
            f"{_percent(c['auroc'])} ({_range(c['auroc_interval'])})",
            f"{_percent(c['success'])} ({_range(c['success_interval'])})",
        )
        for c in first["cells"]
    ]
    moved = [
        (name, f"{about['smooth']:g}", *(f"{about[what]['mean']:.3f}" for what in ("before", "after", "l2", "linf")))
        for name, about in found["sets"].items()
    ]
    each = [
        (
            f"`{row['name']}`",
            *(f"{_percent(c['auroc'])} ({_range(c['auroc_interval'])})" for c in (cell(row, name) for name in names)),
            *(_percent(cell(row, name)["success"]) for name in names),
        )
        for row in found["detectors"]
    ]
    unknown = found["unknown"]
    heads = [f"{what}, {name}" for what in ("AUROC %", "taken for known %") for name in names]
    return "\n\n".join(
        [
            f"`{first['name']}`, the score that the paper reads:",
            _table(("images", "pixels", "targets learnt", "AUROC %", "taken for known %"), ways),
            "How far images were moved, means; cosine of the features and the target's, change in pixels from 0 to 1:",
            _table(("images", "smoothness", "cosine before", "after", "L2", "L-infinity"), moved),
            "Every detector, fitted without the targets and asked about images in 8 bits:",
            _table(("detector", *heads), each),
            f"{found['network']}; {found['n_unknown']} images of {unknown['title']} "
            f"({unknown['about'].partition(': ')[2]}), moved to "
            f"{found['n_targets']} of {found['n_fit']:,} known ones in {found['steps']} steps; {found['n_known_test']} "
            f"known images tested; {100 * found['confidence']:.0f} % intervals over images (DeLong, Wilson). Taken for "
            "known: above the threshold that 95 % of the known pass.",
            _made(found),
        ]
    )


def cifar10_intervals() -> str:
    found = _read("experiments", "cifar10_detectors")
    parts: list[str] = []
    for about in found["networks"].values():
        for one in found["sets"]:
            cells = sorted(
                ((row["sets"][one["name"]], row["name"]) for row in about["detectors"]), key=lambda x: -x[0]["auroc"]
            )
            rows = [
                (
                    f"`{name}`",
                    _percent(cell["auroc"]),
                    _range(cell["auroc_interval"]),
                    _percent(cell["ap_unknown"]),
                    _percent(cell["fpr_at_tpr95"]),
                    "" if cell["p_holm_against_best"] is None else f"{cell['p_holm_against_best']:.2g}",
                )
                for cell, name in cells
            ]
            head = ("detector", "AUROC %", "95 %", "AP %, unknown positive", "FPR %", "p against the first")
            parts += [
                f"{about['title']}, {one['kind']}: {one['title']}, {about['n_known']} known and {one['n']:,} unknown.",
                _table(head, rows),
            ]
    return "\n\n".join([*parts, _made(found)])


def cifar10_lengths() -> str:
    found = _read("experiments", "cifar10_detectors")
    tested = _near_and_far(found)
    parts: list[str] = []
    for about in found["networks"].values():
        rows = [(row["score"], *(_percent(row["auroc"][one["name"]]) for one in tested)) for row in about["lengths"]]
        length = about["lengths"][0]["mean"]
        means = ", ".join(f"{one['title']} {length[one['name']]:.1f}" for one in tested)
        parts += [
            f"{about['title']}, mean length of the features: known {length['known']:.1f}, {means}. AUROC %:",
            _table(("score", *(one["title"] for one in tested)), rows),
        ]
    return "\n\n".join([*parts, _made(found)])


def cifar10_temperature() -> str:
    found = _read("experiments", "cifar10_detectors")
    rows = [
        (
            f"{about['title']}, {row['temperature']}",
            " and ".join(dict.fromkeys(f"{t:.2f}" for t in row["T"])) + (", its bound" if row["bounded"] else ""),
            f"{row['nll_train']:.4f}",
            f"{row['nll']:.3f}",
            *(_percent(_mean_over(found, kind, row["auroc"])) for kind in ("near", "far")),
        )
        for about in found["networks"].values()
        for row in about["temperature"]
    ]
    head = ("temperature", "T", "NLL, training images", "NLL, the other half", "near: AUROC %", "far: AUROC %")
    return "\n\n".join([_table(head, rows), _made(found)])


def cifar10_pytorch_ood() -> str:
    found = _read("experiments", "cifar10_pytorch_ood")
    networks = list(found["networks"].values())
    parts: list[str] = []
    for about in networks:
        rows = [
            (
                f"`{row['ours']}`",
                f"`{row['theirs']}`",
                f"{row['rank_correlation']:.6f}",
                f"{row['distinct_scores']:,} / {row['their_distinct_scores']:,}",
                *(
                    " / ".join(_percent(_mean_over(found, kind, row[side])) for side in ("auroc", "their_auroc"))
                    for kind in ("near", "far")
                ),
                _widest(found, row),
            )
            for row in about["rows"]
        ]
        head = (
            "ours",
            "pytorch-ood",
            "rank correlation",
            "distinct scores",
            "near: AUROC %",
            "far: AUROC %",
            "largest difference",
        )
        parts += [f"{about['title']}, {about['n']:,} images:", _table(head, rows)]
    reasons = []
    for same in zip(*(about["rows"] for about in networks), strict=True):
        if same[0]["reason"]:
            explained = " and ".join(f"{row['explained']:.6f}" for row in same)
            reasons.append(
                f"- `{same[0]['ours']}`: {same[0]['reason']}. Given float64 logits, it ranks as this formula with its "
                f"limits does (rank correlation {explained})."
            )
    defaults = [f"- `{row['ours']}`: {row['default']}." for row in networks[0]["rows"] if row["default"]]
    halves = [one for about in networks for one in about["temperature"]]
    low, high = (f([one["their_T"] for one in halves]) for f in (min, max))
    scaled = (
        f"Temperatures of the halves above are {_listed_numbers(one['T'] for one in halves)}; "
        f"`TemperatureScaling` stops its 50 steps of rate 0.01 at {low:.2f} to {high:.2f}, where the NLL of the same "
        f"images is {_listed_numbers(one['their_nll'] for one in halves)} and not "
        f"{_listed_numbers(one['nll'] for one in halves)}."
    )
    version = found["environment"]["pytorch-ood"]
    return "\n\n".join(
        [
            *parts,
            "Where the two do not rank alike:",
            "\n".join(reasons),
            "Where the settings had to be matched:",
            "\n".join(defaults),
            scaled,
            _made(found).removesuffix("*") + f" pytorch-ood {version}.*",
        ]
    )


def metrics_speed() -> str:
    found = _read("benchmarks", "metrics")
    rows = [
        (
            r["scores"],
            r["against"],
            _ratio(r),
            _short(r["ours_cpu_ms"]),
            _short(r["theirs_cpu_ms"]),
            _tiny(r["largest_difference"]),
        )
        for r in found["rows"]
    ]
    head = ("scores", "against", "times faster", "ours ms", "theirs ms", "largest difference")
    return "\n\n".join([_table(head, rows), _made(found)])


def detectors_speed() -> str:
    found = _read("benchmarks", "detectors")
    rows = [
        (
            r["query"],
            r["against"],
            _ratio(r),
            _short(r["ours_cpu_ms"]),
            _short(r["theirs_cpu_ms"]),
            _tiny(r["largest_difference"]),
            _tiny(r["theirs_largest_difference"]),
        )
        for r in found["rows"]
    ]
    head = ("query", "against", "times faster", "ours ms", "theirs ms", "ours off by", "theirs off by")
    over = found["times_the_product"]
    return "\n\n".join(
        [
            _table(head, rows),
            f"{over[0]['query']}, a whole query as a multiple of the one product of queries and bank that it needs:",
            _table(
                ("bank", "`score`", "product and `torch.topk`"),
                [(r["bank"], _ratio(r["score"]), _ratio(r["product and topk"])) for r in over],
            ),
            _made(found),
        ]
    )


def posthoc_speed() -> str:
    found = _read("benchmarks", "posthoc")
    parts: list[str] = []
    for library in dict.fromkeys(row["library"] for row in found["rows"]):
        mine = [row for row in found["rows"] if row["library"] == library]
        version = f" {mine[0]['version']}" if mine[0]["version"] else ""
        rows = [
            (
                f"`{r['ours']}`",
                r["theirs"],
                " / ".join(f"{n:,}" for n in r["shape"].values()),
                f"{r['rank_correlation']:.6f}",
                _ratio(r["query"]),
                f"{_short(r['query']['ours_cpu_ms'])} / {_short(r['query']['theirs_cpu_ms'])}",
                _memory(r["query_mb"]),
                _ratio(r["fit"]) if "fit" in r else "",
                _memory(r["fit_mb"]) if "fit" in r else "",
            )
            for r in mine
        ]
        head = (
            "ours",
            "theirs",
            "C / D / N / B",
            "rank correlation",
            "query: times faster",
            "ms",
            "MB",
            "fit: times faster",
            "MB",
        )
        parts += [f"{library}{version}:", _table(head, rows)]
    pairs = [one["pairs"] for row in found["rows"] for one in (row["query"], row.get("fit")) if one]
    loads = " and ".join(f"{one[0]:g}" for one in found["load_average"])
    return "\n\n".join(
        [
            *parts,
            f"{min(pairs)} to {max(pairs)} pairs a number. Load of the machine over the last minute, before and after: "
            f"{loads}.",
            _made(found),
        ]
    )


def posthoc_large() -> str:
    found = _read("benchmarks", "posthoc")
    shape = found["large"][0]["shape"]
    rows = [
        (
            f"`{r['ours']}`",
            _short(r["query_cpu_ms"]),
            _ratio(r) if r["has_product"] else "",
            _short(r["query_mb"]),
            _percent(r["share_of_ceiling"]),
        )
        for r in found["large"]
    ]
    head = ("query", "ms", "times its matrix products", "MB", "% of the ceiling")
    ceilings = found["ceilings"]
    return "\n\n".join(
        [
            f"{shape['B']:,} queries, {shape['C']:,} classes, {shape['D']} features, fitted on {shape['N']:,} inputs. "
            f"The ceilings: {ceilings['gflops']:g} GFLOP/s in a float32 product, {ceilings['copy_gb_per_s']:g} GB/s "
            "in a copy.",
            _table(head, rows),
            _made(found),
        ]
    )


def _memory(mb: dict[str, float | None]) -> str:
    return " / ".join("" if value is None else _short(value) for value in (mb["ours"], mb["theirs"]))


DIFFERS = re.compile(r"^Differs: (.+?)(?=\n[A-Z][a-z]+: |\n\n|\Z)", re.MULTILINE | re.DOTALL)


def differences(name: str) -> str:
    """What a detector's docstring says about other programs; empty where it says nothing."""
    found = DIFFERS.search(inspect.getdoc(registry.find("detectors", name)) or "")
    if found is None:
        return ""
    return " ".join(found[1].replace("``", "`").split())


def fidelity() -> str:
    found, cifar = _read("experiments", "fidelity"), _read("experiments", "cifar10_pytorch_ood")
    on_images = [row for about in cifar["networks"].values() for row in about["rows"]]
    libraries = {name: about["rows"] for name, about in found["libraries"].items()}
    rows = []
    for one in found["oracles"]:
        name = one["name"]
        single, double = one["float32"], one["float64"]
        rows.append(
            (
                f"`{name}`",
                _tiny(double["largest_difference"]),
                _tiny(single["largest_difference"]),
                f"{single['rank_correlation']:.6f}",
                _alike(name, on_images),
                *(_alike(name, about) for about in libraries.values()),
            )
        )
    versions = [f"{name} {about['version']}" for name, about in found["libraries"].items()]
    head = (
        "method",
        "off by, float64",
        "off by, float32",
        "ranks as the formula",
        "pytorch-ood, CIFAR-10",
        *versions,
    )
    shape = found["shape"]
    return "\n\n".join(
        [
            _table(head, rows),
            f"{shape['M']} inputs asked, {shape['C']} classes, {shape['D']} features, fitted on {shape['N']:,}; "
            "methods that read inner layers or gradients on the smaller arrays of the public checks.",
            _made(found),
        ]
    )


def peers() -> str:
    """Which settings were matched for a comparison, and why a pair may rank otherwise all the same."""
    rows = []
    for name, about in _read("experiments", "fidelity")["libraries"].items():
        for row in about["rows"]:
            said = "; ".join(text for text in (row["default"], row["reason"]) if text)
            rows.append((f"`{row['ours']}`", f"{name}: {row['theirs']}", said))
    lines = _table(("ours", "theirs", "settings matched, and reasons to rank otherwise"), rows)
    return lines.replace("| --- | ---: | ---: |", "| --- | --- | --- |")


def differing() -> str:
    """Every known difference, as the docstrings have it."""
    told = [f"- `{name}`: {text}" for name in registry.names("detectors") if (text := differences(name))]
    return "\n".join(told)


def _alike(name: str, rows: Iterable[dict[str, Any]]) -> str:
    """The lowest rank correlation of what begins with this method, a star where a reason is known."""
    mine = [row for row in rows if re.split(r"[( ]", row["ours"])[0] == name]
    if not mine:
        return ""
    least = min(mine, key=lambda row: float(row["rank_correlation"]))
    return f"{least['rank_correlation']:.6f}{' *' if least['reason'] else ''}"


def knn_speed() -> str:
    found = _read("benchmarks", "knn")
    rows = [
        (
            query["query"],
            name,
            _ratio(r),
            _short(r["ours_cpu_ms"]),
            _short(r["theirs_cpu_ms"]),
            _tiny(query["largest_difference"]),
            _tiny(r["theirs_largest_difference"]) if "theirs_largest_difference" in r else "",
        )
        for query in found["exact"]
        for name, r in query["against"].items()
    ]
    lists, tried = [], []
    for row in found["curve"]:
        bank, chosen = f"{row['features']}, {row['rows']:,} x {row['width']}", row["ivf"][0]
        lists.append(
            (
                bank,
                f"{row['probes']:,} of {row['lists']:,}",
                f"{_percent(row['recall_at_fit'])} / {_percent(chosen['recall'])}",
                _short(row["exact_cpu_ms"]),
                _ratio(chosen),
                _short(row["build"]["cpu_s"]),
                "never" if row["pays_after_queries"] is None else f"{row['pays_after_queries']:,}",
                "yes" if row["auto_takes_lists"] else "no",
            )
        )
        by_lists = {one["probes"]: one for one in row["ivf"]}
        graph = row.get("hnsw", {"build": {}, "tried": []})
        by_effort = {one["effort"]: one for one in graph["tried"]}
        cells = [*(by_lists.get(n) for n in (4, 16, 64)), *(by_effort.get(n) for n in (64, 256))]
        tried.append(
            (
                bank,
                *("" if one is None else f"{_percent(one['recall'])}, {_short(one['cpu_ratio'])} x" for one in cells),
                _short(graph["build"]["cpu_s"]) if by_effort else "",
            )
        )
    asked, load = found["curve"][0]["queries"], found["load_average"]
    return "\n\n".join(
        [
            _table(("query", "against", "times faster", "ours ms", "theirs ms", "ours off by", "theirs off by"), rows),
            f"A square product of 2,048 rows reached {found['square_product_gflops']:.0f} GFLOP/s in the same run.",
            f"`knn(index='ivf')` against `knn(index='exact')`, {asked} queries: how many lists 95 % of the neighbours "
            "need, recall at the fit and of new inputs, after how many queries the time to build the lists is saved, "
            f"and whether `auto`, which tries from {found['auto_from']:,} rows on, finds few enough lists sufficient:",
            _table(
                ("bank", "lists", "recall %", "exact ms", "times faster", "build s", "saved after", "few enough"), lists
            ),
            "Recall % and how many times faster than exact, by the number of lists looked into, and by the effort of "
            "FAISS's graph (HNSW, 16 links; small banks only, as it takes long to build):",
            _table(("bank", "4 lists", "16 lists", "64 lists", "graph, 64", "graph, 256", "its build s"), tried),
            f"FAISS {found['faiss']}; load average {load['before'][0]} before and {load['after'][0]} after.",
            _made(found),
        ]
    )


def bench_cifar10() -> str:
    found = _read("experiments", "bench_cifar10")
    sizes = {kind: [one["n"] for one in found["sets"].values() if one["kind"] == kind] for kind in ("near", "far")}
    detectors, baselines = (
        sorted(
            (row for row in found["rows"] if (row["baseline"] is not None) is apart),
            key=lambda row: -row["means"]["near"]["auroc"],
        )
        for apart in (False, True)
    )
    rows = [
        (
            row["name"] if row["baseline"] else f"`{row['name']}`",
            *(
                cell
                for kind in ("near", "far")
                for cell in (
                    _percent(row["means"][kind]["auroc"]),
                    _range(row["means"][kind]["auroc_interval"]),
                    f"{row['means'][kind]['rank']:.1f}" if "rank" in row["means"][kind] else "",
                )
            ),
            "" if row["accuracy"] is None else _percent(row["accuracy"]),
            _short(1e3 * row["fit_seconds"]),
            _short(1e3 * row["score_seconds"]),
            " + ".join(map(str, row["passes"])) if any(row["passes"]) else "",
        )
        for row in (*detectors, *baselines)
    ]
    head = ("detector", "near: AUROC %", "95 %", "mean rank", "far: AUROC %", "95 %", "mean rank")
    head = (*head, "accuracy %", "fit ms", "us each", "passes")
    return "\n\n".join(
        [
            f"{found['n_fit']:,} inputs to learn from, {found['n_known_test']:,} known ones to test on, "
            f"{len(sizes['near'])} sets called near ({sum(sizes['near']):,} inputs) and {len(sizes['far'])} called far "
            f"({sum(sizes['far']):,}); {len(detectors)} detectors, then {len(baselines)} baselines without a network:",
            _table(head, rows),
            *(f"> {kind}: {found['groups'][kind]['sentence']}" for kind in ("near", "far")),
            *(f"> Warning: {text}" for text in found["warnings"]),
            "Not tried:\n\n"
            + "\n".join(f"- `{name}`: {_without_encoding(why)}" for name, why in sorted(found["not_tried"].items())),
            f"The whole command took {found['seconds']:.0f} s.",
            _made(found),
        ]
    )


def bench_trends() -> str:
    """Whether a published difference from MSP has the same sign here; a point and more counts as one."""
    found = _read("experiments", "bench_cifar10")
    trends = found["trends"]
    listed = sorted(trends["against_msp"], key=lambda row: -row["near_published"])
    rows = [
        (
            f"`{row['name']}`",
            row["published_as"],
            *(f"{100 * row[f'{kind}_{where}']:+.1f}" for kind in ("near", "far") for where in ("published", "here")),
        )
        for row in listed
    ]
    head = ("detector", "published as", "near: published", "here", "far: published", "here")
    parts = [
        "Points of AUROC above `msp`, as published and here:",
        _table(head, rows),
        f"Rank correlation (Spearman's) of the published and our AUROC over {trends['detectors']} detectors, `msp` "
        f"among them: {trends['spearman']['near']:.2f} on near sets, {trends['spearman']['far']:.2f} on far ones.",
        "Published a point or more above or below `msp`, and here:",
    ]
    told = []
    for kind in ("near", "far"):
        for side, word in ((1, "above"), (-1, "below")):
            mine = [row for row in listed if side * row[f"{kind}_published"] >= 0.01]
            same, other = (
                [row["name"] for row in mine if (side * row[f"{kind}_here"] > 0) is agrees] for agrees in (True, False)
            )
            told.append(
                f"- {kind}, {len(mine)} {word}: {len(same)} confirmed ({_named(same)}), {len(other)} contradicted "
                f"({_named(other)})."
            )
    return "\n\n".join([*parts, "\n".join(told), _made(found)])


def one_pass() -> str:
    found = _read("benchmarks", "one_pass")
    spent, free, graded = found["cpu_seconds"], found["free_methods"], found["graded_methods"]
    rows = [
        (f"the network alone ({found['network']})", _short(spent["forward"]), ""),
        (
            f"one encoding, fit and scores of {len(free)} detectors of features and logits",
            _short(spent["free"]),
            f"{_median(found['free_over_forward'])} x the network alone; by wall time, in which images are read beside "
            f"the network, {_median(found['free_over_forward_by_wall'])} x; behind a {found['larger']['network']} "
            f"{_median(found['larger']['free_over_forward'])} x, by wall time "
            f"{_median(found['larger']['free_over_forward_by_wall'])} x",
        ),
        (
            "these detectors one by one, the network run again for each",
            _short(found["rerun_cpu_seconds"]),
            f"{_median(found['rerun_over_free'])} x one encoding for all",
        ),
        (f"further passes for {len(graded)} detectors that ask for more", _short(spent["passes"]), ""),
        (
            f"all {len(free) + len(graded)} detectors, the encoding and the passes among it",
            _short(spent["all"]),
            f"{_median(found['all_over_forward_and_passes'])} x the network alone and the further passes",
        ),
    ]
    each = sorted(found["each_cpu_seconds"].items(), key=lambda one: -one[1])
    why: dict[str, list[str]] = {}
    for name, reason in found["left_out"].items():
        why.setdefault(reason, []).append(f"`{name}`")
    confidence = found["free_over_forward"]["confidence"]
    return "\n\n".join(
        [
            f"CPU seconds for {found['images']:,} images of 32 x 32, half of them learnt from and half asked about; "
            f"medians of {found['repeats']} turns, in brackets a range that holds the median with "
            f"{100 * confidence:.0f} %:",
            _table(("what", "CPU s", "times"), rows),
            "Fit and scores of each, from what the encoder said, most first. Passes that depend on what was learnt are "
            "made at the query, and are part of that time:",
            _table(
                ("detector", "asks for more", "CPU ms"),
                [(f"`{name}`", _asking(name, graded), _short(1e3 * seconds)) for name, seconds in each],
            ),
            "Left out:\n\n" + "\n".join(f"- {', '.join(names)}: {reason}." for reason, names in why.items()),
            _made(found),
        ]
    )


def memory() -> str:
    found = _read("benchmarks", "memory")
    few, many = sorted({row["inputs"] for row in found["rows"]})
    at = {(row["detector"], row["inputs"]): row for row in found["rows"]}
    rows = [
        (
            f"`{name}`",
            *(f"{at[name, count][key]:,}" for key in ("read_mb", "peak_mb") for count in (few, many)),
            _short(at[name, many]["seconds"]),
        )
        for name in dict.fromkeys(row["detector"] for row in found["rows"])
    ]
    heads = [f"{what}, {count:,} inputs" for what in ("read, MB", "held, MB") for count in (few, many)]
    return "\n\n".join([_table(("detector", *heads, f"fit of {many:,}, s"), rows), _made(found)])


def texts() -> str:
    found = _read("benchmarks", "texts")
    pairs = (
        (
            f"`neglabel`, {found['groups']} groups",
            found["images"],
            "its product",
            found["neglabel"]["over_its_product"],
        ),
        ("`mcm`", found["images"], "its product", found["mcm"]["over_its_product"]),
        ("`mcm`, plain", found["images"], "`mcm`", found["mcm"]["plain_over_ours"]),
        ("`neglabel`, plain", found["plain"]["images"], "`neglabel`", found["plain"]["over_ours"]),
        ("mining", found["mining"]["candidates"], "its product", found["mining"]["over_its_product"]),
    )
    rows = [(what, f"{n:,}", over, _ratio(pair), _short(pair["theirs_cpu_ms"] / 1000)) for what, n, over, pair in pairs]
    (few, low), *_, (many, high) = found["peak_mb"].items()
    held = f"`neglabel` held {low} MB beyond its bank for {int(few):,} images and {high} MB for {int(many):,}."
    head = ("what", "inputs", "against", "CPU time, times", "CPU s")
    return "\n\n".join([_table(head, rows), held, _made(found)])


def probe() -> str:
    found = _read("benchmarks", "probe")
    time = found["time"]
    rows = [(row["way"], f"{row['inputs']:,}", f"{row['file_mb']:,}", f"{row['peak_mb']:,}") for row in found["memory"]]
    epochs = [
        (
            way,
            f"{time['inputs']:,}",
            _short(time[way]["epoch_cpu_seconds"]),
            _percent(time[way]["share_of_ceiling"]),
            _short(time[way]["imagenet_cpu_hours"]),
        )
        for way in ("streamed", "held")
    ]
    return "\n\n".join(
        [
            _table(("features", "inputs", "file, MB", "held, MB"), rows),
            _table(
                ("features", "inputs", "CPU s an epoch", "% of the ceiling", "CPU h for ImageNet, extrapolated"), epochs
            ),
            _made(found),
        ]
    )


def embedding_world() -> str:
    found = _read("experiments", "embedding_world")
    rows = [
        (
            row["name"],
            f"`{row['expression']}`",
            *(f"{_percent(row[side]['mean'])} ± {_percent(row[side]['spread'])}" for side in ("far", "near")),
            str(row["worlds"]),
        )
        for row in found["rows"]
    ]
    about = found["about"]
    return "\n\n".join(
        [
            _table(("read-out", "detector", "far, AUROC %", "near, AUROC %", "worlds"), rows),
            "Means and standard deviations over worlds. Mean cosines: "
            f"{about['image_image']:.2f} of two images, {about['text_text']:.2f} of two texts, "
            f"{about['image_own_text']:.2f} of an image and its text, {about['image_other_text']:.2f} of an image and "
            f"another text; the nearest text is right for {_percent(about['accuracy'])} % of the known images.",
            _made(found),
        ]
    )


def embedding_world_orders() -> str:
    found = _read("experiments", "embedding_world")
    rows = [
        (
            f"{one['better']} over {one['worse']}",
            one["side"],
            f"{100 * one['difference']:+.1f}",
            f"{one['in']} of {one['worlds']}",
            expected,
        )
        for expected, listed in (("yes", found["holds"]), ("no", found["does_not"]))
        for one in listed
    ]
    head = ("order", "unknown", "mean difference, points", "holds in", "tested")
    return "\n\n".join([_table(head, rows), _made(found)])


def label_availability() -> str:
    found = _read("experiments", "label_availability")
    parts = []
    for name in dict.fromkeys(one["benchmark"] for one in found["results"]):
        runs = [one for one in found["results"] if one["benchmark"] == name]
        rows = []
        for run in runs:
            for row in run["rows"]:
                (numbers,) = row["sets"].values()
                teacher = f", prototypes of {run['teacher_shots']}" if row["level"] == "names" else ""
                rows.append(
                    (
                        f"{row['name']}{teacher}",
                        row["level"] if row["level"] != "names" else "prototypes",
                        f"{_percent(numbers['auroc'])} ({_range(numbers['auroc_interval'])})",
                        _percent(numbers["fpr_at_tpr95"]),
                        "" if row["accuracy"] is None else _percent(row["accuracy"]),
                    )
                )
        order = ("none", "prototypes", "labels")
        rows.sort(key=lambda row: order.index(row[1]))
        (size,) = runs[0]["sets"].values()
        teachers = "; ".join(
            f"{run['teacher_shots']}: {_percent(run['pseudo_labels']['accuracy'])} % of the pseudo-labels are right, "
            f"{run['pseudo_labels']['n_active']} of {run['pseudo_labels']['classes']} classes have any"
            for run in runs
        )
        head = ("method", "learns from", "AUROC %, 95 % interval", "FPR % at 95 % TPR", "accuracy %")
        parts += [
            f"**{runs[0]['title']}** ({runs[0]['about']}): {runs[0]['n_fit']:,} images learnt from, "
            f"{size['n_known']:,} known and {size['n_unknown']:,} unknown tested.",
            _table(head, rows),
            f"Labelled images of each class behind a prototype: {teachers}.",
        ]
    return "\n\n".join([*parts, _made(found)])


def backbones() -> str:
    found = _read("experiments", "backbones")
    number = {row["encoder"]: at for at, row in enumerate(_in_order(found), start=1)}
    parts: list[str] = []
    for about in found["benchmarks"].values():
        rows = [
            (
                str(number[row["encoder"]]),
                row["encoder"],
                row["family"] if row["variant_of"] is None else f"{row['family']}, variant",
                row["taught"] or "",
                f"{row['dim']:,}",
                f"{_percent(row['accuracy'])} ({_range(row['accuracy_interval'])})",
                f"{_percent(row['auroc'])} ({_range(row['auroc_interval'])})",
            )
            for row in about["backbones"]
        ]
        first = about["backbones"][0]
        parts += [
            f"**{about['title']}** ({about['about']}): neighbours among {first['n_fit']:,} known images, "
            f"{first['n_test']:,} known and {first['n_unknown']:,} unknown tested.",
            _table(("no.", "encoder", "kind", "taught which of these classes", "width", "accuracy %", "AUROC %"), rows),
            *(f"> Warning: {text}" for text in about["warnings"] if not text.startswith("family")),
        ]
    return "\n\n".join([*parts, _made(found)])


def backbones_lines() -> str:
    found = _read("experiments", "backbones")
    rows = []
    for about in found["benchmarks"].values():
        whole = next(line for line in about["lines"] if line["family"] is None)
        for what, line in (("all, with variants", whole), *((f["family"], f) for f in about["lines_without_variants"])):
            ends = [line["slope_interval"], line["r2_interval"]]
            slope, r2 = ("" if pair is None else f" ({pair[0]:.2f} to {pair[1]:.2f})" for pair in ends)
            rows.append((about["title"], what, str(line["n"]), f"{line['slope']:.2f}{slope}", f"{line['r2']:.2f}{r2}"))
    head = ("images", "encoders", "n", "slope", "R²")
    return "\n\n".join([_table(head, rows), _made(found)])


def _in_order(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the first benchmark, whose order numbers the encoders everywhere."""
    rows: list[dict[str, Any]] = next(iter(found["benchmarks"].values()))["backbones"]
    return rows


DRAWN: dict[str, Callable[[], str]] = {
    "audit_photos.md": lambda: audit("photos"),
    "audit_small.md": lambda: audit("small"),
    "meet_a_new_class.md": meet_a_new_class,
    "model_card.md": model_card,
    "ridge_penalty.md": ridge_penalty,
    "cifar10_sets.md": cifar10_sets,
    "cifar10_resnet20.md": lambda: cifar10_network("resnet20"),
    "cifar10_resnet56.md": lambda: cifar10_network("resnet56"),
    "cifar10_intervals.md": cifar10_intervals,
    "cifar10_lengths.md": cifar10_lengths,
    "cifar10_temperature.md": cifar10_temperature,
    "cifar10_pytorch_ood.md": cifar10_pytorch_ood,
    "bench_cifar10.md": bench_cifar10,
    "bench_trends.md": bench_trends,
    "metrics_speed.md": metrics_speed,
    "detectors_speed.md": detectors_speed,
    "knn_speed.md": knn_speed,
    "posthoc_speed.md": posthoc_speed,
    "posthoc_large.md": posthoc_large,
    "one_pass.md": one_pass,
    "memory.md": memory,
    "texts.md": texts,
    "probe.md": probe,
    "attack_cifar10.md": attack_cifar10,
    "fidelity.md": fidelity,
    "peers.md": peers,
    "differences.md": differing,
    "embedding_world.md": embedding_world,
    "embedding_world_orders.md": embedding_world_orders,
    "label_availability.md": label_availability,
    "backbones.md": backbones,
    "backbones_lines.md": backbones_lines,
}


def _near_and_far(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in found["sets"] if one["kind"] in ("near", "far")]


def _mean_over(found: dict[str, Any], kind: str, values: dict[str, float]) -> float:
    mine = [values[one["name"]] for one in found["sets"] if one["kind"] == kind]
    return sum(mine) / len(mine)


def _bold_if_first(cell: dict[str, Any]) -> str:
    p, shown = cell["p_holm_against_best"], _percent(cell["auroc"])
    return f"**{shown}**" if p is None or p > 0.05 else shown


def _widest(found: dict[str, Any], row: dict[str, Any]) -> str:
    gaps = {one["title"]: 100 * (row["auroc"][one["name"]] - row["their_auroc"][one["name"]]) for one in found["sets"]}
    title = max(gaps, key=lambda title: abs(gaps[title]))
    return f"{gaps[title]:+.2f}, {title}" if abs(gaps[title]) >= 0.005 else "below 0.01"


def _without_encoding(reason: str) -> str:
    """A reason without the long list of what the encoding has."""
    return re.sub(r", the encoding has .*", ", which this network does not give", reason)


def _asking(name: str, graded: Sequence[str]) -> str:
    if name not in graded:
        return ""
    return "at the query" if any(isinstance(need, Climbed) for need in registry.create(name).needs) else "before"


def _named(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


def _median(about: dict[str, float]) -> str:
    return f"{_short(about['median'])} ({_short(about['low'])} - {_short(about['high'])})"


def _listed_numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def _read(folder: str, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / folder / "results" / f"{name}.json").read_text(encoding="utf-8"))
    return content


def _made(found: dict[str, Any]) -> str:
    about = found["environment"]
    threads = f", {about['threads']} thread" if "threads" in about else ""
    return (
        f"*Made by `{found['command']}` on {about['date']}: torch {about['torch']}, numpy {about['numpy']}, "
        f"{about['cpu']}, {about['cores']} cores{threads}.*"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _range(interval: Sequence[float]) -> str:
    return f"{100 * interval[0]:.1f} - {100 * interval[1]:.1f}"


def _ratio(row: dict[str, Any]) -> str:
    interval = row["cpu_ratio_interval"]
    return f"{_short(row['cpu_ratio'])} ({_short(interval['low'])} - {_short(interval['high'])})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _tiny(value: float) -> str:
    return f"{value:.0e}" if value else "0"


def main() -> None:
    TABLES.mkdir(exist_ok=True)
    for name, text in tables().items():
        (TABLES / name).write_text(text + "\n", encoding="utf-8")
        print(TABLES / name)


if __name__ == "__main__":
    main()
