"""Energy, guided by how near sure known inputs are."""

from collections.abc import Mapping

import torch
from torch import Tensor, logsumexp
from torch.nn.functional import normalize

from unseen.detectors.base import Detector
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.parts import Paper
from unseen.signals import Support
from unseen.statistics import largest


class NNGuide(Detector):
    """An input is known when its logits are large together and it lies towards known inputs whose logits are, too.

    ``score(x) = E(x) G(x)``, with the energy ``E = log sum_c exp(l_c)`` and the guidance ``G``, the mean of the ``k``
    largest inner products ``E_i z_i . z`` with known inputs, ``z = f / ||f||``.

    The product means something while energies are positive. Where one of a known input is not, the least of them is
    taken from all energies, those of queries included, so that no known input counts against its neighbours. A query
    whose energy and guidance are both negative is unknown by both, and gets minus their product.

    Args:
        k: how many neighbours guide, from 1; the paper's code takes 10.

    Reads: ``features (N, D)``, any scale, and ``logits (N, C)``; labels ignored.
    Returns: ``(N,)``, in squared units of the logits; both signs occur.
    Raises: NotEnoughKnown, when the support has fewer than ``k`` inputs; WrongUse, for ``k`` below 1.
    Cost: ``4 * N * D`` bytes of bank; a query compares with all of it. The authors keep 1 % of ImageNet-1k; give as
    many inputs as should be kept.
    Source: Park, Jung, Teoh, "Nearest Neighbor Guidance for Out-of-Distribution Detection", ICCV 2023.
    Differs: OpenOOD takes ``k = 100`` and the first 1 % of the shuffled training inputs, so that the bank depends on
    their order. No other code shifts negative energies, whose product turns the order around.

    >>> known = {"features": [[1.0, 0.0], [0.0, 1.0]], "logits": [[8.0, 0.0], [0.0, 6.0]]}
    >>> detector = NNGuide(k=1).fit(known)
    >>> round(detector.score({"features": [[3.0, 0.0]], "logits": [[5.0, 0.0]]}).item(), 1)
    40.1
    """

    needs = frozenset({"features", "logits"})
    grid = {"k": (1, 10, 100)}  # noqa: RUF012 - a constant, shared on purpose
    paper = Paper("Nearest Neighbor Guidance for Out-of-Distribution Detection", "Park, Jung, Teoh", "ICCV", 2023)
    bank: Tensor  # (N, D), rows as long as their energy
    least: Tensor  # (), what is taken from energies

    def __init__(self, k: int = 10) -> None:
        super().__init__()
        self.k = k
        self.register_buffer("bank", torch.empty(0, 0))
        self.register_buffer("least", torch.empty(0))

    def learn(self, support: Support) -> None:
        """Keep every known feature, as long as its energy."""
        if not isinstance(self.k, int) or self.k < 1:
            raise WrongUse(f"NNGuide(k={self.k!r}): k counts neighbours, a whole number from 1")
        if len(support) < self.k:
            raise NotEnoughKnown(
                f"NNGuide(k={self.k}) needs at least {self.k} known inputs, got {len(support)}: lower k or add inputs"
            )
        shape = len(support), support.signals.width("features")
        bank = torch.empty(shape, dtype=support.dtype("features"), device=support.signals.device)
        energy = bank.new_empty(len(support))
        start = 0
        for batch in support.batches("features", "logits"):
            rows = slice(start, start + len(batch["features"]))
            bank[rows] = normalize(batch["features"])
            energy[rows] = logsumexp(batch["logits"], dim=1)
            start = rows.stop
        self.least = energy.min().clamp_max(0)
        self.bank = bank.mul_((energy - self.least)[:, None])

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Guided energies ``(B,)``."""
        energy = logsumexp(signals["logits"], dim=1) - self.least
        guidance = largest(normalize(signals["features"]) @ self.bank.T, self.k).mean(dim=1)  # (B, N) -> (B,)
        return energy * torch.where(energy < 0, guidance.abs(), guidance)

    def numbers_per_query(self) -> int:
        """One product for every row of the bank, and a copy from which the largest are chosen."""
        return 2 * len(self.bank)
