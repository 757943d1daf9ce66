"""Features cut off at a high quantile."""

from collections.abc import Mapping

import torch
from torch import Tensor

from unseen.detectors.base import Shaper
from unseen.errors import WrongUse
from unseen.parts import Paper
from unseen.signals import Support
from unseen.statistics import quantile


class ReAct(Shaper):
    """Cuts off the few very large activations by which unknown inputs reach large logits.

    ``f'_j = min(f_j, c)``, with ``c`` the given quantile of all activations of all known inputs, one number. Put before
    a detector that reads logits, these are made again from the cut features: ``ReAct() >> Energy()`` is the paper's.

    Args:
        quantile: in ``[0, 1]``; the paper takes 0.9, and 1 leaves known inputs as they are.

    Reads: ``features (N, D)``; labels ignored.
    Writes: ``features (N, D)``.
    Raises: WrongUse, for a quantile outside ``[0, 1]``.
    Cost: two walks over the known features; one number.
    Source: Sun, Guo, Li, "ReAct: Out-of-distribution Detection With Rectified Activations", NeurIPS 2021, equation 2.
    Differs: OpenOOD takes the quantile over a validation split and chooses it with unknown inputs at hand; pytorch-ood
    takes it over whole feature maps where the network is cut before pooling; oodeel's default is 0.8.

    >>> step = ReAct(quantile=0.5).fit([[0.0, 1.0], [2.0, 9.0]])
    >>> step({"features": torch.tensor([[0.5, 9.0]])})["features"]
    tensor([[0.5000, 1.5000]])
    """

    traits = frozenset({"two_pass"})
    paper = Paper("ReAct: Out-of-distribution Detection With Rectified Activations", "Sun, Guo, Li", "NeurIPS", 2021)
    limit: Tensor  # (), c

    def __init__(self, quantile: float = 0.9) -> None:
        super().__init__()
        self.quantile = quantile
        self.register_buffer("limit", torch.empty(0))

    def learn(self, support: Support) -> None:
        """One exact quantile over all values."""
        if not 0 <= self.quantile <= 1:
            raise WrongUse(f"ReAct(quantile={self.quantile}): a quantile lies between 0 and 1")
        limit = quantile(lambda: (batch["features"] for batch in support.batches("features")), self.quantile)
        precision = support.dtype("features")
        self.limit = torch.tensor(limit, dtype=precision)

    def forward(self, signals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``{"features": (B, D)}``."""
        return {"features": signals["features"].minimum(self.limit)}
