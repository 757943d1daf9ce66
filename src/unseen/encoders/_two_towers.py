"""What encoders of images and of texts share: an image side with a projection, and a text side that may be absent."""

from __future__ import annotations

import copy
import json
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from unseen.data import Preprocess
from unseen.encoders._module import ModuleEncoder, load_state, one_line
from unseen.errors import WrongUse
from unseen.files import fingerprint
from unseen.signals import Request

# Texts a batch. The last bits of an answer depend on the shape of its batch, so every batch has this one, filled up
# where texts are fewer: a text has one answer, whatever it is asked with.
TEXTS = 16


class Tower(nn.Module):
    """The image side of a model: normalised pixels ``(B, 3, H, W)`` -> features ``(B, F)`` before the projection.

    Attributes:
        projection: ``(F, E)``; None where the features are the joint embedding already.
        watched: dotted name of the layer whose input `patches` takes; None where there are no patch features.
        why_not: why there are none, as the end of a sentence.
    """

    projection: Tensor | None
    watched: str | None = None
    why_not: str = ""

    def __init__(self, projection: Tensor | None) -> None:
        super().__init__()
        self.register_buffer(
            "projection",
            None if projection is None else projection.detach().clone(memory_format=torch.contiguous_format),
        )

    def patches(self, x: Tensor) -> Tensor:
        """What the layer ``watched`` is given -> features of each patch, before the projection: ``(B, P, F)``."""
        raise NotImplementedError

    def joint(self, features: Tensor) -> Tensor:
        """``(..., F)`` -> ``(..., E)`` of length 1."""
        return normalize(features if self.projection is None else features @ self.projection, dim=-1)


@dataclass(frozen=True)
class Images:
    """An image side with all that it depends on.

    Attributes:
        tower: the network.
        recipe: JSON from which the class's `tower` makes the network again, without its weights.
        preprocess: brings an image to its size.
        mean: of each channel, in units of ``[0, 1]``.
        std: of each channel.
    """

    tower: Tower
    recipe: Mapping[str, Any]
    preprocess: Preprocess
    mean: Sequence[float]
    std: Sequence[float]


@dataclass(frozen=True)
class Texts:
    """A text side.

    Attributes:
        network: holds its weights, and moves with the encoder.
        run: network and texts -> outputs ``(n, E)`` on the network's device, as they come: not of length 1.
        recipe: what its answers depend on beside the weights: sizes, activations, the tokenizer; any text.
    """

    network: nn.Module
    run: Callable[[Any, list[str]], Tensor]
    recipe: str


class TwoTowers(ModuleEncoder):
    """An encoder of images and texts into one space.

    ``features (N, F)`` are what the image side pools, before the projection and of any length; ``embedding (N, E)`` is
    features times projection, of length 1. Where a model has no projection of its own the two differ in length alone.
    ``local (N, P, E)`` are features of each patch in the same space, of length 1, where the model has any; they are
    given when they are asked for by name. All come from one pass. Requests about layers are answered as by any
    network; those about logits are refused, as there are none.

    A saved classifier holds the image side. Detectors hold the texts that they compare with, and a tokenizer does not
    fit into tensors, so a restored encoder scores but reads no texts. Its id is the same, and covers both sides.
    """

    _joint_width: int

    @classmethod
    @abstractmethod
    def tower(cls, recipe: Mapping[str, Any]) -> Tower:
        """The network of a recipe, with any weights."""

    def join(self, label: str, images: Images, texts: Texts | str, scale: float) -> None:
        """Called by a subclass's constructor, once both sides have their weights.

        Args:
            label: name of the model, as the id shows it.
            images: the image side.
            texts: the text side, or the fingerprint of one that is not at hand.
            scale: what the model multiplies cosines by.

        Raises:
            WrongUse: when the image side does not run on images of its size, or does not fit its projection.
        """
        self._shown, self._recipe, self.scale = label, images.recipe, scale
        # Of this model: others of the same kind have no patch features.
        self.when_named = frozenset() if images.tower.watched is None else frozenset({"local"})  # type: ignore[misc]
        self.set_up(images.tower, images.preprocess, images.mean, images.std)
        self._texts = None if isinstance(texts, str) else texts
        if isinstance(texts, Texts):
            texts.network.float().eval().requires_grad_(False).to(self._device)
            self._text_hash = fingerprint(texts.recipe, *_contents(texts.network))
        else:
            self._text_hash = texts
        # The scale is one of the weights beside the text side, in both libraries.
        self._hash = fingerprint(self._hash, in_order(self._recipe), self._text_hash)

    @property
    def provides(self) -> frozenset[str]:
        """``features`` and ``embedding``."""
        return frozenset({"features", "embedding"})

    @property
    def reads_text(self) -> bool:
        """True, except for what a saved classifier was restored with."""
        return self._texts is not None

    def _label(self) -> str:
        return f"{self.name}:{self._shown}"

    def text(self, texts: Sequence[str]) -> Tensor:
        """Outputs of the text side, ``(n, E)``, float32 on the CPU, of any length; long texts are cut."""
        if self._texts is None:
            raise WrongUse(
                f"{self._label()} comes from a saved classifier, which holds its image side alone: open the model by "
                "its name to read texts"
            )
        asked = list(texts)
        if isinstance(texts, str) or not all(isinstance(text, str) for text in asked):
            raise WrongUse(f"{self._label()}: give a list of texts")
        found = [torch.zeros(0, self._joint_width)]
        for start in range(0, len(asked), TEXTS):
            some = asked[start : start + TEXTS]
            with torch.inference_mode():
                outputs = self._texts.run(self._texts.network, some + some[-1:] * (TEXTS - len(some)))
            found.append(outputs[: len(some)].float().cpu())
        return torch.cat(found)

    def answer(self, batch: np.ndarray, wanted: frozenset[str | Request]) -> dict[str, Tensor]:
        """One pass for features, embedding, patches and all that reduces layers; see `ModuleEncoder`."""
        tower = self._tower
        ours = wanted & {"features", "embedding", "local"}
        if "local" not in ours:
            found = super().answer(batch, (wanted - ours) | ({"features"} if ours else set()))
        elif tower.watched is None:
            raise WrongUse(f"{self._label()} gives no local features: {tower.why_not}")
        else:
            kept: list[Tensor] = []

            def keep(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                if not kept:  # the first pass is that of the features; what follows changes inputs or layers
                    kept.append(tower.joint(tower.patches(inputs[0])).float().cpu())

            hook = self._layers[tower.watched].register_forward_pre_hook(keep)
            try:
                found = super().answer(batch, (wanted - ours) | {"features"})
            finally:
                hook.remove()
            found["local"] = kept[0]
        if "embedding" in ours:
            with torch.inference_mode():
                found["embedding"] = tower.joint(found["features"].to(self._device)).cpu()
        return {key: value for key, value in found.items() if key != "features" or key in ours}

    def graph(self) -> nn.Module:
        """Normalisation and image side, for uint8 pixels; a copy on the CPU."""
        return _Graph(self._tower, self._mean, self._std).cpu().eval()

    def to(self, device: str | torch.device) -> Self:
        """Move both sides."""
        moved = super().to(device)
        if self._texts is not None:
            self._texts.network.to(self._device)
        return moved

    def describe(self) -> dict[str, Any]:
        """The image side without its weights, and a fingerprint of the text side."""
        return {
            "name": self.name,
            "label": self._shown,
            "recipe": dict(self._recipe),
            "preprocess": self._preprocess.describe(),
            "mean": self._mean.flatten().tolist(),
            "std": self._std.flatten().tolist(),
            "scale": self.scale,
            "text": self._text_hash,
        }

    @classmethod
    def restore(cls, description: Mapping[str, Any], state: Mapping[str, Tensor]) -> Self:
        """The encoder that `describe` and `state` came from, without its text side; no file but this one is read."""
        tower = cls.tower(description["recipe"])
        load_state(tower, state, str(description["label"]))
        images = Images(
            tower,
            description["recipe"],
            Preprocess(**description["preprocess"]),
            description["mean"],
            description["std"],
        )
        made = cls.__new__(cls)
        made.join(description["label"], images, str(description["text"]), float(description["scale"]))
        return made

    @property
    def _tower(self) -> Tower:
        assert isinstance(self._module, Tower)
        return self._module

    def _find_head(self, asked: str | None) -> None:
        """None: a last linear layer leads to the joint space here, and to no classes. Sees that the sides fit."""
        height, width = self._preprocess.shape
        try:
            with torch.inference_mode():
                features = self._module(self._normalised(self._noise()))
                joint = self._tower.joint(features)
        except Exception as error:  # of a network that somebody else configured
            raise WrongUse(
                f"{self._label()}: its image side does not run on images of {height}x{width}: {one_line(error)}"
            ) from error
        if features.ndim != 2:
            raise WrongUse(
                f"{self._label()}: its image side gives {tuple(features.shape)} for {len(features)} images, not one "
                "vector each: choose a model that pools"
            )
        self._joint_width = joint.shape[1]


class _Graph(nn.Module):
    mean: Tensor
    std: Tensor

    def __init__(self, tower: Tower, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.tower = copy.deepcopy(tower)
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", std.clone())

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        x = (pixels.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std  # (B, H, W, 3) -> (B, 3, H, W)
        features = self.tower(x)
        return {"features": features, "embedding": self.tower.joint(features)}


def through_values(
    x: Tensor,
    values: Callable[[Tensor], Tensor],
    mlp: Callable[[Tensor], Tensor],
    last: Callable[[Tensor], Tensor],
) -> Tensor:
    """The last block of a transformer as if each token looked at itself alone; its class token is dropped.

    ``y = x + values(x)``, ``z = y + mlp(y)``, ``last(z)``: attention that is 1 at the token itself leaves the value and
    the output layer of it. Nothing is mixed between patches.

    Args:
        x: what the block is given, ``(B, 1 + P, F)``.
        values: norm, value and output layer.
        mlp: norm and the two layers after attention.
        last: the norm after the last block.

    Returns:
        ``(B, P, F)``.

    Source: Zhou, Loy, Dai, "Extract Free Dense Labels from CLIP", ECCV 2022, in the form of Miyai, Yu, Irie, Aizawa,
    "GL-MCM: Global and Local Maximum Concept Matching for Zero-Shot Out-of-Distribution Detection", IJCV 2025, which
    keeps the residual connections.
    """
    x = x[:, 1:]
    x = x + values(x)
    return last(x + mlp(x))


def in_order(recipe: Mapping[str, Any]) -> str:
    """JSON in which the order of keys does not count."""
    return json.dumps(recipe, sort_keys=True)


def of_tokenizer(tokenizer: Any) -> str:
    """A fingerprint of a tokenizer of transformers that has not been used yet: a call changes its settings."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return fingerprint(in_order(tokenizer.get_vocab()) if backend is None else backend.to_str())


def _contents(network: nn.Module) -> list[str | bytes]:
    parts: list[str | bytes] = []
    for name, tensor in sorted(network.state_dict().items()):
        parts += [f"{name} {tuple(tensor.shape)} {tensor.dtype}", tensor.cpu().contiguous().numpy().tobytes()]
    return parts
