"""Metrics from one sort, against the scikit-learn calls they replace and against pytorch-ood.

python benchmarks/metrics.py [--pairs 15] [--size 1000000]

pytorch-ood is measured where it is installed: pip install --no-deps pytorch-ood==0.4.0
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from timing import agreement, environment, paired, write  # isort: skip  # before NumPy: one thread

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from unseen.errors import MissingExtra
from unseen.metrics import evaluate
from unseen.optional import require

Numbers = dict[str, float]
Opponent = tuple[str, Callable[[], Numbers], Callable[[], Numbers]]
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


def pytorch_ood() -> Any:
    """Its package of metrics; None where it is not installed."""
    try:
        require("torchvision", "timm")  # it imports torchvision, which may not match this build of torch
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pytorch_ood import metrics
    except (ImportError, MissingExtra) as missing:
        print(f"pytorch-ood is left out: {missing}", file=sys.stderr)
        return None
    return metrics


def opponents(known: np.ndarray, unknown: np.ndarray, correct: np.ndarray, theirs: Any) -> Iterator[Opponent]:
    """Who computes the same numbers: name, our call, theirs."""
    yield "scikit-learn", lambda: ours(known, unknown), lambda: scikit_learn(known, unknown)
    if theirs is None:
        return
    import torch

    scores = torch.from_numpy(-np.concatenate((known, unknown)))
    labels = torch.cat((torch.zeros(known.size, dtype=torch.long), -torch.ones(unknown.size, dtype=torch.long)))
    predictions = torch.zeros_like(labels)
    predictions[: known.size] = torch.from_numpy(~correct)

    def ood_metrics() -> Numbers:  # they also compute AUTC
        metrics = theirs.OODMetrics()
        metrics.update(scores, labels)
        computed = metrics.compute()
        return {name: float(computed[name]) for name in ("AUROC", "AUPR-IN", "AUPR-OUT", "FPR95TPR")}

    yield "pytorch-ood OODMetrics", lambda: ours_as_pytorch_ood(known, unknown), ood_metrics
    yield (
        "pytorch-ood oscr_score",
        lambda: {"OSCR": evaluate(known, unknown, correct).oscr()},
        lambda: {"OSCR": theirs.oscr_score(scores, predictions, labels)},
    )


def cases(size: int) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Scores of known and unknown inputs, and which of the known are classified correctly: nine of ten."""
    random = np.random.default_rng(0)
    known, unknown, correct = random.normal(1, 1, size), random.normal(0, 1, size), random.random(size) < 0.9
    few = min(size, 10_000)
    return {
        f"{size:,} + {size:,} float32": (known.astype(np.float32), unknown.astype(np.float32), correct),
        f"{size:,} + {size:,} float64": (known, unknown, correct),
        f"{size:,} + {size:,} float64, 3 decimals": (known.round(3), unknown.round(3), correct),
        f"{few:,} + {few:,} float32": (known[:few].astype(np.float32), unknown[:few].astype(np.float32), correct[:few]),
        f"{few:,} + {few:,} float64": (known[:few], unknown[:few], correct[:few]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--size", type=int, default=1_000_000, help="scores on each side")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    theirs = pytorch_ood()
    for name, case in cases(options.size).items():
        for against, mine, other in opponents(*case, theirs):
            same = agreement(mine(), other())
            if same["largest_difference"] > TOLERANCE:
                raise SystemExit(f"{name}: {against} differs by {same['largest_difference']:.1e}")
            rows.append({"scores": name, "against": against, **same, **paired(mine, other, options.pairs)})
            print(json.dumps(rows[-1]), flush=True)
    print(json.dumps(environment()))
    print(write("metrics", {"rows": rows}, sys.argv))


if __name__ == "__main__":
    main()
