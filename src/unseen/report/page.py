"""The page: results in, one HTML file out."""

from __future__ import annotations

import base64
import binascii
import errno
import functools
import hashlib
import heapq
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unseen.errors import NoRoom, WrongUse
from unseen.report import charts

NOTHING = "–"
MAX_RECORDS = 50
MAX_ROWS = 200  # of the other tables
MAX_TEXT = 240  # letters of one path or reason
MAX_IMAGES = 1_500_000  # bytes of base64, so that the page stays under 3 MB: the program of the charts has 0.9
MAX_COLUMNS = 8  # detectors in the table of held-out classes
MAX_SETS = 12  # unknown sets of a bench whose curves are drawn
FALSE_RATES = (0.01, 0.05, 0.1, 0.2, 0.5)  # where the tables beside curves read them
RECALLS = (0.5, 0.8, 0.9, 0.95, 0.99)

# How a picture begins, so that its media type is never taken from the results.
SIGNATURES = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"RIFF", "webp"), (b"GIF8", "gif"))

# `ast` makes Vega walk its expressions instead of compiling them, so the page needs no unsafe-eval.
START = """
for (const place of document.querySelectorAll("[data-chart]")) {
  const spec = JSON.parse(document.getElementById(place.dataset.chart).textContent);
  vegaEmbed(place, spec, {renderer: "svg", actions: false, ast: true, defaultStyle: false})
    .catch((error) => { place.textContent = "This chart could not be drawn: " + error.message; });
}
"""


def render(results: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Write one self-contained page: it asks nothing of any network, and half a page is never seen.

    Args:
        results: ``title`` and ``answer`` (one sentence), and where there are any ``question``, ``audit``, ``bench``,
            ``backbones``, ``attack``, ``paper``, ``score``, ``calibration``, ``reproduce``; `unseen.api.pages`,
            `unseen.api.backbones`, `unseen.api.attack` and `unseen.api.reproduce` compose them. A section is drawn when
            its key is there; a number that is missing or not finite is drawn as a dash. Fractions in, per cent on the
            page.

            ``audit``, ``bench`` and ``backbones`` are what `to_dict` of the results gives; ``promise`` and
            ``does_not_promise`` may stand beside. ``score`` holds either ``threshold`` or, by class, ``thresholds``, a
            list of numbers, and ``calibration`` then ``per_class``, as `OpenSetClassifier.info` gives it; where
            ``discoveries`` decided, its level. ``score["thumbnails"]`` are records with ``image`` (base64 or bytes) and
            perhaps ``kind``, the heading they stand under, and ``beside``, the nearest known input with ``path`` and
            perhaps ``label``, ``similarity`` and ``image``. ``score["curves"]`` holds points ``roc`` and
            ``precision_recall`` and, point by point, ``roc_band`` and ``precision_recall_band``. The curves of an
            audit or a bench hold a ``band`` each, or None; ``band`` beside says in words what is shaded.
            ``attack["pictures"]`` are strips with ``source``, ``target`` and ``images``, each of which has an
            ``image``, a ``title`` and an ``alt``.
        path: the file to write; its folder exists.

    Returns: the path written.
    Raises: WrongUse, when the title or answer is missing, an image is not one, or the folder is not there;
        NoRoom, when the disk is full.
    """
    for key in ("title", "answer"):
        if not isinstance(results.get(key), str):
            raise WrongUse(f"the results of a page need {key!r}, a text: got {results.get(key)!r}")
    path = Path(path)
    if path.is_dir() or not path.parent.is_dir():
        what = "is a folder: name a file in it" if path.is_dir() else "lies in no folder: make that first"
        raise WrongUse(f"{path} {what}")
    _write(path, _page(results))
    return path


def thumbnail(rgb: NDArray[np.uint8], size: int = 96) -> str:
    """Shrink, or enlarge by a whole factor, to at most ``size`` pixels a side.

    Args:
        rgb: ``(H, W, 3)``, uint8.
        size: the longer side in pixels.

    Returns: base64 of a PNG (small pictures, each pixel a crisp square) or a WebP (the others).
    Raises: WrongUse, for another shape or type.

    >>> thumbnail(np.zeros((8, 8, 3), dtype=np.uint8))[:8]
    'iVBORw0K'
    """
    from PIL import Image

    rgb = np.asarray(rgb)
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
        raise WrongUse(f"a thumbnail needs uint8 of shape (H, W, 3), got {rgb.dtype} of {rgb.shape}")
    image = Image.fromarray(np.ascontiguousarray(rgb))
    longest = max(image.size)
    buffer = io.BytesIO()
    if 2 * longest <= size:
        factor = size // longest
        enlarged = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
        enlarged.save(buffer, "PNG", optimize=True)
    else:
        width, height = (max(1, round(side * min(1, size / longest))) for side in image.size)
        image.resize((width, height), Image.Resampling.LANCZOS).save(buffer, "WEBP", quality=80)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _page(results: Mapping[str, Any]) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("unseen.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "per_cent": _per_cent,
        "number": _number,
        "count": _count,
        "seconds": _seconds,
        "short": _short,
        "value": _value,
    }
    specs: dict[str, charts.Spec] = {}
    audit = _audit(results["audit"], specs) if results.get("audit") else None
    bench = _bench(results["bench"], specs) if results.get("bench") else None
    backbones = _backbones(results["backbones"], specs) if results.get("backbones") else None
    score = _score(results["score"], specs) if results.get("score") else None
    attack = _attack(results["attack"]) if results.get("attack") else None
    paper = _paper(results["paper"], specs) if results.get("paper") else None
    skipped = [row for one in (audit, bench, backbones, attack, score) if one for row in one.get("skipped") or []]
    bundle = _bundle() if specs else ""
    style = environment.loader.get_source(environment, "page.css")[0] if environment.loader else ""
    return environment.get_template("page.html").render(
        title=results["title"],
        answer=results["answer"],
        question=results.get("question"),
        audit=audit,
        bench=bench,
        backbones=backbones,
        score=score,
        attack=attack,
        paper=paper,
        skipped=skipped[:MAX_ROWS],
        total_skipped=len(skipped),
        calibration=_calibration(results["calibration"]) if results.get("calibration") else None,
        reproduce=results.get("reproduce"),
        specs=specs,
        style=style,
        scripts=[bundle, START] if specs else [],
        policy=_policy([bundle, START] if specs else []),
    )


def _policy(scripts: Sequence[str]) -> str:
    """What a browser lets the page do: these scripts and no others, and no request at all."""
    digests = (hashlib.sha256(text.encode()).digest() for text in scripts)
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests) or "'none'"
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}"


@functools.cache
def _bundle() -> str:
    import vl_convert

    text: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    # Neither stands in the bundle today; either would end the script element early.
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _audit(audit: Mapping[str, Any], specs: dict[str, charts.Spec]) -> dict[str, Any]:
    recommended = audit.get("recommended") or {}
    detectors = [dict(row) for row in audit.get("detectors") or []]
    name, ties = recommended.get("name"), set(recommended.get("ties") or [])
    chosen = next((row for row in detectors if row["name"] == name), None)
    for row in detectors:
        row["label"] = str(row["name"])
        tied = row["name"] in ties
        row["role"] = "recommended" if row is chosen else "as good" if tied else "other"
        row["low"], row["high"] = row.get("auroc_interval") or (None, None)
    detectors.sort(key=lambda row: -_order(row.get("auroc"), missing=-math.inf))
    drawn = [
        {key: row[key] for key in ("label", "role")} | {key: _hundred(row.get(key)) for key in ("auroc", "low", "high")}
        for row in detectors
        if _is_number(row.get("auroc"))
    ]
    if drawn:
        specs["detectors"] = charts.intervals(drawn)
    held = _held_out(audit.get("held_out") or [], name, [row["name"] for row in detectors], specs)
    curves = audit.get("curves")
    curves = _curves([curves], "audit", curves, specs) if curves else None
    found = {"recommended": recommended, "detectors": detectors, "held": held, "chosen": chosen, "curves": curves}
    return {**audit, **found}


def _held_out(
    rows: Sequence[Mapping[str, Any]], name: str | None, names: Iterable[str], specs: dict[str, charts.Spec]
) -> dict[str, Any] | None:
    if not rows:
        return None
    present = list(dict.fromkeys(key for row in rows for key in row["auroc"]))
    if not present:
        return None
    if name is None or name not in present:
        name = present[0]
    order = [
        name,
        *(other for other in dict.fromkeys([*names, *present]) if other in present and other != name),
    ]
    rows = sorted(rows, key=lambda row: _order(row["auroc"].get(name), missing=math.inf))
    rows = [{**row, "interval": (row.get("auroc_interval") or {}).get(name)} for row in rows]
    strips = rows[: charts.MAX_CLASSES]
    points = [
        {"class": str(row["class"]), "detector": detector, "auroc": _hundred(row["auroc"][detector])}
        | _ends(row["interval"] if detector == name else None)
        for row in strips
        for detector in order
        if _is_number(row["auroc"].get(detector))
    ]
    if points:
        specs["held-out"] = charts.held_out(points, [str(row["class"]) for row in strips], name)
    columns = order[:MAX_COLUMNS]
    return {
        "name": name,
        "columns": columns,
        "rows": rows[:MAX_ROWS],
        "more": max(0, len(rows) - MAX_ROWS),
        "not_drawn": len(rows) - len(strips),
        "other_detectors": len(order) - len(columns),
        "intervals": any(row["interval"] for row in rows),
        "total": len(rows),
    }


def _bench(bench: Mapping[str, Any], specs: dict[str, charts.Spec]) -> dict[str, Any]:
    """Groups of sets with their rows, strips and curves; everything named by numbers, as names may be anything."""
    given = [*(bench.get("detectors") or []), *(bench.get("baselines") or [])]
    rows = {row["name"]: row for row in given}
    plain = list(dict.fromkeys(row["baseline"] for row in given if row.get("baseline")))
    groups: list[dict[str, Any]] = []
    for number, (kind, about) in enumerate((bench.get("groups") or {}).items()):
        best, ties = about["best"], set(about.get("ties") or [])
        order = sorted(rows, key=lambda name: -_order(rows[name]["means"][kind].get("auroc"), missing=-math.inf))
        table = []
        for name in order:
            role = "recommended" if name == best else "as good" if name in ties else "other"
            table.append({**rows[name], **rows[name]["means"][kind], "role": role, "label": str(name)})
        drawn = [
            {"label": row["label"], "role": row["role"], "auroc": _hundred(row["auroc"])}
            | _ends(row.get("auroc_interval"))
            for row in table
            if _is_number(row.get("auroc"))
        ]
        if drawn:
            specs[f"bench-{number}"] = charts.intervals(drawn)
        sets = sorted(about["sets"], key=lambda name: _order(rows[best]["sets"][name].get("auroc"), missing=math.inf))
        points: list[dict[str, Any]] = [
            {"class": str(name), "detector": str(row), "auroc": _hundred(rows[row]["sets"][name]["auroc"])}
            | _ends(rows[row]["sets"][name].get("auroc_interval") if row == best else None)
            for name in sets[: charts.MAX_CLASSES]
            for row in [best, *(other for other in order if other != best)]
            if _is_number(rows[row]["sets"][name].get("auroc"))
        ]
        if points:
            strips = [str(name) for name in sets[: charts.MAX_CLASSES]]
            specs[f"bench-{number}-sets"] = charts.held_out(points, strips, str(best), "set")
        listed = []
        for at, name in enumerate(sets):
            about_set = {**(bench["sets"].get(name) or {}), **rows[best]["sets"][name], "name": name}
            about_set["plain"] = [
                max(_order(row["sets"][name].get("auroc"), -math.inf) for row in given if row.get("baseline") == what)
                for what in plain
            ]
            lines = (bench.get("curves") or {}).get(name) or []
            if lines and sum(len(group["sets"]) for group in groups) + at < MAX_SETS:
                about_set["curves"] = _curves(lines, f"bench-{number}-{at}", about_set, specs)
            listed.append(about_set)
        groups.append({**about, "kind": kind, "number": number, "rows": table, "sets": listed, "plain": plain})
    drawn_sets = sum(1 for group in groups for one in group["sets"] if "curves" in one)
    total = sum(len(group["sets"]) for group in groups)
    return {**bench, "groups": groups, "curves_left_out": total - drawn_sets if drawn_sets else 0}


def _backbones(backbones: Mapping[str, Any], specs: dict[str, charts.Spec]) -> dict[str, Any]:
    """Rows with the numbers that their points have, and the chart."""
    rows = [{**row, "number": at} for at, row in enumerate(backbones["backbones"], start=1)]
    points = []
    for row in rows:
        left, right = row["accuracy_interval"]
        point = {"number": row["number"], "encoder": row["encoder"], "family": row["family"] or "of no family"}
        point |= {"accuracy": _hundred(row["accuracy"]), "left": _hundred(left), "right": _hundred(right)}
        points.append(point | {"auroc": _hundred(row["auroc"])} | _ends(row["auroc_interval"]))
    specs["backbones"] = charts.backbones(points, backbones["lines"])
    return {**backbones, "rows": rows, "families": any(row["family"] for row in rows)}


def _curves(
    lines: Sequence[Mapping[str, Any]], name: str, about: Mapping[str, Any], specs: dict[str, charts.Spec]
) -> dict[str, Any]:
    """Specs of the two curves of each line, such as a detector on one set, and the readings beside them."""
    roc = [_line(one["name"], one["roc"], "fpr", "tpr") for one in lines]
    precision = [_line(one["name"], one["precision_recall"], "recall", "precision") for one in lines]
    specs[f"{name}-roc"] = charts.roc(roc, lines[0]["roc"].get("positive", "known"))
    share = about.get("share_unknown")
    specs[f"{name}-pr"] = charts.precision_recall(precision, share if _is_number(share) else None)
    readings = [
        {
            "name": a["name"],
            "roc": _readings(a["points"], a["band"]),
            "precision_recall": _readings(b["points"], b["band"], recall=True),
        }
        for a, b in zip(roc, precision, strict=True)
    ]
    return {"roc": f"{name}-roc", "precision_recall": f"{name}-pr", "readings": readings, "share_unknown": share}


def _line(name: str, curve: Mapping[str, Any], x: str, y: str) -> dict[str, Any]:
    points = [list(point) for point in zip(curve[x], curve[y], strict=True)]
    return {"name": name, "points": points, "band": curve.get("band")}


def _ends(interval: Sequence[float | None] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {"low": _hundred(low), "high": _hundred(high)}


def _attack(attack: Mapping[str, Any]) -> dict[str, Any]:
    """The table, cut where it is long, and strips of pictures, as many as keep the page small."""
    strips: list[dict[str, Any]] = []
    used, given = 0, attack.get("pictures") or []
    for one in given:
        images = [{**picture, "uri": _data_uri(picture["image"], one.get("source"))} for picture in one["images"]]
        used += sum(len(picture["uri"]) for picture in images)
        if used > MAX_IMAGES:
            break
        strips.append({**one, "images": images})
    table = attack.get("table") or []
    cut = {"table": table[:MAX_ROWS], "more_rows": max(0, len(table) - MAX_ROWS)}
    return {**attack, **cut, "strips": strips, "strips_left_out": len(given) - len(strips)}


def _paper(paper: Mapping[str, Any], specs: dict[str, charts.Spec]) -> dict[str, Any]:
    """A chart for each column, ours beside the published number of the same method."""
    for number, block in enumerate(paper["blocks"], start=1):
        drawn = []
        for row in block["rows"]:
            low, high = row.get("auroc_interval") or (None, None)
            ours = {"auroc": _hundred(row["auroc"]), "low": _hundred(low), "high": _hundred(high)}
            drawn.append({"label": row["name"], "role": "as good", **ours})
            if _is_number(row.get("published")):
                value = _hundred(row["published"])
                drawn.append({"label": f"{row['name']}, published", "role": "other", "auroc": value})
                drawn[-1] |= {"low": value, "high": value}
        if drawn:
            specs[f"paper-{number}"] = charts.intervals(drawn)
    return dict(paper)


def _calibration(calibration: Mapping[str, Any]) -> dict[str, Any]:
    rows = calibration.get("per_class") or []
    return {**calibration, "per_class": rows[:MAX_ROWS], "more_classes": max(0, len(rows) - MAX_ROWS)}


def _score(score: Mapping[str, Any], specs: dict[str, charts.Spec]) -> dict[str, Any]:
    records = score.get("records") or []
    novel = heapq.nsmallest(
        MAX_RECORDS,
        records,
        key=lambda row: (
            _order(row.get("p_value"), missing=math.inf),
            _order(row.get("familiarity"), missing=math.inf),
        ),
    )
    thresholds = [float(t) for t in score.get("thresholds") or [score.get("threshold")] if _is_number(t)]
    # Where the whole batch decides, no score parts the known from the unseen.
    limits = (min(thresholds), max(thresholds)) if thresholds and score.get("discoveries") is None else None
    bins, gathered = charts.histogram(score.get("distributions") or [], limits and limits[0])
    if bins:
        specs["distributions"] = charts.distributions(bins, limits)
    curves = dict(score.get("curves") or {})
    at = curves.get("at") or {}
    if curves.get("roc"):
        positive = curves.setdefault("positive", "known")
        if positive not in {"known", "unknown"}:
            raise WrongUse(f"curves: positive is 'known' or 'unknown', got {positive!r}")
        line = {"points": curves["roc"], "band": curves.get("roc_band")}
        specs["roc"] = charts.roc([line], positive, at.get("roc"))
        curves["table"] = _readings(curves["roc"], curves.get("roc_band"))
    if curves.get("precision_recall"):
        line = {"points": curves["precision_recall"], "band": curves.get("precision_recall_band")}
        share = curves.get("share_unknown")
        specs["precision-recall"] = charts.precision_recall(
            [line], share if _is_number(share) else None, at.get("precision_recall")
        )
        curves["precision_table"] = _readings(
            curves["precision_recall"], curves.get("precision_recall_band"), recall=True
        )
    kinds, left_out = _pictures(score.get("thumbnails") or [])
    total, unseen = score.get("n"), score.get("unseen")
    return {
        **score,
        "known": total - unseen if total is not None and unseen is not None else None,
        "novel": novel,
        "more_records": max(0, (total or len(records)) - len(novel)),
        "limits": limits,
        "bins": bins,
        "gathered": gathered,
        "curves": curves,
        "pictures": kinds,
        "pictures_left_out": left_out,
        "neighbours": any("nearest_known" in row for row in novel),
    }


def _readings(
    curve: Sequence[Sequence[float]], band: Sequence[Sequence[float]] | None = None, *, recall: bool = False
) -> list[dict[str, Any]]:
    """The points of a curve at some levels of its first coordinate: none is made up.

    Args:
        curve: ``[false positive rate, true positive rate]``: the last point at or below each level. With ``recall``
            ``[recall, precision]``: the first point at or above it.
        band: ``[level, low, high]``, read where it has the level itself.
        recall: which of the two the curve is.

    Returns: ``x`` and ``y`` of each point and, where the band has the level, ``low`` and ``high``.
    """
    points = [(float(x), float(y)) for x, y in curve if _is_number(x) and _is_number(y)]
    reached = {round(float(x), 6): (float(low), float(high)) for x, low, high in band or []}
    readings: dict[tuple[float, float], dict[str, Any]] = {}
    for level in RECALLS if recall else FALSE_RATES:
        if recall:
            there = [point for point in points if point[0] >= level]
            found = min(there, key=lambda point: (point[0], -point[1]), default=None)
        else:
            found = max((point for point in points if point[0] <= level), default=None)
        if found is not None and found not in readings:
            low, high = reached.get(level, (None, None))
            readings[found] = {"x": found[0], "y": found[1], "low": low, "high": high}
    return list(readings.values())


def _pictures(rows: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """Pictures under their headings, as many as keep the page small, and how many did not find room."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    used = drawn = 0
    for row in rows:
        beside = dict(row.get("beside") or {})
        source = _data_uri(row["image"], row.get("path"))
        if beside.get("image"):
            beside["source"] = _data_uri(beside["image"], beside.get("path"))
        used += len(source) + len(beside.get("source", ""))
        if used > MAX_IMAGES:
            break
        drawn += 1
        kinds.setdefault(str(row.get("kind") or ""), []).append({**row, "source": source, "beside": beside})
    return [{"kind": kind, "rows": shown} for kind, shown in kinds.items()], len(rows) - drawn


def _data_uri(image: str | bytes, path: object) -> str:
    try:
        data = base64.b64decode(image, validate=True) if isinstance(image, str) else bytes(image)
    except (binascii.Error, ValueError) as error:
        raise WrongUse(f"thumbnail of {path}: not base64: {error}") from error
    kind = next((kind for start, kind in SIGNATURES if data.startswith(start)), None)
    if kind is None:
        raise WrongUse(f"thumbnail of {path}: needs PNG, JPEG, WebP or GIF, got bytes {data[:8]!r}")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and math.isfinite(float(value))


def _order(value: Any, missing: float) -> float:
    return float(value) if _is_number(value) else missing


def _hundred(value: Any) -> float | None:
    return 100.0 * float(value) if _is_number(value) else None


def _per_cent(value: Any, digits: int = 1) -> str:
    """``0.973`` -> ``97.3 %``, with a space that does not break."""
    return f"{100 * float(value):.{digits}f}\u00a0%" if _is_number(value) else NOTHING


def _number(value: Any) -> str:
    """Three digits that matter, so that columns line up: ``0.029`` -> ``0.0290``."""
    return f"{float(value):#.3g}".rstrip(".").replace("-", "\u2212") if _is_number(value) else NOTHING


def _count(value: Any) -> str:
    return f"{value:,.0f}" if _is_number(value) else NOTHING


def _seconds(value: Any) -> str:
    if not _is_number(value):
        return NOTHING
    return f"{value:,.1f}\u00a0s" if value >= 1 else f"{1000 * value:,.3g}\u00a0ms"


def _short(value: Any, most: int = MAX_TEXT) -> str:
    """The two ends of a text too long for a table, or for a list of remarks."""
    text = str(value)
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2 :]}"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def _write(path: Path, text: str) -> None:
    """Temporary name in the same folder, sync, rename."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        # A name of a file may hold bytes that are no UTF-8; they are written as escapes.
        with part.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise NoRoom(f"{path}: the disk is full, {len(text):,} bytes are needed") from error
        raise
    finally:
        part.unlink(missing_ok=True)
