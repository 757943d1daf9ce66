"""Mahalanobis distance to the nearest class mean."""

from collections.abc import Mapping

import torch
from torch import Tensor

from unseen.detectors._spread import Covariance, On, check_choices, whitening, within_classes
from unseen.detectors.base import Detector
from unseen.errors import NotEnoughKnown
from unseen.parts import Paper
from unseen.signals import Support


class Mahalanobis(Detector):
    """An input is known when it is close to some class mean, measured by the spread that classes share.

    ``score(x) = -min_c (f - m_c)' S^-1 (f - m_c)``, with class means ``m_c`` and the pooled within-class
    covariance ``S`` of the features ``f``.

    Args:
        floor: ridge added to ``S``, as a share of its mean eigenvalue. It keeps directions that the known
            never used finite; a pseudo-inverse would drop them, and an unknown living there with them. None takes that
            pseudo-inverse (eigenvalues up to 1e-10 of the largest are left out). It is for signals that cannot leave
            these directions, as logits of more classes than their head has features.
        on: the signal that is ``f``: ``"features"``; ``"logits"``, as in `plp >> mahalanobis(on='logits')`;
            ``"embedding"``.
        covariance: ``"pooled"``, as in the formula: every input counts alike. ``"class_mean"``: every class counts
            alike, as the mean of the unbiased covariances of the classes, those with one input left out altogether, as
            in the program of Adaloglou et al. 2023. They part where classes are not of one size.

    Reads: ``features (N, D)``, or the signal that ``on`` names; labels optional: without them all known inputs are one
    class.
    Returns: ``(N,)``, at most 0, squared standard deviations.
    Raises: WrongUse, for another signal or covariance; NotEnoughKnown, with fewer than two inputs, or two of no class.
    Cost: ``D^2 + 2 C D`` numbers; a query is one ``D x C`` product for all classes together and one ``D x D`` product.
    ``"class_mean"`` walks the known inputs twice.
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
    whiten: Tensor  # (D, D), fewer columns of a pseudo-inverse: |x @ whiten|^2 is the squared distance

    def __init__(self, floor: float | None = 1e-6, on: On = "features", covariance: Covariance = "pooled") -> None:
        super().__init__()
        check_choices("Mahalanobis", on, covariance)
        self.floor = floor
        self.on = on
        self.covariance = covariance
        self.needs = frozenset({on})
        if covariance == "class_mean":
            self.traits = frozenset({"two_pass"})
        for name in ("origin", "means", "towards", "offsets", "whiten"):
            self.register_buffer(name, torch.empty(0))

    def learn(self, support: Support) -> None:
        """Factorise the covariance once, in float64; queries only multiply."""
        moments = support.moments(self.on)
        if len(moments) < 2:
            raise NotEnoughKnown("Mahalanobis needs at least two known inputs to see any spread")
        there, spread = within_classes(support, self.on, self.covariance, "Mahalanobis")
        whiten = whitening(spread, self.floor)
        origin = moments.grand_mean()
        means = moments.mean[there] - origin  # (C, D)
        white = means @ whiten
        precision = support.dtype(self.on)
        self.origin = origin.to(precision)
        self.means = means.to(precision).contiguous()
        self.towards = (whiten @ white.T).to(precision).contiguous()
        self.offsets = (-0.5 * white.square().sum(dim=1)).to(precision)
        self.whiten = whiten.to(precision).contiguous()

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Negative squared distances ``(B,)``."""
        x = signals[self.on] - self.origin  # (B, D)
        # (x - m)' P (x - m) = x' P x - 2 (x' P m - m' P m / 2), the first part of which no class changes: one product
        # finds the nearest mean. Its distance is taken of the difference, as the sum loses digits that its terms share.
        nearest = torch.addmm(self.offsets, x, self.towards).argmax(dim=1)  # (B, C) -> (B,)
        gap = (x - self.means.index_select(0, nearest)) @ self.whiten  # (B, D)
        return -(gap * gap).sum(dim=1)
