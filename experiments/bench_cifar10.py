"""All detectors through one command on a CIFAR-10 network: every other set of images, one table, one page.

python experiments/bench_cifar10.py [--page FILE]

Writes the images of each set to an array file, runs ``unseen bench --detectors all`` on them with the ResNet-20 of the
other studies, and records what it says, with the published trends that can be asked of these sets beside it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from record import environment, record
from sources import archive, cifar10, cifar10_sets
from unseen.__main__ import main as unseen
from unseen.protocols.leaderboard import beside, published

NAME = "resnet20"
ALIKE = {"near": ("tiny",), "far": ("dtd", "mnist")}  # our sets that the published means have too, or nearly
KEPT = ("auroc", "ap_unknown", "fpr_at_tpr95", "auroc_interval", "rank")


def main(page: Path | None) -> None:
    here = Path(__file__).parent
    weights = archive(f"net_cifar10_{NAME}.safetensors")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        known = {part: cifar10(part) for part in ("train", "test")}  # type: ignore[arg-type]
        classes = [str(name) for name in known["train"]["classes"]]
        for part, held in known.items():
            labels = np.array(classes)[held["labels"]]
            np.savez(root / f"{part}.npz", images=held["images"], labels=labels)
        words = ["bench", "--known", f"{root / 'train.npz'}", "--known-test", f"{root / 'test.npz'}"]
        for one in cifar10_sets():
            np.savez(root / f"{one.name}.npz", images=one.images)
            words += ["--far" if one.kind == "far" else "--near", f"{one.name}={root / one.name}.npz"]
        words += ["-e", f"torch:{here / 'networks.py'}:{NAME}?weights={weights}&size=32&classes={','.join(classes)}"]
        words += ["--detectors", "all", "--cache", str(root / "store"), "--json", str(root / "bench.json")]
        if page is not None:
            words += ["--report", str(page)]
        start = time.perf_counter()
        run(words)
        spent = time.perf_counter() - start
        found = json.loads((root / "bench.json").read_text(encoding="utf-8"))
    rows = [shortened(row) for row in (*found["detectors"], *found["baselines"])]
    record(
        "bench_cifar10",
        {
            "environment": environment(),
            "seconds": round(spent, 1),
            "words": [
                word.replace(folder, "DIR").replace(str(here), "experiments") for word in words[:-4] if "?" not in word
            ],
            "n_fit": found["n_fit"],
            "n_known_test": found["n_known_test"],
            "sets": {name: {"kind": about["kind"], "n": about["n_unknown"]} for name, about in found["sets"].items()},
            "groups": {
                kind: {k: about[k] for k in ("best", "sentence", "ties", "sets")}
                for kind, about in found["groups"].items()
            },
            "rows": rows,
            "not_tried": found["not_tried"],
            "warnings": found["warnings"],
            "trends": trends({row["name"]: row for row in rows}),
        },
    )


def run(words: list[str]) -> None:
    """The command itself, in this process."""
    import sys

    before, sys.argv = sys.argv, ["unseen", *words]
    try:
        unseen()
    except SystemExit as done:
        if done.code:
            raise
    finally:
        sys.argv = before


def shortened(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the table shows, and AUROCs of single sets."""
    return {
        "name": row["name"],
        "baseline": row["baseline"],
        "means": {kind: {key: means[key] for key in KEPT if key in means} for kind, means in row["means"].items()},
        "sets": {name: round(of_set["auroc"], 4) for name, of_set in row["sets"].items()},
        "accuracy": row["accuracy"],
        "passes": row["passes"],
        "fit_seconds": round(row["fit_seconds"], 4),
        "score_seconds": round(row["score_seconds"], 5),
    }


def trends(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Published AUROCs of the same detectors beside ours, on the sets that are nearly those of the publication.

    ``spearman``: rank correlation over detectors. ``against_msp``: by how much each is above ``msp``, there and here.
    """
    from scipy.stats import spearmanr

    theirs = beside(list(rows), published("openood_cifar10.json"))
    theirs = {name: row for name, row in theirs.items() if not name.startswith(("ridge", "prototypes"))}
    ours = {
        name: {kind: float(np.mean([rows[name]["sets"][one] for one in ALIKE[kind]])) for kind in ALIKE}
        for name in theirs
    }
    (msp,) = (name for name, row in theirs.items() if row["postprocessor"] == "MSP")
    listed = [
        {
            "name": name,
            "published_as": row["postprocessor"],
            **{f"{kind}_published": row[kind] - theirs[msp][kind] for kind in ALIKE},
            **{f"{kind}_here": ours[name][kind] - ours[msp][kind] for kind in ALIKE},
        }
        for name, row in theirs.items()
        if name != msp
    ]
    agreement = {
        kind: float(spearmanr([row[kind] for row in theirs.values()], [ours[name][kind] for name in theirs]).statistic)
        for kind in ALIKE
    }
    return {"sets": ALIKE, "detectors": len(theirs), "spearman": agreement, "against_msp": listed}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, help="also write the page of the bench")
    main(parser.parse_args().page)
