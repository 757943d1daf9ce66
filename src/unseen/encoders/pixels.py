"""The pixels themselves: the baseline that shows when a benchmark is trivial."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unseen.data import Preprocess
from unseen.encoders.base import Encoder
from unseen.errors import WrongUse
from unseen.signals import Request, key_of


class Pixels(Encoder):
    """Colours of a small copy of the image, in ``[0, 1]``: no network, no weights.

    Args:
        size: height and width of the copy; features are ``3 * size^2`` wide.
    """

    def __init__(self, size: int = 16) -> None:
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise WrongUse(f"pixels?size={size}: the size is a whole number of pixels from 1")
        self.size = size
        self._preprocess = Preprocess(size, resize="squash", interpolation="box")

    @property
    def id(self) -> str:
        """Name and size."""
        return f"pixels:{self.size}x{self.size}"

    @property
    def provides(self) -> frozenset[str]:
        """``features`` alone."""
        return frozenset({"features"})

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """The small copy, uint8 ``(size, size, 3)``."""
        return self._preprocess(image)

    def answer(self, batch: np.ndarray, wanted: frozenset[str | Request]) -> dict[str, Tensor]:
        """Pixels ``(B, 3 size^2)``."""
        other = [key_of(want) for want in wanted if want != "features"]
        if other:
            raise WrongUse(f"pixels give features only, not {', '.join(other)}: use a network, or put a head before it")
        return {"features": torch.tensor(batch.reshape(len(batch), -1)).float() / 255}

    def graph(self) -> nn.Module:
        """Flattening and scaling, for uint8 pixels."""
        return _Graph()

    def preprocessing(self) -> dict[str, Any]:
        """Resizing."""
        return self._preprocess.describe()


class _Graph(nn.Module):
    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        return {"features": pixels.flatten(1).float() / 255}  # (B, H, W, 3) -> (B, D)
