"""Charts as Vega-Lite specifications: plain dictionaries, validated by Altair.

Every colour says something that a shape, a dash or a label says too, so the charts read without colour.
Texts and axes are drawn in ``currentColor``: the page's style sheet decides it, light or dark.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Spec = dict[str, Any]

# Okabe and Ito's palette, those with a contrast of 3 or more to white and to the dark page.
BLUE, VERMILION = "#0072B2", "#D55E00"
PALETTE = (BLUE, VERMILION, "#009E73", "#CC79A7", "#5B7F95")
DASHES = ([1, 0], [6, 2], [2, 2], [8, 2, 2, 2], [1, 3])
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross")
GREY = "#7C8792"

MAX_BINS = 60
MAX_POINTS = 300  # of a curve
MAX_CLASSES = 40  # rows of the strip chart; the table beside it goes on

CONFIG: Spec = {
    "background": "transparent",
    "font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "domainColor": GREY,
        "tickColor": GREY,
        "gridColor": GREY,
        "gridOpacity": 0.22,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": 500,
        "labelLimit": 150,
        "titlePadding": 10,
    },
    "legend": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "labelFontSize": 12,
        "labelLimit": 200,
        "orient": "top",
        "direction": "vertical",
        "symbolStrokeWidth": 2.5,
        "symbolSize": 160,
        "offset": 24,
    },
    "text": {"color": "currentColor", "fontSize": 12},
}


def histogram(distributions: Sequence[Mapping[str, Any]], threshold: float | None = None) -> tuple[list[Spec], bool]:
    """Common bins of several groups of scores, with an edge on the threshold.

    Args:
        distributions: ``{"name", "scores"}`` each; scores that are not finite are left out.
        threshold: where an edge falls, so that no bar lies on both sides.

    Returns: rows ``{"group", "start", "end", "share", "count"}``, share in per cent of the group; and
    whether the outermost bars gather the scores of a far tail.

    >>> rows, _ = histogram([{"name": "new", "scores": [0.0, 1.0, 1.0, 3.0]}], threshold=2.0)
    >>> sum(row["share"] for row in rows)
    100.0
    """
    groups: list[tuple[str, NDArray[np.float64]]] = []
    for entry in distributions:
        scores = np.asarray(entry["scores"], dtype=np.float64).ravel()
        scores = scores[np.isfinite(scores)]
        if scores.size:
            groups.append((str(entry["name"]), scores))
    if not groups:
        return [], False
    edges, gathered = _edges(np.concatenate([scores for _, scores in groups]), threshold)
    rows = []
    for name, scores in groups:
        counts, _ = np.histogram(np.clip(scores, edges[0], edges[-1]), bins=edges)
        label = f"{name} (n = {scores.size:,})"
        for start, end, count in zip(edges[:-1], edges[1:], counts, strict=True):
            row = {"group": label, "start": float(start), "end": float(end), "count": int(count)}
            rows.append(row | {"share": 100.0 * int(count) / scores.size})
    return rows, gathered


def _edges(scores: NDArray[np.float64], threshold: float | None) -> tuple[NDArray[np.float64], bool]:
    low, high = float(scores.min()), float(scores.max())
    inner_low, inner_high = (float(q) for q in np.quantile(scores, [0.005, 0.995]))
    # One score far away would press all others into one bar.
    gathered = high - low > 3 * (inner_high - inner_low) > 0
    if gathered:
        low, high = inner_low, inner_high
    if threshold is not None and math.isfinite(threshold):
        low, high = min(low, threshold), max(high, threshold)
    if not high > low:
        low, high = low - 0.5, high + 0.5
    bins = min(MAX_BINS, max(12, 2 * math.ceil(scores.size ** (1 / 3))))
    width = (high - low) / bins
    anchor = threshold if threshold is not None and math.isfinite(threshold) else low
    first, last = math.floor((low - anchor) / width), math.ceil((high - anchor) / width)
    return anchor + width * np.arange(first, last + 1, dtype=np.float64), gathered


def distributions(rows: Sequence[Spec], thresholds: tuple[float, float] | None) -> Spec:
    """The histograms of :func:`histogram` over one another, with the threshold as a line.

    Args:
        rows: of :func:`histogram`.
        thresholds: the lowest and the highest, with a band between them where they differ: left of it all inputs are
            unseen, right of it none.
    """
    import altair as alt

    names = list(dict.fromkeys(row["group"] for row in rows))
    palette = alt.Scale(domain=names, range=[PALETTE[i % len(PALETTE)] for i in range(len(names))])
    dashes = alt.Scale(domain=names, range=[DASHES[i % len(DASHES)] for i in range(len(names))])
    colour = alt.Color("group:N", title=None, sort=names, scale=palette)
    dash = alt.StrokeDash("group:N", title=None, sort=names, scale=dashes)
    ends = {row["group"]: row for row in rows}  # the last bin of each group closes its outline
    outline = [*rows, *({**row, "start": row["end"], "share": 0.0} for row in ends.values())]
    bars = (
        alt.Chart(_inline(rows))
        .mark_rect(fillOpacity=0.3, strokeOpacity=0)
        .encode(
            x=alt.X(
                "start:Q",
                title="familiarity (higher = more known)",
                scale=alt.Scale(zero=False, nice=False),
                axis=alt.Axis(tickCount=8),
            ),
            x2="end:Q",
            y=alt.Y("share:Q", title="share of its group (%)", axis=alt.Axis(tickCount=5)),
            y2=alt.datum(0),
            color=colour,
            tooltip=[
                alt.Tooltip("group:N", title="group"),
                alt.Tooltip("start:Q", title="from", format=".3g"),
                alt.Tooltip("end:Q", title="to", format=".3g"),
                alt.Tooltip("share:Q", title="share (%)", format=".1f"),
                alt.Tooltip("count:Q", title="inputs", format=","),
            ],
        )
    )
    lines = (
        alt.Chart(_inline(outline))
        .mark_line(interpolate="step-after", strokeWidth=2, aria=False)
        .encode(x="start:Q", y="share:Q", color=colour, strokeDash=dash)
    )
    layers: list[Any] = [bars, lines]
    if thresholds is not None:
        low, high = thresholds
        at = alt.Chart(_inline([{"low": low, "high": high}]))
        if low < high:
            band = at.mark_rect(color=GREY, opacity=0.3, aria=False).encode(x="low:Q", x2="high:Q")
            layers += [band, at.mark_rule(color="currentColor", strokeWidth=2, aria=False).encode(x="high:Q")]
        layers += [
            at.mark_rule(color="currentColor", strokeWidth=2, aria=False).encode(x="low:Q"),
            at.mark_text(align="right", dx=-6, dy=-9, fontWeight=600, text="◀ unseen", aria=False).encode(
                x="low:Q", y=alt.value(0)
            ),
            at.mark_text(align="left", dx=6, dy=-9, fontWeight=600, text="known ▶", aria=False).encode(
                x="high:Q", y=alt.value(0)
            ),
        ]
    chart: Any = alt.layer(*layers)
    return _finish(chart, "Histogram of familiarity, one outline a group of inputs.", height=260)


def intervals(rows: Sequence[Mapping[str, Any]]) -> Spec:
    """A point and an interval for each detector.

    Args:
        rows: ``{"label", "auroc", "low", "high", "role"}``, per cent, in the order to be drawn; ``role``
            is ``"recommended"``, ``"as good"`` or ``"other"``.
    """
    import altair as alt

    roles = ["recommended", "as good", "other"]
    names = [row["label"] for row in rows]
    base = alt.Chart(_inline(rows)).encode(y=alt.Y("label:N", sort=names, title=None, axis=_names_axis()))
    x = alt.X(
        "auroc:Q",
        title="AUROC (%)",
        scale=_per_cent_scale(rows, ("auroc", "low")),
        axis=alt.Axis(tickCount=6),
    )
    colour = alt.Color("role:N", title=None, scale=alt.Scale(domain=roles, range=[BLUE, BLUE, GREY]), legend=None)
    shape = alt.Shape(
        "role:N",
        title=None,
        scale=alt.Scale(domain=roles, range=["diamond", "circle", "circle"]),
        legend=None,
    )
    size = alt.Size("role:O", sort=roles, scale=alt.Scale(domain=roles, range=[190, 80, 80]), legend=None)
    tips = [
        alt.Tooltip("label:N", title="detector"),
        alt.Tooltip("auroc:Q", title="AUROC (%)", format=".1f"),
        alt.Tooltip("low:Q", title="from", format=".1f"),
        alt.Tooltip("high:Q", title="to", format=".1f"),
        alt.Tooltip("role:N", title="role"),
    ]
    whiskers = base.mark_rule(strokeWidth=3, strokeCap="round", opacity=0.7).encode(
        x=alt.X("low:Q"), x2="high:Q", color=colour, tooltip=tips
    )
    points = base.mark_point(filled=True, opacity=1).encode(x=x, color=colour, shape=shape, size=size, tooltip=tips)
    description = "AUROC of each detector with its interval, best first."
    return _finish(alt.layer(points, whiskers), description, height=26 * len(set(names)))


def held_out(rows: Sequence[Mapping[str, Any]], classes: Sequence[str], recommended: str, what: str = "class") -> Spec:
    """A strip for each held-out class, or for each unknown set: the recommended detector over all others.

    Args:
        rows: ``{"class", "detector", "auroc", "low", "high"}``, per cent; the interval, None where there is none, is
            drawn of the recommended detector only.
        classes: the strips from the top.
        recommended: the detector whose point is filled.
        what: ``"class"`` or ``"set"``, what a strip is.
    """
    import altair as alt

    y = alt.Y("class:N", sort=list(classes), title=None, axis=_names_axis())
    others = [row for row in rows if row["detector"] != recommended]
    chosen = [row for row in rows if row["detector"] == recommended]
    x = alt.X(
        "auroc:Q",
        title=f"AUROC with this {what} unknown (%)",
        scale=_per_cent_scale([*({"auroc": row["auroc"]} for row in others), *chosen], ("auroc", "low")),
        axis=alt.Axis(tickCount=6),
    )
    tips = [
        alt.Tooltip("class:N", title="held-out class" if what == "class" else what),
        alt.Tooltip("detector:N", title="detector"),
        alt.Tooltip("auroc:Q", title="AUROC (%)", format=".1f"),
    ]
    layers: list[Any] = []
    if others:
        ticks = alt.Chart(_inline(others)).mark_tick(color=GREY, thickness=2, size=12, opacity=0.75, aria=False)
        layers.append(ticks.encode(x=x, y=y, tooltip=tips))
    reaches = [row for row in chosen if row.get("low") is not None]
    if reaches:
        whiskers = alt.Chart(_inline(reaches)).mark_rule(
            color=BLUE, strokeWidth=3, strokeCap="round", opacity=0.45, aria=False
        )
        layers.append(whiskers.encode(x="low:Q", x2="high:Q", y=y))
    dots = alt.Chart(_inline(chosen)).mark_point(filled=True, shape="diamond", size=170, color=BLUE, opacity=1)
    ends = [alt.Tooltip("low:Q", title="from", format=".1f"), alt.Tooltip("high:Q", title="to", format=".1f")]
    layers.append(dots.encode(x=x, y=y, tooltip=[*tips, *ends] if reaches else tips))
    chart: Any = alt.layer(*layers)
    return _finish(chart, f"AUROC of {recommended} for each {what}, worst first.", height=24 * len(classes))


def backbones(rows: Sequence[Mapping[str, Any]], lines: Sequence[Mapping[str, Any]]) -> Spec:
    """A point for each encoder, AUROC over accuracy, with the fitted lines.

    Args:
        rows: ``{"number", "encoder", "family", "accuracy", "left", "right", "auroc", "low", "high"}``, per cent; the
            number is what a point is called, as names would lie over each other; ends of an interval may be None.
        lines: ``{"family", "slope", "intercept"}``, of fractions; the family is None for the line through all, which is
            drawn solid and without colour.
    """
    import altair as alt

    families = list(dict.fromkeys(str(row["family"]) for row in rows))
    numbers = range(len(families))
    palette = alt.Scale(domain=families, range=[PALETTE[i % len(PALETTE)] for i in numbers])
    shapes = alt.Scale(domain=families, range=[SHAPES[i % len(SHAPES)] for i in numbers])
    legend = alt.Legend(symbolOpacity=1) if len(families) > 1 else None
    colour = alt.Color("family:N", title=None, sort=families, scale=palette, legend=legend)
    shape = alt.Shape("family:N", title=None, sort=families, scale=shapes, legend=legend)
    x_scale, y_scale = (
        _around([row[key] for row in rows for key in keys if row[key] is not None])
        for keys in (("accuracy", "left", "right"), ("auroc", "low", "high"))
    )
    x = alt.X("accuracy:Q", title="k-NN accuracy on known inputs (%)", scale=x_scale, axis=alt.Axis(tickCount=6))
    y = alt.Y("auroc:Q", title="1-NN AUROC, known against unknown (%)", scale=y_scale, axis=alt.Axis(tickCount=6))
    ends = []
    for line in lines:
        reach = [row["accuracy"] for row in rows if line["family"] is None or str(row["family"]) == line["family"]]
        for at in (min(reach), max(reach)):
            height = 100 * line["intercept"] + line["slope"] * at
            ends.append({"family": str(line["family"]), "accuracy": at, "auroc": height, "all": line["family"] is None})
    layers: list[Any] = []
    whole = [end for end in ends if end["all"]]
    if whole:
        solid = alt.Chart(_inline(whole)).mark_line(color="currentColor", strokeWidth=2, clip=True, aria=False)
        layers.append(solid.encode(x=x, y=y))
    if len(ends) > len(whole):
        of_family = alt.Chart(_inline([end for end in ends if not end["all"]]))
        dashed = of_family.mark_line(strokeWidth=2, strokeDash=[6, 3], clip=True, aria=False)
        layers.append(dashed.encode(x=x, y=y, color=colour))
    points = alt.Chart(_inline(rows))
    thin: dict[str, Any] = {"strokeWidth": 1.5, "opacity": 0.4, "aria": False}
    for ends_of, place in (
        (("left", "right"), {"x": "left:Q", "x2": "right:Q", "y": y}),
        (("low", "high"), {"x": x, "y": "low:Q", "y2": "high:Q"}),
    ):
        reaching = [row for row in rows if None not in (row[ends_of[0]], row[ends_of[1]])]
        if reaching:
            layers.append(alt.Chart(_inline(reaching)).mark_rule(**thin).encode(**place, color=colour))
    tips = [
        alt.Tooltip("encoder:N", title="encoder"),
        alt.Tooltip("family:N", title="family"),
        alt.Tooltip("accuracy:Q", title="k-NN accuracy (%)", format=".1f"),
        alt.Tooltip("auroc:Q", title="AUROC (%)", format=".1f"),
    ]
    dots = points.mark_point(filled=True, size=90, opacity=1)
    layers.append(dots.encode(x=x, y=y, color=colour, shape=shape, tooltip=tips))
    words = points.mark_text(align="left", dx=8, dy=-7, fontWeight=600, aria=False)
    layers.append(words.encode(x=x, y=y, text="number:N"))
    chart: Any = alt.layer(*layers)
    return _finish(chart, "AUROC over k-NN accuracy, a numbered point an encoder, with fitted lines.", height=380)


def _around(values: Sequence[float]) -> Any:
    """From below the lowest to above the highest, at tens."""
    import altair as alt

    low, high = 10 * math.floor(min(values) / 10), 10 * math.ceil(max(values) / 10)
    return alt.Scale(domain=[low, max(high, low + 10)], nice=False)


def roc(lines: Sequence[Mapping[str, Any]], positive: str, at: Sequence[float] | None = None) -> Spec:
    """A receiver operating characteristic, thinned to what a screen can show.

    Args:
        lines: ``{"name", "points", "band"}`` each: ``[false positive rate, true positive rate]``, fractions, and where
            there is a band ``[false positive rate, low, high]``. One line alone needs no name.
        positive: ``"known"`` or ``"unknown"``, the side counted as positive.
        at: a point of interest, such as where the verdicts lie.
    """
    titles = {
        "known": ("unknown inputs taken for known (%)", "known inputs accepted (%)"),
        "unknown": ("known inputs called unseen (%)", "unknown inputs found (%)"),
    }
    guess = [{"x": 0, "y": 0}, {"x": 100, "y": 100}]
    return _curves(lines, titles[positive], guess, "Receiver operating characteristic; dashed: guessing.", at)


def precision_recall(
    lines: Sequence[Mapping[str, Any]], share: float | None = None, at: Sequence[float] | None = None
) -> Spec:
    """Precision over recall with the unknown as positive.

    Args:
        lines: as of :func:`roc`, ``[recall, precision]`` and ``[recall, low, high]``.
        share: of the unknown among all inputs, the precision of a guess.
        at: as of :func:`roc`.
    """
    # Precision where nothing is found is a convention, and once all is found the curve only falls on the spot.
    lines = [line | {"points": _between_none_and_all(line["points"])} for line in map(dict, lines)]
    titles = ("unknown inputs found (%)", "unknown among those called unseen (%)")
    guess = [] if share is None else [{"x": 0, "y": 100 * share}, {"x": 100, "y": 100 * share}]
    return _curves(lines, titles, guess, "Precision over recall, unknown positive; dashed: guessing.", at)


def _curves(
    lines: Sequence[Mapping[str, Any]],
    titles: tuple[str, str],
    guess: Sequence[Mapping[str, float]],
    description: str,
    at: Sequence[float] | None,
) -> Spec:
    import altair as alt

    x_title, y_title = titles
    rows: list[Spec] = []
    band: list[Spec] = []
    for line in lines:
        name = str(line.get("name") or "")
        rows += [{"line": name, "i": i, "x": x, "y": y} for i, (x, y) in enumerate(_thinned(line["points"], 2))]
        band += [{"line": name, "x": x, "low": a, "high": b} for x, a, b in _thinned(line.get("band") or [], 3)]
    names = list(dict.fromkeys(row["line"] for row in rows))
    scale, axis = alt.Scale(domain=[0, 100]), alt.Axis(tickCount=5)
    legend = alt.Legend() if len(names) > 1 else None
    palette = alt.Scale(domain=names, range=[PALETTE[i % len(PALETTE)] for i in range(len(names))])
    dashes = alt.Scale(domain=names, range=[DASHES[i % len(DASHES)] for i in range(len(names))])
    colour = alt.Color("line:N", title=None, sort=names, scale=palette, legend=legend)
    dash = alt.StrokeDash("line:N", title=None, sort=names, scale=dashes, legend=legend)
    x = alt.X("x:Q", title=x_title, scale=scale, axis=axis)
    y = alt.Y("y:Q", title=y_title, scale=scale, axis=axis)
    tips = [alt.Tooltip("x:Q", title=x_title, format=".1f"), alt.Tooltip("y:Q", title=y_title, format=".1f")]
    layers: list[Any] = []
    if guess:
        dashed = alt.Chart(_inline(guess)).mark_line(color=GREY, strokeDash=[4, 4], strokeWidth=1.5, aria=False)
        layers.append(dashed.encode(x=x, y=y))
    if band:
        area = alt.Chart(_inline(band)).mark_area(fillOpacity=0.22, strokeOpacity=0, aria=False)
        layers.append(
            area.encode(x=x, y=alt.Y("low:Q", title=y_title, scale=scale, axis=axis), y2="high:Q", color=colour)
        )
    line_mark = alt.Chart(_inline(rows)).mark_line(strokeWidth=2.5, point={"opacity": 0, "size": 60})
    layers.append(line_mark.encode(x=x, y=y, order="i:Q", color=colour, strokeDash=dash, tooltip=tips))
    if at is not None:
        here = alt.Chart(_inline([{"x": 100 * float(at[0]), "y": 100 * float(at[1])}]))
        dot = here.mark_point(filled=True, shape="diamond", size=170, color=VERMILION, opacity=1)
        layers.append(dot.encode(x=x, y=y, tooltip=tips))
    chart: Any = alt.layer(*layers)
    return _finish(chart, description, height=340)


def _between_none_and_all(points: Sequence[Sequence[float]]) -> list[Sequence[float]]:
    full = next((at for at, point in enumerate(points) if point[0] >= 1), len(points))
    return [point for point in points[: full + 1] if point[0] > 0]


def _thinned(points: Sequence[Sequence[float]], width: int) -> list[list[float]]:
    """At most `MAX_POINTS` finite points, in per cent; a thousandth of one is less than a pixel."""
    curve = np.asarray(points, dtype=np.float64).reshape(-1, width)
    curve = curve[np.isfinite(curve).all(axis=1)]
    if len(curve) > MAX_POINTS:
        curve = curve[np.unique(np.linspace(0, len(curve) - 1, MAX_POINTS).round().astype(int))]
    rounded: list[list[float]] = (100 * curve).round(3).tolist()
    return rounded


def _inline(rows: Sequence[Mapping[str, Any]]) -> Any:
    import altair as alt

    return alt.InlineData(values=[dict(row) for row in rows])


def _names_axis() -> Any:
    import altair as alt

    return alt.Axis(grid=True, ticks=False, domain=False, labelPadding=8)


def _per_cent_scale(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> Any:
    """From the worst value, or 50 (guessing) where that is lower, rounded down to tens, to 100."""
    import altair as alt

    lowest = min((row[key] for row in rows for key in keys if row.get(key) is not None), default=50.0)
    return alt.Scale(domain=[10 * math.floor(min(50.0, lowest) / 10), 100])


def _finish(chart: Any, description: str, height: int) -> Spec:
    spec: Spec = chart.to_dict()
    spec.pop("$schema", None)  # an address that nothing needs
    autosize = {"type": "fit-x", "contains": "padding", "resize": True}
    shape = {"width": "container", "height": height, "autosize": autosize}
    return spec | shape | {"description": description, "config": CONFIG}
