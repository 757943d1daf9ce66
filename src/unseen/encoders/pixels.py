"""The pixels themselves: the baseline that shows when a benchmark is trivial."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from unseen.encoders._small import SmallCopy
from unseen.signals import Request, key_of


class Pixels(SmallCopy):
    """Colours of a small copy of the image, in ``[0, 1]``: no network, no weights.

    They are given as ``features``, for any detector, and when asked for under their own name ``pixels``, for detectors
    that must know what they read.

    Args:
        size: height and width of the copy; features are ``3 * size^2`` wide.
    """

    when_named = frozenset({"pixels"})

    def __init__(self, size: int = 16) -> None:
        self.shrink_to(size, 1, "box")

    def answer(self, batch: np.ndarray, wanted: frozenset[str | Request]) -> dict[str, Tensor]:
        """The values, ``(B, D)``, under both names."""
        found = super().answer(batch, frozenset({"features"}) | (wanted - self.when_named))
        return {key: found.get(key, found["features"]) for key in map(key_of, wanted)}

    def graph(self) -> nn.Module:
        """Flattening and scaling, for uint8 pixels."""
        return _Graph()


class _Graph(nn.Module):
    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        return {"features": pixels.flatten(1).float() / 255}  # (B, H, W, 3) -> (B, D)
