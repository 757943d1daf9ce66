"""Generalised entropy of the largest class probabilities."""

from collections.abc import Mapping

import torch
from torch import Tensor, log1p

from unseen.detectors.base import Detector
from unseen.parts import Paper
from unseen.statistics import largest


class GEN(Detector):
    """An input is known when its largest class probabilities are all near 0 or 1.

    ``score(x) = -sum_{c in top M} (p_c (1 - p_c))^gamma``, ``p = softmax(l)``. A small ``gamma`` hears the faintest
    doubts, so ``1 - p`` of the winner ``y`` is taken from the rest, ``R / (1 + R)`` with ``R = sum_{c != y}
    exp(l_c - l_y)``: at ``gamma = 0.1`` a rest of 1e-9 counts 0.126, and a float32 softmax would say 0.

    Args:
        gamma: exponent, above 0; the paper takes 0.1.
        M: how many of the largest probabilities count; all, where there are fewer classes. The paper takes 100 for
            ImageNet-1k, a tenth of the classes.

    Reads: ``logits (N, C)``; labels ignored; nothing is learnt.
    Returns: ``(N,)``, at most 0, no unit.
    Source: Liu, Lochman, Zach, "GEN: Pushing the Limits of Softmax-Based Out-of-Distribution Detection", CVPR 2023,
    equations 3 and 4.

    >>> round(GEN(gamma=1.0).score([[0.0, 0.0]]).item(), 4)
    -0.5
    """

    needs = frozenset({"logits"})
    traits = frozenset({"stateless"})
    paper = Paper(
        "GEN: Pushing the Limits of Softmax-Based Out-of-Distribution Detection", "Liu, Lochman, Zach", "CVPR", 2023
    )

    def __init__(self, gamma: float = 0.1, M: int = 100) -> None:
        super().__init__()
        self.gamma = gamma
        self.M = M

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Negative generalised entropies ``(B,)``."""
        logits = signals["logits"]
        top = logits.max(dim=1, keepdim=True)
        gaps = (logits - top.values).scatter(1, top.indices, -torch.inf)  # (B, C), the winner left out
        rest = gaps.exp().sum(dim=1, keepdim=True)
        gaps = largest(gaps, min(self.M, gaps.shape[1]) - 1)  # before anything is raised to a power
        whole = log1p(rest)
        log_p = gaps - whole
        # exp of a sum of logarithms, as p itself is 0 in float32 long before p^gamma is small.
        others = (self.gamma * (log_p + log1p(-log_p.exp()))).exp().sum(dim=1)
        winner = (self.gamma * (rest.log() - 2 * whole)).exp().squeeze(1)
        return -(winner + others)
