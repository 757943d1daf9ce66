"""The linear probe on features that lie on disk: memory and time of an epoch, read for each minibatch or held.

python benchmarks/probe.py [--folder DIR]

Random features of 1,024 dimensions and 1,000 classes, batches of 8,192, as ``.npy`` files read as memory maps.
*Streamed* reads the rows of each minibatch from the file, *held* copies all standardised features into memory first.
Both must learn the same bits. Memory is the highest anonymous memory of a process of its own beyond what it held before
(see `memory.py`; pages of the files are the kernel's). An epoch's ceiling is that of its two matrix products, the
forward one and that of the weights' gradient, at the fastest float32 product seen in the same run; the files fit into
the kernel's cache here, so that a disk's own speed is not in these times.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from timing import paired, write  # isort: skip  # before NumPy: one thread

import numpy as np
import torch

from machine import ceilings
from memory import peak_anonymous_mb
from unseen.heads import probe
from unseen.heads.probe import Probe
from unseen.signals import Signals, Support

WIDTH, CLASSES, BATCH = 1024, 1000, 8192
ROWS = (25_000, 100_000, 400_000)
TIMED = 100_000  # rows
EPOCHS = 3  # their seconds hold the walk for mean and spread, and the copy where features are held
PAIRS = 5
IMAGENET, PUBLISHED = 1_281_167, 100  # training images, epochs
HELD = probe.HELD


def main(folder: Path) -> None:
    supports = {rows: made(folder, rows) for rows in ROWS}
    memory = []
    for rows, support in supports.items():
        for way in ("streamed", "held"):
            if way == "held" and rows * WIDTH > HELD:  # what the probe never does by itself
                continue
            peak, _ = peak_anonymous_mb(lambda w=way, s=support: fit(s, w, 1))  # type: ignore[misc]
            memory.append({"way": way, "inputs": rows, "file_mb": round(4e-6 * rows * WIDTH), "peak_mb": round(peak)})
            print(json.dumps(memory[-1]), flush=True)
    result = {
        "width": WIDTH,
        "classes": CLASSES,
        "batch": BATCH,
        "held_up_to_numbers": HELD,
        "memory": memory,
        "time": timed(supports[TIMED]),
    }
    write("probe", result, sys.argv)


def timed(support: Support) -> dict[str, Any]:
    """Seconds of an epoch each way, against each other and against the products alone."""
    found = ceilings()
    states = [fit(support, way, 1).state_dict() for way in ("streamed", "held")]
    if not all(torch.equal(states[0][name], states[1][name]) for name in states[0]):
        raise SystemExit("streamed and held learnt other bits")
    least = 2 * 2 * TIMED * WIDTH * CLASSES / found["gflops"] / 1e9
    ratio = paired(
        ours=lambda: fit(support, "streamed", EPOCHS), theirs=lambda: fit(support, "held", EPOCHS), pairs=PAIRS
    )
    epochs = {}
    for way, side in (("streamed", "ours"), ("held", "theirs")):
        each = ratio[f"{side}_cpu_ms"] / 1000 / EPOCHS
        epochs[way] = {
            "epoch_cpu_seconds": round(each, 2),
            "share_of_ceiling": round(least / each, 3),
            "imagenet_cpu_hours": round(PUBLISHED * each * IMAGENET / TIMED / 3600, 1),  # extrapolated, not run
        }
        print(json.dumps({way: epochs[way]}), flush=True)
    return {
        "inputs": TIMED,
        "epochs": EPOCHS,
        "machine": found,
        "ceiling_seconds": round(least, 2),
        **epochs,
        "held_over_streamed": ratio,
        "same_bits": True,
    }


def fit(support: Support, way: str, epochs: int) -> Probe:
    """A probe that learnt one way; which way it takes else depends on the size of the features."""
    probe.HELD = 0 if way == "streamed" else sys.maxsize
    fresh = Support(support.signals, support.labels, support.classes)  # heads are kept with the support
    return Probe(batch=BATCH, epochs=epochs).fit(fresh)


def made(folder: Path, rows: int) -> Support:
    """Features on disk: a direction for each class, and noise."""
    random = np.random.default_rng(0)
    labels = np.arange(rows) % CLASSES
    means = random.standard_normal((CLASSES, WIDTH), dtype=np.float32)
    path = folder / f"{rows}.npy"
    column = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, WIDTH))
    for start in range(0, rows, BATCH):
        stop = min(start + BATCH, rows)
        noise = random.standard_normal((stop - start, WIDTH), dtype=np.float32)
        column[start:stop] = 0.3 * means[labels[start:stop]] + noise
    column.flush()
    classes = tuple(str(code) for code in range(CLASSES))
    return Support(Signals({"features": np.load(path, mmap_mode="r")}), labels=labels, classes=classes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where 2.2 GB of files may lie for a while; by default a new one")
    given = parser.parse_args().folder
    with tempfile.TemporaryDirectory(dir=given) as temporary:
        main(Path(temporary))
