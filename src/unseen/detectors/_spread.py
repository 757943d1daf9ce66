"""The covariance within classes, and what makes it the identity."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from unseen.errors import NotEnoughKnown, WrongUse
from unseen.signals import Support
from unseen.statistics import whitener

On = Literal["features", "logits", "embedding"]
Covariance = Literal["pooled", "class_mean"]
CUT = 1e-10  # share of the largest eigenvalue at which a pseudo-inverse takes a direction for unused


def check_choices(kind: str, on: str, covariance: str) -> None:
    """Raise `WrongUse` for a signal or a covariance of another name."""
    if on not in ("features", "logits", "embedding"):
        raise WrongUse(f"{kind}(on={on!r}): distances are on 'features', 'logits' or 'embedding'")
    if covariance not in ("pooled", "class_mean"):
        raise WrongUse(f"{kind}(covariance={covariance!r}): the covariance is 'pooled' or 'class_mean'")


def within_classes(support: Support, signal: str, covariance: Covariance, kind: str) -> tuple[Tensor, Tensor]:
    """Which classes count, ``(C,)`` bool, and their common covariance ``(D, D)``, float64.

    Args:
        support: with ``signal``; all inputs are one class where there are no labels.
        signal: flat, ``(N, D)``.
        covariance: ``"pooled"`` is the scatter around the class means over ``N``; every class with an input counts.
            ``"class_mean"`` is the mean, every class alike, of the unbiased covariance of each; classes with one input
            have none, and do not count.
        kind: who asks, for the message.

    Raises:
        NotEnoughKnown: when no class has two inputs.
    """
    moments = support.moments(signal)
    if covariance == "pooled":
        return moments.count > 0, moments.covariance()
    there = moments.count > 1
    if not there.any():
        raise NotEnoughKnown(f"{kind}(covariance='class_mean') needs two inputs of some class: add inputs, or labels")
    # One weighted scatter for all classes, from a second walk: a matrix for each would be C times as large.
    share = torch.where(there, 1 / (int(there.sum()) * (moments.count - 1).clamp_min(1)), 0.0)  # (C,)
    total = torch.zeros_like(moments.within)
    for batch in support.batches(signal):
        x = batch[signal].flatten(1).double()
        y = batch["labels"].to(x.device) if "labels" in batch else torch.zeros(len(x), dtype=torch.long).to(x.device)
        gap = x - moments.mean[y]
        total = total + (gap * share[y, None]).T @ gap
    return there, total


def whitening(covariance: Tensor, floor: float | None) -> Tensor:
    """A matrix ``A (D, r)`` with ``|x A|^2 = x' (covariance + r I)^-1 x``, see `whitener`; ``r <= D`` directions.

    Args:
        covariance: symmetric, positive semi-definite up to rounding, float64.
        floor: ridge as a share of the mean eigenvalue. None takes the pseudo-inverse in its place: directions whose
            eigenvalue is at most `CUT` of the largest are left out.

    Raises:
        NotEnoughKnown: when the covariance is 0 or, with a floor of 0, not of full rank.
    """
    if floor is not None or not covariance.trace() > 0:
        return whitener(covariance, floor or 0.0)
    values, vectors = torch.linalg.eigh(covariance)
    used = values > CUT * values[-1]
    whiten: Tensor = vectors[:, used] / values[used].sqrt()
    return whiten
