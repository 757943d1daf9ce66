"""Mahalanobis and k-NN queries against pytorch-ood 0.4.0. python benchmarks/detectors.py

Two shapes of Mahalanobis (100 classes of 512 features, 1,000 queries; 1,000 of 768, 64 queries) through our public
``score`` with all its checks, their ``predict_features``, one thread. Agreement is with a float64 loop over classes.
Also the largest tensor that a query makes as classes grow: ``max(C, D)`` numbers a row, never ``C * D``.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from timing import agreement, paired, write  # first: it asks for one thread
from unseen import KNN, Mahalanobis
from unseen.optional import require

MAHALANOBIS = ((100, 512, 1000), (1000, 768, 64))
NEIGHBOURS = (50_000, 512, 128, 50)


def world(classes: int, width: int, queries: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Clusters with unequal scales; half of the queries moved away from them."""
    torch.manual_seed(0)
    n = max(20 * classes, 4 * width)
    labels = torch.arange(n) % classes
    means = 2 * torch.randn(classes, width)
    scale = torch.linspace(0.2, 2.0, width)
    known = means[labels] + torch.randn(n, width) * scale
    asked = means[torch.randint(classes, (queries,))] + torch.randn(queries, width) * scale
    asked[queries // 2 :] += 1.5 * torch.randn(queries - queries // 2, width)
    return known, labels, asked


def naive(known: torch.Tensor, labels: torch.Tensor, asked: torch.Tensor) -> np.ndarray:
    """The definition in float64: one class after the other, an inverse."""
    x, y, q = known.double(), labels, asked.double()
    means = torch.stack([x[y == c].mean(dim=0) for c in y.unique()])
    centred = x - means[y]
    covariance = centred.T @ centred / len(x)
    covariance += 1e-6 * covariance.trace() / len(covariance) * torch.eye(len(covariance), dtype=torch.float64)
    precision = torch.linalg.inv(covariance)
    distances = torch.stack([((q - m) @ precision * (q - m)).sum(dim=1) for m in means])
    return -distances.amin(dim=0).numpy()


def main() -> None:
    warnings.filterwarnings("ignore")
    require("torchvision", "timm")  # pytorch-ood imports it
    from pytorch_ood import detector as theirs

    result: dict[str, object] = {}
    for classes, width, queries in MAHALANOBIS:
        known, labels, asked = world(classes, width, queries)
        ours = Mahalanobis().fit(known, labels)
        other = theirs.Mahalanobis(None).fit_features(known, labels)
        exact = naive(known, labels, asked)
        row = paired(lambda o=ours, q=asked: o.score(q), lambda o=other, q=asked: o.predict_features(q), pairs=25)
        scores = ours.score(asked).numpy()
        row["largest_relative_error_against_float64"] = float(np.max(np.abs(scores - exact) / np.abs(exact)))
        result[f"mahalanobis C={classes} D={width} B={queries}"] = row
        print(f"mahalanobis C={classes} D={width} B={queries}: {row}", flush=True)
    bank, width, queries, k = NEIGHBOURS
    known, _, asked = world(100, width, queries)
    known = known.repeat(bank // len(known) + 1, 1)[:bank] + 0.1 * torch.randn(bank, width)
    ours_knn = KNN(k=k).fit(known)
    # Their k-NN neither normalises nor takes torch: it gets unit rows, so that both answer one question.
    unit = torch.nn.functional.normalize(known)
    their_knn = theirs.KNN(None, n_neighbors=k).fit_features(unit, torch.zeros(len(unit), dtype=torch.long))
    unit_asked = torch.nn.functional.normalize(asked)
    row = paired(lambda: ours_knn.score(asked), lambda: their_knn.predict_features(unit_asked), pairs=5)
    row |= agreement(ours_knn.score(asked).numpy(), -their_knn.predict_features(unit_asked).numpy())
    result[f"knn N={bank} D={width} B={queries} k={k}"] = row
    print(f"knn: {row}", flush=True)
    result["largest tensor of a mahalanobis query, numbers a row, D=128"] = {
        f"C={classes}": _peak(*world(classes, 128, 512)) for classes in (10, 100, 1000)
    }
    print(write("detectors", result, sys.argv))


def _peak(known: torch.Tensor, labels: torch.Tensor, asked: torch.Tensor) -> float:
    """Numbers in the largest tensor that one scoring makes, per query, from every operation's output."""
    detector = Mahalanobis().fit(known, labels)
    with _Largest() as mode:
        detector.score(asked)
    return mode.numbers / len(asked)


class _Largest(TorchDispatchMode):
    """Remember the largest tensor that any operation returns (views of what was fitted aside)."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and not out._is_view():
            self.numbers = max(self.numbers, out.numel())
        return out


if __name__ == "__main__":
    main()
