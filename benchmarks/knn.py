"""Neighbours in large banks: exact against the product it needs and other programs, and lists against exact.

python benchmarks/knn.py [--pairs 5] [--small]

Ours through the public ``score`` with all its checks, one thread. First an exact query over 200,000 rows against the
plain product of queries and bank, measured in the same run, and against FAISS's flat index, scikit-learn and
pytorch-ood; answers are compared with the definition in float64. Then a curve over sizes of bank and two kinds of
features: what `KNN` with lists takes to build, what it finds, and how much faster it is than exact; FAISS's graph
(HNSW) beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from timing import paired, write  # isort: skip  # before NumPy: one thread

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from torch.nn.functional import normalize

from unseen import KNN
from unseen.detectors.knn import BUILD, LARGE, LINKS, RECALL, WORTH
from unseen.optional import require
from unseen.statistics import nearest_rows

K = 50
BANK, WIDTH, BATCHES = 200_000, 512, (128, 1000)
CURVE = ((10_000, 512), (30_000, 512), (100_000, 512), (300_000, 512), (100_000, 128), (1_000_000, 128))
ASKED = 256  # queries of the curve
PROBES = (4, 16, 64)
EFFORT = (64, 256)  # efSearch of HNSW
GRAPHS = 16_000_000  # numbers; a graph of more takes minutes to build
CLUSTERS, INSIDE = 100, 64  # dimensions in which a cluster is spread
TOLERANCE = 1e-5  # of the largest score; all inputs are float32

Row = dict[str, Any]


def features(kind: str, rows: int, width: int, seed: int) -> torch.Tensor:
    """``"clusters"``: a hundred, each spread in a few dimensions, as classes are; ``"cloud"``: noise without shape."""
    draw = torch.Generator().manual_seed(seed)
    if kind == "cloud":
        return torch.randn(rows, width, generator=draw)
    shape = torch.Generator().manual_seed(7)  # the clusters of bank and queries are the same
    centres = torch.randn(CLUSTERS, width, generator=shape)
    along = torch.randn(INSIDE, width, generator=shape) / INSIDE**0.5
    x = centres[torch.randint(CLUSTERS, (rows,), generator=draw)]
    x += torch.randn(rows, INSIDE, generator=draw) @ along
    return x.add_(torch.randn(rows, width, generator=draw), alpha=0.2)


def exact(bank: torch.Tensor, pairs: int) -> Iterator[Row]:
    """Exact queries against the product, FAISS, scikit-learn and pytorch-ood."""
    from pytorch_ood import detector as other

    faiss = require("faiss", "faiss")
    ours = KNN(K, index="exact").fit(bank)
    flat = faiss.IndexFlatIP(bank.shape[1])
    flat.add(ours.bank.numpy())
    brute = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(ours.bank.numpy())
    theirs = other.KNN(None, k=K).fit_features(bank, torch.zeros(len(bank), dtype=torch.long))
    for batch in BATCHES:
        asked = features("clusters", batch, bank.shape[1], 1)
        unit = normalize(asked)
        by_definition = _by_definition(ours.bank, unit)
        row: Row = {
            "query": f"knn k={K} N={len(bank):,} D={bank.shape[1]} B={batch:,}",
            "gflop": 2e-9 * batch * bank.numel(),
            "largest_difference": _difference(ours.score(asked), by_definition),
            "against": {},
        }
        if row["largest_difference"] > TOLERANCE:
            raise SystemExit(f"{row['query']}: ours is off by {row['largest_difference']:.1e} of the largest score")
        with torch.inference_mode():
            calls: dict[str, Callable[[], Any]] = {
                "the product alone": lambda q=unit: q @ ours.bank.T,
                "faiss, IndexFlatIP": lambda q=unit: _distances(flat.search(q.numpy(), K)[0][:, -1]),
                "scikit-learn, brute force": lambda q=unit: -brute.kneighbors(q.numpy())[0][:, -1],
            }
            if batch == BATCHES[0]:  # it searches by scikit-learn
                calls["pytorch-ood"] = lambda q=asked: -theirs.predict_features(q).numpy()
            for name, call in calls.items():
                timed = paired(lambda q=asked: ours.score(q), call, pairs)
                if name != "the product alone":
                    timed["theirs_largest_difference"] = _difference(call(), by_definition)
                row["against"][name] = timed
                print(row["query"], name, json.dumps(timed), flush=True)
        yield row


def _distances(similar: np.ndarray) -> np.ndarray:
    return -np.sqrt(np.maximum(2 - 2 * similar, 0))


def _by_definition(bank: torch.Tensor, asked: torch.Tensor, queries: int = 32) -> np.ndarray:
    """Of some of the queries, in float64."""
    rows = bank.double()
    return -np.array([np.partition((rows - q).norm(dim=1).numpy(), K - 1)[K - 1] for q in asked[:queries].double()])


def _difference(scores: Any, by_definition: np.ndarray) -> float:
    """As a share of the largest."""
    some = np.asarray(scores, float)[: len(by_definition)]
    return float(np.abs(some - by_definition).max() / np.abs(by_definition).max())


def curve(kind: str, rows: int, width: int, pairs: int) -> Row:
    """Lists and, where it is not too large, a graph, over one bank: time, build and recall."""
    bank, asked = features(kind, rows, width, 0), features(kind, ASKED, width, 1)
    whole = KNN(K, index="exact").fit(bank)
    unit = normalize(asked)
    least = nearest_rows(unit, whole.bank, K)[0][:, -1].numpy()
    row: Row = {"features": kind, "rows": rows, "width": width, "queries": ASKED}
    listed, row["build"] = _timed(lambda: KNN(K, index="ivf").fit(bank))
    row |= {"lists": len(listed.centres), "probes": int(listed.probes), "recall_at_fit": float(listed.recall)}
    row["auto_takes_lists"] = bool(row["probes"] <= row["lists"] // WORTH and listed.recall >= RECALL)
    tried = dict.fromkeys((row["probes"], *PROBES))
    row["ivf"] = [_probed(whole, listed, asked, unit, least, probes, pairs) for probes in tried]
    row["exact_cpu_ms"] = row["ivf"][0]["theirs_cpu_ms"]
    saved = 1e-3 * (row["exact_cpu_ms"] - row["ivf"][0]["ours_cpu_ms"]) / ASKED
    row["pays_after_queries"] = round(row["build"]["cpu_s"] / saved) if saved > 0 else None
    del listed
    if rows * width <= GRAPHS:
        row["hnsw"] = _graph(whole, asked, unit, least, pairs)
    print(json.dumps(row), flush=True)
    return row


def _probed(whole: KNN, listed: KNN, asked: Any, unit: Any, least: np.ndarray, probes: int, pairs: int) -> Row:
    listed.probes = torch.tensor(min(probes, len(listed.centres)))
    similar = listed._look(unit, K)[0].numpy()
    timed = paired(lambda: listed.score(asked), lambda: whole.score(asked), pairs)
    too_far = (whole.score(asked) - listed.score(asked)).max()
    return {"probes": int(listed.probes), "recall": _recall(similar, least), "too_far_by": float(too_far), **timed}


def _graph(whole: KNN, asked: torch.Tensor, unit: torch.Tensor, least: np.ndarray, pairs: int) -> Row:
    faiss = require("faiss", "faiss")
    graph = faiss.IndexHNSWFlat(unit.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = BUILD
    _, build = _timed(lambda: graph.add(whole.bank.numpy()))
    tried = []
    for effort in EFFORT:
        graph.hnsw.efSearch = effort
        timed = paired(lambda: graph.search(unit.numpy(), K), lambda: whole.score(asked), pairs)
        tried.append({"effort": effort, "recall": _recall(graph.search(unit.numpy(), K)[0], least), **timed})
    return {"links": LINKS, "build": build, "tried": tried}


def _recall(similar: np.ndarray, least: np.ndarray) -> float:
    """Share of the K found that are as near as the K-th that there is; rows that are missing are far below."""
    return float((similar >= least[:, None] - 1e-6).mean())


def _timed(call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    wall, cpu = time.perf_counter(), time.process_time()
    made = call()
    return made, {"wall_s": round(time.perf_counter() - wall, 2), "cpu_s": round(time.process_time() - cpu, 2)}


def _ceiling() -> float:
    """GFLOP/s of a square product, the best of ten."""
    a = torch.randn(2048, 2048, generator=torch.Generator().manual_seed(0))
    torch.set_num_threads(1)
    return round(2e-9 * 2048**3 / min(_seconds(lambda: a @ a) for _ in range(10)), 1)


def _seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="a twentieth of every bank, to try the program out")
    given = parser.parse_args()
    cut = 20 if given.small else 1
    warnings.filterwarnings("ignore")
    require("torchvision", "timm")  # pytorch-ood imports it
    faiss = require("faiss", "faiss")
    faiss.omp_set_num_threads(1)
    load = [round(x, 1) for x in os.getloadavg()]
    result = {
        "faiss": faiss.__version__,
        "square_product_gflops": _ceiling(),
        "auto_from": LARGE,
        "recall_wanted": RECALL,
        "exact": list(exact(features("clusters", BANK // cut, WIDTH, 0), given.pairs)),
        "curve": [curve(kind, rows // cut, width, 3) for rows, width in CURVE for kind in ("clusters", "cloud")],
    }
    result["load_average"] = {"before": load, "after": [round(x, 1) for x in os.getloadavg()]}
    print(json.dumps(result["load_average"]) if given.small else write("knn", result, sys.argv))


if __name__ == "__main__":
    main()
