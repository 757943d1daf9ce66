"""A picture changed at random, by Pillow: every draw from the generator that is given, none from a global one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from unseen.errors import WrongUse

_TRIES = 10  # boxes that are drawn before the middle is taken


@dataclass(frozen=True)
class Augment:
    """A random part at the size of the network, perhaps mirrored, recoloured, grey.

    Args:
        size: (height, width) of the result.
        scale: least and largest share of the picture's area that is kept.
        ratio: narrowest and widest shape of the part, width over height; drawn on a logarithmic scale.
        flip: probability of a mirror image.
        jitter: probability that the colours change.
        brightness: ``b``: factor drawn from ``[max(0, 1 - b), 1 + b]``; likewise contrast and saturation.
        contrast: likewise.
        saturation: likewise.
        hue: share of the colour circle by which hues turn at most, either way, up to 0.5.
        grey: probability of a picture without colours.

    Raises:
        WrongUse: a value that cannot work.

    Source: the defaults are those of Borlino, Bucci, Tommasi, "Semantic Novelty Detection via Relational Reasoning",
    ECCV 2022. The four changes of colour come in an order drawn at random.

    >>> picture = np.zeros((40, 60, 3), np.uint8)
    >>> Augment((32, 32))(picture, np.random.default_rng(0)).shape
    (32, 32, 3)
    """

    size: tuple[int, int]
    scale: tuple[float, float] = (0.8, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    jitter: float = 0.5
    brightness: float = 0.8
    contrast: float = 0.8
    saturation: float = 0.8
    hue: float = 0.1
    grey: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise WrongUse(f"scale={self.scale}: give the least and the largest share of the area, in (0, 1]")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise WrongUse(f"ratio={self.ratio}: give the narrowest and the widest shape, above 0")
        for name in ("flip", "jitter", "grey"):
            if not 0 <= getattr(self, name) <= 1:
                raise WrongUse(f"{name}={getattr(self, name)}: give a probability")
        for name, most in (("brightness", math.inf), ("contrast", math.inf), ("saturation", math.inf), ("hue", 0.5)):
            if not 0 <= getattr(self, name) <= most:
                raise WrongUse(f"{name}={getattr(self, name)}: give a number from 0{' to 0.5' if most == 0.5 else ''}")

    def describe(self) -> dict[str, Any]:
        """All arguments, for JSON."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items()}

    def __call__(self, image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
        """The picture uint8 ``(H, W, 3)`` as uint8 ``(h, w, 3)``; ``random`` decides all."""
        box = self._box(image.shape[0], image.shape[1], random)
        height, width = self.size
        picture = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, box=box)
        if random.random() < self.flip:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if random.random() < self.jitter:
            picture = self._recoloured(picture, random)
        if random.random() < self.grey:
            picture = picture.convert("L").convert("RGB")
        return np.array(picture)

    def _box(self, height: int, width: int, random: np.random.Generator) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the part that is kept."""
        narrow, wide = self.ratio
        for _ in range(_TRIES):
            area = height * width * random.uniform(*self.scale)
            shape = math.exp(random.uniform(math.log(narrow), math.log(wide)))
            across, down = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
            if 0 < across <= width and 0 < down <= height:
                left, top = (int(random.integers(0, room + 1)) for room in (width - across, height - down))
                return left, top, left + across, top + down
        # A picture far from all shapes: its middle, as much of it as the nearest of them covers.
        across = min(width, max(1, round(height * wide)))
        down = min(height, max(1, round(width / narrow)))
        left, top = (width - across) // 2, (height - down) // 2
        return left, top, left + across, top + down

    def _recoloured(self, picture: Image.Image, random: np.random.Generator) -> Image.Image:
        for change in random.permutation(4).tolist():
            if change == 3:
                picture = _turned(picture, random.uniform(-self.hue, self.hue))
                continue
            kind = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)[change]
            most = (self.brightness, self.contrast, self.saturation)[change]
            picture = kind(picture).enhance(random.uniform(max(0.0, 1.0 - most), 1.0 + most))
        return picture


def _turned(picture: Image.Image, share: float) -> Image.Image:
    """Hues turned by a share of the colour circle, which Pillow divides into 256."""
    hue, saturation, value = picture.convert("HSV").split()
    hue = hue.point([(step + round(256 * share)) % 256 for step in range(256)])
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")
