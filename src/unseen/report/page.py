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
MAX_IMAGES = 700_000  # bytes of base64, so that the page stays under 2 MB
MAX_COLUMNS = 8  # detectors in the table of held-out classes

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
        results: ``title`` and ``answer`` (one sentence), and where there are any ``question``, ``audit``,
            ``score``, ``calibration``, ``reproduce``. A section is drawn when its key is there; a number
            that is missing or not finite is drawn as a dash. Fractions in, per cent on the page.
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

    Returns: base64 of a PNG (small pictures, each pixel a crisp square) or a WebP (shrunk ones).
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
    if longest <= size:
        factor = size // longest
        enlarged = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
        enlarged.save(buffer, "PNG", optimize=True)
    else:
        width, height = (max(1, round(side * size / longest)) for side in image.size)
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
    score = _score(results["score"], specs) if results.get("score") else None
    bundle = _bundle() if specs else ""
    style = environment.loader.get_source(environment, "page.css")[0] if environment.loader else ""
    return environment.get_template("page.html").render(
        title=results["title"],
        answer=results["answer"],
        question=results.get("question"),
        audit=audit,
        score=score,
        calibration=results.get("calibration"),
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
    return {**audit, "recommended": recommended, "detectors": detectors, "held": held, "chosen": chosen}


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
    strips = rows[: charts.MAX_CLASSES]
    points = [
        {"class": str(row["class"]), "detector": detector, "auroc": _hundred(row["auroc"][detector])}
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
        "total": len(rows),
    }


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
    threshold = score.get("threshold")
    threshold = float(threshold) if threshold is not None and _is_number(threshold) else None
    bins, gathered = charts.histogram(score.get("distributions") or [], threshold)
    if bins:
        specs["distributions"] = charts.distributions(bins, threshold)
    curves = dict(score.get("curves") or {})
    if curves.get("roc"):
        positive = curves.setdefault("positive", "known")
        if positive not in {"known", "unknown"}:
            raise WrongUse(f"curves: positive is 'known' or 'unknown', got {positive!r}")
        specs["roc"] = charts.roc(curves["roc"], positive)
        curves["table"] = _readings(curves["roc"])
    pictures, left_out = _pictures(score.get("thumbnails") or [])
    skipped = score.get("skipped") or []
    total, unseen = score.get("n"), score.get("unseen")
    return {
        **score,
        "known": total - unseen if total is not None and unseen is not None else None,
        "novel": novel,
        "more_records": max(0, (total or len(records)) - len(novel)),
        "bins": bins,
        "gathered": gathered,
        "curves": curves,
        "pictures": pictures,
        "pictures_left_out": left_out,
        "skipped": skipped[:MAX_ROWS],
        "more_skipped": max(0, len(skipped) - MAX_ROWS),
        "total_skipped": len(skipped),
    }


def _readings(roc: Sequence[Sequence[float]]) -> list[dict[str, float]]:
    """The points of a curve where the true positive rate first reaches some levels: none is made up."""
    points = sorted((float(y), float(x)) for x, y in roc)
    readings = []
    for level in (0.5, 0.8, 0.9, 0.95, 0.99):
        found = next(((x, y) for y, x in points if y >= level), None)
        if found:
            readings.append({"level": level, "fpr": found[0], "tpr": found[1]})
    return readings


def _pictures(rows: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    drawn: list[dict[str, Any]] = []
    used = 0
    for row in rows:
        source = _data_uri(row["image"], row.get("path"))
        if used + len(source) > MAX_IMAGES:
            break
        used += len(source)
        drawn.append({**row, "source": source})
    return drawn, len(rows) - len(drawn)


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


def _short(value: Any) -> str:
    """The two ends of a text too long for a table."""
    text = str(value)
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT // 2]} … {text[-MAX_TEXT // 2 :]}"


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
