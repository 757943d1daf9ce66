"""Draw the pictures of the concepts from seeded simulations, and of speed from its JSON: python docs/pictures.py.

The pages show ``docs/_static/*.svg``; a test draws them again and compares. Every picture has a light ground of its
own, as an image does not hear whether the page around it is light or dark. What a colour says, a shape, a dash or a
word says too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import vl_convert
from scipy.stats import beta, norm

from unseen import SplitConformal, create, evaluate

MEASURED = Path(__file__).parents[1] / "benchmarks" / "results" / "posthoc.json"
STUDIED = Path(__file__).parents[1] / "experiments" / "results" / "backbones.json"
STATIC = Path(__file__).parent / "_static"
INK, GREY, GROUND = "#1b1f24", "#5d6670", "#ffffff"
BLUE, RED, GREEN, PURPLE = (
    "#0065a3",
    "#b84a00",
    "#00714f",
    "#8f3d73",
)  # each with a contrast of 4.5 or more to the ground
ALPHA, N, MORE = 0.05, 199, 1999  # alpha (N + 1) is a whole number, so that the mean rate is alpha itself
CONFIG = {
    "background": GROUND,
    "font": "Helvetica, Arial, 'Liberation Sans', sans-serif",
    "padding": 14,
    "view": {"stroke": None},
    # Nothing may depend on how wide a machine's letters are.
    "axis": {
        "labelColor": INK,
        "titleColor": INK,
        "domainColor": GREY,
        "tickColor": GREY,
        "grid": False,
        "labelFontSize": 12,
        "titleFontSize": 13,
        "titleFontWeight": 500,
        "minExtent": 26,
        "maxExtent": 26,
        "labelOverlap": False,
        "labelFlush": False,
    },
    "title": {"color": INK, "fontSize": 14, "anchor": "start", "offset": 12},
}


def kinds() -> Any:
    """Two features of three known classes and of three other kinds of input, with the threshold of a guard."""
    rng = np.random.default_rng(3)
    centres = np.array([[2.2, 1.7], [5.0, 1.5], [4.3, 4.4]])

    def around(centre: Sequence[float], spread: float, n: int) -> np.ndarray:
        return np.array(centre) + spread * rng.normal(size=(n, 2))

    def known(n: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(n) % 3
        return centres[labels] + 0.4 * rng.normal(size=(n, 2)), labels

    detector = create("nearest_prototype").fit(*known(300))
    reach = -SplitConformal().fit(detector.score(known(N)[0])).threshold(ALPHA)
    turn = np.linspace(0, 2 * np.pi, 49)
    circles = [
        {"x": _short(x + reach * np.cos(t)), "y": _short(y + reach * np.sin(t)), "class": c, "at": at}
        for c, (x, y) in enumerate(centres)
        for at, t in enumerate(turn)
    ]
    groups = [
        (known(60)[0], BLUE, "circle"),
        (around((1.3, 3.5), 0.26, 12), GREEN, "square"),
        (around((6.0, 2.75), 0.4, 14), RED, "triangle-up"),
        (around((8.6, 4.9), 0.36, 14), PURPLE, "diamond"),
    ]
    x, y = _scale("x", [0, 10.4]), _scale("y", [0, 6])
    ring = alt.Chart(_rows(circles)).mark_line(color=INK, strokeDash=[5, 4], strokeWidth=1.2)
    layers = [ring.encode(x, y, detail="class:N", order="at:Q")]
    for points, colour, shape in groups:
        rows = [{"x": _short(a), "y": _short(b)} for a, b in points]
        layers.append(alt.Chart(_rows(rows)).mark_point(filled=True, size=40, color=colour, shape=shape).encode(x, y))
    words = [
        (0.1, 0.5, "known: three classes", BLUE),
        (0.1, 4.75, "covariate shift:", GREEN),
        (0.1, 4.35, "a known class, another look", GREEN),
        (7.0, 2.9, "near: a new class,", RED),
        (7.0, 2.5, "not unlike the known", RED),
        (7.7, 3.9, "far: something else", PURPLE),
        (6.15, 1.0, "dashed: the threshold of a guard", INK),
    ]
    layers += [_word(one, x, y) for one in words]
    return alt.layer(*layers).properties(width=680, height=310)


def promise() -> Any:
    """The scores set aside with their threshold; and the rates of many guards around the mean that is promised."""
    rng = np.random.default_rng(0)
    aside, unknown = rng.normal(2.0, 1.0, N), rng.normal(-0.4, 1.1, N)
    threshold = SplitConformal().fit(aside).threshold(ALPHA)
    # Known scores are normal here, so the rate of a guard is the normal distribution at its threshold.
    rates = [100 * norm.cdf(SplitConformal().fit(rng.normal(size=N)).threshold(ALPHA)) for _ in range(4000)]
    return alt.hconcat(_scores(aside, unknown, threshold), _rates(np.array(rates)), spacing=40)


def _scores(aside: np.ndarray, unknown: np.ndarray, threshold: float) -> Any:
    edges = threshold + 0.25 * np.arange(-17, 18)  # an edge on the threshold: no bar lies on both sides
    x, y = (
        _scale("x", [-4, 5], "score (higher = more known)", [-4, -2, 0, 2, 4]),
        _scale("y", [0, 33], "inputs", [0, 10, 20, 30]),
    )
    below = edges[:-1] < threshold
    # A bar holds its upper edge, as a score on the threshold is called unseen.
    bars = _bars(edges, np.histogram(-aside, -edges[::-1])[0][::-1])
    outline = [{"x": _short(a), "y": int(n)} for a, n in zip(edges, [*np.histogram(unknown, edges)[0], 0], strict=True)]
    called = int((aside <= threshold).sum())
    words = [
        (threshold - 0.12, 31.5, "unseen", INK, "right"),
        (threshold + 0.12, 31.5, "known", INK),
        (2.75, 26.0, f"{N} known inputs", BLUE),
        (2.75, 23.7, "set aside", BLUE),
        (-3.9, 8.5, f"{called} of them", RED),
        (-3.9, 26.0, "dashed: unknown,", GREY),
        (-3.9, 23.7, "nothing promised", GREY),
    ]
    pointer = [{"x": -2.1, "y": 8.3, "x2": _short(threshold - 0.75), "y2": 3.0}]
    return alt.layer(
        _boxes([bar for bar, left in zip(bars, below, strict=True) if not left], BLUE, x, y),
        _boxes([bar for bar, left in zip(bars, below, strict=True) if left], RED, x, y),
        alt.Chart(_rows(outline)).mark_line(interpolate="step-after", strokeDash=[4, 3], color=GREY).encode(x, y),
        alt.Chart(_rows(pointer)).mark_rule(color=RED).encode(x, y, x2="x2:Q", y2="y2:Q"),
        _rule(threshold, x),
        *(_word(one, x, y) for one in words),
    ).properties(width=330, height=250, title="One guard: where the threshold lies")


def _rates(rates: np.ndarray) -> Any:
    edges = np.arange(0, 12.1, 0.5)
    title = "known inputs called unseen by one guard (%)"
    x, y = _scale("x", [0, 12], title, [0, 2, 4, 6, 8, 10, 12]), _scale("y", [0, 0.95])
    density = np.histogram(rates, edges)[0] / (len(rates) * 0.5)
    layers = [_boxes(_bars(edges, density), BLUE, x, y, opacity=0.35)]
    for n, colour, dash in ((N, BLUE, [1, 0]), (MORE, GREEN, [6, 3])):
        rank = round(ALPHA * (n + 1))
        at = np.linspace(0, 12, 97)
        rows = [{"x": _short(p), "y": _short(beta.pdf(p / 100, rank, n + 1 - rank) / 100)} for p in at]
        layers.append(alt.Chart(_rows(rows)).mark_line(color=colour, strokeDash=dash, strokeWidth=2).encode(x, y))
    words = [
        (5.2, 0.905, "promised: 5 % on average", INK),
        (6.0, 0.6, f"dashed: {MORE:,} set aside", GREEN),
        (7.4, 0.17, f"{N} set aside", BLUE),
    ]
    layers += [_rule(5, x), *(_word(one, x, y) for one in words)]
    return alt.layer(*layers).properties(width=330, height=250, title="Many guards: the rate of each")


def numbers() -> Any:
    """Scores of known and unknown inputs, and the part of the unknown that passes where 95 % of the known do."""
    rng = np.random.default_rng(0)
    means = {"known": 2.0, "unknown": 0.0}
    at = np.linspace(-3.5, 6.5, 81)
    threshold = float(norm.ppf(0.05, means["known"]))
    x, y = _scale("x", [-3.5, 6.5], "score (higher = more known)", [-2, 0, 2, 4, 6]), _scale("y", [0, 0.5])
    drawn = evaluate(rng.normal(means["known"], 1, 20000), rng.normal(means["unknown"], 1, 20000))
    passing = [{"x": _short(p), "y": _short(norm.pdf(p))} for p in [threshold, *at[at > threshold]]]
    layers = [alt.Chart(_rows(passing)).mark_area(color=RED, opacity=0.3).encode(x, y)]
    for name, colour, dash in (("known", BLUE, [1, 0]), ("unknown", RED, [6, 3])):
        rows = [{"x": _short(p), "y": _short(norm.pdf(p, means[name]))} for p in at]
        layers.append(alt.Chart(_rows(rows)).mark_line(color=colour, strokeDash=dash, strokeWidth=2).encode(x, y))
    words = [
        (3.1, 0.3, "known", BLUE),
        (-1.1, 0.3, "dashed: unknown", RED, "right"),
        (threshold + 0.08, 0.475, "95 % of the known pass", INK),
        (threshold - 0.08, 0.475, f"AUROC {100 * drawn.auroc:.0f} %", INK, "right"),
        (3.2, 0.475, f"shaded: {100 * drawn.fpr_at_tpr(0.95):.0f} % of the unknown pass too, the FPR", RED),
    ]
    layers += [_rule(threshold, x), *(_word(one, x, y) for one in words)]
    return alt.layer(*layers).properties(width=680, height=220)


LIBRARIES = {
    "pytorch-ood": (BLUE, "circle"),
    "oodeel": (RED, "square"),
    "scikit-learn": (GREEN, "triangle-up"),
    "PyOD": (PURPLE, "diamond"),
    "by definition": (GREY, "cross"),
}


def speed() -> Any:
    """How many times as fast a query is as that of another library, with the interval of the median."""
    rows = [
        {
            "name": row["ours"],
            "library": row["library"],
            "at": row["query"]["cpu_ratio"],
            "low": row["query"]["cpu_ratio_interval"]["low"],
            "high": row["query"]["cpu_ratio_interval"]["high"],
        }
        for row in json.loads(MEASURED.read_text(encoding="utf-8"))["rows"]
    ]
    names = sorted({row["name"] for row in rows}, key=lambda name: -max(r["at"] for r in rows if r["name"] == name))
    scale = alt.Scale(type="log", domain=[0.2, 2000], nice=False)
    x = alt.X("at:Q", title="times as fast as the other", scale=scale, axis=_ticks([0.2, 0.5, 1, 2, 5, 10, 100, 1000]))
    y = alt.Y("name:N", title=None, sort=names, axis=_names(330))
    layers = [alt.Chart(_rows([{"at": 1}])).mark_rule(color=GREY, strokeDash=[4, 3]).encode(x)]
    for at, (library, (colour, shape)) in enumerate(LIBRARIES.items()):
        mine = [row for row in rows if row["library"] == library]
        chart = alt.Chart(_rows(mine))
        layers.append(chart.mark_rule(color=colour).encode(alt.X("low:Q", scale=scale), y, x2="high:Q"))
        layers.append(chart.mark_point(filled=True, size=45, color=colour, shape=shape).encode(x, y))
        key = [{"at": 55, "name": names[len(names) - 7 + at], "text": library}]
        layers.append(alt.Chart(_rows(key)).mark_point(filled=True, size=45, color=colour, shape=shape).encode(x, y))
        words = alt.Chart(_rows(key)).mark_text(align="left", dx=10, fontSize=13, fontWeight=600, color=colour)
        layers.append(words.encode(x, y, text="text:N"))
    return alt.layer(*layers).properties(width=380, height=alt.Step(17))


def ceilings() -> Any:
    """How near a query comes to what the machine can do at best."""
    rows = [
        {"name": row["ours"], "share": 100 * row["share_of_ceiling"], "product": row["has_product"]}
        for row in json.loads(MEASURED.read_text(encoding="utf-8"))["large"]
    ]
    names = [row["name"] for row in sorted(rows, key=lambda row: -row["share"])]
    x = alt.X("share:Q", title="% of the ceiling", scale=alt.Scale(domain=[0, 100]), axis=_ticks([0, 25, 50, 75, 100]))
    y = alt.Y("name:N", title=None, sort=names, axis=_names(140))
    layers = []
    for product, colour, word in ((True, BLUE, "a matrix product"), (False, GREEN, "reads its input once")):
        mine = alt.Chart(_rows([row for row in rows if row["product"] is product]))
        layers.append(mine.mark_bar(color=colour, opacity=0.75, height=11).encode(x, y))
        key = [{"share": 60, "name": names[len(names) - (3 if product else 2)], "text": f"ceiling: {word}"}]
        words = alt.Chart(_rows(key)).mark_text(align="left", fontSize=13, fontWeight=600, color=colour)
        layers.append(words.encode(x, y, text="text:N"))
    return alt.layer(*layers).properties(width=380, height=alt.Step(17))


FAMILIES = {
    "trained": (BLUE, "circle"),
    "random weights": (RED, "square"),
    "no network": (GREEN, "triangle-up"),
}


def backbones() -> Any:
    """AUROC over k-NN accuracy of every encoder on three benchmarks, with the line through one row of each."""
    studied = json.loads(STUDIED.read_text(encoding="utf-8"))["benchmarks"].values()
    order = [row["encoder"] for row in next(iter(studied))["backbones"]]
    panels = []
    for about in studied:
        x = _scale("x", [0, 100], "k-NN accuracy %", [0, 25, 50, 75, 100])
        y = _scale("y", [40, 100], "1-NN AUROC %", [40, 60, 80, 100])
        line = next(one for one in about["lines_without_variants"] if one["family"] == "all")
        ends = [100 * f(row["accuracy"] for row in about["backbones"]) for f in (min, max)]
        drawn = [{"x": _short(at), "y": _short(100 * line["intercept"] + line["slope"] * at)} for at in ends]
        layers = [alt.Chart(_rows(drawn)).mark_line(color=INK, strokeWidth=1.5).encode(x, y)]
        for family, (colour, shape) in FAMILIES.items():
            rows = [
                {
                    "x": _short(100 * row["accuracy"]),
                    "y": _short(100 * row["auroc"]),
                    "text": str(1 + order.index(row["encoder"])),
                }
                for row in about["backbones"]
                if row["family"] == family and row["variant_of"] is None
            ]
            chart = alt.Chart(_rows(rows))
            layers.append(chart.mark_point(filled=True, size=55, color=colour, shape=shape).encode(x, y))
            words = chart.mark_text(align="left", dx=6, dy=-6, fontSize=11, fontWeight=600, color=colour)
            layers.append(words.encode(x, y, text="text:N"))
        layers.append(_word((4, 97, f"R² {line['r2']:.2f}, {line['n']} encoders", INK), x, y))
        panels.append(alt.layer(*layers).properties(width=205, height=230, title=about["title"]))
    key = [{"x": 4 + 70 * at, "y": 0, "text": family} for at, family in enumerate(FAMILIES)]
    a, b = (alt.X("x:Q", axis=None, scale=alt.Scale(domain=[0, 300])), alt.Y("y:Q", axis=None))
    words = alt.Chart(_rows(key)).mark_text(align="left", dx=9, fontSize=13, fontWeight=600, color=INK)
    marks = [
        alt.Chart(_rows([row])).mark_point(filled=True, size=55, color=colour, shape=shape).encode(a, b)
        for row, (colour, shape) in zip(key, FAMILIES.values(), strict=True)
    ]
    legend = alt.layer(*marks, words.encode(a, b, text="text:N")).properties(width=700, height=20)
    return alt.vconcat(legend, alt.hconcat(*panels, spacing=26))


def _ticks(values: list[float]) -> Any:
    return alt.Axis(values=values, format="~f")


def _names(width: int) -> Any:
    return alt.Axis(minExtent=width, maxExtent=width, labelLimit=width)


def _scale(channel: str, domain: list[float], title: str | None = None, values: list[float] | None = None) -> Any:
    kind = alt.X if channel == "x" else alt.Y
    axis = alt.Axis(values=values) if values else None
    return kind(f"{channel}:Q", title=title, scale=alt.Scale(domain=domain, nice=False), axis=axis)


def _bars(edges: np.ndarray, heights: np.ndarray) -> list[dict[str, Any]]:
    return [
        {"x": _short(a), "x2": _short(b), "y": _short(h)}
        for a, b, h in zip(edges[:-1], edges[1:], heights, strict=True)
    ]


def _boxes(rows: list[dict[str, Any]], colour: str, x: Any, y: Any, opacity: float = 0.75) -> Any:
    there = [row for row in rows if row["y"]]
    bars = alt.Chart(_rows(there)).mark_rect(color=colour, opacity=opacity, stroke=GROUND, strokeWidth=0.5)
    return bars.encode(x, y, x2="x2:Q", y2=alt.datum(0))


def _rule(at: float, x: Any) -> Any:
    return alt.Chart(_rows([{"x": _short(at)}])).mark_rule(color=INK, strokeWidth=2).encode(x)


def _word(word: tuple[Any, ...], x: Any, y: Any) -> Any:
    at, height, text, colour, *rest = word
    mark = alt.Chart(_rows([{"x": _short(at), "y": height, "text": text}]))
    align = rest[0] if rest else "left"
    return mark.mark_text(align=align, fontSize=13, fontWeight=600, color=colour).encode(x, y, text="text:N")


def _rows(rows: list[dict[str, Any]]) -> Any:
    return alt.InlineData(values=rows)


def _short(value: Any) -> float:
    return round(float(value), 3)


PICTURES: dict[str, Callable[[], Any]] = {
    "kinds.svg": kinds,
    "promise.svg": promise,
    "numbers.svg": numbers,
    "speed.svg": speed,
    "ceilings.svg": ceilings,
    "backbones.svg": backbones,
}


def svg(name: str) -> str:
    """One picture as text, its numbers to two decimals."""
    drawn: str = vl_convert.vegalite_to_svg(PICTURES[name]().to_dict() | {"config": CONFIG})
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), drawn) + "\n"


def main() -> None:
    for name in PICTURES:
        (STATIC / name).write_text(svg(name), encoding="utf-8")
        print(STATIC / name)


if __name__ == "__main__":
    main()
