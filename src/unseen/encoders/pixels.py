"""The pixels themselves: the baseline that shows when a benchmark is trivial."""

from __future__ import annotations

from torch import Tensor, nn

from unseen.encoders._small import SmallCopy


class Pixels(SmallCopy):
    """Colours of a small copy of the image, in ``[0, 1]``: no network, no weights.

    Args:
        size: height and width of the copy; features are ``3 * size^2`` wide.
    """

    def __init__(self, size: int = 16) -> None:
        self.shrink_to(size, 1, "box")

    def graph(self) -> nn.Module:
        """Flattening and scaling, for uint8 pixels."""
        return _Graph()


class _Graph(nn.Module):
    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        return {"features": pixels.flatten(1).float() / 255}  # (B, H, W, 3) -> (B, D)
