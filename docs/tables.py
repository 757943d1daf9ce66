"""Draw every table of measured numbers from its JSON: python docs/tables.py.

The pages include ``docs/tables/*.md``; a test draws them again and compares, so that a number in the docs is always one
that a command in the tree wrote.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

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


def metrics_speed() -> str:
    found = _read("benchmarks", "metrics")
    rows = [
        (
            r["scores"],
            r["against"],
            _ratio(r),
            _short(r["ours_wall_ms"]),
            _short(r["theirs_wall_ms"]),
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
            name,
            _ratio(r),
            _short(r["ours_wall_ms"]),
            _short(r["theirs_wall_ms"]),
            _tiny(r.get("largest_relative_error_against_float64", r.get("largest_difference"))),
        )
        for name, r in found.items()
        if isinstance(r, dict) and "wall_ratio" in r
    ]
    return "\n\n".join(
        [_table(("query", "times faster", "ours ms", "theirs ms", "largest difference"), rows), _made(found)]
    )


DRAWN: dict[str, Callable[[], str]] = {
    "audit_photos.md": lambda: audit("photos"),
    "audit_small.md": lambda: audit("small"),
    "meet_a_new_class.md": meet_a_new_class,
    "model_card.md": model_card,
    "ridge_penalty.md": ridge_penalty,
    "metrics_speed.md": metrics_speed,
    "detectors_speed.md": detectors_speed,
}


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
    interval = row["wall_ratio_interval"]
    return f"{_short(row['wall_ratio'])} ({_short(interval['low'])} - {_short(interval['high'])})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _tiny(value: float) -> str:
    return f"{value:.0e}"


def main() -> None:
    TABLES.mkdir(exist_ok=True)
    for name, text in tables().items():
        (TABLES / name).write_text(text + "\n", encoding="utf-8")
        print(TABLES / name)


if __name__ == "__main__":
    main()
