"""Likeness to the stored pattern of the class that is named."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from unseen.detectors.base import Detector
from unseen.errors import WrongUse
from unseen.parts import Labels, Paper
from unseen.signals import Support


class SHE(Detector):
    """An input is known when its features are like the stored pattern of its likeliest class.

    ``score(x) = f . s_y``, with ``y = argmax l`` and the pattern ``s_c``, the mean features of the known inputs that
    *are c and are called c*. Of a class without such inputs the mean of all its inputs is taken, and of a class without
    any that of all known inputs.

    Args:
        metric: ``"inner"`` product (the paper); ``"euclidean"``, the distance with its sign turned; ``"cosine"``,
            less 1. The first grows with the features' length; the third forgets lengths.

    Reads: ``features (N, D)`` and ``logits (N, C)``; labels required, label ``i`` being column ``i``.
    Returns: ``(N,)``, in squared units of the features, in units of them, or in ``[-2, 0]``, the last measured by the
    difference of the unit vectors, so that close inputs do not tie.
    Raises: WrongUse, for another metric, or when the columns of the logits are not those of the labels.
    Cost: ``C D`` numbers; a query reads one row of them.
    Source: Zhang, Fu, Chen, Du, Li, Wang, Liu, Han, Zhang, "Out-of-Distribution Detection based on In-Distribution Data
    Patterns Memorization with Modern Hopfield Energy", ICLR 2023.
    Differs: oodeel takes the largest product with any pattern, divides it by ``D``, and perturbs the input by 0.0014
    before. A class without a correct input stops pytorch-ood, and its pattern is NaN in OpenOOD and oodeel.

    >>> known = {"features": [[1.0, 0.0], [3.0, 0.0], [0.0, 9.0]], "logits": [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]}
    >>> detector = SHE().fit(known, [0, 0, 1])
    >>> detector.score({"features": [[5.0, 5.0]], "logits": [[1.0, 0.0]]}).item()
    10.0
    """

    needs = frozenset({"features", "logits"})
    labels: Labels = "aligned"
    paper = Paper(
        "Out-of-Distribution Detection based on In-Distribution Data Patterns Memorization with Modern Hopfield Energy",
        "Zhang, Fu, Chen, Du, Li, Wang, Liu, Han, Zhang",
        "ICLR",
        2023,
    )
    patterns: Tensor  # (C, D); unit rows for the cosine

    def __init__(self, metric: Literal["inner", "euclidean", "cosine"] = "inner") -> None:
        super().__init__()
        self.metric = metric
        self.register_buffer("patterns", torch.empty(0, 0))

    def learn(self, support: Support) -> None:
        """Sums over the rightly classified inputs of each class, in float64."""
        if self.metric not in ("inner", "euclidean", "cosine"):
            raise WrongUse(f"SHE(metric={self.metric!r}): the metric is 'inner', 'euclidean' or 'cosine'")
        classes, device = len(support.classes), support.signals.device
        shape = 2, classes, support.signals.width("features")  # sums over all inputs of a class, and over the correct
        total = torch.zeros(shape, dtype=torch.float64, device=device)
        count = torch.zeros(2, classes, 1, dtype=torch.float64, device=device)
        for batch in support.batches("features", "logits"):
            x, labels = batch["features"].double(), batch["labels"].to(device)
            right = batch["logits"].argmax(dim=1) == labels
            for i, rows in enumerate((torch.ones_like(right), right)):
                total[i].index_add_(0, labels[rows], x[rows])
                count[i] += torch.bincount(labels[rows], minlength=classes)[:, None]
        every, correct = total / count.clamp_min(1)
        whole = total[0].sum(dim=0) / len(support)
        patterns = torch.where(count[1] > 0, correct, torch.where(count[0] > 0, every, whole))
        patterns = normalize(patterns) if self.metric == "cosine" else patterns
        self.patterns = patterns.to(support.dtype("features"))

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Likenesses ``(B,)``."""
        x = signals["features"]
        pattern = self.patterns[signals["logits"].argmax(dim=1)]  # (B, D)
        if self.metric == "inner":
            return (x * pattern).sum(dim=1)
        if self.metric == "euclidean":
            return -(x - pattern).square().sum(dim=1).sqrt()
        return -0.5 * (normalize(x) - pattern).square().sum(dim=1)
