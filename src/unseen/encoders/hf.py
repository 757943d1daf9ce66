"""CLIP and SigLIP models of transformers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from unseen.data import Preprocess
from unseen.encoders._module import one_line
from unseen.encoders._two_towers import Images, Texts, Tower, TwoTowers, in_order, of_tokenizer, through_values
from unseen.errors import BadInput, MissingExtra, WrongUse
from unseen.optional import require

SUPPORTED = {"clip": "CLIPModel", "siglip": "SiglipModel"}
# What a network's answers depend on beside its weights; other entries of a configuration change with the library.
SIDE = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act", "layer_norm_eps")
IMAGE_SIDE = (*SIDE, "num_channels", "image_size", "patch_size")
TEXT_SIDE = (*SIDE, "vocab_size", "max_position_embeddings", "eos_token_id")
# What the image processors of transformers take where a file says nothing.
USUAL: dict[str, dict[str, Any]] = {
    "clip": {
        "size": {"shortest_edge": 224},
        "crop_size": {"height": 224, "width": 224},
        "do_center_crop": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    },
    "siglip": {
        "size": {"height": 224, "width": 224},
        "do_center_crop": False,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    },
}


class Hf(TwoTowers):
    """A CLIP or SigLIP model of transformers, with its own preprocessing and tokenizer.

    Features of CLIP are ``pooler_output``, before ``visual_projection``; patch features, ``local``, take the value path
    of the last block (see `Clip`). SigLIP pools by attention into the joint space: its features are ``pooler_output``,
    which is the embedding before it is divided by its length, and it has no patch features. Its texts are filled up to
    their full length, without a mask, as it was trained. SigLIP 2 of a fixed size is such a model (``SiglipModel``).

    Args:
        model: name on the hub, from the cache or downloaded; or a folder with ``config.json``, ``model.safetensors``,
            the tokenizer's files and ``preprocessor_config.json``, as ``save_pretrained`` of model and processor write.

    Raises:
        WrongUse: for another kind of model.
        BadInput: when the model cannot be had, lacks tensors, or prepares images in a way that is not supported.
        MissingExtra: without transformers.
    """

    def __init__(self, model: str) -> None:
        transformers = require("transformers", "transformers")
        shown, folder = f"hf:{model}", Path(model).is_dir()
        with _quiet(transformers):
            config = _had(shown, transformers.PreTrainedConfig.get_config_dict, model)[0]
            kind = config.get("model_type")
            if kind not in SUPPORTED:
                raise WrongUse(
                    f"{shown}: is a {kind or 'nameless'} model; supported are {' and '.join(SUPPORTED)} "
                    f"({', '.join(SUPPORTED.values())})"
                )
        network = _network(transformers, kind, model, shown)
        with _quiet(transformers):
            tokenizer = _had(shown, transformers.AutoTokenizer.from_pretrained, model)
            said = _had(shown, transformers.ImageProcessingMixin.get_image_processor_dict, model)[0]
        preprocess, mean, std = _preprocessing({**USUAL[kind], **said}, shown)
        recipe = {"kind": kind, **_chosen(network.config.vision_config, IMAGE_SIDE)}
        tower: Tower
        if kind == "clip":
            tower = _Clip(network.vision_model, network.visual_projection.weight.T)
            network.visual_projection = nn.Identity()
        else:
            recipe["vision_use_head"] = network.config.vision_config.vision_use_head
            tower = _Siglip(network.vision_model)
        recipe["projection_dim"] = None if tower.projection is None else tower.projection.shape[1]
        network.vision_model = nn.Identity()  # what is left is the text side
        texts = _texts(network, tokenizer, kind)
        label = Path(model).resolve().name if folder else model
        self.join(label, Images(tower, recipe, preprocess, mean, std), texts, float(network.logit_scale.exp().item()))

    @classmethod
    def tower(cls, recipe: Mapping[str, Any]) -> Tower:
        """The image side alone."""
        transformers = require("transformers", "transformers")
        about = {name: value for name, value in recipe.items() if name not in ("kind", "projection_dim")}
        if recipe["kind"] == "siglip":
            return _Siglip(transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**about)))
        side = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**about))
        return _Clip(side, torch.zeros(recipe["hidden_size"], recipe["projection_dim"]))


class _Clip(Tower):
    def __init__(self, side: Any, projection: Tensor) -> None:
        super().__init__(projection)
        self.vision_model = side
        self.watched = f"vision_model.encoder.layers.{len(side.encoder.layers) - 1}"

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.vision_model(pixel_values=x).pooler_output
        return pooled

    def patches(self, x: Tensor) -> Tensor:
        block = self.vision_model.encoder.layers[-1]
        return through_values(
            x,
            lambda x: block.self_attn.out_proj(block.self_attn.v_proj(block.layer_norm1(x))),
            lambda x: block.mlp(block.layer_norm2(x)),
            self.vision_model.post_layernorm,
        )


class _Siglip(Tower):
    why_not = "SigLIP pools by attention, for which no value path is published; CLIP models give them"

    def __init__(self, side: nn.Module) -> None:
        super().__init__(None)
        self.vision_model = side

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.vision_model(pixel_values=x).pooler_output
        return pooled


def _network(transformers: Any, kind: str, model: str, shown: str) -> Any:
    """The model with its weights, all of them: transformers fills in random ones where a file lacks some."""
    load = getattr(transformers, SUPPORTED[kind]).from_pretrained
    options = {"output_loading_info": True, "dtype": torch.float32}
    try:
        with _quiet(transformers):  # from a folder or the cache
            network, about = load(model, local_files_only=True, **options)
    except Exception:  # once more, so that a download shows how far it is
        network, about = _had(shown, load, model, **options)
    lacking = sorted({*about["missing_keys"], *(str(key) for key in about["mismatched_keys"])})
    if lacking:
        raise BadInput(f"{shown}: its weights lack {lacking[0]} ({len(lacking)} such tensors): another network?")
    return network


def _had(shown: str, get: Callable[..., Any], model: str, **options: Any) -> Any:
    try:
        return get(model, **options)
    except ImportError as error:  # some tokenizers need a package of their own
        said = one_line(error).partition(". ")[0]
        raise MissingExtra(
            f"{shown}: a package is missing ({said}); for SigLIP: pip install sentencepiece protobuf"
        ) from error
    except Exception as error:  # of transformers, its hub, or whatever they reach the network by
        if Path(model).is_dir():
            raise BadInput(f"{shown}: the folder is not a whole model of transformers ({one_line(error)})") from error
        raise BadInput(
            f"{shown}: not in the cache, and cannot be downloaded ({one_line(error)}); give a folder: hf:FOLDER"
        ) from error


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bars of what takes no time, and no warnings of what is checked here."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _chosen(config: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(config, name) for name in names}


def _preprocessing(said: Mapping[str, Any], shown: str) -> tuple[Preprocess, list[float], list[float]]:
    """What the image processor of the file does, as far as `Preprocess` does the same.

    Raises:
        BadInput: when it does something else.
    """
    size, resample = said["size"], said.get("resample", int(Image.Resampling.BICUBIC))
    size = {"shortest_edge": size} if isinstance(size, int) and said["do_center_crop"] else size
    sides = _sides(size)
    crop = _sides(said.get("crop_size")) if said["do_center_crop"] else None
    short = size.get("shortest_edge") if isinstance(size, dict) else None
    try:
        interpolation = Image.Resampling(resample).name.lower()
        if not said.get("do_resize", True) or abs(float(said.get("rescale_factor", 1 / 255)) * 255 - 1) > 1e-6:
            raise ValueError("it does not resize, or not to [0, 1]")
        if not said.get("do_rescale", True):
            raise ValueError("it leaves pixels at 0 to 255")
        if crop is not None and short is not None and max(crop) <= short and crop[0] == crop[1]:
            preprocess = Preprocess(crop, crop_fraction=crop[0] / short, interpolation=interpolation)
        elif sides is not None and crop in (None, sides):
            preprocess = Preprocess(sides, resize="squash", interpolation=interpolation)
        else:
            raise ValueError("its images have no fixed size, or their margin is filled")
    except (ValueError, TypeError) as error:
        raise BadInput(f"{shown}: its image processor is not supported: {error}") from error
    if not said.get("do_normalize", True):
        return preprocess, [0.0] * 3, [1.0] * 3
    return preprocess, [float(v) for v in said["image_mean"]], [float(v) for v in said["image_std"]]


def _sides(size: Any) -> tuple[int, int] | None:
    """(height, width) of what transformers calls a size; None where it is another kind of size."""
    if isinstance(size, int):
        return size, size
    if isinstance(size, dict) and "height" in size and "width" in size:
        return int(size["height"]), int(size["width"])
    return None


def _texts(network: Any, tokenizer: Any, kind: str) -> Texts:
    length = network.config.text_config.max_position_embeddings

    def run(network: Any, texts: list[str]) -> Tensor:
        # Filled up always, so that a text has one answer: CLIP looks back from the first end of text alone, and
        # SigLIP was taught with all of its places, and without a mask.
        given = tokenizer(texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
        outputs: Tensor = network.text_model(input_ids=given["input_ids"].to(network.logit_scale.device)).pooler_output
        return outputs if kind == "siglip" else network.text_projection(outputs)

    about = _chosen(network.config.text_config, TEXT_SIDE)
    return Texts(network, run, in_order({"kind": kind, **about}) + of_tokenizer(tokenizer))
