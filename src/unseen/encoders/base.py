"""The contract of an encoder: one batch of inputs in, every signal asked for out."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping
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
        head: the linear head that made its logits, where there is one.
        classes: names of its outputs, where they are known.
    """

    accepts: ClassVar[Literal["images", "arrays"]] = "images"
    rebuildable: ClassVar[bool] = True
    head: LinearHead | None = None
    classes: tuple[str, ...] | None = None

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
        """Prepared pixels ``(B, 3, H, W)``, float, in ``[0, 1]`` -> last output; what an export starts from."""
        raise WrongUse(f"{self.name} has no network")

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """One decoded image, uint8 ``(H, W, 3)`` of any size -> uint8 of the fixed shape that `answer` takes."""
        raise NotImplementedError

    def answer(self, batch: np.ndarray, wanted: frozenset[str | Request]) -> dict[str, Tensor]:
        """Every signal wanted, by key, each ``(B, ...)`` on the CPU, from as few passes as possible.

        Raises:
            WrongUse: when it cannot give one of them.
        """
        raise NotImplementedError

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


def open_encoder(text: str | Encoder, device: str | torch.device = "cpu") -> Encoder:
    """An encoder from its name.

    Args:
        text: ``name``, ``name:argument`` or ``name:argument?option=value&option=value``, such as ``packaged``,
            ``pixels?size=8``, ``timm:resnet18?weights=net.safetensors`` or
            ``torch:nets.py:resnet20?weights=net.safetensors&size=32&mean=0.5,0.5,0.5``. An `Encoder` passes through.
        device: where its network runs.

    Raises:
        WrongUse: for an unknown name or option.
        MissingExtra: when an optional dependency is not installed.

    >>> open_encoder("pixels?size=4").id
    'pixels:4x4'
    """
    if isinstance(text, Encoder):
        return text.to(device)
    match = re.fullmatch(r"(?P<name>\w+)(?::(?P<argument>[^?]*))?(?:\?(?P<options>.*))?", text)
    if match is None:
        raise WrongUse(f"{text!r} is not an encoder: write name, name:argument or name:argument?option=value")
    kind = find("encoders", match["name"])
    given: dict[str, Any] = {}
    for pair in filter(None, (match["options"] or "").split("&")):
        key, sep, value = pair.partition("=")
        if not sep:
            raise WrongUse(f"{text!r}: write options as name=value, got {pair!r}")
        given[key] = _literal(unquote(value))
    accepted = [name for name in inspect.signature(kind).parameters if name != "state"]
    unknown = [key for key in given if key not in accepted]
    if unknown:
        raise WrongUse(
            f"{text!r}: {match['name']} has no option {unknown[0]!r}; it takes {', '.join(accepted) or 'none'}"
        )
    if match["argument"]:
        if not accepted:
            raise WrongUse(f"{text!r}: {match['name']} takes no argument")
        given[accepted[0]] = match["argument"]
    try:
        encoder: Encoder = kind(**given)
    except TypeError as error:
        raise WrongUse(f"{text!r}: {match['name']} takes {', '.join(accepted)}; {error}") from error
    return encoder.to(device)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def check_kind(encoder: Encoder, kind: str, source: str) -> None:
    """Raise unless the encoder reads inputs of this kind."""
    if encoder.accepts != kind:
        other = "the encoder 'arrays'" if kind == "arrays" else "an image encoder such as 'packaged' or 'pixels'"
        raise BadInput(f"{source} holds {kind}, the encoder {encoder.name!r} reads {encoder.accepts}: use {other}")
