"""Pictures of any size -> pictures of the encoder's size, by Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unseen.errors import BadInput, WrongUse

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_LARGEST = 32_768  # pixels a side; Pillow counts the pixels of a picture in 32 bits
_ELONGATED = 64  # scaled pixels for each one that is kept, from which on only the middle is scaled


@dataclass(frozen=True)
class Preprocess:
    """Resize and crop, antialiased, in 8 bits.

    ``"crop"`` scales the picture, its shape kept, until it just covers ``round(size / crop_fraction)``, and
    takes the middle; for a square size that is torchvision's ``Resize`` of the short side and ``CenterCrop``,
    rounding included. ``"squash"`` scales both sides to the size.

    Args:
        size: of the result: side of a square, or (height, width).
        resize: ``"crop"`` or ``"squash"``.
        crop_fraction: in (0, 1]; used by ``"crop"`` only.
        interpolation: nearest, box, bilinear, hamming, bicubic or lanczos.

    Raises:
        WrongUse: an argument that cannot work.

    >>> Preprocess(224)(np.zeros((300, 400, 3), np.uint8)).shape
    (224, 224, 3)
    """

    size: int | tuple[int, int]
    resize: Literal["crop", "squash"] = "crop"
    crop_fraction: float = 0.875
    interpolation: str = "bicubic"

    def __post_init__(self) -> None:
        if isinstance(self.size, Sequence):  # JSON brings lists; two equal recipes must be equal
            object.__setattr__(self, "size", tuple(self.size))
        sides = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        if len(sides) != 2 or not all(isinstance(side, (int, np.integer)) and 0 < side <= _LARGEST for side in sides):
            raise WrongUse(f"size must be a positive integer up to {_LARGEST:,} or (height, width), got {self.size!r}")
        if self.resize not in ("crop", "squash"):
            raise WrongUse(f'resize must be "crop" or "squash", got {self.resize!r}')
        if not 0 < self.crop_fraction <= 1:
            raise WrongUse(f"crop_fraction must lie in (0, 1], got {self.crop_fraction!r}")
        if self.interpolation not in _FILTERS:
            raise WrongUse(f"interpolation must be one of {', '.join(_FILTERS)}, got {self.interpolation!r}")

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the result."""
        height, width = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        return int(height), int(width)

    def describe(self) -> dict[str, Any]:
        """What the result depends on, for JSON; ``Preprocess(**described)`` does the same again."""
        described: dict[str, Any] = {"size": list(self.shape), "resize": self.resize}
        if self.resize == "crop":
            described["crop_fraction"] = float(self.crop_fraction)
        return described | {"interpolation": self.interpolation}

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture uint8 ``(H, W, 3)`` as uint8 ``(h, w, 3)``; a new array.

        Raises:
            BadInput: another shape or type.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise BadInput(f"expected uint8 (H, W, 3), got {image.dtype} {image.shape}")
        height, width = self.shape
        if image.shape[:2] == (height, width):  # either way of resizing would give it back
            return image.copy()
        picture, method = Image.fromarray(image), _FILTERS[self.interpolation]
        if self.resize == "squash":
            return np.array(picture.resize((width, height), method))
        cover_height, cover_width = self._cover(*image.shape[:2])
        left, top = round((cover_width - width) / 2), round((cover_height - height) / 2)
        right, bottom = left + width, top + height
        if cover_height * cover_width <= _ELONGATED * height * width:
            scaled = picture.resize((cover_width, cover_height), method)
            return np.array(scaled.crop((left, top, right, bottom)))
        # 1 x 100,000 pixels would become a giant, of which nobody wants more than the middle.
        across, down = picture.width / cover_width, picture.height / cover_height
        end = min(right * across, picture.width), min(bottom * down, picture.height)
        return np.array(picture.resize((width, height), method, box=(left * across, top * down, *end)))

    def _cover(self, had_height: int, had_width: int) -> tuple[int, int]:
        """Height and width of the scaled picture, before the middle is taken."""
        height, width = (round(side / self.crop_fraction) for side in self.shape)
        if height * had_width >= width * had_height:  # the height decides
            return height, max(width, height * had_width // had_height)
        return max(height, width * had_height // had_width), width
