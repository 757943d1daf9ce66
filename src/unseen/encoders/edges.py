"""How strong the edges of an image are: the baseline that shows when sets differ in plain sharpness."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unseen.encoders._small import SmallCopy

RED, GREEN, BLUE = 299, 587, 114  # thousandths of each colour in grey, as in ITU-R BT.601
FULL = 255 * 1000  # white


class Edges(SmallCopy):
    """Two numbers, no network: how strong the edges across and the edges down a small copy of the image are.

    The copy is made grey in ``[0, 1]``, ``0.299 R + 0.587 G + 0.114 B``. The 3 x 3 Sobel filters give ``gx``, by which
    grey grows from left to right, and ``gy``, by which it grows downwards, at every pixel that has eight neighbours.
    The features are ``(sqrt(mean gx^2), sqrt(mean gy^2))``; the square of their length, ``mean(gx^2 + gy^2)``, is the
    edge energy. A uniform image has none, and light that is added everywhere changes nothing.

    Args:
        size: height and width of the copy, from 3.

    Source: the idea of Ahmed, Courville, "Detecting Semantic Anomalies", AAAI 2020, appendix D, where a threshold on
    "the energy of the edge-detection map" tells one benchmark's sets apart. They name no filter; Sobel's is our choice,
    and so are the square root, which makes the numbers less skewed, and the two directions.

    >>> import numpy as np
    >>> picture = np.zeros((64, 64, 3), np.uint8)
    >>> picture[:, 32:] = 255  # one upright edge: gx is 4 at 2 of 62 columns
    >>> Edges().answer(picture[None], frozenset({"features"}))["features"]
    tensor([[0.7184, 0.0000]])
    """

    def __init__(self, size: int = 64) -> None:
        self.shrink_to(size, 3, "bilinear")

    def graph(self) -> nn.Module:
        """The filters, for uint8 pixels."""
        return _Graph()


class _Graph(nn.Module):
    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        # Whole numbers up to the squares: what should cancel cancels exactly.
        whole = pixels.int()
        grey = RED * whole[..., 0] + GREEN * whole[..., 1] + BLUE * whole[..., 2]  # (B, H, W)
        down = grey[:, :-2] + 2 * grey[:, 1:-1] + grey[:, 2:]  # (B, H-2, W)
        across = grey[:, :, :-2] + 2 * grey[:, :, 1:-1] + grey[:, :, 2:]  # (B, H, W-2)
        gx, gy = down[:, :, 2:] - down[:, :, :-2], across[:, 2:] - across[:, :-2]  # (B, H-2, W-2)
        strengths = [(g.float() / FULL).square().flatten(1).mean(dim=1).sqrt() for g in (gx, gy)]
        return {"features": torch.stack(strengths, dim=1)}  # (B, 2)
