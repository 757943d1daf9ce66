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
        "labelLimit": 280,
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


def distributions(rows: Sequence[Spec], threshold: float | None) -> Spec:
    """The histograms of :func:`histogram` over one another, with the threshold as a line."""
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
    if threshold is not None and math.isfinite(threshold):
        at = alt.Chart(_inline([{"x": float(threshold)}]))
        layers += [
            at.mark_rule(color="currentColor", strokeWidth=2, aria=False).encode(x="x:Q"),
            at.mark_text(align="right", dx=-6, dy=-9, fontWeight=600, text="◀ unseen", aria=False).encode(
                x="x:Q", y=alt.value(0)
            ),
            at.mark_text(align="left", dx=6, dy=-9, fontWeight=600, text="known ▶", aria=False).encode(
                x="x:Q", y=alt.value(0)
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
    size = alt.Size("role:N", scale=alt.Scale(domain=roles, range=[190, 80, 80]), legend=None)
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
    return _finish(alt.layer(points, whiskers), description, height={"step": 26})


def held_out(rows: Sequence[Mapping[str, Any]], classes: Sequence[str], recommended: str) -> Spec:
    """A strip for each held-out class: the recommended detector over all others.

    Args:
        rows: ``{"class", "detector", "auroc"}``, per cent.
        classes: the strips from the top.
        recommended: the detector whose point is filled.
    """
    import altair as alt

    y = alt.Y("class:N", sort=list(classes), title=None, axis=_names_axis())
    x = alt.X(
        "auroc:Q",
        title="AUROC with this class unknown (%)",
        scale=_per_cent_scale(rows, ("auroc",)),
        axis=alt.Axis(tickCount=6),
    )
    tips = [
        alt.Tooltip("class:N", title="held-out class"),
        alt.Tooltip("detector:N", title="detector"),
        alt.Tooltip("auroc:Q", title="AUROC (%)", format=".1f"),
    ]
    others = [row for row in rows if row["detector"] != recommended]
    chosen = [row for row in rows if row["detector"] == recommended]
    layers: list[Any] = []
    if others:
        ticks = alt.Chart(_inline(others)).mark_tick(color=GREY, thickness=2, size=12, opacity=0.75, aria=False)
        layers.append(ticks.encode(x=x, y=y, tooltip=tips))
    dots = alt.Chart(_inline(chosen)).mark_point(filled=True, shape="diamond", size=170, color=BLUE, opacity=1)
    layers.append(dots.encode(x=x, y=y, tooltip=tips))
    chart: Any = alt.layer(*layers)
    return _finish(chart, f"AUROC of {recommended} for each held-out class, worst first.", height={"step": 24})


def roc(points: Sequence[Sequence[float]], positive: str) -> Spec:
    """A receiver operating characteristic, thinned to what a screen can show.

    Args:
        points: ``[false positive rate, true positive rate]``, fractions.
        positive: ``"known"`` or ``"unknown"``, the side counted as positive.
    """
    import altair as alt

    titles = {
        "known": ("unknown inputs taken for known (%)", "known inputs accepted (%)"),
        "unknown": ("known inputs called unseen (%)", "unknown inputs found (%)"),
    }
    x_title, y_title = titles[positive]
    curve = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    curve = curve[np.isfinite(curve).all(axis=1)]
    if len(curve) > MAX_POINTS:
        curve = curve[np.unique(np.linspace(0, len(curve) - 1, MAX_POINTS).round().astype(int))]
    rows = [{"i": i, "x": 100 * float(x), "y": 100 * float(y)} for i, (x, y) in enumerate(curve)]
    scale, axis = alt.Scale(domain=[0, 100]), alt.Axis(tickCount=5)
    tips = [
        alt.Tooltip("x:Q", title=x_title, format=".1f"),
        alt.Tooltip("y:Q", title=y_title, format=".1f"),
    ]
    line = (
        alt.Chart(_inline(rows))
        .mark_line(color=BLUE, strokeWidth=2.5, point={"opacity": 0, "size": 60})
        .encode(
            x=alt.X("x:Q", title=x_title, scale=scale, axis=axis),
            y=alt.Y("y:Q", title=y_title, scale=scale, axis=axis),
            order="i:Q",
            tooltip=tips,
        )
    )
    guess = (
        alt.Chart(_inline([{"x": 0, "y": 0}, {"x": 100, "y": 100}]))
        .mark_line(color=GREY, strokeDash=[4, 4], strokeWidth=1.5, aria=False)
        .encode(x="x:Q", y="y:Q")
    )
    return _finish(alt.layer(guess, line), "Receiver operating characteristic; dashed: guessing.", height=340)


def _inline(rows: Sequence[Mapping[str, Any]]) -> Any:
    import altair as alt

    return alt.InlineData(values=[dict(row) for row in rows])


def _names_axis() -> Any:
    import altair as alt

    return alt.Axis(grid=True, ticks=False, domain=False, labelPadding=8)


def _per_cent_scale(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> Any:
    """From the worst value, or 50 (guessing) where that is lower, rounded down to tens, to 100."""
    import altair as alt

    lowest = min((row[key] for row in rows for key in keys if row[key] is not None), default=50.0)
    return alt.Scale(domain=[10 * math.floor(min(50.0, lowest) / 10), 100])


def _finish(chart: Any, description: str, height: int | Spec) -> Spec:
    spec: Spec = chart.to_dict()
    spec.pop("$schema", None)  # an address that nothing needs
    autosize = {"type": "fit-x", "contains": "padding", "resize": True}
    shape = {"width": "container", "height": height, "autosize": autosize}
    return spec | shape | {"description": description, "config": CONFIG}
