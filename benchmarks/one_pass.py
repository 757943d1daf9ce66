"""All detectors from one pass: what a bench of everything costs beside the forward pass, and beside a pass a method.

python benchmarks/one_pass.py [--images 5000] [--repeats 3]

Random 32 x 32 images and an untrained ResNet-20 of ten classes: speed does not depend on what is in them. One thread.
Half of the images are known, half are asked about. Measured in turn, `repeats` times:

- ``forward``: the network on all images, decoded and in memory, in batches, nothing kept but logits;
- ``free``: `unseen.encode` for features and logits, then fit and score of every detector that needs no more;
- ``rerun``: the same detectors, the network run again for each, at the fit and at the query, as libraries do that hold
  a model inside each detector;
- ``all``: every detector that this network can answer, those with slopes and inner layers too, beside the passes that
  these need: the sum of ``forward`` and of the same passes made by hand.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from timing import write  # isort: skip  # before NumPy: one thread

import time

import numpy as np
import torch

from unseen.encoders import Encoder, encode, open_encoder
from unseen.protocols import ALL, requests_of
from unseen.protocols.candidates import candidates

NETWORK = Path(__file__).parents[1] / "experiments" / "networks.py"
CLASSES = 10
BATCH = 32  # as `unseen.encode` has it
ADAPTED = ("isolation_forest", "local_outlier_factor", "one_class_svm", "kernel_density", "pyod")  # others' estimators
APART = {
    "temperature": "learns from logits that the head was not fitted on",
    **dict.fromkeys(ADAPTED, "another library's estimator: its time is not ours to change"),
}


def main(arguments: argparse.Namespace) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (arguments.images, 32, 32, 3), dtype=np.uint8)
    torch.manual_seed(0)
    encoder = open_encoder(f"torch:{NETWORK}:resnet20?size=32&classes={','.join(map(str, range(CLASSES)))}")
    half = len(images) // 2
    known = {"images": images[:half], "labels": np.arange(half) % CLASSES}
    asked = {"images": images[half:]}
    free, graded = methods(encoder, known)
    rows: list[dict[str, float]] = []
    each: dict[str, list[float]] = {}
    for repeat in range(arguments.repeats):
        row: dict[str, float] = {}
        order = [
            ("forward", lambda: forward(encoder, images)),
            ("free", lambda: once(encoder, known, asked, free, each)),
        ]
        order += [
            ("passes", lambda: passes(encoder, known, asked, graded)),
            ("all", lambda: once(encoder, known, asked, free + graded, each)),
        ]
        for name, call in order if repeat % 2 == 0 else reversed(order):
            start = time.perf_counter()
            call()
            row[name] = time.perf_counter() - start
        rows.append(row)
        print(json.dumps(row), flush=True)
    start = time.perf_counter()
    rerun(encoder, known, asked, free)
    again = time.perf_counter() - start
    result = {
        "images": len(images),
        "network": "ResNet-20",
        "repeats": arguments.repeats,
        "free_methods": free,
        "graded_methods": graded,
        "left_out": APART,
        "seconds": {name: float(np.median([row[name] for row in rows])) for name in rows[0]},
        "over_forward": summary([row["free"] / row["forward"] for row in rows]),
        "over_forward_and_passes": summary([row["all"] / (row["forward"] + row["passes"]) for row in rows]),
        "rerun_seconds": again,
        "rerun_over_free": summary([again / row["free"] for row in rows]),
        "each_seconds": {name: float(np.median(spent)) for name, spent in each.items()},
    }
    print(json.dumps(result, indent=1))
    write("one_pass", result, arguments.argv)


def methods(encoder: Encoder, known: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Expressions that need features and a head, and those that ask the network for more."""
    few = {name: column[: 20 * CLASSES] for name, column in known.items()}
    support = encode(few, encoder, ["features"], cache=False)
    every = [c for c in candidates(support, [ALL])[0] if not set(c.expression.replace("(", " ").split()) & set(APART)]
    # One head is enough: what reads logits alone is tried behind every head by a bench.
    every = [candidate for candidate in every if candidate.head in (None, "own")]
    free = [c.name for c in every if all(isinstance(n, str) for n in c.build({}).needs | c.build({}).at_fit())]
    return free, [c.name for c in every if c.name not in free]


def forward(encoder: Encoder, images: np.ndarray) -> None:
    """The network, once over all images."""
    module = encoder.module
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            module(torch.from_numpy(images[start : start + BATCH]).permute(0, 3, 1, 2).float() / 255)


def once(
    encoder: Encoder,
    known: dict[str, Any],
    asked: dict[str, Any],
    expressions: Sequence[str],
    each: dict[str, list[float]],
) -> None:
    """Everything from one pass, and the passes of their own that some ask for, each once."""
    at_fit, at_query = requests_of(expressions)
    train = encode(known, encoder, {"features", *at_fit}, cache=False)
    test = encode(asked, encoder, {"features", *at_query}, cache=False)
    for expression in expressions:
        start = time.perf_counter()
        fit_and_score(expression, train, test)
        each.setdefault(expression, []).append(time.perf_counter() - start)


def passes(encoder: Encoder, known: dict[str, Any], asked: dict[str, Any], expressions: Sequence[str]) -> None:
    """The passes that these expressions need beside the one for features, and nothing else."""
    fitted = []
    at_fit, at_query = requests_of(expressions)
    for inputs, wanted in ((known, at_fit), (asked, at_query)):
        own = frozenset(request for request in wanted if request.passes != (0, 0))
        images = inputs["images"]
        for start in range(0, len(images) if own else 0, BATCH):
            encoder.answer(images[start : start + BATCH], own)
