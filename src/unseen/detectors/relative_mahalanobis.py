"""Mahalanobis distance to the nearest class, relative to that of all known inputs together."""

from collections.abc import Mapping

import torch
from torch import Tensor

from unseen.detectors.base import Detector
from unseen.errors import NotEnoughKnown
from unseen.parts import Paper
from unseen.signals import Support
from unseen.statistics import from_nearest, whitener


class RelativeMahalanobis(Detector):
    """An input is known when it fits some class better than it fits the known as a whole.

    ``score(x) = -min_c (d_c(x) - d_0(x))``: ``d_c`` is the squared Mahalanobis distance to the mean of class ``c``
    under the pooled within-class covariance ``S``, ``d_0`` that to the mean ``m`` of all inputs under their total
    covariance ``S_0``. As ``S_0 = S + S_b`` with the covariance ``S_b`` of the class means, both are diagonal in the
    discriminant directions (white under ``S``, eigenvalues ``e_j`` of ``S_b``), and all other directions cancel::

        d_c - d_0 = sum_{j <= r} (u_j - m_cj)^2 - u_j^2 / (1 + e_j),    r = min(C - 1, D)

    So a query is one ``D x r`` and one ``r x C`` product, and two large numbers are never subtracted. It also shows
    what the method cannot see: whatever leaves the ``r`` discriminant directions unchanged.

    Args:
        floor: ridge added to ``S``, as a share of its mean eigenvalue.

    Reads: ``features (N, D)``; labels required.
    Returns: ``(N,)``, squared standard deviations; both signs occur.
    Raises: NotEnoughKnown, with one class (both distances are then the same) or fewer inputs than classes and one.
    Cost: ``(D + C) r`` numbers.
    Source: Ren, Fort, Liu, Roy, Padhy, Lakshminarayanan, "A Simple Fix to Mahalanobis Distance for Improving
    Near-OOD Detection", 2021, equations 2 and 3. Both covariances are divided by ``N``.
    Differs: pytorch-ood of 2024 divided ``S`` by the number of inputs and not ``S_0``, so that its scores were those of
    `Mahalanobis`; 0.4.0 divides neither, and its scores are ours by ``N``. oodeel halves both distances, and perturbs
    the input by 0.0014 unless told. All of them subtract two large numbers.

    >>> known = [[-3.0, 1.0], [-3.0, -1.0], [3.0, 1.0], [3.0, -1.0], [-2.0, 0.0], [-4.0, 0.0], [2.0, 0.0], [4.0, 0.0]]
    >>> detector = RelativeMahalanobis(floor=0.0).fit(known, list("aabbaabb"))
    >>> [round(s, 3) for s in detector.score([[3.0, 0.0], [3.0, 9.0], [0.0, 0.0]]).tolist()]
    [0.947, 0.947, -18.0]
    """

    needs = frozenset({"features"})
    labels = "required"
    paper = Paper(
        "A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection",
        "Ren, Fort, Liu, Roy, Padhy, Lakshminarayanan",
        "arXiv",
        2021,
    )
    origin: Tensor  # (D,) mean of all known inputs
    directions: Tensor  # (D, r) discriminant directions, white within classes
    means: Tensor  # (C, r) class means along them, seen from the origin
    shares: Tensor  # (r,) 1 / (1 + e_j)

    def __init__(self, floor: float = 1e-6) -> None:
        super().__init__()
        self.floor = floor
        for name in ("origin", "directions", "means", "shares"):
            self.register_buffer(name, torch.empty(0))

    def learn(self, support: Support) -> None:
        """Both covariances made diagonal at once, in float64."""
        moments = support.moments("features")
        there = moments.count > 0
        classes = int(there.sum())
        if classes < 2:
            raise NotEnoughKnown("RelativeMahalanobis compares classes with their whole and needs two classes, got one")
        if len(moments) <= classes:
            raise NotEnoughKnown(f"RelativeMahalanobis sees no spread in {len(moments)} inputs of {classes} classes")
        origin = moments.grand_mean()
        whiten = whitener(moments.covariance(), self.floor)
        white = (moments.mean[there] - origin) @ whiten  # (C, D)
        weight = (moments.count[there] / moments.count.sum()).sqrt()[:, None]
        _, spread, across = torch.linalg.svd(weight * white, full_matrices=False)
        rank = min(classes - 1, len(origin))
        basis = across[:rank].T  # (D, r)
        precision = support.dtype("features")
        self.origin = origin.to(precision)
        self.directions = (whiten @ basis).to(precision).contiguous()
        self.means = (white @ basis).to(precision).contiguous()
        self.shares = (1 / (1 + spread[:rank].square())).to(precision)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Negative relative distances ``(B,)``."""
        u = (signals["features"] - self.origin) @ self.directions  # (B, r)
        return (u.square() * self.shares - from_nearest(u, self.means).square()).sum(dim=1)
