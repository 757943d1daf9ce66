"""Agreement of a last layer that forgets some of its inputs, each time others."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor, log1p
from torch.nn.functional import linear

from unseen.detectors.base import Detector
from unseen.errors import WrongUse
from unseen.heads._implied import head_behind
from unseen.parts import Labels, Paper
from unseen.signals import Support
from unseen.statistics import odds


class Dropout(Detector):
    """An input is known when the classifier stays sure of one class while features are silenced at random.

    ``l_r = W (m_r * f) / (1 - p) + b`` for ``r = 1 .. R``: pass ``r`` keeps each feature with probability ``1 - p``,
    and enlarges what it keeps. The masks ``m_r`` are drawn once, at the fit, so that a score depends neither on the
    batch nor on how often it is asked for.

    This is dropout before the last layer alone, which needs no network. Dropout layers inside a network, as the paper
    has them, are another thing: there each pass is one of the whole network.

    Args:
        passes: ``R``, from 1; from 2 for the variance.
        p: share of the features that is silenced, from 0 and below 1.
        reduce: ``"logits"``: the logarithm of the largest probability of the mean logits. As the mean of the passes is
            linear too, it costs one product, whatever ``R`` is. ``"probabilities"``: that of the mean probabilities,
            the paper's estimate of them. ``"variance"``: minus the variance of a probability over the passes, divided
            by ``R - 1``, averaged over classes; it calls an input known whose logits are all small.
        seed: of the masks.

    Reads: ``features (N, D)``, and the linear head behind the logits; labels only where no head is there and one must
    be learnt.
    Returns: ``(N,)``; in ``[-log C, 0]``, natural logarithm, or the variance, in ``[-1 / 2, 0]``.
    Raises: WrongUse, for a number of passes or a share that there cannot be, another ``reduce``, or when there is no
    head.
    Cost: ``C D`` numbers for the mean logits, ``(C + R) D`` else; a query is one product with the head, or ``R`` and
    for the others ``R + 1``.
    Source: Gal, Ghahramani, "Dropout as a Bayesian Approximation: Representing Model Uncertainty in Deep Learning",
    ICML 2016; the variance after Kendall, Badrinarayanan, Cipolla, "Bayesian SegNet", BMVC 2017.
    Differs: OpenOOD takes the mean logits, of 5 passes. The dropout of pytorch-ood is that of the network's own layers,
    which is `MCD` here.

    >>> from unseen.signals import LinearHead
    >>> head = LinearHead(torch.eye(2), torch.zeros(2))
    >>> detector = Dropout(passes=100, reduce="variance").fit([[1.0, 0.0]], head=head)
    >>> sure, torn = detector.score([[50.0, 0.0], [50.0, 50.0]]).tolist()
    >>> round(sure, 2), round(torn, 2)
    (-0.06, -0.14)
    """

    needs = frozenset({"features"})
    labels: Labels = "optional"
    traits = frozenset({"linear_head"})
    paper = Paper(
        "Dropout as a Bayesian Approximation: Representing Model Uncertainty in Deep Learning",
        "Gal, Ghahramani",
        "ICML",
        2016,
    )
    weight: Tensor  # (C, D) of the head; for the mean logits multiplied by the mean mask
    bias: Tensor  # (C,)
    masks: Tensor  # (R, D), 0 or 1 / (1 - p); none for the mean logits

    def __init__(
        self,
        passes: int = 5,
        p: float = 0.5,
        reduce: Literal["logits", "probabilities", "variance"] = "logits",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.passes = passes
        self.p = p
        self.reduce = reduce
        self.seed = seed
        if reduce == "variance":
            self.traits = frozenset({"linear_head", "blind_to_flat_logits"})
        for name in ("weight", "bias", "masks"):
            self.register_buffer(name, torch.empty(0))

    def learn(self, support: Support) -> None:
        """The masks, and the head behind the logits."""
        if self.reduce not in ("logits", "probabilities", "variance"):
            raise WrongUse(f"Dropout(reduce={self.reduce!r}): give 'logits', 'probabilities' or 'variance'")
        fewest = 2 if self.reduce == "variance" else 1
        if not isinstance(self.passes, int) or self.passes < fewest:
            raise WrongUse(
                f"Dropout(passes={self.passes!r}, reduce={self.reduce!r}): give a whole number from {fewest}"
            )
        if not 0 <= self.p < 1:
            raise WrongUse(f"Dropout(p={self.p}): the share of features to silence is from 0 and below 1")
        for _ in support.batches("features"):
            pass  # They teach nothing, but one that is not a number is named here and not only when it is scored.
        head = head_behind(support, self.name)
        weight = head.weight.double()
        drawn = np.random.default_rng(self.seed).random((self.passes, weight.shape[1])) >= self.p
        masks = torch.from_numpy(drawn).to(weight) / (1 - self.p)
        if self.reduce == "logits":
            weight, masks = weight * masks.mean(dim=0), masks[:0]
        precision = support.dtype("features")
        self.weight = weight.to(
            precision, copy=True
        ).contiguous()  # buffers must not share memory with the caller's head
        self.bias = head.bias.to(precision, copy=True)
        self.masks = masks.to(precision)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Log-probabilities or negative variances ``(B,)``."""
        x = signals["features"]
        logits = linear(x, self.weight, self.bias)
        if self.reduce == "logits":
            return -log1p(odds(logits).sum(dim=1))
        passes = (linear(x * mask, self.weight, self.bias).softmax(dim=1) for mask in self.masks)  # one (B, C) at once
        if self.reduce == "probabilities":
            mean = sum(passes, torch.zeros_like(logits))
            top = mean.max(dim=1, keepdim=True)
            return -log1p(mean.scatter(1, top.indices, 0.0).sum(dim=1) / top.values.squeeze(1))
        # Of the likeliest class what is left is taken, which varies as much and does not lose its digits next to 1.
        likeliest = logits.argmax(dim=1, keepdim=True)
        mean, spread = torch.zeros_like(logits), torch.zeros_like(logits)
        for r, p in enumerate(passes):
            left = p.scatter(1, likeliest, 0.0)
            gap = left.scatter(1, likeliest, left.sum(dim=1, keepdim=True)) - mean
            mean = mean + gap / (r + 1)
            spread = spread + gap.square() * (r / (r + 1))  # Welford's update: sums of squares would cancel
        return -spread.mean(dim=1) / (len(self.masks) - 1)

    def numbers_per_query(self) -> int:
        """The features of one pass, and what is held for every class."""
        return self.weight.shape[1] + 6 * self.weight.shape[0]
