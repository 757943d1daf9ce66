"""Density of the features under a mixture of Gaussians that needs no labels."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, logsumexp

from unseen.detectors.base import Detector
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.parts import Paper
from unseen.signals import Support
from unseen.statistics import whitener

LONGEST = 100  # rounds of expectation and maximisation, as scikit-learn has it, whose mixture OpenOOD fits
STILL = 1e-3  # mean log density that a round must gain for another to follow; likewise
STARTS = 1  # of k-means; likewise
FEWEST = 1e-9  # inputs of a cluster, below which it does not fall
BLOCK = 1 << 22  # shares of clusters held at once


class GaussianMixture(Detector):
    """An input is known when its features are likely under a few Gaussians that were found without labels.

    ``score(x) = log sum_k w_k N(z; m_k, S + r I)``, with ``z`` the features along the principal directions of the
    known. Weights ``w_k``, means ``m_k`` and the one covariance ``S`` of all ``K`` clusters are fitted by expectation
    and maximisation, from the clusters of k-means on. Where labels are there, `ClassGaussians` puts classes in the
    place of clusters. What leaves the principal directions unchanged is not seen: `Residual` sees it.

    Args:
        clusters: ``K``, from 1.
        components: principal directions that are kept; None keeps all, as does a number above that of the features.
        seed: of k-means; unused for one cluster.
        floor: ``r``, as a share of the mean variance along the directions that are kept. It keeps directions in which
            clusters have no spread finite.

    Reads: ``features (N, D)``; labels ignored.
    Returns: ``(N,)``, natural logarithm of a density along the directions that are kept; both signs occur.
    Raises: WrongUse, for a number of clusters or directions that there cannot be; NotEnoughKnown, with fewer than two
    inputs, fewer different ones than clusters, or where the covariance is not of full rank for want of a floor.
    Cost: ``d (D + K) + K^2`` numbers for ``d`` directions; a query is two products with them. While it learns
    ``N d`` numbers more, and up to 500 walks over them.
    Source: Bishop, "Novelty detection and neural network validation", IEE Proceedings 1994, for the density as the
    score; Dempster, Laird, Rubin, "Maximum Likelihood from Incomplete Data via the EM Algorithm", JRSS B 1977, section
    4.3.
    Differs: OpenOOD takes 50 directions and clusters, leaves the determinant out, and adds 1e-45 to a density in
    float32, at which far inputs tie.

    >>> known = [[-5.0], [-4.0], [4.0], [5.0]]
    >>> detector = GaussianMixture(clusters=2, floor=0.0).fit(known)
    >>> [round(s, 2) for s in detector.score([[4.5], [0.0]]).tolist()]
    [-0.92, -40.73]
    """

    needs = frozenset({"features"})
    traits = frozenset({"sampled", "two_pass"})
    small = {"clusters": 4, "components": 10}  # noqa: RUF012 - a constant, shared on purpose
    paper = Paper("Novelty detection and neural network validation", "Bishop", "IEE Proceedings", 1994)
    center: Tensor  # (D,) mean of the known inputs
    directions: Tensor  # (D, d), what makes the principal directions white within clusters
    means: Tensor  # (K, d) of the clusters, white and seen from the centre
    gaps: Tensor  # (K, K) half the squared distances between them
    constant: Tensor  # (K,) log densities at the means

    def __init__(self, clusters: int = 50, components: int | None = 50, seed: int = 0, floor: float = 1e-6) -> None:
        super().__init__()
        self.clusters = clusters
        self.components = components
        self.seed = seed
        self.floor = floor
        for name in ("center", "directions", "means", "gaps", "constant"):
            self.register_buffer(name, torch.empty(0))

    def learn(self, support: Support) -> None:
        """Directions from moments, then the mixture along them, in float64."""
        if not isinstance(self.clusters, int) or self.clusters < 1:
            raise WrongUse(f"GaussianMixture(clusters={self.clusters!r}): give a whole number from 1")
        if self.components is not None and (not isinstance(self.components, int) or self.components < 1):
            raise WrongUse(f"GaussianMixture(components={self.components!r}): give a whole number from 1, or None")
        if len(support) < 2:
            raise NotEnoughKnown("GaussianMixture needs at least two known inputs to see any spread")
        if not _differ(support, self.clusters):
            raise NotEnoughKnown(
                f"GaussianMixture(clusters={self.clusters}): there are fewer different known inputs; lower clusters or "
                "add inputs"
            )
        moments = support.moments("features")
        center, total = moments.grand_mean(), moments.total()
        kept = min(self.components or len(center), len(center))
        vectors: Tensor = torch.linalg.eigh(total).eigenvectors[:, len(center) - kept :]
        z = support.gather("features", lambda x: (x.double() - center) @ vectors)  # (N, d)
        scale = z.square().mean().sqrt()
        if not scale > 0:
            raise NotEnoughKnown("GaussianMixture: the known inputs do not differ; add inputs")
        z = z / scale  # so that when rounds end does not depend on the unit
        log_weights, means, within = _fitted(z, self._assigned(z), self.clusters, self.floor)
        whiten = whitener(within, 0.0)  # with the floor already in it
        log_det = -2 * whiten.diagonal().log().sum() + 2 * kept * scale.log()
        means = means @ whiten
        precision = support.dtype("features")
        self.center = center.to(precision)
        self.directions = (vectors @ whiten / scale).to(precision).contiguous()
        self.means = means.to(precision).contiguous()
        self.gaps = (0.5 * (means[:, None] - means).square().sum(dim=2)).to(precision)
        self.constant = (log_weights - 0.5 * (log_det + kept * math.log(2 * math.pi))).to(precision)

    def _assigned(self, z: Tensor) -> Tensor:
        """Code ``(N,)`` of the cluster of each known input."""
        from sklearn.cluster import KMeans

        means = KMeans(self.clusters, n_init=STARTS, random_state=self.seed)
        # Only the assignment is kept: its means are summed by several threads, in an order that differs each time.
        return torch.from_numpy(means.fit(z.cpu().numpy()).labels_).long().to(z.device)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Log densities ``(B,)``."""
        z = (signals["features"] - self.center) @ self.directions  # (B, d)
        # Seen from the nearest mean m: |z - m_k|^2 = |z - m|^2 - 2 (z - m)'(m_k - m) + |m_k - m|^2. As a sum of squares
        # of z itself, the largest term would lose the digits that its parts share.
        nearest = torch.addmm(-0.5 * self.means.square().sum(dim=1), z, self.means.T).argmax(dim=1)  # (B,)
        mean = self.means.index_select(0, nearest)
        gap = z - mean
        along = gap @ self.means.T - (gap * mean).sum(dim=1, keepdim=True)  # (B, K)
        others = logsumexp(self.constant + along - self.gaps.index_select(0, nearest), dim=1)
        return others - 0.5 * gap.square().sum(dim=1)

    def numbers_per_query(self) -> int:
        """What is held for every cluster, and the white features."""
        return 5 * len(self.means) + 3 * self.means.shape[1]


def _differ(support: Support, enough: int) -> bool:
    """Whether so many known inputs are different from each other."""
    seen: Tensor | None = None
    for batch in support.batches("features"):
        x = batch["features"]
        seen = torch.unique(x if seen is None else torch.cat([seen, x]), dim=0)
        if len(seen) >= enough:
            return True
    return False


def _fitted(z: Tensor, codes: Tensor, clusters: int, floor: float) -> tuple[Tensor, Tensor, Tensor]:
    """Log weights ``(K,)``, means ``(K, d)`` and the covariance with its floor ``(d, d)``, from hard clusters on."""
    rows, (n, d) = max(1, BLOCK // clusters), z.shape
    scatter = z.T @ z
    ridge = floor * scatter.trace() / n / d * torch.eye(d).to(z)
    count = torch.bincount(codes, minlength=clusters).to(z)
    sums = z.new_zeros(clusters, d).index_add_(0, codes, z)
    best, gain = -math.inf, math.inf
    for rounds in range(LONGEST + 1):
        count = count.clamp_min(FEWEST)
        means = sums / count[:, None]
        # One covariance for all: what the means do not explain of the whole. z is centred, so that nothing cancels.
        within = (scatter - means.T @ (means * count[:, None])) / n + ridge
        log_weights = (count / n).log()
        if gain < STILL or rounds == LONGEST:
            break
        whiten = whitener(within, 0.0)
        white = means @ whiten
        log_det = -2 * whiten.diagonal().log().sum()
        count, sums, gained = torch.zeros_like(count), torch.zeros_like(sums), z.new_zeros(())
        for start in range(0, n, rows):
            part = z[start : start + rows]
            u = part @ whiten
            far = u.square().sum(dim=1, keepdim=True) - 2 * u @ white.T + white.square().sum(dim=1)  # (b, K)
            log_shares = log_weights - 0.5 * far
            most = log_shares.amax(dim=1, keepdim=True)
            shares = (log_shares - most).exp_()
            whole = shares.sum(dim=1, keepdim=True)  # at least 1
            shares /= whole
            count, sums = count + shares.sum(dim=0), sums + shares.T @ part
            gained = gained + most.sum() + whole.log().sum()
        reached = float(gained / n - 0.5 * log_det)
        best, gain = reached, reached - best
    return log_weights, means, within
