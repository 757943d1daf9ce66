"""Density of the features under one Gaussian a class."""

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, logsumexp

from unseen.detectors._gaussians import factor, squared_distances
from unseen.detectors.base import Detector
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.parts import Paper
from unseen.signals import Support


class ClassGaussians(Detector):
    """An input is known when its features are likely under a mixture of one Gaussian a class.

    ``score(x) = log sum_c pi_c N(f; m_c, S_c + r I)``: ``pi_c`` is the share of class ``c`` among the known inputs,
    ``m_c`` the mean of its features, ``S_c`` their covariance. Unlike under the one covariance of `Mahalanobis`, an
    input must be as near to a narrow class as that class is narrow. A covariance of ``D^2`` numbers needs several times
    ``D`` inputs of its class; with fewer it is drawn to the pooled one ``S``: ``S_c`` gives way to
    ``(1 - s) S_c + s S``.

    Args:
        covariance: ``"full"``; ``"diagonal"``, which keeps only the variances; ``"shared"``, the pooled ``S`` for all.
        shrinkage: ``s``, in ``[0, 1]``; of no effect on ``"shared"``, which is its end at 1.
        floor: ``r``, as a share of the mean eigenvalue of ``S``. It keeps directions that the known never used finite.

    Reads: ``features (N, D)``; labels optional: without them all known inputs are one class.
    Returns: ``(N,)``, natural logarithm of a density in units of the features; both signs occur.
    Raises: WrongUse, for another covariance or a shrinkage outside ``[0, 1]``; NotEnoughKnown, with fewer than two
    inputs, or where a covariance is not of full rank for want of a floor.
    Cost: ``C D (D + 1)`` numbers, and as many products a query; ``2 C D`` if diagonal, ``D^2 + C D`` if shared.
    Source: Friedman, "Regularized Discriminant Analysis", JASA 1989, for the covariances, which are weighted alike here
    and not by their number of inputs; the density of the mixture is kept as the score.
    Differs: pytorch-ood's ``GMM`` shrinks nothing and adds 1e-6 to the diagonal. OpenOOD's has clusters in the place of
    classes, leaves the determinant out, and adds 1e-45 to a density in float32, at which far inputs tie.

    >>> known, labels = [[1.0], [-1.0], [9.9], [10.1]], ["wide", "wide", "narrow", "narrow"]
    >>> detector = ClassGaussians(shrinkage=0.0, floor=0.0).fit(known, labels)
    >>> [round(s, 2) for s in detector.score([[0.0], [1.0], [10.0], [11.0]]).tolist()]
    [-1.61, -2.11, 0.69, -49.31]
    """

    needs = frozenset({"features"})
    labels = "optional"
    traits = frozenset({"two_pass"})
    # A few hundred inputs leave directions unused; distances along them would drown what else the arguments change.
    small = {"floor": 1e-3}  # noqa: RUF012 - a constant, shared on purpose
    paper = Paper("Regularized Discriminant Analysis", "Friedman", "JASA", 1989)
    whiten: Tensor  # (D, D) what makes S the identity; for the shared covariance alone
    means: Tensor  # (C, D); white for the shared covariance
    factors: Tensor  # (C, D, D), or (C, 1, D) for the diagonal: |(x - m_c) W_c|^2 is the squared distance
    constant: Tensor  # (C,) log densities at the means

    def __init__(
        self,
        covariance: Literal["full", "diagonal", "shared"] = "full",
        shrinkage: float = 0.1,
        floor: float = 1e-6,
    ) -> None:
        super().__init__()
        self.covariance = covariance
        self.shrinkage = shrinkage
        self.floor = floor
        for name in ("whiten", "means", "factors", "constant"):
            self.register_buffer(name, torch.empty(0))

    def learn(self, support: Support) -> None:
        """Pooled covariance from moments, then class by class, in float64."""
        if self.covariance not in ("full", "diagonal", "shared"):
            raise WrongUse(
                f"ClassGaussians(covariance={self.covariance!r}): the covariance is 'full', 'diagonal' or 'shared'"
            )
        if not 0 <= self.shrinkage <= 1:
            raise WrongUse(f"ClassGaussians(shrinkage={self.shrinkage}): give a share from 0 to 1")
        moments = support.moments("features")
        if len(moments) < 2:
            raise NotEnoughKnown("ClassGaussians needs at least two known inputs to see any spread")
        there = moments.count > 0
        shared, width = moments.covariance(), moments.mean.shape[1]
        if not shared.trace() > 0:
            raise NotEnoughKnown("ClassGaussians: the known inputs of a class do not differ; add inputs")
        ridge = self.floor * shared.trace() / width * torch.eye(width).to(shared)
        means, kept = moments.mean[there], support.dtype("features")
        whiten, log_det = torch.empty(0), torch.zeros(len(means)).to(means)
        factors: list[Tensor] = []
        if self.covariance == "shared":
            whiten, one = factor(shared + ridge, self.name)
            means, log_det = means @ whiten, log_det + one
        else:
            for i, code in enumerate(there.nonzero()[:, 0].tolist()):
                own = (1 - self.shrinkage) * _covariance(support, code) + self.shrinkage * shared + ridge
                if self.covariance == "diagonal":
                    own = own.diagonal().diag()
                weight, log_det[i] = factor(own, self.name)
                factors.append((weight.diagonal()[None] if self.covariance == "diagonal" else weight).to(kept))
        log_share = (moments.count[there] / len(moments)).log()
        self.whiten, self.means = whiten.to(kept).contiguous(), means.to(kept).contiguous()
        self.factors = torch.stack(factors) if factors else torch.empty(0, dtype=kept)
        self.constant = (log_share - 0.5 * (log_det + width * math.log(2 * math.pi))).to(kept)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Log densities ``(B,)``."""
        x = signals["features"]
        if self.covariance == "shared":
            squares = squared_distances(x @ self.whiten, self.means, torch.ones_like(self.means)[:, None])
        else:
            squares = squared_distances(x, self.means, self.factors)  # (B, C)
        return logsumexp(self.constant - 0.5 * squares, dim=1)

    def numbers_per_query(self) -> int:
        """The difference to each mean, twice."""
        return 2 * self.means.numel()


def _covariance(support: Support, code: int) -> Tensor:
    """Of the inputs of one class, in float64; read alone, so that one covariance is held at a time."""
    rows = support if support.labels is None else support.take(support.labels == code)
    return rows.moments("features").covariance()
