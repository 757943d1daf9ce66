"""Features enlarged by how widely they are spread over units."""

from collections.abc import Mapping

import torch
from torch import Tensor

from unseen.detectors.base import Shaper
from unseen.errors import WrongUse
from unseen.parts import Paper
from unseen.statistics import largest


class SCALE(Shaper):
    """Enlarges the features of an input in which many units fire, and little those in which a few do all the work.

    ``f' = f exp(S_1 / S_2)``, with the sum ``S_1`` of the positive features of the input and the sum ``S_2`` of its
    ``k = D - round(quantile D)`` largest. Nothing is cut off. Put before a detector that reads logits, these are made
    again from the larger features, and the bias is not enlarged: ``SCALE() >> Energy()`` is the paper's.

    The paper's features are never negative. Others, as those of transformers, count as 0 in the sums, which keeps
    ``S_1 / S_2`` between 1 and ``D / k``; they are enlarged with the rest.

    Args:
        quantile: share of the features that ``S_2`` leaves out, in ``[0, 1)``; the paper takes 0.85. At least one is
            left.

    Reads: ``features (N, D)``; labels ignored; nothing is learnt.
    Writes: ``features (N, D)``.
    Raises: WrongUse, for a quantile outside ``[0, 1)``.
    Cost: a partial selection in each row.
    Source: Xu, Chen, Franchi, Yao, "Scaling for Training Time and Post-hoc Out-of-distribution Detection Enhancement",
    ICLR 2024.
    Differs: pytorch-ood's default is a quantile of 0.65; OpenOOD chooses it with unknown inputs at hand. oodeel's
    ``S_2`` is the sum of what lies above an interpolated quantile, which can be one feature fewer.

    >>> step = SCALE(quantile=0.5)
    >>> step({"features": torch.tensor([[3.0, 1.0], [2.0, 2.0]])})["features"].div(2.7183).round(decimals=2)
    tensor([[4.1900, 1.4000],
            [5.4400, 5.4400]])
    """

    traits = frozenset({"stateless"})
    paper = Paper(
        "Scaling for Training Time and Post-hoc Out-of-distribution Detection Enhancement",
        "Xu, Chen, Franchi, Yao",
        "ICLR",
        2024,
    )

    def __init__(self, quantile: float = 0.85) -> None:
        super().__init__()
        self.quantile = quantile

    def forward(self, signals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``{"features": (B, D)}``."""
        x = signals["features"]
        return {"features": x * spread(x, kept(x, self.quantile, "SCALE")).exp()}


def kept(features: Tensor, quantile: float, name: str) -> int:
    """How many of the ``D`` features of an input lie above its own ``quantile``, at least 1.

    Raises:
        WrongUse: for a quantile outside ``[0, 1)``, as a percentage would be.
    """
    if not 0 <= quantile < 1:
        raise WrongUse(f"{name}(quantile={quantile}): give a share from 0 to below 1, such as 0.9")
    width = features.shape[1]
    return max(1, width - round(width * quantile))


def spread(features: Tensor, k: int) -> Tensor:
    """``S_1 / S_2``: the sum of the positive features over that of the ``k`` largest, ``(B, 1)``, from 1 to ``D / k``.

    It is 1 where one unit does all, or where nothing is positive.
    """
    positive = features.relu()
    tiny = torch.finfo(features.dtype).tiny
    return (positive.sum(dim=1, keepdim=True) + tiny) / (largest(positive, k).sum(dim=1, keepdim=True) + tiny)
