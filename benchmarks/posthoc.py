"""Every detector that another library has too: time and memory of the query and of the fit, side by side.

python benchmarks/posthoc.py [--seconds 1.5]

Settings are matched (``experiments/counterparts.py``) and ranks compared before anything is timed: a pair that ranks
otherwise stops the run, unless its reason is known. Ours through the public ``fit`` and ``score`` with all their
checks; the others through whatever takes arrays. oodeel's detectors are asked about features and logits that lie there,
so that no network counts against it. Then ours alone at 1000 classes and 10,000 queries, against the matrix products
that the method needs and against the fastest product and the fastest copy of this machine, measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from timing import paired, write  # isort: skip  # before NumPy: one thread

import torch

from machine import ceilings, least_seconds, peak_mb
from unseen import create
from unseen.errors import MissingExtra

sys.path.append(str(Path(__file__).parent.parent / "experiments"))
import naive
from counterparts import ALIKE, KIN, LIBRARIES, Counterpart, Given, Library, rank_correlation, support, world

# C, D, N, B. A covariance of each class needs several times D inputs of it, and some outlier detectors fit in N^2.
WIDE, LOGITS, NARROW, TABLE = (
    (100, 512, 5_000, 1_000),
    (1_000, 64, 20_000, 1_000),
    (100, 64, 20_000, 1_000),
    (10, 32, 2_000, 1_000),
)
LARGE = (1_000, 768, 20_000, 10_000)
ELSEWHERE = {
    **dict.fromkeys(("msp", "maxlogit", "energy", "entropy", "gen", "kl_matching"), LOGITS),
    "class_gaussians": NARROW,
    **dict.fromkeys(("local_outlier_factor", "isolation_forest", "one_class_svm", "kernel_density"), TABLE),
}
# Queries where the other side would take minutes or GB.
FEWER = {
    ("pytorch-ood", "gradnorm"): 128,
    ("pytorch-ood", "grad_uncertainty"): 64,
    ("pytorch-ood", "class_gaussians"): 256,
    ("pytorch-ood", "openmax"): 256,
    ("pytorch-ood", "dice"): 512,
    ("by definition", "kl_matching"): 6,
    ("by definition", "dice"): 256,
    ("by definition", "gradnorm"): 64,
    ("by definition", "relation"): 256,
}
PAIRS = (5, 25)  # fewest and most runs of each side
Row = dict[str, Any]


class Shape(NamedTuple):
    """``C`` classes, ``D`` features, ``N`` known inputs, ``B`` queries."""

    C: int
    D: int
    N: int
    B: int

    @classmethod
    def of(cls, given: Given) -> Shape:
        return cls(given.logits.shape[1], given.known.shape[1], len(given.known), len(given.features))

    def __str__(self) -> str:
        return f"C={self.C:,} D={self.D:,} N={self.N:,} B={self.B:,}"


# What a query of B inputs must do at least: operations of matrix products (2 m n k), and float32 numbers to be read.
# Exponentials, comparisons and sums along rows are not counted, so that methods without a product cannot come near 1.
def _reads(s: Shape) -> tuple[int, int]:
    return 0, s.B * s.C


def _head(s: Shape) -> tuple[int, int]:
    return 2 * s.B * s.C * s.D, s.B * s.D + s.C * s.D


def _bank(s: Shape) -> tuple[int, int]:
    return 2 * s.B * s.N * s.D, (s.B + s.N) * s.D


def _mahalanobis(s: Shape) -> tuple[int, int]:
    return 2 * s.B * s.D * (s.C + s.D), s.B * s.D + s.D * (s.C + s.D)


NEEDS: dict[str, Callable[[Shape], tuple[int, int]]] = {
    **dict.fromkeys(("msp", "maxlogit", "energy", "entropy", "gen", "temperature"), _reads),
    "kl_matching": lambda s: (2 * s.B * s.C * s.C, s.B * s.C + s.C * s.C),
    "openmax": lambda s: (3 * s.B * s.C, s.B * s.C + s.C * s.C),  # distances to one mean an input
    "lts": lambda s: (0, s.B * (s.C + s.D)),
    "gradnorm": lambda s: (0, s.B * (s.C + s.D)),
    "grad_uncertainty": lambda s: (0, s.B * (s.C + s.D)),
    "she": lambda s: (2 * s.B * s.D, s.B * (s.C + s.D) + s.C * s.D),
    **dict.fromkeys(("react", "ash", "scale", "vra", "dice", "fdbd", "nci", "nearest_prototype"), _head),
    **dict.fromkeys(("mahalanobis", "unit", "pnml"), _mahalanobis),
    "relative_mahalanobis": lambda s: (2 * s.B * _rank(s) * (s.D + s.C), s.B * s.D + _rank(s) * (s.D + s.C)),
    "vim": lambda s: (2 * s.B * s.D * (s.C + _left(s)), s.B * s.D + s.D * (s.C + _left(s))),
    "residual": lambda s: (2 * s.B * s.D * _left(s), s.B * s.D + s.D * _left(s)),
    "ssd": lambda s: (2 * s.B * s.D * s.D, s.B * s.D + s.D * s.D),
    "class_gaussians": lambda s: (2 * s.B * s.C * s.D * (s.D + 1), s.B * s.D + s.C * s.D * (s.D + 1)),
    **dict.fromkeys(("knn", "local_outlier_factor", "kernel_density"), _bank),
    "one_class_svm": lambda s: (s.B * s.N * s.D, s.B * s.D + s.N * s.D // 2),  # half of the known are support vectors
    "isolation_forest": lambda s: (0, s.B * s.D),
    "nnguide": lambda s: (2 * s.B * s.N * s.D, (s.B + s.N) * s.D + s.B * s.C),
    "relation": lambda s: (2 * s.B * s.N * (s.D + s.C), (s.B + s.N) * (s.D + s.C)),
}


def _rank(s: Shape) -> int:
    return min(s.C - 1, s.D)


def _left(s: Shape) -> int:
    """Directions that the rule of ViM leaves over."""
    return s.D - (1000 if s.D >= 2048 else 512 if s.D >= 768 else s.D // 2)


def fitted(expression: str, given: Given) -> Any:
    return create(expression).fit(support(given))


def asking(detector: Any, given: Given) -> Callable[[], torch.Tensor]:
    columns = {name: getattr(given, name) for name in sorted(detector.reads())}
    return lambda: detector.score(columns)


def side_by_side(library: str, module: Any, pair: Counterpart, given: Given, seconds: float) -> Row:
    """One pair: agreement first, then query, fit and memory.

    Raises:
        SystemExit: when the two rank otherwise and nobody knows why, or as if they were two methods.
    """
    first = pair.ours.split(">>", maxsplit=1)[0].split("(")[0].strip()
    few = FEWER.get((library, first), len(given.features))
    given = given._replace(features=_thinned(given.features, few), logits=_thinned(given.logits, few))
    shape = Shape.of(given)
    with torch.no_grad():
        detector, other = fitted(pair.ours, given), pair.fit(module, given)
        ours, theirs = asking(detector, given), lambda: other(given.features, given.logits)
        correlation = rank_correlation(ours(), -torch.as_tensor(theirs()))
        if correlation < (KIN if pair.reason else ALIKE):
            raise SystemExit(f"{pair.ours}: ranks otherwise than {library}'s {pair.theirs}: {correlation:.6f}")
        row: Row = {
            "ours": pair.ours,
            "library": library,
            "theirs": pair.theirs,
            "shape": shape._asdict(),
            "rank_correlation": round(correlation, 6),
            "reason": pair.reason,
            "query": timed(ours, theirs, seconds),
            "query_mb": {"ours": peak_mb(ours), "theirs": peak_mb(theirs)},
        }
        if "stateless" not in detector.traits:
            our_fit, their_fit = lambda: fitted(pair.ours, given), lambda: pair.fit(module, given)
            row["fit"] = timed(our_fit, their_fit, seconds)
            row["fit_mb"] = {"ours": peak_mb(our_fit), "theirs": peak_mb(their_fit)}
    row["least"] = NEEDS[first](shape)
    return row


def _thinned(rows: torch.Tensor, n: int) -> torch.Tensor:
    """``n`` of the rows, evenly, so that known and unknown ones stay."""
    return rows[torch.linspace(0, len(rows) - 1, n).long()].contiguous()


def timed(ours: Callable[[], Any], theirs: Callable[[], Any], seconds: float) -> Row:
    """As many pairs as fit into the seconds, between the fewest and the most."""
    start = time.perf_counter()
    ours()
    theirs()
    once = time.perf_counter() - start
    return paired(ours, theirs, int(min(PAIRS[1], max(PAIRS[0], seconds / once))))


def pairs_of(library: Library, seconds: float, worlds: dict[tuple[int, ...], Given]) -> Iterator[Row]:
    try:
        module, version = library.load()
    except (ImportError, MissingExtra) as missing:
        print(f"{library.name} is left out: {missing}", file=sys.stderr)
        return
    for pair in library.pairs:
        names = {part.split("(")[0].strip() for part in pair.ours.split(">>")}
        given = worlds[next((ELSEWHERE[name] for name in names if name in ELSEWHERE and len(names) == 1), WIDE)]
        row = side_by_side(library.name, module, pair, given, seconds) | {"version": version}
        print(json.dumps(row), flush=True)
        yield row


def large(given: Given, seconds: float) -> Iterator[Row]:
    """Ours at the large shape: multiples of the products that the method needs, where it needs any."""
    x, shape = given.features, Shape.of(given)
    products: dict[str, Callable[[Any], Callable[[], Any]]] = {
        "mahalanobis": lambda d: lambda: (x @ d.towards, x @ d.whiten),
        "relative_mahalanobis": lambda d: lambda: (x @ d.directions) @ d.means.T,
        "vim": lambda d: lambda: x @ d.product,
        "kl_matching": lambda d: lambda: given.logits @ d.log_typical.T,
    }
    for name in (*products, "gen", "msp", "maxlogit", "energy", "entropy"):
        with torch.inference_mode():
            detector = fitted(name, given)
            ours = asking(detector, given)
            # Against itself where there is no product: the same clock, and how steady it is.
            needed = products[name](detector) if name in products else ours
            found = timed(needed, ours, seconds)
            named = {key.replace("ours", "product").replace("theirs", "query"): value for key, value in found.items()}
        row = {"ours": name, "shape": shape._asdict(), "has_product": name in products, **named}
        row |= {"query_mb": peak_mb(ours), "least": NEEDS[name](shape)}
        print(json.dumps(row), flush=True)
        yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.5, help="for each timing, within 5 to 25 pairs")
    seconds = parser.parse_args().seconds
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    start, load = time.perf_counter(), [os.getloadavg()]
    found = ceilings()
    worlds = {shape: world(*shape) for shape in (WIDE, LOGITS, NARROW, TABLE)}
    by_definition = Library("by definition", lambda: (None, ""), naive.PAIRS)
    rows = [row for library in (*LIBRARIES, by_definition) for row in pairs_of(library, seconds, worlds)]
    worlds.clear()
    alone = list(large(world(*LARGE), seconds))
    again = ceilings()
    best = {key: max(found[key], again[key]) for key in found}
    for row in rows:
        row["share_of_ceiling"] = _share(row.pop("least"), best, row["query"]["ours_cpu_ms"])
    for row in alone:
        row["share_of_ceiling"] = _share(row.pop("least"), best, row["query_cpu_ms"])
    load.append(os.getloadavg())
    result = {
        "ceilings": best,
        "load_average": [[round(value, 2) for value in one] for one in load],
        "seconds": round(time.perf_counter() - start),
        "rows": rows,
        "large": alone,
    }
    print(write("posthoc", result, sys.argv))


def _share(least: tuple[int, int], found: dict[str, float], milliseconds: float) -> float:
    return float(f"{1e3 * least_seconds(*least, found) / milliseconds:.3g}")


if __name__ == "__main__":
    main()
