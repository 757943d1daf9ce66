"""Where a training reads its inputs: stored features, or images that are augmented as they are read."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unseen.data import Inputs
from unseen.data.batch import Rows
from unseen.errors import BadInput, WrongUse
from unseen.training.augment import Augment


class Source(Protocol):
    """``N`` inputs that are read by number."""

    def __len__(self) -> int: ...

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """``(N,)`` codes of classes, or None."""

    def read(self, rows: Rows, seed: tuple[int, ...]) -> Tensor:
        """``(B, ...)`` float32, in the order of ``rows.index``.

        Args:
            rows: which.
            seed: of the augmentation, the same for all rows of an epoch; a row adds its number and its draw.
        """

    def plain(self, index: NDArray[np.int64]) -> Tensor:
        """``(B, ...)`` float32, not augmented."""


class FeatureRows:
    """Features that were computed once.

    Args:
        features: ``(N, D)``.
        labels: ``(N,)`` codes of classes, from 0.

    Raises:
        BadInput: for another shape, or numbers that are not finite.
    """

    def __init__(self, features: Tensor, labels: NDArray[np.int64] | None = None) -> None:
        if features.ndim != 2 or not len(features):
            raise BadInput(f"features to train on are (N, D), from one row on, got {tuple(features.shape)}")
        bad = torch.nonzero(~torch.isfinite(features).all(dim=1)).flatten()
        if len(bad):
            raise BadInput(f"features of row {int(bad[0])} hold NaN or infinity: encode again or leave the row out")
        self.features, self.labels = features.float(), _checked(labels, len(features))

    def __len__(self) -> int:
        return len(self.features)

    def read(self, rows: Rows, seed: tuple[int, ...]) -> Tensor:
        """The rows' features."""
        return self.plain(rows.index)

    def plain(self, index: NDArray[np.int64]) -> Tensor:
        """The rows' features."""
        return self.features[torch.from_numpy(index)]


class ImageRows:
    """Images, read when they are asked for, each changed by draws of its own.

    What a row looks like depends on the seed, the epoch, its number and its draw only: not on the batch that it is in,
    on what was read before, or on threads.

    Args:
        inputs: N images.
        augment: what changes them; None: they are prepared only.
        prepare: one image of any size -> the size of the network, for reading without augmentation.
        labels: ``(N,)`` codes of classes; by default those of the inputs.
        workers: threads that read and decode.
    """

    def __init__(
        self,
        inputs: Inputs,
        augment: Augment | None,
        prepare: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
        labels: NDArray[np.int64] | None = None,
        workers: int = 1,
    ) -> None:
        if inputs.kind != "images":
            raise BadInput(f"{inputs.source} holds arrays: train on their features, not on images")
        if workers < 1:
            raise WrongUse(f"workers={workers}: give the number of threads that read, from 1")
        self.inputs, self.augment, self.prepare = inputs, augment, prepare
        self.labels = _checked(inputs.labels if labels is None else labels, len(inputs))
        self._workers = workers

    def __len__(self) -> int:
        return len(self.inputs)

    def read(self, rows: Rows, seed: tuple[int, ...]) -> Tensor:
        """``(B, 3, H, W)`` in ``[0, 1]``."""
        draws = np.zeros_like(rows.index) if rows.draw is None else rows.draw
        return self._stacked(
            lambda at: self._one(int(rows.index[at]), (*seed, int(rows.index[at]), int(draws[at]))), len(rows.index)
        )

    def plain(self, index: NDArray[np.int64]) -> Tensor:
        """``(B, 3, H, W)`` in ``[0, 1]``, prepared as the encoder prepares inputs that it is asked about."""
        return self._stacked(lambda at: self.prepare(self.inputs.read(int(index[at]))), len(index))

    def _one(self, row: int, seed: tuple[int, ...]) -> NDArray[np.uint8]:
        image = self.inputs.read(row)
        if self.augment is None:
            return self.prepare(image)
        return self.augment(image, np.random.default_rng(seed))

    def _stacked(self, one: Callable[[int], Any], count: int) -> Tensor:
        with ThreadPoolExecutor(self._workers) as pool:
            pixels = torch.from_numpy(np.stack(list(pool.map(one, range(count)))))
        return pixels.permute(0, 3, 1, 2).float() / 255  # (B, H, W, 3) uint8 -> (B, 3, H, W)


def _checked(labels: NDArray[np.int64] | None, rows: int) -> NDArray[np.int64] | None:
    if labels is None:
        return None
    codes = np.asarray(labels, dtype=np.int64)
    if codes.shape != (rows,) or (rows and codes.min() < 0):
        raise BadInput(f"labels to train on are {rows:,} codes from 0, got {codes.shape}")
    return codes
