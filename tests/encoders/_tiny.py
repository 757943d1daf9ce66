"""Small models of images and texts with random weights, saved as their libraries save them: nothing is downloaded.

Each builder takes a folder and gives the name by which `unseen.encoders.open_encoder` opens what it wrote there. A test
elsewhere reaches this file by its path, as `tests/test_gallery.py` does with the gallery's.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from unseen.optional import require

SIZE = 32
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
VIT = {"layers": 3, "width": 24, "head_width": 12, "patch_size": 8, "image_size": SIZE}
RESNET = {"layers": [1, 1, 1, 1], "width": 8, "head_width": 64, "image_size": 64, "patch_size": None}
CONVNEXT = {"timm_model_name": "test_convnext", "timm_pool": "avg", "timm_proj": "linear", "image_size": 64}
WORDS = ("a", "photo", "of", "cat", "dog", "red", "blue", "tree", "very", ".")


def open_clip_config(vision: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """Configuration of a model of open_clip; by default a ViT of three blocks."""
    return {
        "embed_dim": 20,
        "vision_cfg": dict(VIT if vision is None else vision),
        "text_cfg": dict(TEXT),
        **options,
    }


def open_clip_network(config: dict[str, Any]) -> Any:
    """The model of a configuration, with the same random weights every time."""
    open_clip = require("open_clip", "clip")
    config = copy.deepcopy(config)
    custom = config.pop("custom_text", False)
    kind = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP if custom else open_clip.CLIP
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = kind(**config).eval()
        for layer in network.modules():  # a norm that does nothing would hide that it was left out
            if isinstance(layer, (torch.nn.LayerNorm, torch.nn.BatchNorm2d)):
                torch.nn.init.normal_(layer.weight, mean=1.0, std=0.3)
                torch.nn.init.normal_(layer.bias, std=0.3)
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = 1.0
        if config["vision_cfg"].get("width") == RESNET["width"]:  # with no statistics all images look alike to it
            with torch.no_grad():
                network.visual.train()(torch.randn(16, 3, 64, 64))
    return network.eval()


def tiny_open_clip(folder: Path, config: dict[str, Any] | None = None, preprocess: dict[str, Any] | None = None) -> str:
    """``clip:tiny`` with configuration and weights from ``folder``."""
    config = open_clip_config() if config is None else config
    about = {"model_cfg": config} | ({} if preprocess is None else {"preprocess_cfg": preprocess})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps(about))
    tensors = {name: tensor.contiguous() for name, tensor in open_clip_network(config).state_dict().items()}
    save_file(tensors, folder / "open_clip_model.safetensors")
    return f"clip:tiny?config={folder / 'open_clip_config.json'}&weights={folder / 'open_clip_model.safetensors'}"


def hf_network(kind: str, **options: Any) -> Any:
    """A ``"clip"`` or ``"siglip"`` model of transformers, with the same random weights every time."""
    transformers = require("transformers", "transformers")
    side = {"intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "hidden_size": 24}
    image = {**side, "image_size": SIZE, "patch_size": 8}
    text = {**side, "vocab_size": 64, "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 1}
    text["pad_token_id"] = 1
    if kind == "clip":
        config = transformers.CLIPConfig(text_config=text, vision_config=image, projection_dim=20, **options)
    else:
        text["projection_size"] = image["hidden_size"]
        config = transformers.SiglipConfig(text_config=text, vision_config=image, **options)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = getattr(transformers, "CLIPModel" if kind == "clip" else "SiglipModel")(config).eval()
        for tensor in network.parameters():  # the library's own start leaves all outputs nearly alike
            if tensor.ndim > 0:
                torch.nn.init.normal_(tensor, mean=0.0 if tensor.ndim > 1 else 0.5, std=0.3)
    return network


def tiny_hf_clip(folder: Path) -> str:
    """``hf:FOLDER``: a CLIP model, its tokenizer of a few words, and how it prepares images."""
    hf_network("clip").save_pretrained(folder)
    letters = sorted(set("".join(WORDS)))
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    merges = ["a t</w>", "c at</w>", "o g</w>", "d og</w>"]
    pieces += [merge.replace(" ", "") for merge in merges]
    (folder / "vocab.json").write_text(json.dumps({piece: code for code, piece in enumerate(pieces)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}))
    _write_processor(
        folder,
        image_processor_type="CLIPImageProcessor",
        size={"shortest_edge": SIZE + 4},
        crop_size={"height": SIZE, "width": SIZE},
        do_center_crop=True,
        image_mean=[0.48, 0.46, 0.41],
        image_std=[0.27, 0.26, 0.28],
    )
    return f"hf:{folder}"


def tiny_hf_siglip(folder: Path) -> str:
    """``hf:FOLDER``: a SigLIP model, its tokenizer of a few words, and how it prepares images."""
    tokenizers = require("tokenizers", "transformers")
    hf_network("siglip").save_pretrained(folder)
    codes = {piece: code for code, piece in enumerate(("<pad>", "</s>", "<unk>", *WORDS))}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(codes, unk_token="<unk>"))
    tokenizer.normalizer = tokenizers.normalizers.Lowercase()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"pad_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>"}
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": ["input_ids"], **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    _write_processor(
        folder,
        image_processor_type="SiglipImageProcessor",
        size={"height": SIZE, "width": SIZE},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    return f"hf:{folder}"


def _write_processor(folder: Path, **said: Any) -> None:
    usual = {"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "resample": 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(usual | said))
