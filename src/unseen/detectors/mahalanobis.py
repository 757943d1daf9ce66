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
    Cost: ``D^2 + 2 C D`` numbers; a query is one product with a ``D x (D + C)`` matrix for all classes together.
    Source: Lee, Lee, Lee, Shin, "A Simple Unified Framework for Detecting Out-of-Distribution Samples and
    Adversarial Attacks", NeurIPS 2018, equations 1 and 2; one layer, no input perturbation.

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
    project: Tensor  # (D, D + C): whitening, and beside it the product with every whitened class mean
    means: Tensor  # (C, D) class means, whitened
    offsets: Tensor  # (D + C,) zeros, then half the means' squared lengths, negative

    def __init__(self, floor: float = 1e-6) -> None:
        super().__init__()
        self.floor = floor
        for name in ("origin", "project", "means", "offsets"):
            self.register_buffer(name, torch.empty(0))

    def learn(self, support: Support) -> None:
        """Factorise the pooled covariance once, in float64; queries only multiply."""
        moments = support.moments("features")
        if len(moments) < 2:
            raise NotEnoughKnown("Mahalanobis needs at least two known inputs to see any spread")
        whiten = whitener(moments.covariance(), self.floor)
        origin = moments.grand_mean()
        means = (moments.mean[moments.count > 0] - origin) @ whiten  # (C, D)
        precision = next(support.batches("features", size=1))["features"].dtype
        self.origin = origin.to(precision)
        self.project = torch.cat([whiten, whiten @ means.T], dim=1).to(precision)
        self.means = means.to(precision).contiguous()
        self.offsets = torch.cat([torch.zeros_like(origin), -0.5 * means.square().sum(dim=1)]).to(precision)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Negative squared distances ``(B,)``."""
        both = torch.addmm(self.offsets, signals["features"] - self.origin, self.project)  # (B, D + C)
        white, towards = both[:, : len(self.project)], both[:, len(self.project) :]
        # |u - m|^2 = |u|^2 - 2 (u'm - |m|^2 / 2), the first part of which no class changes: one product finds the
        # nearest mean. The distance is then taken by difference: the sum loses the digits that its terms share.
        nearest = towards.argmax(dim=1)  # (B, C) -> (B,)
        gap = white - self.means.index_select(0, nearest)
        return -(gap * gap).sum(dim=1)
