"""Distance of the class probabilities to those that are typical of a predicted class."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unseen.detectors._winner import winner
from unseen.detectors.base import Detector
from unseen.parts import Paper
from unseen.signals import Support

LEAST = math.log(1e-12)  # of a typical probability: one of 0 would make every other answer infinitely far


class KLMatching(Detector):
    """An input is known when its class probabilities are like those of known inputs that are called the same.

    ``score(x) = -min_k KL(p || d_k)``, with ``p = softmax(l)`` and the mean ``d_k`` of the probabilities of the known
    inputs that are *predicted* ``k``, right or wrong. A class that is never predicted has no ``d_k`` and is left out;
    a probability in ``d_k`` below 1e-12 counts as 1e-12, so that the score is finite.

    Surer answers are not always more known: the score tends to ``log d_kk`` as ``p_k`` tends to 1, and inputs that are
    far surer than the known tie.

    Reads: ``logits (N, C)``; labels ignored.
    Returns: ``(N,)``, at most 0 up to rounding, nats.
    Cost: ``K C`` numbers, with ``K`` the classes that are predicted; a query is one product with them.
    Source: Hendrycks, Basart, Mazeika, Zou, Kwon, Mostajabi, Steinhardt, Song, "Scaling Out-of-Distribution Detection
    for Real-World Settings", ICML 2022.
    Differs: for a class that is never predicted OpenOOD takes a one-hot ``d_k``, which is infinitely far from any other
    answer; pytorch-ood leaves it out, as is done here. pytorch-ood of 2024 took means by label, and compared with that
    of the predicted class alone. SciPy's divergence, which OpenOOD asks pair by pair, is infinite where ``d_k`` is 0.

    >>> detector = KLMatching().fit([[0.0, 2.0], [2.0, 0.0]])
    >>> round(detector.score([[0.0, 0.0]]).item(), 3)
    -0.434
    """

    needs = frozenset({"logits"})
    traits = frozenset({"saturates"})
    paper = Paper(
        "Scaling Out-of-Distribution Detection for Real-World Settings",
        "Hendrycks, Basart, Mazeika, Zou, Kwon, Mostajabi, Steinhardt, Song",
        "ICML",
        2022,
    )
    log_typical: Tensor  # (K, C), log d_k
    centered: Tensor  # (K, C), the same less its mean over k; made again after a load

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("log_typical", torch.empty(0, 0))
        self.register_buffer("centered", torch.empty(0, 0), persistent=False)

    def learn(self, support: Support) -> None:
        """Mean probabilities of each predicted class, in float64."""
        width, device = support.signals.width("logits"), support.signals.device
        total = torch.zeros(width, width, dtype=torch.float64, device=device)
        count = torch.zeros(width, dtype=torch.float64, device=device)
        for batch in support.batches("logits"):
            p = batch["logits"].double().softmax(dim=1)
            named = p.argmax(dim=1)
            total.index_add_(0, named, p)
            count += torch.bincount(named, minlength=width)
        there = count > 0
        typical = total[there] / count[there, None]
        self.log_typical = typical.log().clamp_min(LEAST).to(support.dtype("logits"))
        self._center()

    def _center(self) -> None:
        self.centered = self.log_typical - self.log_typical.mean(dim=0)

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._center()

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Negative divergences ``(B,)``."""
        logits = signals["logits"]
        p = logits.softmax(dim=1)
        # From what the other classes leave: a log-softmax has rounded the winner's own part away.
        log_p = logits - logits.amax(dim=1, keepdim=True) + winner(p)[0][:, None]  # (B, C)
        # The nearest by one product, without what is common to all, whose rounding would decide between near ones.
        nearest = (p @ self.centered.T).argmax(dim=1)  # (B, K) -> (B,)
        log_d = self.log_typical[nearest]  # (B, C)
        gap = log_p - log_d
        # As p and d both add up to 1, sum p g = sum p g - p + d. These terms are not negative and do not cancel, while
        # of logits that differ little, as those of a ridge head, sum p g leaves a few digits. p = d e^g.
        half = (-0.5 * gap.clamp_min(-1)).tanh()
        close = p * (2 * half / (1 - half) + gap)  # e^-g - 1 + g
        return -torch.where(gap > -1, close, log_d.exp() - p + p * gap).sum(dim=1)
