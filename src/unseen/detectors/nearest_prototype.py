"""Distance to the nearest class prototype."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from unseen.detectors._mean import class_means, grand_mean
from unseen.detectors.base import Detector
from unseen.errors import WrongUse
from unseen.parts import Paper
from unseen.signals import Support
from unseen.statistics import from_nearest, kth_distance


class NearestPrototype(Detector):
    """An input is known when it is close to the mean feature of some class.

    ``score(x) = -min_c ||f - m_c||`` (Euclidean), or ``max_c cos(f, m_c) - 1`` (cosine), with features ``f`` and class
    means ``m_c``. Needs no covariance, so a handful of inputs a class is enough.

    Args:
        metric: ``"euclidean"`` or ``"cosine"``; the second forgets lengths.

    Reads: ``features (N, D)``; labels optional: without them all known inputs are one class.
    Returns: ``(N,)``, at most 0, in units of the features; for the cosine in ``[-2, 0]``, measured by the difference of
    the unit vectors, so that close inputs do not tie.
    Raises: WrongUse, for another metric.
    Cost: ``C * D`` numbers.
    Source: Mensink, Verbeek, Perronnin, Csurka, "Distance-Based Image Classification: Generalizing to New Classes at
    Near-Zero Cost", TPAMI 2013, equation 1, the distance kept as the score; Snell, Swersky, Zemel, "Prototypical
    Networks for Few-shot Learning", NeurIPS 2017, compares both metrics.

    >>> known, labels = [[0.0, 1.0], [0.0, 3.0], [5.0, 0.0]], ["a", "a", "b"]
    >>> round(NearestPrototype().fit(known, labels).score([[0.0, 4.0]]).item(), 3)
    -2.0
    >>> round(NearestPrototype("cosine").fit(known, labels).score([[3.0, 3.0]]).item(), 3)
    -0.293
    """

    needs = frozenset({"features"})
    labels = "optional"
    paper = Paper(
        "Distance-Based Image Classification: Generalizing to New Classes at Near-Zero Cost",
        "Mensink, Verbeek, Perronnin, Csurka",
        "TPAMI",
        2013,
    )
    origin: Tensor  # (D,) mean of all known inputs; zeros for the cosine
    prototypes: Tensor  # (C, D) class means, seen from the origin; unit rows for the cosine

    def __init__(self, metric: Literal["euclidean", "cosine"] = "euclidean") -> None:
        super().__init__()
        self.metric = metric
        self.register_buffer("origin", torch.empty(0))
        self.register_buffer("prototypes", torch.empty(0, 0))

    def learn(self, support: Support) -> None:
        """Keep the mean of every class that has inputs."""
        if self.metric not in ("euclidean", "cosine"):
            raise WrongUse(f"NearestPrototype(metric={self.metric!r}): the metric is 'euclidean' or 'cosine'")
        means = class_means(support)
        origin = grand_mean(support) if self.metric == "euclidean" else torch.zeros_like(means[0])
        precision = support.dtype("features")
        self.origin = origin.to(precision)
        self.prototypes = (means - origin if self.metric == "euclidean" else normalize(means)).to(precision)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Negative distances, or cosines less 1, ``(B,)``."""
        if self.metric == "cosine":
            return -0.5 * kth_distance(normalize(signals["features"]), self.prototypes, 1).square()
        return -from_nearest(signals["features"] - self.origin, self.prototypes).square().sum(dim=1).sqrt()
