"""Grids of pairs: the relation network's shared first block against the plain pass of each pair.

python benchmarks/relation.py [--pairs 5] [--small]

One thread, float32, random weights, as the time does not depend on them. A small network with many queries, and the one
of the paper with fewer. Ours is `Relation.grid`; against it all pairs flattened, in pieces of the same size, and a loop
over queries. The time is also set against the network's own arithmetic at the rate of a square product, measured in the
same run. Answers are compared first.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from timing import agreement, paired, write  # isort: skip  # before NumPy: one thread

import torch
from torch import Tensor

from unseen.networks.relation import ROWS, Relation

SIZES: dict[str, tuple[dict[str, int], int, int]] = {  # arguments, queries, prototypes
    "small": ({"features": 1280, "width": 192, "blocks": 4, "heads": 6}, 10_000, 100),
    "paper": ({}, 480, 25),
}
COMPARED = 240  # queries on which the plain passes are timed
TOLERANCE = 1e-5


def arithmetic(network: Relation) -> float:
    """Floating-point operations of `Relation.grid` for a pair, those for single inputs aside; at least two blocks."""
    width, heads = network.norm.normalized_shape[0], network.blocks[0].attn.heads
    layers = 4 * network.blocks[0].mlp.fc1.out_features * width  # of a token
    first = 3 * layers + 18 * heads * width
    middle = 3 * (8 * width**2 + layers)
    last = 16 * width**2 + layers
    return float(first + (len(network.blocks) - 2) * middle + last)


def flattened(network: Relation, queries: Tensor, others: Tensor) -> Tensor:
    """Every pair through the plain pass, in pieces as large as those of the grid."""
    a, b = queries.repeat_interleave(len(others), dim=0), others.repeat(len(queries), 1)
    parts = [network(a[i : i + ROWS], b[i : i + ROWS]) for i in range(0, len(a), ROWS)]
    return torch.cat(parts).unflatten(0, (len(queries), len(others)))


def looped(network: Relation, queries: Tensor, others: Tensor) -> Tensor:
    """One query after the other, as the authors' program asks."""
    return torch.stack([network(x.expand(len(others), -1), others) for x in queries])


def grid(name: str, cut: int, pairs: int, gflops: float) -> dict[str, Any]:
    """One size: agreement, ratios, and the whole grid against its arithmetic."""
    arguments, number, known = SIZES[name]
    number //= cut
    torch.manual_seed(0)
    network = Relation(**arguments).eval().requires_grad_(False)
    width = network.proj.in_features
    queries, others = torch.randn(number, width), torch.randn(known, width)
    some = queries[: COMPARED // cut]
    row: dict[str, Any] = {"network": name, "queries": number, "prototypes": known, "rows": ROWS}
    with torch.inference_mode():
        for what, plain in (("flattened", flattened), ("looped", looped)):
            differs = agreement(network.grid(some, others), plain(network, some, others))
            assert differs["largest_difference"] <= TOLERANCE, differs
            against = paired(
                lambda: network.grid(some, others), lambda plain=plain: plain(network, some, others), pairs
            )
            row[what] = {"queries": len(some), **differs, **against}
        wall, cpu = _timed(lambda: network.grid(queries, others))
    own = arithmetic(network) * number * known / (1e9 * gflops)
    row["whole"] = {"wall_s": wall, "cpu_s": cpu, "at_product_rate_s": round(own, 3), "ratio": round(cpu / own, 2)}
    row["mflop_per_pair"] = round(arithmetic(network) / 1e6, 1)
    return row


def _timed(call: Callable[[], Any]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return round(time.perf_counter() - wall, 3), round(time.process_time() - cpu, 3)


def _ceiling() -> float:
    """GFLOP/s of a square product, the best of ten."""
    a = torch.randn(2048, 2048, generator=torch.Generator().manual_seed(0))
    torch.set_num_threads(1)
    return round(2e-9 * 2048**3 / min(_timed(lambda: a @ a)[1] for _ in range(10)), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="a twentieth of the queries, to try the program out")
    given = parser.parse_args()
    load = [round(x, 1) for x in os.getloadavg()]
    gflops = _ceiling()
    rows = [grid(name, 20 if given.small else 1, given.pairs, gflops) for name in SIZES]
    result: dict[str, Any] = {"square_product_gflops": gflops, "grids": rows}
    result["load_average"] = {"before": load, "after": [round(x, 1) for x in os.getloadavg()]}
    print(json.dumps(result, indent=1) if given.small else write("relation", result, sys.argv))


if __name__ == "__main__":
    main()
