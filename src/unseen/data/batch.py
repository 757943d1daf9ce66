"""What one step of a training reads: row numbers first, tensors when they have been read."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """Which rows a step reads.

    Attributes:
        index: ``(B,)`` int64 row numbers; one may stand more than once.
        draw: ``(B,)`` int64, what tells the times apart at which an epoch reads one row, so that each of them is
            augmented in its own way; None where every row is read once.
        pairs: ``(P, 2)`` int64 positions in ``index`` of inputs that are compared, or None.
    """

    index: NDArray[np.int64]
    draw: NDArray[np.int64] | None = None
    pairs: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Batch:
    """Inputs of a step.

    Attributes:
        x: ``(B, ...)`` images, float in ``[0, 1]``, ``(B, 3, H, W)``; or stored features ``(B, D)``.
        index: ``(B,)`` int64 row numbers.
        y: ``(B,)`` int64 labels or ``(B, C)`` soft ones; None where there are none.
        view: the same inputs, augmented another time; where an objective needs ``"two_views"``.
        pairs: ``(P, 2)`` positions of inputs that are compared; where its order gives some.
        outliers: ``(O, ...)`` unknown inputs; where it needs ``"outliers"``.
        unlabeled_pool: ``(U, ...)`` inputs known and unknown, without labels; where it needs ``"unlabeled_pool"``.
        aux_stream: ``(A, ...)`` inputs of another task; where it needs ``"aux_stream"``.
    """

    x: Tensor
    index: Tensor
    y: Tensor | None = None
    view: Tensor | None = None
    pairs: Tensor | None = None
    outliers: Tensor | None = None
    unlabeled_pool: Tensor | None = None
    aux_stream: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: str | torch.device) -> Self:
        """The batch on a device."""
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: tensor.to(device) for name, tensor in held.items() if tensor is not None})
