"""Unknown images moved until a CIFAR-10 network takes them for known ones. python experiments/attack_cifar10.py --n 200

Known are the CIFAR-10 images of the other studies, 4,660 to learn from and 846 lossless test images; unknown are images
of Tiny ImageNet without the 27 classes that are sorts of CIFAR-10 ones, means of 2 x 2 pixels. The network is the
ResNet-20 of the other studies. Detectors are those that need features and a head, the nearest known feature first.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from cifar10_detectors import network
from record import environment, record
from sources import cifar10, cifar10_sets
from unseen.api.attack import attack, attack_page
from unseen.report import render

NAME, UNKNOWN = "resnet20", "tiny"
KEPT = ("images", "pixels", "targets", "auroc", "auroc_interval", "ap_unknown", "success", "success_interval")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", type=Path, help="also write the page of the command here")
    parser.add_argument("--out", type=Path, help="also write the images here")
    options = parser.parse_args()
    unknown = next(one for one in cifar10_sets() if one.name == UNKNOWN)
    said = 0

    def tell(what: str, done: int, total: int) -> None:
        nonlocal said
        if what.startswith("moving") and done // 500 != said:
            said = done // 500
            print(f"  {what}: {done:,} of {total:,}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        found = attack(
            cifar10("train"),
            {"images": unknown.images},
            network(NAME),
            known_test=cifar10("test"),
            out=options.out,
            steps=options.steps,
            n=options.n,
            cache=Path(folder),
            seed=options.seed,
            progress=tell,
        )
        seconds = time.perf_counter() - start
    if options.page is not None:
        render(attack_page(found, command=f"python experiments/attack_cifar10.py --seed {options.seed}"), options.page)
    told = found.to_dict()
    del told["images"], told["skipped"]
    record(
        "attack_cifar10",
        told
        | {
            "environment": {**environment(), "threads": torch.get_num_threads()},
            "network": "ResNet-20",
            "unknown": {"name": unknown.name, "title": unknown.title, "n": len(unknown.images), "about": unknown.about},
            "seconds": round(seconds, 1),
            "detectors": [
                {"name": row.name, "cells": [{key: cell[key] for key in KEPT} for cell in row.cells]}
                for row in found.rows
            ],
        },
    )


if __name__ == "__main__":
    main()
