"""Mahalanobis distance to the nearest class, relative to that of all known inputs together."""

from collections.abc import Mapping

import torch
from torch import Tensor

from unseen.detectors._spread import Covariance, On, check_choices, whitening, within_classes
from unseen.detectors.base import Detector
from unseen.errors import NotEnoughKnown
from unseen.parts import Paper
from unseen.signals import Support
from unseen.statistics import Moments, from_nearest


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
        floor: ridge added to ``S`` and ``S_0``, as a share of the mean eigenvalue of ``S``. None takes a pseudo-inverse
            in its place: directions in which ``S`` has at most 1e-10 of its largest eigenvalue are left out of both
            distances; see `Mahalanobis`.
        on: the signal that is ``f``: ``"features"``; ``"logits"``, as in `plp >> relative_mahalanobis(on='logits')`;
            ``"embedding"``.
        covariance: ``"pooled"``, as above. ``"class_mean"`` takes for ``S`` the mean of the unbiased covariances of the
            classes, those with one input left out, and divides ``S_0`` by ``N - 1``, as the program of Adaloglou et al.
            2023 does; then no direction cancels.

    Reads: ``features (N, D)``, or the signal that ``on`` names; labels required.
    Returns: ``(N,)``, squared standard deviations; both signs occur.
    Raises: WrongUse, for another signal or covariance; NotEnoughKnown, with one class (both distances are then the
    same), fewer inputs than classes and one, or two inputs of no class.
    Cost: ``(D + C) r`` numbers; for ``"class_mean"`` ``r = D``, and two walks over the known inputs.
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

    def __init__(self, floor: float | None = 1e-6, on: On = "features", covariance: Covariance = "pooled") -> None:
        super().__init__()
        check_choices("RelativeMahalanobis", on, covariance)
        self.floor = floor
        self.on = on
        self.covariance = covariance
        self.needs = frozenset({on})
        if covariance == "class_mean":
            self.traits = frozenset({"two_pass"})
        for name in ("origin", "directions", "means", "shares"):
            self.register_buffer(name, torch.empty(0))

    def learn(self, support: Support) -> None:
        """Both covariances made diagonal at once, in float64."""
        moments = support.moments(self.on)
        classes = int((moments.count > 0).sum())
        if classes < 2:
            raise NotEnoughKnown("RelativeMahalanobis compares classes with their whole and needs two classes, got one")
        if len(moments) <= classes:
            raise NotEnoughKnown(f"RelativeMahalanobis sees no spread in {len(moments)} inputs of {classes} classes")
        there, spread = within_classes(support, self.on, self.covariance, "RelativeMahalanobis")
        origin = moments.grand_mean()
        whiten = whitening(spread, self.floor)
        white = (moments.mean[there] - origin) @ whiten  # (C, D)
        if self.covariance == "pooled":
            basis, shares = _discriminant(white, moments.count[there] / moments.count.sum())
        else:
            basis, shares = _all_directions(moments, spread, whiten, self.floor or 0.0)
        precision = support.dtype(self.on)
        self.origin = origin.to(precision)
        self.directions = (whiten @ basis).to(precision).contiguous()
        self.means = (white @ basis).to(precision).contiguous()
        self.shares = shares.to(precision)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Negative relative distances ``(B,)``."""
        u = (signals[self.on] - self.origin) @ self.directions  # (B, r)
        return (u.square() * self.shares - from_nearest(u, self.means).square()).sum(dim=1)


def _discriminant(white: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Directions ``(D, r)`` in which the class means differ, and ``1 / (1 + e_j)`` of each ``(r,)``.

    Args:
        white: class means ``(C, D)`` seen from their whole, the spread within classes being the identity.
        weight: share of each class ``(C,)``.
    """
    _, spread, across = torch.linalg.svd(weight.sqrt()[:, None] * white, full_matrices=False)
    rank = min(len(white) - 1, white.shape[1])
    return across[:rank].T, 1 / (1 + spread[:rank].square())


def _all_directions(moments: Moments, within: Tensor, whiten: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """Directions ``(D, D)`` in which the total covariance is diagonal too, and 1 over its eigenvalues ``(D,)``."""
    ridge = floor * within.trace() / len(within)
    total = moments.total() / (len(moments) - 1)
    values, vectors = torch.linalg.eigh(whiten.T @ total @ whiten + ridge * whiten.T @ whiten)
    return vectors, 1 / values
