"""Generalised entropy of the largest class probabilities."""

from collections.abc import Mapping

import torch
from torch import Tensor, log1p

from unseen.detectors._winner import winner
from unseen.detectors.base import Detector
from unseen.parts import Paper
from unseen.statistics import largest


class GEN(Detector):
    """An input is known when its largest class probabilities are all near 0 or 1.

    ``score(x) = -sum_{c in top M} (p_c (1 - p_c))^gamma``, ``p = softmax(l)``. A small ``gamma`` hears the faintest
    doubts, so ``1 - p`` of the winner is taken from the sum of the others: at ``gamma = 0.1`` a rest of 1e-9 counts
    0.126, and a float32 softmax would say 0.

    Args:
        gamma: exponent, above 0; the paper takes 0.1.
        M: how many of the largest probabilities count; all, where there are fewer classes. The paper takes 100 for
            ImageNet-1k, a tenth of the classes.

    Reads: ``logits (N, C)``; labels ignored; nothing is learnt.
    Returns: ``(N,)``, at most 0, no unit.
    Source: Liu, Lochman, Zach, "GEN: Pushing the Limits of Softmax-Based Out-of-Distribution Detection", CVPR 2023,
    equations 3 and 4.
    Differs: pytorch-ood takes the mean in place of the sum, over all classes unless told, and clamps probabilities to
    [1e-7, 1 - 1e-7], so that each tiny one counts 0.2 at ``gamma = 0.1``. The authors' code, OpenOOD and oodeel take
    ``p`` from a float32 softmax, where the winner's ``1 - p`` is 0 once it is small. OpenOOD chooses ``gamma`` and
    ``M`` with unknown inputs at hand.

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
        log_winner, rest = winner(logits.softmax(dim=1))
        kept = largest(logits, min(self.M, logits.shape[1]))  # (B, M), before anything is raised to a power
        top = kept.max(dim=1, keepdim=True)
        gaps = (kept - top.values).scatter(1, top.indices, -torch.inf)  # the winner left out
        log_p = gaps + log_winner[:, None]
        # exp of a sum of logarithms, as p itself is 0 in float32 long before p^gamma is small.
        others = (self.gamma * (log_p + log1p(-log_p.exp()))).exp().sum(dim=1)
        return -((self.gamma * (log_winner + rest.log())).exp() + others)
