"""Memory of fits as inputs grow: 128,000 and 1.28 million known inputs on disk, reduced layers and features.

python benchmarks/memory.py [--folder DIR]

Random numbers of the shape that a small network gives: three layers of 32 channels, features of 128, logits of 1,000
classes' first 50. They are written as ``.npy`` files and read as memory maps, in batches. What is measured is the
anonymous memory that the process holds beyond what it held before, by its highest value (pages of the files themselves
are the kernel's, which takes them back when it needs them). Detectors that keep their inputs (banks) are no part of it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from timing import write  # isort: skip  # before NumPy: one thread

import time

import numpy as np
import torch

from machine import give_back, in_a_child
from unseen.registry import create
from unseen.signals import GramStatistics, LayerStatistics, LinearHead, Nudged, Signals, Support, key_of

ROWS = (128_000, 1_280_000)
CHANNELS, WIDTH, CLASSES = 32, 128, 50
DETECTORS = (
    "mahalanobis",
    "relative_mahalanobis",
    "vim",
    "react >> energy",
    "nac",
    "gram",
    "mds_ensemble(epsilon=0.0)",
    "adascale >> energy",
)


def main(folder: Path) -> None:
    rows = []
    for count in ROWS:
        support, size = made(folder, count)
        for expression in DETECTORS:
            fresh = replace(support, _moments={})  # each makes its own
            peak, seconds = peak_anonymous_mb(lambda e=expression, s=fresh: create(e).fit(s))  # type: ignore[misc]
            row = {
                "detector": expression,
                "inputs": count,
                "read_mb": round(size(expression) / 1e6),
                "peak_mb": round(peak, 1),
                "seconds": round(seconds, 1),
            }
            rows.append(row)
            print(json.dumps(row), flush=True)
    write("memory", {"channels": CHANNELS, "width": WIDTH, "classes": CLASSES, "rows": rows}, sys.argv)


def made(folder: Path, count: int) -> tuple[Support, Callable[[str], int]]:
    """A support on disk, and how many bytes of it a detector reads."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % CLASSES
    weight = random.normal(size=(CLASSES, WIDTH)).astype(np.float32) / WIDTH**0.5
    widths: dict[str, int] = {"features": WIDTH, "logits": CLASSES, key_of(Nudged()): WIDTH}
    for layer in ("-3", "-2", "-1"):
        widths[key_of(GramStatistics(layer))] = 5 * CHANNELS
        widths[key_of(LayerStatistics(layer))] = 2 * CHANNELS
    columns: dict[str, Any] = {}
    for number, (name, width) in enumerate(widths.items()):
        path = folder / f"{count}-{number}.npy"
        column = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, width))
        for start in range(0, count, 1 << 15):
            stop = min(start + (1 << 15), count)
            block = np.abs(random.standard_normal((stop - start, width), dtype=np.float32))
            if name == "logits":
                block = columns["features"][start:stop] @ weight.T
                block[np.arange(stop - start), labels[start:stop]] += 3
            column[start:stop] = block
        column.flush()
        columns[name] = np.load(path, mmap_mode="r")
    classes = tuple(str(code) for code in range(CLASSES))
    head = LinearHead(torch.from_numpy(weight), torch.zeros(CLASSES), classes)

    def size(expression: str) -> int:
        return sum(4 * count * widths[key_of(need)] for need in create(expression).at_fit())

    return Support(Signals(columns), labels=labels, classes=classes, head=head), size


def peak_anonymous_mb(call: Callable[[], Any]) -> tuple[float, float]:
    """The most anonymous memory while the call runs beyond that of before, and its seconds, in a forked child.

    A child of its own, so that what an earlier call gave back cannot hide what this one takes.
    """
    peak, seconds = in_a_child(lambda: _watched(call))
    return peak, seconds


def _watched(call: Callable[[], Any]) -> tuple[float, float]:
    give_back()
    before, seen, over = anonymous_mb(), [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.002):
            seen.append(anonymous_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    call()
    spent = time.perf_counter() - start
    over.set()
    watcher.join()
    return max(*seen, anonymous_mb()) - before, spent


def anonymous_mb() -> float:
    """``RssAnon`` of this process; Linux only."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where 5 GB of files may lie for a while; by default a new one")
    given = parser.parse_args().folder
    with tempfile.TemporaryDirectory(dir=given) as temporary:
        main(Path(temporary))
