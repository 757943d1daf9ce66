"""Distance to the decision boundaries, for an input's distance to the mean."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import linear

from unseen.detectors._mean import deviation, grand_mean
from unseen.detectors.base import Detector
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.heads._implied import head_behind
from unseen.parts import Labels, Paper
from unseen.signals import Support

ALIKE = 1e-12  # squared distance of two weights, as a share of their squared lengths, that is rounding
LEAST = 1e-6  # of the known inputs' distance to the origin: nearer ones count as that near


class FDBD(Detector):
    """An input is known when its features lie far from the decision boundaries, for how far out they lie at all.

    ``score(x) = mean over c != y of (l_y - l_c) / (||w_y - w_c|| ||f - m||)``, with the logits ``l = W f + b``, their
    largest ``l_y``, and the mean ``m`` of the known features: the average distance to the boundaries between ``y`` and
    every other class, regularised. Classes with the same weight as ``y`` have no boundary with it and add nothing.

    Args:
        origin: ``"mean"`` (the paper), or ``"zero"``, which divides by ``||f||`` instead, as the authors' code may.

    Reads: ``features (N, D)``, and the linear head behind the logits; labels only where no head is there and one must
    be learnt.
    Returns: ``(N,)`` from 0 on, no unit.
    Raises: WrongUse, for another origin, or when there is no head; NotEnoughKnown, when there are fewer than two
    classes, or the known inputs do not differ from the origin.
    Cost: ``C (C + D) + D`` numbers; a query is the head's product.
    Source: Liu, Qin, "Fast Decision Boundary based Out-of-Distribution Detector", ICML 2024. The authors' code
    has the sum in place of the mean, which multiplies every score by ``C - 1``.
    Differs: OpenOOD and the authors' code have the sum, pytorch-ood the mean. OpenOOD chooses between ``||f - m||`` and
    ``||f||`` with unknown inputs at hand. In pytorch-ood two classes with the same weight are divided by 0.

    >>> from unseen.signals import LinearHead
    >>> head = LinearHead(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.zeros(2))
    >>> detector = FDBD().fit([[2.0, 0.0], [-2.0, 0.0]], head=head)
    >>> round(detector.score([[3.0, 4.0]]).item(), 3)
    0.6
    """

    needs = frozenset({"features"})
    labels: Labels = "optional"
    traits = frozenset({"linear_head"})
    paper = Paper("Fast Decision Boundary based Out-of-Distribution Detector", "Liu, Qin", "ICML", 2024)
    weight: Tensor  # (C, D)
    bias: Tensor  # (C,)
    center: Tensor  # (D,) m
    least: Tensor  # (), of the distance to it
    inverse: Tensor  # (C, C) 1 / ((C - 1) ||w_c - w_d||), 0 where there is no boundary

    def __init__(self, origin: Literal["mean", "zero"] = "mean") -> None:
        super().__init__()
        self.origin = origin
        for name in ("weight", "bias", "center", "least", "inverse"):
            self.register_buffer(name, torch.empty(0))

    def learn(self, support: Support) -> None:
        """Distances of the weights from their inner products, in float64."""
        if self.origin not in ("mean", "zero"):
            raise WrongUse(f"FDBD(origin={self.origin!r}): the origin is 'mean' or 'zero'")
        head = head_behind(support, self.name)
        weight, classes = head.weight.double(), len(head.weight)
        if classes < 2:
            raise NotEnoughKnown(f"FDBD measures from boundaries between classes and needs two classes, got {classes}")
        mean = grand_mean(support)
        center = mean if self.origin == "mean" else torch.zeros_like(mean)
        spread = deviation(support, center)
        if not spread > 0:
            raise NotEnoughKnown(
                "FDBD: the known inputs do not differ from the origin, so there is no scale: add inputs"
            )
        gram = weight @ weight.T
        square = gram.diagonal()
        sums = square[:, None] + square
        apart = sums - 2 * gram  # (C, C); C x C x D differences are never built
        precision = support.dtype("features")
        # Copies, as a buffer must not share memory with the caller's head.
        self.weight = head.weight.to(precision, copy=True).contiguous()
        self.bias = head.bias.to(precision, copy=True)
        self.center, self.least = center.to(precision), (LEAST * spread).to(precision)
        self.inverse = torch.where(apart > ALIKE * sums, apart.rsqrt() / (classes - 1), 0.0).to(precision)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Average distances ``(B,)``."""
        logits = linear(signals["features"], self.weight, self.bias)
        top = logits.max(dim=1, keepdim=True)
        rows = self.inverse[top.indices.squeeze(1)]  # (B, C)
        distance = ((top.values - logits) * rows).sum(dim=1)
        out = (signals["features"] - self.center).square().sum(dim=1).sqrt()
        return distance / out.maximum(self.least)
