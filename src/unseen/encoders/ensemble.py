"""Several networks of one kind, trained from different starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from unseen.encoders.torch import Torch
from unseen.errors import WrongUse
from unseen.files import fingerprint
from unseen.signals import Request


class Ensemble(Torch):
    """A user's own network with several weights: what the detector `Ensemble` asks.

    Features, the head and answers to requests are those of the first network. ``samples (N, R, C)`` are the logits of
    all of them; they are made only where they are asked for by name, as they cost a pass through each network.

    Args:
        path: import path of the network; see `Torch`.
        weights: safetensors files with commas between them, two or more.
        size: as for `Torch`, and so are the others. Without ``mean`` and ``std`` each file's own hold.
        mean: of each channel.
        std: of each channel.
        resize: ``"squash"`` or ``"crop"``.
        head: dotted name of the last linear layer.
        classes: names of the outputs, in order.

    Raises:
        WrongUse: for fewer than two files, or networks without logits or with different numbers of them.
    """

    when_named: ClassVar[frozenset[str]] = frozenset({"samples"})

    def __init__(
        self,
        path: str,
        weights: str,
        size: int = 224,
        mean: Any = None,
        std: Any = None,
        resize: str = "squash",
        head: str | None = None,
        classes: str | Sequence[str] | None = None,
    ) -> None:
        files = [name.strip() for name in weights.split(",")]
        if len(files) < 2:
            raise WrongUse(f"ensemble:{path}: give two weights files or more, with commas between them")
        super().__init__(path, files[0], size, mean, std, resize, head, classes)
        self._others = [Torch(path, name, size, mean, std, resize, head, classes) for name in files[1:]]
        outputs = [0 if one.head is None else len(one.head.weight) for one in (self, *self._others)]
        if 0 in outputs or len(set(outputs)) > 1:
            raise WrongUse(f"ensemble:{path}: networks of an ensemble have logits of the same classes, these {outputs}")

    def _label(self) -> str:
        """As for `Torch`, with a fingerprint of the other networks."""
        others = fingerprint(*(one.id for one in self._others))
        return f"ensemble:{super()._label().partition(':')[2]}:{others[:16]}"

    def to(self, device: str | torch.device) -> Self:
        """Move all networks."""
        for one in self._others:
            one.to(device)
        return super().to(device)

    def answer(self, batch: np.ndarray, wanted: frozenset[str | Request]) -> dict[str, Tensor]:
        """As the first network answers, and ``samples`` with one more pass for each other."""
        if "samples" not in wanted:
            return super().answer(batch, wanted)
        logits = frozenset({"logits"})
        found = super().answer(batch, (wanted - {"samples"}) | logits)
        samples = torch.stack([found["logits"], *(one.answer(batch, logits)["logits"] for one in self._others)], dim=1)
        return {key: value for key, value in found.items() if key != "logits" or "logits" in wanted} | {
            "samples": samples
        }
