"""What a detector may ask of an encoder beyond features and logits.

A request is a small frozen value. It stands in ``needs`` beside plain signal names, an encoder answers it in
the pass that it makes anyway where that is possible, and the answer is kept under ``request.key``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from unseen.errors import WrongUse


@dataclass(frozen=True)
class Request:
    """Base of all requests; two equal requests have one answer."""

    @property
    def key(self) -> str:
        """The name of the answer among the signals, the same in every process."""
        arguments = ",".join(f"{field.name}={getattr(self, field.name)!r}" for field in fields(self))
        return f"{type(self).__name__}({arguments})"


@dataclass(frozen=True)
class LayerStatistics(Request):
    """Mean and standard deviation over positions of every channel of one inner layer: ``(N, 2 * channels)``.

    Reduced inside the encoder, so that whole feature maps never leave it.

    Attributes:
        layer: dotted name of the layer inside the network, as ``named_modules`` gives it.

    >>> LayerStatistics("blocks.3").key
    "LayerStatistics(layer='blocks.3')"
    """

    layer: str

    def __post_init__(self) -> None:
        if not isinstance(self.layer, str):
            raise WrongUse(f"LayerStatistics takes the dotted name of a layer, got {self.layer!r}")


@dataclass(frozen=True)
class Perturbed(Request):
    """Logits after one signed gradient step on the input towards a more confident answer: ``(N, C)``.

    ``x' = x - epsilon * sign(d CE(logits(x) / temperature, argmax) / d x)``, with ``x`` the normalised
    input of the network. Costs two forward passes and one backward pass.
    Source: Liang, Li, Srikant, "Enhancing the Reliability of Out-of-distribution Image Detection in Neural
    Networks", ICLR 2018, equation 2.

    Attributes:
        epsilon: step in units of the normalised input.
        temperature: divides the logits before the cross-entropy; above 0.

    Raises:
        WrongUse: for other than finite numbers.

    >>> Perturbed(temperature=10).key
    'Perturbed(epsilon=0.0014,temperature=10.0)'
    """

    epsilon: float = 0.0014
    temperature: float = 1000.0

    def __post_init__(self) -> None:
        # 10 and 10.0 are equal requests, so they must have one key as well.
        for name in ("epsilon", "temperature"):
            try:
                value = float(getattr(self, name))
            except (TypeError, ValueError) as error:
                raise WrongUse(f"Perturbed({name}={getattr(self, name)!r}) is not a number") from error
            if not math.isfinite(value):
                raise WrongUse(f"Perturbed({name}={value!r}) is not a finite number")
            object.__setattr__(self, name, value)
        if self.temperature <= 0:
            raise WrongUse(f"Perturbed(temperature={self.temperature!r}): the temperature is above 0")


def key_of(wanted: str | Request) -> str:
    """The name under which a signal or an answer is stored."""
    return wanted if isinstance(wanted, str) else wanted.key
