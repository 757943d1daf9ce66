"""Any image model of timm."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from unseen.data import Preprocess
from unseen.encoders._module import ModuleEncoder, load_state, load_weights, one_line
from unseen.errors import BadInput, WrongUse
from unseen.optional import require


class Timm(ModuleEncoder):
    """A model of timm by its name, with the preprocessing that its configuration declares.

    Args:
        model: timm's name, such as ``"resnet18"`` or ``"vit_base_patch16_224.augreg_in21k"``.
        weights: safetensors file; without one, timm's pretrained weights are taken from its cache or downloaded.
        size: height and width, where they are not the model's own.
        classes: number of outputs of ``weights``, where they are not the model's own.
        state: tensors of a saved classifier.

    Raises:
        WrongUse: for a name that timm does not know.
        BadInput: when pretrained weights cannot be had.
        MissingExtra: without timm.
    """

    def __init__(
        self,
        model: str,
        weights: str | None = None,
        size: int | None = None,
        classes: int | None = None,
        state: Mapping[str, Tensor] | None = None,
    ) -> None:
        timm = require("timm", "timm")
        self.model, self.size, self.classes_given = model, size, classes
        for option, value in (("size", size), ("classes", classes)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise WrongUse(f"timm:{model}: {option} is a whole number from 1, got {value!r}")
        name = model.split(".", 1)[0]
        if name not in timm.list_models():
            close = difflib.get_close_matches(name, timm.list_models(), n=3) or timm.list_models(f"*{name}*")[:3]
            raise WrongUse(
                f"timm:{model}: timm has no such model" + (f"; there are {', '.join(close)}" if close else "")
            )
        pretrained = weights is None and state is None
        config = timm.models.get_pretrained_cfg(name)
        # Transformers of one fixed size must be told; convolutional networks take any.
        options: dict[str, Any] = {"img_size": size} if size and config and config.fixed_input_size else {}
        if classes is not None:
            options["num_classes"] = classes
        try:
            network: nn.Module = timm.create_model(model, pretrained=pretrained, **options)
        except Exception as error:  # of timm, its hub, or whatever they reach the network by
            if not pretrained:
                raise WrongUse(f"timm:{model}: {one_line(error)}") from error
            raise BadInput(
                f"timm:{model}: its pretrained weights are not in the cache and cannot be downloaded "
                f"({one_line(error)}); give a file: timm:{model}?weights=FILE.safetensors"
            ) from error
        if weights is not None:
            load_weights(network, weights)
        elif state is not None:
            load_state(network, state, f"timm:{model}")
        data = timm.data.resolve_model_data_config(network)
        side = size or data["input_size"][-1]
        self.set_up(
            network,
            Preprocess(side, resize="crop", crop_fraction=data["crop_pct"], interpolation=data["interpolation"]),
            data["mean"],
            data["std"],
        )

    def _label(self) -> str:
        return f"timm:{self.model}"

    def describe(self) -> dict[str, Any]:
        """Model name and size; the weights are in `state`."""
        return {
            "name": self.name,
            "arguments": {"model": self.model, "size": self.size, "classes": self.classes_given},
        }
