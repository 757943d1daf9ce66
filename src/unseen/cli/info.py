"""``unseen info``: what a saved guard holds and promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unseen.cli.options import Guard, JsonOption, writable
from unseen.cli.screen import SHOWN, finish, new_table, out, percent, show_facts


def info(guard: Guard, json: JsonOption = None) -> None:
    """Show what a saved guard holds and promises.

    Example: `unseen info guard.unseen`
    """
    from unseen import api

    writable(json)
    about = api.info(guard)
    finish(json, about, lambda: show_info(about))


def show_info(about: Mapping[str, Any]) -> None:
    """What a guard was made from and promises, and with a threshold for each class what each of them promises."""
    from unseen.classifier import short_id

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
        "promise": f"at most {percent(about['alpha'])} of {whose} are called unseen, averaged over such fits",
        "this guard": rate and f"{rate} of known inputs are called unseen (95 % confidence)",
        "smallest alpha": f"{about['smallest_alpha']:.4f}",
        "accuracy": "" if about["accuracy"] is None else f"{percent(about['accuracy'])} on the inputs set aside",
        "source": about.get("source", ""),
        "made": f"{about['made']} with unseen {about['versions']['unseen']}, torch {about['versions']['torch']}",
    }
    show_facts(lines)
    if each:
        _show_classes(about["per_class"])


def _show_classes(classes: Sequence[Mapping[str, Any]]) -> None:
    """The false-alarm rate of each class, those with the fewest inputs set aside first."""
    out.print("\nHow many of the known inputs taken for a class are called unseen", style="bold")
    columns = ("set aside", "95 % interval")
    table = new_table("class", *columns, numbers=columns)
    for row in sorted(classes, key=lambda row: row["n_calibration"])[:SHOWN]:
        interval = row["false_alarm_interval"]
        rate = "pooled: no promise" if interval is None else _rate(interval)
        table.add_row(row["class"], f"{row['n_calibration']:,}", rate)
    out.print(table)
    if len(classes) > SHOWN:
        out.print(f"and {len(classes) - SHOWN:,} more, which have more set aside, in the JSON (--json FILE)")


def _rate(interval: Sequence[float]) -> str:
    return " to ".join(map(percent, interval))
