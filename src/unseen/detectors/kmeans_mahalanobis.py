"""Mahalanobis distance to the nearest cluster of the features, without labels."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from unseen.detectors.base import Detector
from unseen.detectors.mahalanobis import Mahalanobis
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.parts import Labels, Paper
from unseen.signals import Support

ROUNDS = 100  # of Lloyd's algorithm, at most


class KMeansMahalanobis(Detector):
    """An input is known when it is close to some cluster of the known, measured by the spread that clusters share.

    The score of `Mahalanobis`, ``-min_k (f - m_k)' S^-1 (f - m_k)``, with the clusters that k-means finds among the
    known features in the place of classes: one start by k-means++, at most 100 rounds, features as they are.

    The paper says k-means with as many clusters as there are classes, and published no program: start, rounds and the
    pooled covariance are our choice. `SSD` clusters directions, and gives each cluster a covariance of its own.

    Args:
        clusters: how many, from 1. None takes the number of classes that labels or texts name, and reads no more of
            them.
        seed: of the start.
        floor: ridge added to ``S``, as a share of its mean eigenvalue; see `Mahalanobis`.

    Reads: ``features (N, D)``; labels ignored, and without ``clusters`` read for the number of their classes.
    Returns: ``(N,)``, at most 0, squared standard deviations.
    Raises: WrongUse, for a number of clusters that there cannot be; NotEnoughKnown, where nothing says how many, or
    there are fewer different inputs.
    Cost: as `Mahalanobis` with ``K`` classes; ``N D`` numbers more while k-means runs.
    Source: Adaloglou, Michels, Kaiser, Kollmann, "Adapting Contrastive Language-Image Pretrained (CLIP) Models for
    Out-of-Distribution Detection", TMLR 2023, section 3.

    >>> known = [[0.0], [2.0], [10.0], [12.0]]
    >>> detector = KMeansMahalanobis(clusters=2, floor=0.0).fit(known)
    >>> detector.score([[0.0], [13.0], [6.0]]).round(3).tolist()
    [-1.0, -4.0, -25.0]
    """

    needs = frozenset({"features"})
    labels: Labels = "optional"  # of an instance whose number of clusters is given: ignored
    traits = frozenset({"sampled", "two_pass"})
    small = {"clusters": 4}  # noqa: RUF012 - a constant, shared on purpose
    paper = Paper(
        "Adapting Contrastive Language-Image Pretrained (CLIP) Models for Out-of-Distribution Detection",
        "Adaloglou, Michels, Kaiser, Kollmann",
        "TMLR",
        2023,
    )

    def __init__(self, clusters: int | None = None, seed: int = 0, floor: float | None = 1e-6) -> None:
        super().__init__()
        self.clusters = clusters
        self.seed = seed
        self.floor = floor
        if clusters is not None:
            self.labels = "ignored"
        self.distance = Mahalanobis(floor)

    def learn(self, support: Support) -> None:
        """Clusters, then distances with them in the place of classes."""
        clusters = self._wanted(support)
        codes = self._clustered(support, clusters)
        names = tuple(map(str, range(clusters)))
        self.distance.fit(replace(support, labels=codes, classes=names, _moments={}))

    def _wanted(self, support: Support) -> int:
        if self.clusters is None:
            named = len(support.classes) or (0 if support.text is None else len(support.text))
            if not named:
                raise NotEnoughKnown(
                    "KMeansMahalanobis takes as many clusters as classes are named, and no labels or texts name any: "
                    "give clusters"
                )
            return named
        if not isinstance(self.clusters, int) or self.clusters < 1:
            raise WrongUse(f"KMeansMahalanobis(clusters={self.clusters!r}): give a whole number from 1, or None")
        return self.clusters

    def _clustered(self, support: Support, clusters: int) -> np.ndarray:
        """Code ``(N,)`` int64 of the cluster of each known input."""
        from sklearn.cluster import KMeans

        x = support.gather("features")
        if len(torch.unique(x, dim=0)) < clusters:
            raise NotEnoughKnown(
                f"KMeansMahalanobis: {clusters} clusters need as many different known inputs, there are fewer: lower "
                "clusters or add inputs"
            )
        means = KMeans(clusters, init="k-means++", n_init=1, max_iter=ROUNDS, random_state=self.seed)
        # Only the assignment is kept: its means are summed by several threads, in an order that differs each time.
        codes: np.ndarray = means.fit(x.cpu().numpy()).labels_
        return codes.astype(np.int64)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Negative squared distances ``(B,)``."""
        scores: Tensor = self.distance(dict(signals))
        return scores
