"""All detectors from one pass: what they cost beside the forward pass, and beside a pass for each of them.

python benchmarks/one_pass.py [--images 5000] [--repeats 5]

Real 32 x 32 images (CIFAR-10) and a trained ResNet-20, found through UNSEEN_TEST_DATA. One thread. Half of the images
are known, half are asked about. Timed in turn, the order turned each time:

- ``forward``: the network on all images, in memory, in batches of 32; nothing is kept but logits;
- ``free``: `unseen.encode`, then fit and score of every detector that needs no more than features and a head;
- ``passes``: the further passes that the other detectors need, made by the encoder alone, each once for all of them;
- ``all``: `unseen.encode` for all requests, then fit and score of every detector that this network can answer.

Then ``forward`` and ``free`` behind a ResNet-56, and once ``rerun``: the detectors of ``free`` again, with the network
run anew for each fit and for each query, as in libraries whose detectors hold the model.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from timing import median_interval, write  # isort: skip  # before NumPy: one thread

import time

import numpy as np
import torch

from unseen.detectors.base import Detector
from unseen.encoders import Encoder, encode
from unseen.protocols import ALL, requests_of
from unseen.protocols.candidates import Candidate, candidates
from unseen.registry import create
from unseen.signals import Climbed, Request, Support

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
BATCH = 32  # as `unseen.encode` has it
OTHERS = "another library's estimator, whose time is not ours to change"
APART = {
    "temperature": "learns from inputs that the head was not fitted on",
    "kernel_density": "compares each query with every known input in double precision: a method for tables",
    **dict.fromkeys(("isolation_forest", "local_outlier_factor", "one_class_svm", "pyod"), OTHERS),
}


def main(arguments: argparse.Namespace) -> None:
    images, labels, encoder = real(arguments.images, "resnet20")
    half = len(images) // 2
    known: dict[str, Any] = {"images": images[:half], "labels": labels[:half], "classes": encoder.classes}
    asked: dict[str, Any] = {"images": images[half:]}
    free, graded = methods(encoder, known)
    print(f"{len(free)} detectors from features alone, {len(graded)} that ask for more", flush=True)
    climbs = [
        create(expression).fit(encode(known, encoder, cache=False)) for expression in graded if climbing(expression)
    ]
    each: dict[str, list[float]] = {}
    calls: dict[str, Callable[[], None]] = {
        "forward": lambda: forward(encoder, images),
        "free": lambda: once(encoder, known, asked, free, each),
        "passes": lambda: passes(encoder, known, asked, graded, climbs),
        "all": lambda: once(encoder, known, asked, [*free, *graded], each),
    }
    rows, walls = [], []
    for repeat in range(arguments.repeats):
        order = list(calls) if repeat % 2 == 0 else list(reversed(calls))
        spent = {name: seconds(calls[name]) for name in order}
        rows.append({name: cpu for name, (_, cpu) in spent.items()})
        walls.append({name: wall for name, (wall, _) in spent.items()})
        print(json.dumps({"cpu": rows[-1], "wall": walls[-1]}), flush=True)
    again = seconds(lambda: [once(encoder, known, asked, [expression], {}) for expression in free])[1]
    result = {
        "images": len(images),
        "network": "ResNet-20",
        "repeats": arguments.repeats,
        "free_methods": free,
        "graded_methods": graded,
        "left_out": APART,
        "cpu_seconds": {name: median([row[name] for row in rows])["median"] for name in calls},
        "free_over_forward": median([row["free"] / row["forward"] for row in rows]),
        "wall_seconds": {name: median([row[name] for row in walls])["median"] for name in calls},
        "free_over_forward_by_wall": median([row["free"] / row["forward"] for row in walls]),
        "all_over_forward_and_passes": median([row["all"] / (row["forward"] + row["passes"]) for row in rows]),
        "larger": larger(arguments.images, arguments.repeats),
        "rerun_cpu_seconds": round(again, 2),
        "rerun_over_free": median([again / row["free"] for row in rows]),
        "each_cpu_seconds": {name: round(float(np.median(spent)), 4) for name, spent in each.items()},
    }
    print(json.dumps(result, indent=1))
    write("one_pass", result, sys.argv)


def larger(count: int, repeats: int) -> dict[str, Any]:
    """``forward`` and ``free`` behind a ResNet-56: what detectors cost does not grow with the network."""
    images, labels, encoder = real(count, "resnet56")
    half = len(images) // 2
    known: dict[str, Any] = {"images": images[:half], "labels": labels[:half], "classes": encoder.classes}
    free = methods(encoder, known)[0]
    walls, cpus = [], []
    for repeat in range(repeats):
        calls: dict[str, Callable[[], None]] = {
            "forward": lambda: forward(encoder, images),
            "free": lambda: once(encoder, known, {"images": images[half:]}, free, {}),
        }
        spent = {name: seconds(calls[name]) for name in (calls if repeat % 2 == 0 else reversed(calls))}
        walls.append(spent["free"][0] / spent["forward"][0])
        cpus.append(spent["free"][1] / spent["forward"][1])
        print(json.dumps(spent), flush=True)
    return {
        "network": "ResNet-56",
        "methods": len(free),
        "free_over_forward": median(cpus),
        "free_over_forward_by_wall": median(walls),
    }


def real(count: int, name: str) -> tuple[np.ndarray, np.ndarray, Encoder]:
    """Images, labels and the network of the experiments."""
    sys.path.insert(0, str(EXPERIMENTS))
    from cifar10_detectors import network
    from sources import cifar10

    parts = [cifar10(name) for name in ("train", "test")]
    images, labels = (np.concatenate([np.asarray(part[key]) for part in parts])[:count] for key in ("images", "labels"))
    return images, labels, network(name)


def methods(encoder: Encoder, known: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Expressions that need features and a head, and those that ask the network for more."""
    support = encode(known, encoder, ["features"], cache=False)
    tried = candidates(support, [ALL])[0]
    # One head is enough: a bench tries what reads logits alone behind each.
    kept = [c for c in tried if c.head in (None, "own") and not set(APART) & set(c.expression.split(" >> "))]
    free = [candidate.name for candidate in kept if not asks(candidate)]
    return free, [candidate.name for candidate in kept if asks(candidate)]


def asks(candidate: Candidate) -> bool:
    """Whether it asks the encoder for more than named signals."""
    part = candidate.build({})
    return any(isinstance(need, Request) for need in part.needs | part.at_fit())


def climbing(expression: str) -> bool:
    return any(isinstance(need, Climbed) for need in create(expression).needs)


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
    """Everything from one pass, and what some ask for beside it, each once; the time of each detector into ``each``."""
    at_fit, at_query = requests_of(expressions)
    train = encode(known, encoder, ["features", *at_fit], cache=False)
    test = encode(asked, encoder, ["features", *at_query], cache=False)
    for expression in expressions:
        each.setdefault(expression, []).append(seconds(lambda e=expression: fit_and_score(e, train, test))[1])  # type: ignore[misc]


def fit_and_score(expression: str, train: Support, test: Support) -> None:
    create(expression).fit(train).score(test)


def passes(
    encoder: Encoder,
    known: dict[str, Any],
    asked: dict[str, Any],
    expressions: Sequence[str],
    climbs: Sequence[Detector],
) -> None:
    """The passes that these detectors need beside the one for features, and nothing else."""
    at_fit, at_query = requests_of(expressions)
    climbed = [frozenset(need for need in detector.needs if isinstance(need, Climbed)) for detector in climbs]
    for inputs, asking in ((known, [at_fit]), (asked, [at_query, *climbed])):
        for wanted in asking:
            own = frozenset(request for request in wanted if request.passes != (0, 0))
            for start in range(0, len(inputs["images"]) if own else 0, BATCH):
                encoder.answer(inputs["images"][start : start + BATCH], own)


def seconds(call: Callable[[], Any]) -> tuple[float, float]:
    """Wall time, in which reading runs beside the network, and the CPU time of all threads, blind to neighbours."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def median(values: Sequence[float]) -> dict[str, float]:
    """With the interval of `median_interval`."""
    return {"median": round(float(np.median(values)), 3), **median_interval(values)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=5)
    main(parser.parse_args())
