"""What encoders without a network share: one signal, made of a small copy of the image by a fixed rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from unseen.data import Preprocess
from unseen.encoders.base import Encoder
from unseen.errors import WrongUse
from unseen.signals import Request, key_of


class SmallCopy(Encoder):
    """A subclass gives `graph`, the rule, and calls `shrink_to` in its constructor."""

    size: int

    def shrink_to(self, size: int, least: int, interpolation: str) -> None:
        """Say how the copy is made.

        Args:
            size: its height and width.
            least: the smallest size that the rule can do with.
            interpolation: as of `Preprocess`.

        Raises:
            WrongUse: for a size that is no whole number from ``least``.
        """
        if not isinstance(size, int) or isinstance(size, bool) or size < least:
            raise WrongUse(f"{self.name}?size={size}: the size is a whole number of pixels from {least}")
        self.size = size
        self._preprocess = Preprocess(size, resize="squash", interpolation=interpolation)

    @property
    def id(self) -> str:
        """Name and size."""
        return f"{self.name}:{self.size}x{self.size}"

    @property
    def provides(self) -> frozenset[str]:
        """``features`` alone."""
        return frozenset({"features"})

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """The small copy, uint8 ``(size, size, 3)``."""
        return self._preprocess(image)

    def answer(self, batch: np.ndarray, wanted: frozenset[str | Request]) -> dict[str, Tensor]:
        """What `graph` makes of the copies, ``(B, D)``."""
        other = [key_of(want) for want in wanted if want != "features"]
        if other:
            raise WrongUse(
                f"{self.name} give features only, not {', '.join(other)}: use a network, or put a head before it"
            )
        found: dict[str, Tensor] = self.graph()(torch.tensor(batch))
        return found

    def preprocessing(self) -> dict[str, Any]:
        """Resizing."""
        return self._preprocess.describe()
