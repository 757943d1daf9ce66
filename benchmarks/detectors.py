"""Queries of the detectors against pytorch-ood 0.4.0, scikit-learn and the products that they need.

python benchmarks/detectors.py [--pairs 25]

Ours through the public ``score`` with all its checks, theirs through ``predict_features`` or ``predict_logits``, one
thread. The answers of both are compared with the definition in float64: the largest difference, as a share of the
largest score. Also the largest tensor that a Mahalanobis query makes as classes grow: ``max(C, D)`` numbers a row,
never ``C * D``.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from timing import paired, write  # isort: skip  # before NumPy: one thread

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode

from unseen import create
from unseen.optional import require
from unseen.signals import LinearHead

SHAPES = ((100, 512, 1000), (1000, 768, 64))  # classes, width, queries
LOGITS = ((1000, 64), (1000, 1000))  # classes, queries
GAMMA, M = 0.1, 100
K, BANK, LARGE_BANK, WIDTH, QUERIES = 50, 50_000, 200_000, 512, 128
TOLERANCE = 1e-5  # of the largest score; all inputs are float32
FLOOR = 1e-6  # ridge of the covariance, as a share of its mean eigenvalue

Score = Callable[[], torch.Tensor]
Row = dict[str, Any]


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


def compared(query: str, against: str, ours: Score, theirs: Score, exact: np.ndarray, pairs: int) -> Row:
    """One row: how many times faster, and how far both are from the float64 answer.

    Raises:
        SystemExit: when ours is not that answer: a fast wrong one is no result.
    """
    row: Row = {
        "query": query,
        "against": against,
        "largest_difference": _difference(ours(), exact),
        "theirs_largest_difference": _difference(theirs(), exact),
    }
    if row["largest_difference"] > TOLERANCE:
        raise SystemExit(f"{query}: ours is off by {row['largest_difference']:.1e} of the largest score")
    row |= paired(ours, theirs, pairs)
    print(json.dumps(row), flush=True)
    return row


def _difference(scores: torch.Tensor, exact: np.ndarray) -> float:
    return float(np.abs(scores.double().numpy() - exact).max() / np.abs(exact).max())


def distances(pairs: int) -> Iterator[Row]:
    """Mahalanobis and relative Mahalanobis; pytorch-ood does not divide the scatter by ``N``, and halves the first."""
    from pytorch_ood import detector as other

    for classes, width, queries in SHAPES:
        known, labels, asked = world(classes, width, queries)
        n, shape = len(known), f"C={classes} D={width} B={queries}"
        to_class, to_all = _distances_by_definition(known, labels, asked)
        ours = create("mahalanobis").fit(known, labels)
        theirs = other.Mahalanobis(None).fit_features(known, labels)
        yield compared(
            f"mahalanobis {shape}",
            "pytorch-ood",
            lambda o=ours, q=asked: o.score(q),
            lambda t=theirs, q=asked, n=n: -2 * n * t.predict_features(q),
            -to_class,
            pairs,
        )
        ours = create("relative_mahalanobis").fit(known, labels)
        theirs = other.RMD(None).fit_features(known, labels)
        yield compared(
            f"relative_mahalanobis {shape}",
            "pytorch-ood",
            lambda o=ours, q=asked: o.score(q),
            lambda t=theirs, q=asked, n=n: -n * t.predict_features(q),
            to_all - to_class,
            pairs,
        )


def _distances_by_definition(
    known: torch.Tensor, labels: torch.Tensor, asked: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """To the nearest class and to all known together, one class after the other, with inverses."""
    x, q = known.double(), asked.double()
    means = torch.stack([x[labels == c].mean(dim=0) for c in labels.unique()])
    within = torch.cov((x - means[labels]).T, correction=0)
    ridge = FLOOR * within.trace() / len(within) * torch.eye(len(within), dtype=torch.float64)
    precision = torch.linalg.inv(within + ridge)
    nearest = torch.stack([((q - m) @ precision * (q - m)).sum(dim=1) for m in means]).amin(dim=0)
    gap = q - x.mean(dim=0)
    return nearest.numpy(), (gap @ torch.linalg.inv(torch.cov(x.T, correction=0) + ridge) * gap).sum(dim=1).numpy()


def vim(pairs: int) -> Iterator[Row]:
    from pytorch_ood import detector as other

    for classes, width, queries in SHAPES:
        known, labels, asked = world(classes, width, queries)
        means = torch.stack([known[labels == c].mean(dim=0) for c in range(classes)])
        weight, bias = 3 * means / width, 0.1 * torch.randn(classes)  # the right logit is about 12
        d = 512 if width >= 768 else width // 2
        ours = create("vim").fit(known, labels, head=LinearHead(weight, bias))
        theirs = other.ViM(None, d, weight, bias).fit_features(known, labels)
        yield compared(
            f"vim C={classes} D={width} B={queries}",
            "pytorch-ood",
            lambda o=ours, q=asked: o.score(q),
            lambda t=theirs, q=asked: -t.predict_features(q),
            _vim_by_definition(known, asked, weight, bias, d),
            pairs,
        )


def _vim_by_definition(
    known: torch.Tensor, asked: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, d: int
) -> np.ndarray:
    x, q, w, b = (t.double() for t in (known, asked, weight, bias))
    origin = -torch.linalg.pinv(w, rtol=1e-5) @ b
    strongest = torch.linalg.svd(x - origin, full_matrices=False).Vh[:d].T

    def left(points: torch.Tensor) -> torch.Tensor:
        gap = points - origin
        return (gap - gap @ strongest @ strongest.T).norm(dim=1)

    scale = (x @ w.T + b).amax(dim=1).mean() / left(x).mean()
    return ((q @ w.T + b).logsumexp(dim=1) - scale * left(q)).numpy()


def gen(pairs: int) -> Iterator[Row]:
    """Logits from flat to a lead of 25; pytorch-ood clamps the probabilities and takes the mean, the official program
    sums over the sorted probabilities. Where ``p`` is 1 to float32, both lose the winner's term.
    """
    from pytorch_ood import detector as other

    ours, theirs = create(f"gen(gamma={GAMMA}, M={M})"), other.GEN(None, gamma=GAMMA, M=M)
    for classes, queries in LOGITS:
        torch.manual_seed(0)
        logits = torch.randn(queries, classes)
        logits[torch.arange(queries), torch.randint(classes, (queries,))] += torch.linspace(0, 25, queries)
        query = f"gen C={classes} M={M} B={queries}"
        exact = -_gen_by_definition(logits.double()).numpy()
        for against, answer in (
            ("pytorch-ood", lambda x=logits: -M * theirs.predict_logits(x)),
            ("softmax, full sort", lambda x=logits: -_gen_by_definition(x)),
        ):
            yield compared(query, against, lambda x=logits: ours.score(x), answer, exact, pairs)


def _gen_by_definition(logits: torch.Tensor) -> torch.Tensor:
    p = logits.softmax(dim=1).sort(dim=1).values[:, -M:]
    return (p**GAMMA * (1 - p) ** GAMMA).sum(dim=1)


def knn(pairs: int) -> Iterator[Row]:
    """At 50,000 rows against pytorch-ood, at 200,000 against scikit-learn; both search by brute force here."""
    from pytorch_ood import detector as other

    known, asked = _bank(LARGE_BANK)
    small = create(f"knn(k={K})").fit(known[:BANK])
    theirs = other.KNN(None, k=K).fit_features(known[:BANK], torch.zeros(BANK, dtype=torch.long))
    yield compared(
        _knn_name(BANK),
        "pytorch-ood",
        lambda: small.score(asked),
        lambda: -theirs.predict_features(asked),
        _knn_by_definition(known[:BANK], asked),
        min(pairs, 9),
    )
    ours = create(f"knn(k={K})").fit(known)
    brute = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(normalize(known).numpy())
    unit_asked = normalize(asked).numpy()
    yield compared(
        _knn_name(LARGE_BANK),
        "scikit-learn, brute force",
        lambda: ours.score(asked),
        lambda: torch.from_numpy(-brute.kneighbors(unit_asked)[0][:, -1]),
        _knn_by_definition(known, asked),
        min(pairs, 9),
    )


def products(pairs: int) -> Iterator[Row]:
    """A whole k-NN query against the one product of queries and bank that it needs, and against product and top-k.

    The bank once mixed and once sorted towards the queries, as one sorted by class can be for queries of the last:
    similarities then ascend but for noise, which is the worst that can happen to a heap of the best ``k``.
    """
    known, asked = _bank(LARGE_BANK)
    towards = asked[0]
    ascending = (normalize(known) @ towards).argsort()
    for order, bank, queries in (
        ("mixed", known, asked),
        ("sorted towards the queries", known[ascending], towards + 0.1 * asked),
    ):
        ours = create(f"knn(k={K})").fit(bank)
        unit, exact = normalize(queries), _knn_by_definition(bank, queries)
        row: Row = {"query": _knn_name(LARGE_BANK), "bank": order}
        with torch.inference_mode():
            for name, whole in (
                ("score", lambda o=ours, q=queries: o.score(q)),
                ("product and topk", lambda q=unit, b=ours.bank: _product_and_topk(q, b)),
            ):
                timed = paired(lambda q=unit, b=ours.bank: q @ b.T, whole, pairs)
                named = {key.replace("ours", "product").replace("theirs", "whole"): v for key, v in timed.items()}
                row[name] = {"largest_difference": _difference(whole(), exact), **named}
        print(json.dumps(row), flush=True)
        yield row


def _product_and_topk(queries: torch.Tensor, bank: torch.Tensor) -> torch.Tensor:
    nearest = (queries @ bank.T).topk(K, dim=1).indices[:, -1]
    return -(queries - bank[nearest]).norm(dim=1)


def _knn_name(bank: int) -> str:
    return f"knn k={K} N={bank:,} D={WIDTH} B={QUERIES}"


def _bank(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    known, labels, asked = world(100, WIDTH, QUERIES)
    centers = torch.stack([known[labels == c].mean(dim=0) for c in range(100)])
    return centers[torch.randint(100, (rows,))] + 1.5 * torch.randn(rows, WIDTH), asked


def _knn_by_definition(known: torch.Tensor, asked: torch.Tensor) -> np.ndarray:
    bank, queries = normalize(known.double()), normalize(asked.double())
    return -np.stack([np.partition((bank - q).norm(dim=1).numpy(), K - 1)[K - 1] for q in queries])


def largest_tensors() -> dict[str, float]:
    return {f"C={classes}": _peak(*world(classes, 128, 512)) for classes in (10, 100, 1000)}


def _peak(known: torch.Tensor, labels: torch.Tensor, asked: torch.Tensor) -> float:
    """Numbers in the largest tensor that one scoring makes, per query, from every operation's output."""
    detector = create("mahalanobis").fit(known, labels)
    with _Largest() as mode:
        detector.score(asked)
    return mode.numbers / len(asked)


class _Largest(TorchDispatchMode):
    """Remember the largest tensor that any operation returns, views aside."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and not func.is_view:
            self.numbers = max(self.numbers, out.numel())
        return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=25)
    pairs = parser.parse_args().pairs
    warnings.filterwarnings("ignore")
    require("torchvision", "timm")  # pytorch-ood imports it
    result = {
        "rows": [row for part in (distances, vim, gen, knn) for row in part(pairs)],
        "times_the_product": list(products(min(pairs, 15))),
        "largest tensor of a mahalanobis query, numbers a row, D=128": largest_tensors(),
    }
    print(write("detectors", result, sys.argv))


if __name__ == "__main__":
    main()
