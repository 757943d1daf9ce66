"""Metrics from one sort, against the scikit-learn calls they replace and against pytorch-ood.

python benchmarks/metrics.py [--pairs 15] [--size 1000000]

pytorch-ood is measured where it is installed: pip install --no-deps pytorch-ood==0.4.0
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable
from typing import Any

from timing import agreement, environment, paired, write  # isort: skip  # before NumPy: one thread

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from unseen.errors import MissingExtra
from unseen.metrics import evaluate
from unseen.optional import require

Numbers = dict[str, float]
TOLERANCE = 1e-12


def ours(known: np.ndarray, unknown: np.ndarray) -> Numbers:
    result = evaluate(known, unknown)
    return {
        "auroc": result.auroc,
        "ap_known": result.average_precision("known"),
        "ap_unknown": result.average_precision("unknown"),
        "fpr_at_tpr95_known": result.fpr_at_tpr(0.95, "known"),
    }


def scikit_learn(known: np.ndarray, unknown: np.ndarray) -> Numbers:
    is_known = np.concatenate((np.ones(known.size, np.int8), np.zeros(unknown.size, np.int8)))
    scores = np.concatenate((known, unknown))
    fpr, tpr, _ = roc_curve(is_known, scores, drop_intermediate=False)
    return {
        "auroc": roc_auc_score(is_known, scores),
        "ap_known": average_precision_score(is_known, scores),
        "ap_unknown": average_precision_score(1 - is_known, -scores),
        "fpr_at_tpr95_known": fpr[np.argmax(tpr >= 0.95)],
    }


def ours_as_pytorch_ood(known: np.ndarray, unknown: np.ndarray) -> Numbers:
    result = evaluate(known, unknown)
    return {
        "AUROC": result.auroc,
        "AUPR-IN": result.aupr_trapezoid("known"),
        "AUPR-OUT": result.aupr_trapezoid("unknown"),
        "FPR95TPR": result.fpr_at_tpr(0.95, "unknown"),
    }


def pytorch_ood() -> Callable[[np.ndarray, np.ndarray], Numbers] | None:
    """Its ``OODMetrics``, which also computes AUTC; None where it is not installed."""
    try:
        require("torchvision", "timm")  # it imports torchvision, which may not match this build of torch
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import torch
            from pytorch_ood.metrics import OODMetrics
    except (ImportError, MissingExtra) as missing:
        print(f"pytorch-ood is left out: {missing}", file=sys.stderr)
        return None

    def theirs(known: np.ndarray, unknown: np.ndarray) -> Numbers:
        metrics = OODMetrics()
        labels = torch.cat((torch.zeros(known.size), -torch.ones(unknown.size)))
        metrics.update(torch.from_numpy(-np.concatenate((known, unknown))), labels)
        computed = metrics.compute()
        return {name: float(computed[name]) for name in ("AUROC", "AUPR-IN", "AUPR-OUT", "FPR95TPR")}

    return theirs


def cases(size: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(0)
    known, unknown = random.normal(1, 1, size), random.normal(0, 1, size)
    few = min(size, 10_000)
    return {
        f"{size:,} + {size:,} float32": (known.astype(np.float32), unknown.astype(np.float32)),
        f"{size:,} + {size:,} float64": (known, unknown),
        f"{size:,} + {size:,} float64, 3 decimals": (known.round(3), unknown.round(3)),
        f"{few:,} + {few:,} float32": (known[:few].astype(np.float32), unknown[:few].astype(np.float32)),
        f"{few:,} + {few:,} float64": (known[:few], unknown[:few]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--size", type=int, default=1_000_000, help="scores on each side")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    opponents = [("scikit-learn", ours, scikit_learn)]
    if (theirs := pytorch_ood()) is not None:
        opponents.append(("pytorch-ood OODMetrics", ours_as_pytorch_ood, theirs))
    for name, (known, unknown) in cases(options.size).items():
        for against, mine, other in opponents:
            same = agreement(mine(known, unknown), other(known, unknown))
            if same["largest_difference"] > TOLERANCE:
                raise SystemExit(f"{name}: {against} differs by {same['largest_difference']:.1e}")
            timed = paired(
                lambda f=mine, a=known, b=unknown: f(a, b),
                lambda f=other, a=known, b=unknown: f(a, b),
                options.pairs,
            )
            rows.append({"scores": name, "against": against, **same, **timed})
            print(json.dumps(rows[-1]), flush=True)
    print(json.dumps(environment()))
    print(write("metrics", {"rows": rows}, sys.argv))


if __name__ == "__main__":
    main()
