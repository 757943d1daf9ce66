"""Features cut off at both ends."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from unseen.detectors.base import Shaper
from unseen.errors import WrongUse
from unseen.parts import Paper
from unseen.signals import Support
from unseen.statistics import quantile


class VRA(Shaper):
    """Silences weak activations and cuts off strong ones, as unknown inputs have too many of both.

    ``f'_j = 0`` where ``f_j < a``, ``b`` where ``f_j > b``, else ``f_j``; ``a`` and ``b`` are quantiles of all
    activations of all known inputs, two numbers. Put before a detector that reads logits, these are made again from the
    new features: ``VRA() >> Energy()`` is the paper's.

    Args:
        lower: the quantile ``a``, in ``[0, 1]``. The authors take 0.6.
        upper: the quantile ``b``, from ``lower`` to 1. The authors take 0.95 for CIFAR-100, 0.9 for CIFAR-10.
        below: what becomes of activations under ``a``: ``"zero"`` (the paper) or ``"clip"``, which makes them ``a``, as
            some libraries do with a ``lower`` near 0.

    Reads: ``features (N, D)``; labels ignored.
    Writes: ``features (N, D)``.
    Raises: WrongUse, for quantiles outside ``[0, 1]`` or in the wrong order, or another word for ``below``.
    Cost: four walks over the known features; two numbers.
    Source: Xu, Lian, Liu, Tao, "VRA: Variational Rectified Activation for Out-of-distribution Detection", NeurIPS 2023,
    the piecewise function without amplification.
    Differs: OpenOOD and pytorch-ood make activations below ``a`` equal to ``a``, which is ``below="clip"`` here:
    OpenOOD with the quantiles 0.1 and 0.9, pytorch-ood with 0.01 and 0.99 of each feature by itself. The authors' code
    has fixed limits of 0.5 and 1 for ImageNet.

    >>> step = VRA(lower=0.25, upper=0.75).fit([[0.0, 1.0], [2.0, 3.0], [4.0, 4.0]])
    >>> step({"features": torch.tensor([[1.0, 2.0, 9.0]])})["features"]
    tensor([[0.0000, 2.0000, 3.7500]])
    """

    traits = frozenset({"two_pass"})
    small = {"lower": 0.4}  # noqa: RUF012 - a constant, shared on purpose; with few features each one silenced is a jump
    grid = {"upper": (0.9, 0.95)}  # noqa: RUF012
    paper = Paper(
        "VRA: Variational Rectified Activation for Out-of-distribution Detection", "Xu, Lian, Liu, Tao", "NeurIPS", 2023
    )
    limits: Tensor  # (2,), a and b

    def __init__(self, lower: float = 0.6, upper: float = 0.95, below: Literal["zero", "clip"] = "zero") -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.below = below
        self.register_buffer("limits", torch.empty(0))

    def learn(self, support: Support) -> None:
        """Two exact quantiles over all values."""
        if not 0 <= self.lower <= self.upper <= 1:
            raise WrongUse(
                f"VRA(lower={self.lower}, upper={self.upper}): give quantiles with 0 <= lower <= upper <= 1, such as "
                "0.6 and 0.95"
            )
        if self.below not in ("zero", "clip"):
            raise WrongUse(f"VRA(below={self.below!r}): what lies below becomes 'zero' or is 'clip'ped")
        limits = [
            quantile(lambda: (batch["features"] for batch in support.batches("features")), share)
            for share in (self.lower, self.upper)
        ]
        self.limits = torch.tensor(limits, dtype=support.dtype("features"))

    def forward(self, signals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``{"features": (B, D)}``."""
        x = signals["features"]
        low, high = self.limits
        if self.below == "clip":
            return {"features": x.maximum(low).minimum(high)}
        return {"features": x.minimum(high) * (x >= low)}
