"""Mahalanobis distance to the nearest class mean."""

from collections.abc import Mapping

import torch
from torch import Tensor

from unseen.detectors.base import Detector
from unseen.errors import NotEnoughKnown
from unseen.parts import Paper
from unseen.signals import Support
from unseen.statistics import whitener


class Mahalanobis(Detector):
    """An input is known when it is close to some class mean, measured by the spread that classes share.

    ``score(x) = -min_c (f - m_c)' S^-1 (f - m_c)``, with class means ``m_c`` and the pooled within-class
    covariance ``S`` of the features ``f``.

    Args:
        floor: ridge added to ``S``, as a share of its mean eigenvalue. It keeps directions that the known
            never used finite; a pseudo-inverse would drop them, and an unknown living there with them.

    Reads: ``features (N, D)``; labels optional: without them all known inputs are one class.
    Returns: ``(N,)``, at most 0, squared standard deviations.
    Raises: NotEnoughKnown, with fewer than two inputs.
    Cost: ``D^2 + 2 C D`` numbers; a query is one ``D x C`` product for all classes together and one ``D x D`` product.
    Source: Lee, Lee, Lee, Shin, "A Simple Unified Framework for Detecting Out-of-Distribution Samples and
    Adversarial Attacks", NeurIPS 2018, equations 1 and 2; one layer, no input perturbation.
    Differs: OpenOOD and oodeel invert with a pseudo-inverse, which drops directions that the known never used.
    pytorch-ood 0.4.0 does not divide the scatter by ``N``, so that the 1e-6 on its diagonal is one of 1e-6 / N here,
    and halves the distance, as oodeel does. oodeel perturbs the input by 0.0014 unless told. None of this changes a
    rank where the covariance is of full rank.

    >>> known = [[0.0, 1.0], [0.0, -1.0], [1.0, 0.0], [-1.0, 0.0]]
    >>> round(Mahalanobis(floor=0.0).fit(known).score([[2.0, 0.0]]).item(), 3)
    -8.0
    """

    needs = frozenset({"features"})
    labels = "optional"
    paper = Paper(
        "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks",
        "Lee, Lee, Lee, Shin",
        "NeurIPS",
        2018,
    )
    origin: Tensor  # (D,) mean of all known inputs
    means: Tensor  # (C, D) class means, seen from the origin
    towards: Tensor  # (D, C) inverse covariance times each mean
    offsets: Tensor  # (C,) half of each mean's squared length, negative
    whiten: Tensor  # (D, D): |x @ whiten|^2 is the squared distance

    def __init__(self, floor: float = 1e-6) -> None:
        super().__init__()
        self.floor = floor
        for name in ("origin", "means", "towards", "offsets", "whiten"):
            self.register_buffer(name, torch.empty(0))

    def learn(self, support: Support) -> None:
        """Factorise the pooled covariance once, in float64; queries only multiply."""
        moments = support.moments("features")
        if len(moments) < 2:
            raise NotEnoughKnown("Mahalanobis needs at least two known inputs to see any spread")
        whiten = whitener(moments.covariance(), self.floor)
        origin = moments.grand_mean()
        means = moments.mean[moments.count > 0] - origin  # (C, D)
        white = means @ whiten
        precision = support.dtype("features")
        self.origin = origin.to(precision)
        self.means = means.to(precision).contiguous()
        self.towards = (whiten @ white.T).to(precision).contiguous()
        self.offsets = (-0.5 * white.square().sum(dim=1)).to(precision)
        self.whiten = whiten.to(precision).contiguous()

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Negative squared distances ``(B,)``."""
        x = signals["features"] - self.origin  # (B, D)
        # (x - m)' P (x - m) = x' P x - 2 (x' P m - m' P m / 2), the first part of which no class changes: one product
        # finds the nearest mean. Its distance is taken of the difference, as the sum loses digits that its terms share.
        nearest = torch.addmm(self.offsets, x, self.towards).argmax(dim=1)  # (B, C) -> (B,)
        gap = (x - self.means.index_select(0, nearest)) @ self.whiten  # (B, D)
        return -(gap * gap).sum(dim=1)
