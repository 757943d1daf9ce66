"""Numbers as they come in, checked, and answers in the kind of container that they came in."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from unseen.errors import BadInput


def as_tensor(values: Any, name: str) -> Tensor:
    """A floating-point tensor of any shape, detached; integers become float64.

    Raises:
        BadInput: for what is no array of real numbers; ``name`` says what it was meant to be.
    """
    x = _raw(values, name, "numbers")
    if x.is_complex():
        raise BadInput(f"{name}: expected real numbers, got {x.dtype}")
    return x if x.is_floating_point() else x.double()


def as_calibration(scores: Any) -> Tensor:
    """Calibration scores ``(N,)``, finite, float32 (half is raised) or float64.

    Raises:
        BadInput: when there are none, they are not ``(N,)``, or one is NaN or infinite.
    """
    name = "calibration scores"
    values = as_tensor(scores, name)
    if values.ndim != 1:
        raise BadInput(f"{name}: expected shape (N,), got {tuple(values.shape)}")
    if not values.numel():
        raise BadInput(f"{name}: there are none, at least one is needed")
    refuse(~values.isfinite(), name, "not finite")
    return values.to(torch.promote_types(values.dtype, torch.float32))


def as_codes(classes: Any, name: str) -> Tensor:
    """Class codes as an int64 tensor of any shape.

    Raises:
        BadInput: for anything but integers from 0.
    """
    x = _raw(classes, name, "integer codes")
    if x.numel() and (x.is_floating_point() or x.is_complex() or x.dtype == torch.bool):
        raise BadInput(f"{name}: expected integer codes from 0, got {x.dtype}")
    x = x.long()
    refuse(x < 0, name, "negative")
    return x


def like(given: Any, result: Tensor) -> Any:
    """``result`` as the kind of container that ``given`` is."""
    if isinstance(given, Tensor):
        return result.to(given.device)
    if isinstance(given, list | tuple):
        return result.tolist()
    return result.cpu().numpy()[()]  # a number in, a number out


def refuse(bad: Tensor, name: str, what: str) -> None:
    """Raise BadInput when any of ``bad`` is true, saying how many and where the first is."""
    if bad.any():
        rows = bad.flatten().nonzero()
        raise BadInput(
            f"{name}: {len(rows)} of {bad.numel()} are {what}, the first in row {int(rows[0])}: "
            "mend or drop these inputs"
        )


def _raw(values: Any, name: str, what: str) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach()
    try:
        return torch.from_numpy(np.array(values))  # a copy: torch warns of read-only arrays
    except (TypeError, ValueError) as wrong:
        raise BadInput(f"{name}: not an array of {what} ({wrong})") from wrong
