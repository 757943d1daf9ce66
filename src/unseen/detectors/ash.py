"""All but the largest features of each input set to 0."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from unseen.detectors.base import Shaper
from unseen.detectors.scale import kept
from unseen.errors import WrongUse
from unseen.parts import Paper
from unseen.statistics import largest


class ASH(Shaper):
    """Keeps the few largest features of an input, and makes them speak for the others.

    Of the positive features of an input, with the sum ``S_1``, the ``k = D - round(quantile D)`` largest are kept, with
    the sum ``S_2``; all others become 0. The kept ones stay as they are (``"P"``), share ``S_1`` evenly (``"B"``), or
    are multiplied by ``exp(S_1 / S_2)`` (``"S"``). Put before a detector that reads logits, these are made again from
    what is left: ``ASH() >> Energy()`` is the paper's.

    What ties with the smallest kept feature is kept as well, so that the order of the units does not matter. A feature
    that is not positive is never kept, nor filled: the authors' code fills zeros where fewer than ``k`` are positive,
    and which ones is left to the sort.

    Args:
        variant: ``"S"``, ``"B"`` or ``"P"``. The authors take S for ImageNet with a ResNet-50.
        quantile: share of the features that become 0, in ``[0, 1)``; the authors take 0.9 with S. At least one is
            kept.

    Reads: ``features (N, D)``; labels ignored; nothing is learnt.
    Writes: ``features (N, D)``, at least 0.
    Raises: WrongUse, for another variant or a quantile outside ``[0, 1)``.
    Cost: a partial selection in each row.
    Source: Djurisic, Bozanic, Ashok, Liu, "Extremely Simple Activation Shaping for Out-of-Distribution Detection",
    ICLR 2023.
    Differs: OpenOOD takes B with a quantile of 0.9, pytorch-ood S with 0.65. oodeel keeps what lies above an
    interpolated quantile, which can be one feature fewer. The authors' code writes into the features that it is given.

    >>> for variant in ("P", "B", "S"):
    ...     print(ASH(variant, 0.5)({"features": torch.tensor([[4.0, 1.0, 2.0, 0.0]])})["features"].round(decimals=1))
    tensor([[4., 0., 2., 0.]])
    tensor([[3.5000, 0.0000, 3.5000, 0.0000]])
    tensor([[12.8000,  0.0000,  6.4000,  0.0000]])
    """

    traits = frozenset({"stateless"})
    small = {"quantile": 0.35}  # noqa: RUF012 - a constant, shared on purpose; of few features a tenth is one or two
    paper = Paper(
        "Extremely Simple Activation Shaping for Out-of-Distribution Detection",
        "Djurisic, Bozanic, Ashok, Liu",
        "ICLR",
        2023,
    )

    def __init__(self, variant: Literal["S", "B", "P"] = "S", quantile: float = 0.9) -> None:
        super().__init__()
        self.variant = variant
        self.quantile = quantile

    def forward(self, signals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``{"features": (B, D)}``."""
        if self.variant not in ("S", "B", "P"):
            raise WrongUse(f"ASH(variant={self.variant!r}): the variant is 'S', 'B' or 'P'")
        x = signals["features"].relu()
        top = largest(x, kept(x, self.quantile, "ASH"))  # (B, k)
        stay = (x >= top.amin(dim=1, keepdim=True)) & (x > 0)
        left = x * stay
        if self.variant == "P":
            return {"features": left}
        whole = x.sum(dim=1, keepdim=True)
        if self.variant == "B":
            return {"features": stay * (whole / stay.sum(dim=1, keepdim=True).clamp_min(1))}
        tiny = torch.finfo(x.dtype).tiny  # so that a row without a positive feature stays 0
        return {"features": left * (whole / (top.sum(dim=1, keepdim=True) + tiny)).exp()}
