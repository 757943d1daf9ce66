"""Density of the pixels themselves: one Gaussian a colour channel."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from unseen.detectors._gaussians import factor
from unseen.detectors.base import Detector
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.parts import Paper
from unseen.signals import Support

LEVELS = 256  # values that a pixel can have


class PixelGaussians(Detector):
    """An input is known when its pixels are likely under one Gaussian for each colour channel.

    ``score(x) = sum over c of log N(x_c; m_c, S_c)``, with ``x_c (H * W,)`` the pixels of one channel and ``m_c``,
    ``S_c`` the mean and the full covariance of the known ones. Pixels are dequantised: the noise uniform over one of
    256 levels, which the authors draw, is taken in expectation, as a variance of ``1 / (12 * 256^2)`` at every pixel.
    So nothing is drawn, and the covariance has full rank however few the inputs are.

    A baseline: no network sees the image, and where this tells two sets apart they differ in plain statistics.

    Args:
        channels: how many values of the row are one pixel.

    Reads: ``pixels (N, H * W * channels)`` in ``[0, 1]``, channels last, as the encoder ``pixels`` gives; labels
    ignored.
    Returns: ``(N,)``, nats.
    Raises: WrongUse, when rows are no whole number of pixels; NotEnoughKnown, with fewer than two inputs.
    Cost: ``channels * (H * W)^2`` numbers held; a query is a product with them.
    Source: Ahmed and Courville, "Detecting Semantic Anomalies", AAAI 2020, appendix D.
    Differs: the paper calls it a mixture of three Gaussians; the authors' code, which made the published numbers, is
    this product. It draws the noise and works in float32; noise in expectation and float64 at the fit are ours.

    >>> known = torch.linspace(0, 1, 300).view(25, 12) * 0.1 + 0.4
    >>> detector = PixelGaussians().fit({"pixels": known})
    >>> scores = detector.score({"pixels": torch.stack([known[3], 1 - known[3]])})
    >>> bool(scores[0] > scores[1])
    True
    """

    needs = frozenset({"pixels"})
    paper = Paper("Detecting Semantic Anomalies", "Ahmed, Courville", "AAAI", 2020)
    means: Tensor  # (channels, 1, H * W)
    factors: Tensor  # (channels, H * W, H * W)
    constant: Tensor  # (), what the density has beside the distances

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.channels = channels
        for name in ("means", "factors", "constant"):
            self.register_buffer(name, torch.empty(0))

    def learn(self, support: Support) -> None:
        """Mean and covariance of each channel, in one walk."""
        if not isinstance(self.channels, int) or isinstance(self.channels, bool) or self.channels < 1:
            raise WrongUse(f"PixelGaussians(channels={self.channels!r}): channels are a whole number from 1")
        width, count = support.signals.width("pixels"), len(support)
        if width % self.channels:
            raise WrongUse(f"PixelGaussians: {width} values are no whole number of pixels of {self.channels} channels")
        if count < 2:
            raise NotEnoughKnown(f"PixelGaussians needs two known inputs to see how pixels vary, got {count}")
        total: Tensor = torch.zeros((), dtype=torch.float64)
        outer: Tensor = torch.zeros((), dtype=torch.float64)
        for batch in support.batches("pixels"):
            x = self._by_channel(batch["pixels"].double())  # values in [0, 1]: one walk loses no digits that count
            total = total + x.sum(dim=1)
            outer = outer + x.transpose(1, 2) @ x
        means = (total / count)[:, None]  # (channels, 1, pixels)
        covariances = (outer - count * means.transpose(1, 2) @ means) / (count - 1)
        noise = torch.eye(means.shape[2]).to(covariances) / (12 * LEVELS**2)
        made = [factor(covariance + noise, self.name) for covariance in covariances]
        dtype = support.dtype("pixels")
        self.means, self.factors = means.to(dtype), torch.stack([whitening for whitening, _ in made]).to(dtype)
        logarithms = sum(float(logarithm) for _, logarithm in made)
        self.constant = torch.tensor(-0.5 * (logarithms + width * math.log(2 * math.pi)), dtype=dtype)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Log-densities ``(B,)``."""
        gaps = (self._by_channel(signals["pixels"]) - self.means) @ self.factors
        return self.constant - 0.5 * gaps.square().sum(dim=(0, 2))

    def _by_channel(self, pixels: Tensor) -> Tensor:
        """``(B, pixels * channels)`` as ``(channels, B, pixels)``."""
        return pixels.reshape(-1, pixels.shape[1] // self.channels, self.channels).movedim(2, 0)

    def numbers_per_query(self) -> int:
        """The row, whitened."""
        return self.means.numel()
