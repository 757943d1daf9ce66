"""Any model of images and texts of open_clip."""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import linear

from unseen.data import Preprocess
from unseen.encoders._module import load_weights, one_line
from unseen.encoders._two_towers import Images, Texts, Tower, TwoTowers, in_order, of_tokenizer, through_values
from unseen.errors import BadInput, WrongUse
from unseen.optional import require

FOLDER, HUB = "local-dir:", "hf-hub:"
CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors")
SMALLEST_TEXT = {"layers": 1, "width": 8, "heads": 1, "vocab_size": 8, "context_length": 8}  # made and thrown away


class Clip(TwoTowers):
    """A model of open_clip by its name, with the preprocessing that belongs to its weights.

    Features are what the image side pools, before the projection ``visual.proj``. A ResNet's attention pool ends in the
    joint space, and so do the image sides that open_clip takes from timm (ConvNeXt, SigLIP and others): there features
    are the embedding before it is divided by its length.

    Patch features, ``local``, take the value path of the last block of a ViT (its class token dropped, no attention),
    and of a ResNet that of its attention pool, positions included. Models from timm have none.

    Args:
        model: open_clip's name, such as ``"ViT-B-32"``; or ``"hf-hub:ORGANISATION/NAME"`` or ``"local-dir:FOLDER"``,
            which bring their configuration (``open_clip_config.json``) and weights.
        pretrained: tag of weights that open_clip lists for the model, such as ``"openai"`` or ``"laion2b_s34b_b79k"``;
            from the cache, or downloaded. Weights that were trained with QuickGELU get it, whatever the name says.
        weights: safetensors file, in the place of a tag. The model's name says whether QuickGELU is meant.
        config: open_clip's configuration of a model that is not in its list, as a JSON file: the model's alone, or with
            ``preprocess_cfg`` beside ``model_cfg``. ``model`` is then any name that you give it.

    Raises:
        WrongUse: for a name or tag that open_clip does not know, or no weights at all.
        BadInput: when weights or configuration cannot be had or do not fit.
        MissingExtra: without open_clip.
    """

    def __init__(
        self, model: str, pretrained: str | None = None, weights: str | None = None, config: str | None = None
    ) -> None:
        open_clip = require("open_clip", "clip")
        model = model if model.startswith((FOLDER, HUB)) else model.replace("/", "-")  # OpenAI wrote ViT-B/32
        shown = f"clip:{model}"
        for prefix in (FOLDER, HUB):
            if model.startswith(prefix) and (pretrained or weights or config):
                raise WrongUse(f"{shown}: {prefix} brings weights and configuration, give no others")
        if model.startswith(FOLDER):
            found, label = _in_folder(Path(model.removeprefix(FOLDER)), shown)
        elif model.startswith(HUB):
            found, label = _on_hub(open_clip, model.removeprefix(HUB), shown), model
        else:
            if pretrained and weights:
                raise WrongUse(f"{shown}: give pretrained or weights, not both")
            if config is not None and weights is None:
                raise WrongUse(f"{shown}: a configuration of your own needs weights: give weights=FILE.safetensors")
            known = _of_file(Path(config), shown) if config is not None else _listed(open_clip, model, shown)
            found, label = known, f"{model}:{pretrained}" if pretrained else model
            if pretrained:
                found = _tagged(open_clip, known, model, pretrained, shown)
            elif weights is not None:
                found = Found(known.model, known.preprocess, Path(weights), own=True)
            else:
                tags = open_clip.list_pretrained_tags_by_model(model)
                which = f"pretrained=TAG, one of {', '.join(tags)}, or " if tags else ""
                raise WrongUse(f"{shown}: say which weights: {which}weights=FILE.safetensors")
        network = _network(open_clip, found.model, shown)
        _load(open_clip, network, found, shown)
        preprocess, mean, std = _preprocessing(open_clip, found.preprocess, network.visual.image_size, shown)
        recipe = {
            "embed_dim": found.model["embed_dim"],
            "vision_cfg": found.model["vision_cfg"],
            "quick_gelu": bool(found.model.get("quick_gelu")),
        }
        tower = _side(open_clip, network.visual)
        network.visual = nn.Identity()  # what is left is the text side
        images = Images(tower, recipe, preprocess, mean, std)
        texts = _texts(open_clip, network, found, shown)
        self.join(label, images, texts, float(network.logit_scale.exp().item()))

    @classmethod
    def tower(cls, recipe: Mapping[str, Any]) -> Tower:
        """The image side alone: that of a model with next to no text side."""
        open_clip = require("open_clip", "clip")
        model = {**recipe, "text_cfg": SMALLEST_TEXT}
        return _side(open_clip, _network(open_clip, model, "clip").visual)


class _ViT(Tower):
    def __init__(self, visual: Any) -> None:
        super().__init__(visual.proj)
        visual.proj = None  # the network then stops at the features
        visual.output_tokens = False
        self.visual = visual
        block = visual.transformer.resblocks[-1]
        # Attention of other kinds has norms and scales of its own between value and output.
        if visual.attn_pool is not None or not isinstance(block.attn, nn.MultiheadAttention):
            self.why_not = "its last block or its pool is not the plain attention of CLIP"
        else:
            self.watched = f"visual.transformer.resblocks.{len(visual.transformer.resblocks) - 1}"

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.visual(x)
        return features

    def patches(self, x: Tensor) -> Tensor:
        visual = self.visual
        block = visual.transformer.resblocks[-1]
        weight, bias = (part.chunk(3)[2] for part in (block.attn.in_proj_weight, block.attn.in_proj_bias))
        return through_values(
            x,
            lambda x: block.ls_1(block.attn.out_proj(linear(block.ln_1(x), weight, bias))),
            lambda x: block.ls_2(block.mlp(block.ln_2(x))),
            visual.ln_post,
        )


class _ResNet(Tower):
    watched = "visual.attnpool"

    def __init__(self, visual: nn.Module) -> None:
        super().__init__(None)
        self.visual = visual

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.visual(x)
        return features

    def patches(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` -> ``(B, h w, E)``: the pool, were it to look at one position alone."""
        pool: Any = self.visual.attnpool
        x = x.flatten(2).transpose(1, 2) + pool.positional_embedding[1:]  # position 0 is the mean's
        out: Tensor = pool.c_proj(pool.v_proj(x))
        return out


class _Timm(Tower):
    why_not = "its image side is timm's, for which no value path is published; ViT-B-16 and RN50 give them"

    def __init__(self, visual: nn.Module) -> None:
        super().__init__(None)
        self.visual = visual

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.visual(x)
        return features


@dataclass(frozen=True)
class Found:
    """A model before it is built.

    Attributes:
        model: open_clip's configuration.
        preprocess: what is said of its images; the rest is open_clip's usual.
        weights: file of them.
        folder: where a tokenizer may lie.
        own: whether the file is a user's, which holds the network's tensors under their names and nothing else.
    """

    model: dict[str, Any]
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    weights: Path = Path()
    folder: Path | None = None
    own: bool = False


def _listed(open_clip: Any, model: str, shown: str) -> Found:
    config = open_clip.get_model_config(model)
    if config is None:
        names = open_clip.list_models()
        close = difflib.get_close_matches(model, names, n=3) or [n for n in names if model.lower() in n.lower()][:3]
        hint = f"; there are {', '.join(close)}" if close else "; give config=FILE.json"
        raise WrongUse(f"{shown}: open_clip has no such model{hint}")
    return Found(config)


def _of_file(path: Path, shown: str) -> Found:
    try:
        config = json.loads(path.read_bytes())
        model = config.get("model_cfg", config)
        parts = [model[name] for name in ("embed_dim", "vision_cfg", "text_cfg")]
        preprocess = config.get("preprocess_cfg") or {}
        if not all(isinstance(part, dict) for part in (*parts[1:], preprocess)):
            raise TypeError("not a configuration")
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadInput(
            f"{path}: {shown} needs open_clip's JSON with embed_dim, vision_cfg and text_cfg ({one_line(error)})"
        ) from error
    return Found(model, preprocess)


def _in_folder(folder: Path, shown: str) -> tuple[Found, str]:
    there = [folder / name for name in WEIGHTS if (folder / name).is_file()]
    if not there or not (folder / CONFIG).is_file():
        raise BadInput(f"{shown}: the folder must hold {CONFIG} and {WEIGHTS[0]}")
    known = _of_file(folder / CONFIG, shown)
    return Found(known.model, known.preprocess, there[0], folder), folder.resolve().name


def _on_hub(open_clip: Any, name: str, shown: str) -> Found:
    try:
        config = open_clip.pretrained.download_pretrained_from_hf(name, filename=CONFIG)
        weights = open_clip.pretrained.download_pretrained_from_hf(name)
    except Exception as error:  # of whatever the hub is reached by
        raise _absent(shown, error, f"give a folder: clip:{FOLDER}FOLDER") from error
    known = _of_file(Path(config), shown)
    return Found(known.model, known.preprocess, Path(weights))


def _tagged(open_clip: Any, known: Found, model: str, tag: str, shown: str) -> Found:
    about = open_clip.get_pretrained_cfg(model, tag)
    if not about:
        tags = open_clip.list_pretrained_tags_by_model(model)
        close = difflib.get_close_matches(tag, tags, n=3) or tags
        hint = f"; there are {', '.join(close)}" if close else "; give weights=FILE.safetensors"
        raise WrongUse(f"{shown}: open_clip lists no weights {tag!r} for it{hint}")
    try:
        path = open_clip.download_pretrained(about)
    except Exception as error:  # of whatever it reaches the network by
        raise _absent(shown, error, f"give a file: {shown}?weights=FILE.safetensors") from error
    # open_clip only warns when name and weights differ in the activation, and answers with other numbers.
    return Found({**known.model, "quick_gelu": bool(about.get("quick_gelu", False))}, about, Path(path))


def _absent(shown: str, error: Exception, what: str) -> BadInput:
    return BadInput(f"{shown}: not in the cache, and cannot be downloaded ({one_line(error)}); {what}")


def _network(open_clip: Any, config: Mapping[str, Any], shown: str) -> Any:
    """The model of a configuration, with any weights: nothing is downloaded that the file of weights brings."""
    model = copy.deepcopy(dict(config))
    custom = model.pop("custom_text", False)
    model["quick_gelu"] = bool(model.get("quick_gelu"))
    if "timm_model_name" in model["vision_cfg"]:
        model["vision_cfg"]["timm_model_pretrained"] = False
    if "hf_model_name" in model["text_cfg"]:
        model["text_cfg"]["hf_model_pretrained"] = False
        custom = True
    kind = open_clip.CoCa if "multimodal_cfg" in model else open_clip.CustomTextCLIP if custom else open_clip.CLIP
    try:
        return kind(**model)
    except Exception as error:  # of open_clip, or of what it takes its towers from
        raise BadInput(f"{shown}: open_clip cannot build its configuration: {one_line(error)}") from error


def _load(open_clip: Any, network: nn.Module, found: Found, shown: str) -> None:
    if found.own:
        load_weights(network, found.weights)
        return
    try:  # older files have other names, which open_clip knows; of a pickle only tensors are read
        open_clip.load_checkpoint(network, str(found.weights), weights_only=True)
    except Exception as error:
        raise BadInput(f"{shown}: {found.weights} cannot be loaded: {one_line(error)}") from error


def _preprocessing(
    open_clip: Any, said: Mapping[str, Any], size: int | tuple[int, int], shown: str
) -> tuple[Preprocess, list[float], list[float]]:
    """Resizing, mean and deviation: what is said, else open_clip's usual."""
    usual = vars(open_clip.transform.PreprocessCfg())
    whole = {name: value if said.get(name) is None else said[name] for name, value in usual.items()}
    ways = {"shortest": "crop", "squash": "squash"}
    if whole["resize_mode"] not in ways:
        raise BadInput(f"{shown}: it resizes by {whole['resize_mode']!r}; supported are {' and '.join(ways)}")
    resize: Any = ways[whole["resize_mode"]]
    # As open_clip does: anything but bilinear is bicubic.
    interpolation = "bilinear" if whole["interpolation"] == "bilinear" else "bicubic"
    preprocess = Preprocess(size, resize=resize, crop_fraction=1.0, interpolation=interpolation)
    return preprocess, _channels(whole["mean"]), _channels(whole["std"])


def _channels(value: Any) -> list[float]:
    return [float(v) for v in (value if isinstance(value, (list, tuple)) else [value] * 3)]


def _side(open_clip: Any, visual: nn.Module) -> Tower:
    if isinstance(visual, open_clip.transformer.VisionTransformer):
        return _ViT(visual)
    return _ResNet(visual) if isinstance(visual, open_clip.modified_resnet.ModifiedResNet) else _Timm(visual)


def _texts(open_clip: Any, network: Any, found: Found, shown: str) -> Texts:
    about = found.model["text_cfg"]
    length = about.get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH)
    options = dict(about.get("tokenizer_kwargs") or {})
    name = about.get("hf_tokenizer_name")
    if name:
        require("transformers", "transformers")
        source = str(found.folder) if found.folder is not None else name
        mode = about.get("tokenizer_mode")
        try:
            tokens = open_clip.tokenizer.HFTokenizer(source, context_length=length, tokenizer_mode=mode, **options)
        except Exception as error:  # of transformers, its hub, or whatever they reach the network by
            raise _absent(f"{shown}: its tokenizer {source}", error, "put it into the cache") from error
    else:
        tokens = open_clip.SimpleTokenizer(context_length=length, **options)

    def run(network: Any, texts: list[str]) -> Tensor:
        outputs: Tensor = network.encode_text(tokens(texts).to(network.logit_scale.device), normalize=False)
        return outputs

    if hasattr(network, "text_decoder"):
        network.text_decoder = nn.Identity()  # CoCa's, which writes captions
    recipe = in_order({**found.model, "vision_cfg": None})
    return Texts(network, run, recipe + (of_tokenizer(tokens.tokenizer) if name else ""))
