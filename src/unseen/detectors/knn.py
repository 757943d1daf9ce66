"""Distance to the k-th nearest known feature."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import normalize

from unseen.detectors.base import Detector
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.parts import Paper
from unseen.signals import Support
from unseen.statistics import kth_distance


class KNN(Detector):
    """An input is known when its ``k``-th nearest known feature is close.

    ``score(x) = -||z - z_(k)||``, ``z = f / ||f||``, where ``f`` are the features of ``x`` and ``z_(k)`` is
    the ``k``-th nearest row of the support set.

    Args:
        k: rank of the neighbour, from 1. The paper takes 50 for CIFAR-10, 1000 for ImageNet-1k.

    Reads: ``features (N, D)``, any scale; labels ignored.
    Returns: ``(N,)`` in ``[-2, 0]``, no unit.
    Raises: NotEnoughKnown, when the support has fewer than ``k`` inputs.
    Cost: ``4 * N * D`` bytes of bank; a query compares with all of it.
    Source: Sun, Ming, Zhu, Li, "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022,
    section 3. The authors' minus sign is kept; their code returns the squared distance, which ranks alike.

    >>> round(KNN(k=2).fit([[1.0, 0.0], [0.0, 1.0]]).score([[3.0, 0.0]]).item(), 3)
    -1.414
    """

    needs = frozenset({"features"})
    grid = {"k": (1, 5, 50)}  # noqa: RUF012 - a constant, shared on purpose
    paper = Paper("Out-of-Distribution Detection with Deep Nearest Neighbors", "Sun, Ming, Zhu, Li", "ICML", 2022)
    bank: Tensor  # (N, D), unit rows

    def __init__(self, k: int = 50) -> None:
        super().__init__()
        self.k = k
        self.register_buffer("bank", torch.empty(0, 0))

    def learn(self, support: Support) -> None:
        """Keep every known feature, at unit length."""
        if not isinstance(self.k, int) or self.k < 1:
            raise WrongUse(f"KNN(k={self.k!r}): k counts neighbours, a whole number from 1")
        if len(support) < self.k:
            raise NotEnoughKnown(
                f"KNN(k={self.k}) needs at least {self.k} known inputs, got {len(support)}: lower k or add inputs"
            )
        self.bank = support.gather("features", normalize)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Negative distances ``(B,)``."""
        return -kth_distance(normalize(signals["features"]), self.bank, self.k)

    def numbers_per_query(self) -> int:
        """One similarity for every row of the bank."""
        return len(self.bank)
