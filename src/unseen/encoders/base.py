"""The contract of an encoder: one batch of inputs in, every signal asked for out."""

from __future__ import annotations

import ast
import difflib
import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self
from urllib.parse import unquote

import numpy as np
import torch
from torch import Tensor, nn

from unseen.errors import BadInput, WrongUse
from unseen.registry import find
from unseen.signals import LinearHead, Request


class Encoder:
    """What turns inputs into signals.

    Attributes:
        accepts: the kind of inputs that it reads.
        rebuildable: whether a saved classifier can hold it by name and weights; if not, the file holds its id
            and the encoder is asked for at load.
        when_named: signals that it gives only when they are asked for by name.
        head: the linear head that made its logits, where there is one.
        classes: names of its outputs, where they are known.
        scale: what the model multiplies the cosines of images and texts by, where it reads both.
    """

    accepts: ClassVar[Literal["images", "arrays"]] = "images"
    rebuildable: ClassVar[bool] = True
    when_named: ClassVar[frozenset[str]] = frozenset()
    head: LinearHead | None = None
    classes: tuple[str, ...] | None = None
    scale: float | None = None

    @property
    def name(self) -> str:
        """The registered name: that of the file."""
        return type(self).__module__.rsplit(".", 1)[-1]

    @property
    def id(self) -> str:
        """Name, weights hash and preprocessing: two encoders with one id give the same numbers."""
        raise NotImplementedError

    @property
    def provides(self) -> frozenset[str]:
        """Signals that it gives without a special request."""
        raise NotImplementedError

    @property
    def module(self) -> nn.Module:
        """Prepared pixels ``(B, 3, H, W)``, float, in ``[0, 1]`` -> last output."""
        raise WrongUse(f"{self.name} has no network")

    def graph(self) -> nn.Module:
        """Prepared pixels, uint8 ``(B, H, W, 3)`` -> dict of the signals in `provides`; what an export starts from.

        A module of its own on the CPU, without hooks: it says what `answer` says, to rounding.

        Raises:
            WrongUse: when the encoder does not work on pixels, or has no such module.
        """
        raise WrongUse(f"the encoder {self.name} cannot be exported: it has no module that starts at pixels")

    def differentiable(self) -> nn.Module:
        """Pixels, float ``(B, 3, H, W)`` in ``[0, 1]`` at the size of `prepare` -> features ``(B, D)``, with slopes.

        A module of its own on the encoder's device, without hooks: its features are those of `answer`, to rounding.

        Raises:
            WrongUse: when the encoder has no network.
        """
        raise WrongUse(f"the encoder {self.name} has no network to take slopes of")

    def preprocessing(self) -> dict[str, Any]:
        """What `prepare` does to an image, for JSON; empty where nothing is done."""
        return {}

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """One decoded image, uint8 ``(H, W, 3)`` of any size -> uint8 of the fixed shape that `answer` takes."""
        raise NotImplementedError

    def answer(self, batch: np.ndarray, wanted: frozenset[str | Request]) -> dict[str, Tensor]:
        """Every signal wanted, by key, each ``(B, ...)`` on the CPU, from as few passes as possible.

        Raises:
            WrongUse: when it cannot give one of them.
        """
        raise NotImplementedError

    @property
    def reads_text(self) -> bool:
        """Whether `text` works."""
        return False

    def text(self, texts: Sequence[str]) -> Tensor:
        """Raw outputs of the text side, ``(n, E)``, of any length, float32 on the CPU; long texts are cut.

        Raises:
            WrongUse: when it has no text side.
        """
        raise WrongUse(f"the encoder {self.name} has no text side: use one of images and texts, clip:MODEL or hf:MODEL")

    def refusal(self, request: Request) -> str | None:
        """Why a request cannot be answered, as the end of a sentence; None where it can."""
        return f"the encoder {self.name} answers no requests"

    def to(self, device: str | torch.device) -> Self:
        """Move to a device; encoders without a network ignore it."""
        return self

    def describe(self) -> dict[str, Any]:
        """JSON from which `restore` makes the same encoder, given `state`."""
        arguments = {key: getattr(self, key) for key in inspect.signature(type(self)).parameters if key != "state"}
        return {"name": self.name, "arguments": arguments}

    def state(self) -> dict[str, Tensor]:
        """The weights that a saved classifier must hold; empty where there are none."""
        return {}

    @classmethod
    def restore(cls, description: Mapping[str, Any], state: Mapping[str, Tensor]) -> Self:
        """The encoder that `describe` and `state` came from."""
        return cls(**description["arguments"], **({"state": state} if state else {}))


def open_encoder(text: str | Encoder, device: str | torch.device | None = None) -> Encoder:
    """An encoder from its name.

    Args:
        text: ``name``, ``name:argument`` or ``name:argument?option=value&option=value``, such as ``packaged``,
            ``pixels?size=8``, ``timm:resnet18?weights=net.safetensors`` or
            ``torch:nets.py:resnet20?weights=net.safetensors&size=32&mean=0.5,0.5,0.5``. Values are written as in
            an address (``%26`` is ``&``). An `Encoder` passes through.
        device: where its network runs; None leaves it where it is, at first the CPU.

    Raises:
        WrongUse: for an unknown name, option, value or device.
        MissingExtra: when an optional dependency is not installed.

    >>> open_encoder("pixels?size=4").id
    'pixels:4x4'
    """
    if isinstance(text, Encoder):
        return text if device is None else text.to(device)
    match = re.fullmatch(r"(?P<name>\w+)(?::(?P<argument>[^?]*))?(?:\?(?P<options>.*))?", text)
    if match is None:
        raise WrongUse(f"{text!r} is not an encoder: write name, name:argument or name:argument?option=value")
    name = match["name"]
    kind = find("encoders", name)
    accepted = {key: p for key, p in inspect.signature(kind).parameters.items() if key != "state"}
    given: dict[str, Any] = {}
    if match["argument"]:
        if not accepted:
            raise WrongUse(f"{text!r}: {name} takes no argument")
        given[next(iter(accepted))] = match["argument"]
    for pair in filter(None, (match["options"] or "").split("&")):
        key, sep, value = pair.partition("=")
        if not sep:
            raise WrongUse(f"{text!r}: write options as name=value, got {pair!r}")
        if key not in accepted:
            close = difflib.get_close_matches(key, accepted, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it takes {', '.join(accepted) or 'none'}"
            raise WrongUse(f"{text!r}: {name} has no option {key!r}; {hint}")
        if key in given:
            raise WrongUse(f"{text!r}: {key} is given twice")
        # File and class names stay text, even where they look like numbers.
        plain = "str" in str(accepted[key].annotation)
        given[key] = unquote(value) if plain else _literal(unquote(value))
    lacking = [key for key, p in accepted.items() if p.default is p.empty and key not in given]
    if lacking:
        raise WrongUse(f"{text!r}: {name} needs a {lacking[0]}: write {name}:{lacking[0].upper()}")
    encoder: Encoder = kind(**given)
    return encoder if device is None else encoder.to(device)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # what `ast` raises for odd text
        return text


def check_kind(encoder: Encoder, kind: str, source: str) -> None:
    """Raise unless the encoder reads inputs of this kind."""
    if encoder.accepts != kind:
        other = "the encoder 'arrays'" if kind == "arrays" else "an image encoder such as 'packaged' or 'pixels'"
        raise BadInput(f"{source} holds {kind}, the encoder {encoder.name!r} reads {encoder.accepts}: use {other}")
