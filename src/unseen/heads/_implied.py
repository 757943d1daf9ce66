"""The linear layer behind the logits."""

from __future__ import annotations

import torch
from torch import Tensor

from unseen.errors import WrongUse
from unseen.heads.base import Head
from unseen.heads.ridge import Ridge
from unseen.parts import Labels
from unseen.signals import LinearHead, Support

LINEAR = 1e-2  # share of the logits' spread that a linear layer may leave unexplained: rounding, of half precision too


class Implied(Head):
    """The linear layer that made the logits, whatever its classes: for methods that need weights, not only logits.

    It is the encoder's own layer where there is one; else the least-squares solution from features to logits, where
    both were given; else a `Ridge` head on the labels. A pipeline puts it before a part that reads logits after a step
    has rewritten the features.

    Reads: ``features (N, D)``; ``logits (N, C)`` and labels only where no head came with the support.
    Raises: WrongUse, when there is none of the three, or the logits are no linear function of the features.
    """

    labels: Labels = "optional"
    traits = frozenset({"linear_head"})

    def learn(self, support: Support) -> None:
        """Keep the layer in the precision of the features."""
        self.keep(*self.solve(support), support)

    def solve(self, support: Support) -> tuple[Tensor, Tensor]:
        """Weight ``(C, D)`` and bias ``(C,)``, float64."""
        head = head_behind(support, self.name)
        return head.weight.double(), head.bias.double()


def head_behind(support: Support, name: str) -> LinearHead:
    """The head that made the support's logits: its own, solved from features and logits, or ridge on the labels.

    Args:
        support: with features, and a head, logits or labels.
        name: who asks, for the message.

    Raises:
        WrongUse: when there is none of the three, or the logits are no linear function of the features.
    """
    if support.head is not None:
        return support.head
    if "logits" in support.signals:
        return _solved(support, name)
    if support.labels is not None and len(support.classes) > 1:
        ridge = Ridge().fit(support)
        return LinearHead(ridge.weight, ridge.bias, support.classes)
    raise WrongUse(
        f"{name} needs the linear layer behind the logits: give the model's head, logits beside the features, or "
        "labels of two classes or more; or choose a detector that reads features alone, such as knn"
    )


def _solved(support: Support, name: str) -> LinearHead:
    """Least squares from features to logits around their means, by the eigenvectors that the features use."""
    n, x_sum, l_sum = 0, torch.zeros(0), torch.zeros(0)
    for batch in support.batches("features", "logits"):
        x, logits = batch["features"].double(), batch["logits"].double()
        x_sum, l_sum = (x.sum(0), logits.sum(0)) if not n else (x_sum + x.sum(0), l_sum + logits.sum(0))
        n += len(x)
    x_mean, l_mean = x_sum / n, l_sum / n
    gram, cross, spread = 0.0 * torch.outer(x_mean, x_mean), 0.0 * torch.outer(x_mean, l_mean), 0.0 * l_mean
    for batch in support.batches("features", "logits"):
        x, logits = batch["features"].double() - x_mean, batch["logits"].double() - l_mean
        gram, cross, spread = gram + x.T @ x, cross + x.T @ logits, spread + logits.square().sum(0)
    values, vectors = torch.linalg.eigh(gram)
    used = values > values[-1].clamp_min(torch.finfo(values.dtype).tiny) * 1e-10  # the rest is rounding
    half = vectors[:, used] / values[used].sqrt()  # (D, rank)
    weight = (half @ (half.T @ cross)).T  # (C, D)
    left = spread - (weight * cross.T).sum(1)
    if bool((left > LINEAR**2 * spread.clamp_min(torch.finfo(spread.dtype).tiny)).any()):
        share = float((left / spread.clamp_min(torch.finfo(spread.dtype).tiny)).clamp_min(0).max().sqrt())
        raise WrongUse(
            f"{name} needs the linear layer behind the logits, and these logits are not a linear function of the "
            f"features ({100 * share:.0f} % of one column's spread is left): give the model's head"
        )
    return LinearHead(weight, l_mean - weight @ x_mean)
