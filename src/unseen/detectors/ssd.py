"""Mahalanobis distance of the direction of the features, without labels."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.nn.functional import normalize

from unseen.detectors._gaussians import factor, squared_distances
from unseen.detectors.base import Detector
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.parts import Paper
from unseen.signals import Support
from unseen.statistics import Moments

STARTS = 10  # of k-means, of which the best is kept


class SSD(Detector):
    """An input is known when the direction of its features is near the known ones, by their spread; no labels needed.

    ``score(x) = -min_k (z - m_k)' (S_k + r I)^-1 (z - m_k)``, ``z = f / ||f||``, with the means ``m_k`` and covariances
    ``S_k`` of the clusters that k-means finds among the known ``z``. One cluster is the paper's choice where the
    encoder was trained without labels, or by contrasting them; with labels at hand, ``unit >> mahalanobis`` and
    ``unit >> class_gaussians`` put classes in the place of clusters. The authors' code also standardises each
    feature, which changes no distance of a covariance of full rank.

    Args:
        clusters: how many, from 1.
        seed: of k-means; unused for one cluster.
        floor: ``r``, as a share of the mean eigenvalue of the covariance within clusters. It keeps directions that the
            known never used finite.

    Reads: ``features (N, D)``, any scale; labels ignored.
    Returns: ``(N,)``, at most 0, squared standard deviations.
    Raises: WrongUse, for a number of clusters that there cannot be; NotEnoughKnown, with fewer than two inputs, or
    fewer different ones than clusters, or where a covariance is not of full rank for want of a floor.
    Cost: ``K D (D + 1)`` numbers, and as many products a query; ``N D`` more while k-means runs.
    Source: Sehwag, Chiang, Mittal, "SSD: A Unified Framework for Self-Supervised Outlier Detection", ICLR 2021.
    Differs: OpenOOD's class has no score of its own and answers with the largest softmax probability.

    >>> known = [[9.0, 1.0], [9.0, -1.0], [18.0, 4.0], [18.0, -4.0]]
    >>> near, far = SSD(floor=1e-3).fit(known).score([[4.5, 0.0], [0.0, 1.0]]).tolist()
    >>> round(near, 1), round(far)
    (-2.4, -10451)
    """

    needs = frozenset({"features"})
    small = {"clusters": 4, "floor": 1e-3}  # noqa: RUF012 - a constant, shared on purpose; one cluster draws nothing
    paper = Paper(
        "SSD: A Unified Framework for Self-Supervised Outlier Detection", "Sehwag, Chiang, Mittal", "ICLR", 2021
    )
    means: Tensor  # (K, D) of the clusters
    factors: Tensor  # (K, D, D): |(z - m_k) W_k|^2 is the squared distance

    def __init__(self, clusters: int = 1, seed: int = 0, floor: float = 1e-6) -> None:
        super().__init__()
        self.clusters = clusters
        self.seed = seed
        self.floor = floor
        if clusters != 1:
            self.traits = frozenset({"sampled", "two_pass"})
        for name in ("means", "factors"):
            self.register_buffer(name, torch.empty(0))

    def learn(self, support: Support) -> None:
        """Clusters, then moments of each, in float64."""
        if not isinstance(self.clusters, int) or self.clusters < 1:
            raise WrongUse(f"SSD(clusters={self.clusters!r}): give a whole number from 1")
        if len(support) < 2:
            raise NotEnoughKnown("SSD needs at least two known inputs to see any spread")
        single = self.clusters == 1
        codes = torch.zeros(len(support), dtype=torch.long) if single else self._clustered(support)
        moments = _moments(support, codes, self.clusters)
        shared = moments.covariance()
        if not shared.trace() > 0:
            raise NotEnoughKnown("SSD: the known directions of a cluster do not differ; add inputs")
        ridge = self.floor * shared.trace() / len(shared) * torch.eye(len(shared)).to(shared)
        kept = support.dtype("features")
        factors = []
        for k in range(self.clusters):
            own = shared
            if not single:  # read alone, so that one covariance is held at a time
                rows = torch.zeros(int(moments.count[k]), dtype=torch.long)
                own = _moments(support.take((codes == k).numpy()), rows, 1).covariance()
            factors.append(factor(own + ridge, self.name)[0].to(kept))
        self.means, self.factors = moments.mean.to(kept), torch.stack(factors)

    def _clustered(self, support: Support) -> Tensor:
        """Code ``(N,)`` of the cluster of each known input."""
        from sklearn.cluster import KMeans

        directions = support.gather("features", normalize)
        if len(torch.unique(directions, dim=0)) < self.clusters:
            raise NotEnoughKnown(
                f"SSD(clusters={self.clusters}): there are fewer known inputs of different directions; lower clusters "
                "or add inputs"
            )
        means = KMeans(self.clusters, n_init=STARTS, random_state=self.seed)
        # Only the assignment is kept: its means are summed by several threads, in an order that differs each time.
        return torch.from_numpy(means.fit(directions.cpu().numpy()).labels_).long()

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Negative squared distances ``(B,)``."""
        return -squared_distances(normalize(signals["features"]), self.means, self.factors).amin(dim=1)

    def numbers_per_query(self) -> int:
        """The difference to each mean, twice."""
        return 2 * self.means.numel()


def _moments(support: Support, codes: Tensor, clusters: int) -> Moments:
    """Of the directions, by cluster."""

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        start = 0
        for batch in support.batches("features"):
            z = normalize(batch["features"].double())
            yield z, codes[start : start + len(z)].to(z.device)
            start += len(z)

    return Moments.of(batches(), clusters)
