"""Methods as benchmark programs write them: class by class, pair by pair, one input at a time.

OpenOOD is no library to call on arrays; these are its formulas, with its loops and its intermediate sizes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.stats
import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from counterparts import Counterpart, Given, Query

RIDGE = 1e-6  # of the mean eigenvalue, as ours


def _precision(centred: Tensor) -> Tensor:
    covariance = centred.T @ centred / len(centred)
    ridge = RIDGE * covariance.trace() / len(covariance)
    return torch.linalg.inv((covariance + ridge * torch.eye(len(covariance))).double()).float()


def _classes(g: Given) -> tuple[Tensor, Tensor]:
    """Class means ``(C, D)`` and the inverse of the pooled covariance."""
    means = torch.stack([g.known[g.labels == c].mean(dim=0) for c in g.labels.unique()])
    return means, _precision(g.known - means[g.labels])


def _distance(x: Tensor, mean: Tensor, precision: Tensor) -> Tensor:
    gap = x - mean
    return (gap @ precision @ gap.T).diag()  # (B, B) for its diagonal


def mahalanobis(_: Any, g: Given) -> Query:
    means, precision = _classes(g)
    return lambda x, _: torch.stack([_distance(x, mean, precision) for mean in means]).amin(dim=0)


def relative_mahalanobis(_: Any, g: Given) -> Query:
    means, precision = _classes(g)
    centre = g.known.mean(dim=0)
    whole = _precision(g.known - centre)

    def query(x: Tensor, _: Tensor) -> Tensor:
        return torch.stack([_distance(x, mean, precision) for mean in means]).amin(dim=0) - _distance(x, centre, whole)

    return query


def kl_matching(_: Any, g: Given) -> Query:
    p = g.known_logits.double().softmax(dim=1)
    named = p.argmax(dim=1)
    typical = [p[named == c].mean(dim=0).numpy() for c in named.unique()]

    def query(_: Tensor, logits: Tensor) -> Any:
        return [min(scipy.stats.entropy(q, d) for d in typical) for q in logits.double().softmax(dim=1).numpy()]

    return query


def gen(_: Any, __: Given) -> Query:
    def query(_: Tensor, logits: Tensor) -> Tensor:
        p = logits.softmax(dim=1).sort(dim=1).values[:, -100:]
        return (p**0.1 * (1 - p) ** 0.1).sum(dim=1)

    return query


def dice(_: Any, g: Given) -> Query:
    contribution = g.known.mean(dim=0) * g.head.weight
    kept = torch.from_numpy(np.where(contribution > np.percentile(contribution, 90), g.head.weight, 0))
    return lambda x, _: -((x[:, None] * kept).sum(dim=2) + g.head.bias).logsumexp(dim=1)  # (B, C, D)


def gradnorm(_: Any, g: Given) -> Query:
    layer = torch.nn.Linear(g.known.shape[1], len(g.head.bias))
    layer.load_state_dict({"weight": g.head.weight, "bias": g.head.bias})

    def query(x: Tensor, _: Tensor) -> Any:
        scores = []
        with torch.enable_grad():
            for row in x:
                layer.zero_grad()
                (-log_softmax(layer(row[None]), dim=1).mean()).backward()
                assert layer.weight.grad is not None
                scores.append(-float(layer.weight.grad.abs().sum()))
        return scores

    return query


def relation(_: Any, g: Given) -> Query:
    unit = g.known / g.known.norm(dim=1, keepdim=True)
    p = g.known_logits.softmax(dim=1)

    def query(x: Tensor, logits: Tensor) -> Any:
        scores = []
        for row, answer in zip(x, logits.softmax(dim=1), strict=True):
            tie = (unit @ (row / row.norm())).clamp_min(0) * (p @ answer)
            scores.append(-float(tie[tie > 0.03].sum()))
        return scores

    return query


PAIRS = (
    Counterpart("mahalanobis", "each class, B x B for its diagonal", mahalanobis),
    Counterpart("relative_mahalanobis", "each class, B x B for its diagonal", relative_mahalanobis),
    Counterpart("kl_matching", "SciPy's entropy of each pair", kl_matching),
    Counterpart("gen", "softmax, full sort", gen),
    Counterpart("dice >> energy", "B x C x D, then a sum", dice),
    Counterpart("gradnorm", "a backward pass an input", gradnorm),
    Counterpart("relation", "one input at a time", relation),
)
