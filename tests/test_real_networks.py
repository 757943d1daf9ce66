"""A published network on real images: the whole path gives the numbers that an independent program measured.

The images and weights are not part of this repository; UNSEEN_TEST_DATA names the folder that holds them.
"""

import io
import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import pad, relu

import unseen
from unseen.encoders import encode, open_encoder
from unseen.metrics import auroc

if "UNSEEN_TEST_DATA" not in os.environ:
    pytest.skip("UNSEEN_TEST_DATA names no folder of real images and networks", allow_module_level=True)

DATA = Path(os.environ["UNSEEN_TEST_DATA"])


class Block(nn.Module):
    """Two convolutions and a shortcut without parameters (option A)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(before, after, 3, 1 if before == after else 2, 1, bias=False)
        self.b1 = nn.BatchNorm2d(after)
        self.c2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.b2 = nn.BatchNorm2d(after)
        self.grows = after - before

    def forward(self, x):
        out = self.b2(self.c2(relu(self.b1(self.c1(x)))))
        if self.grows:
            x = pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.grows // 2, self.grows // 2))
        return relu(out + x)


class ResNet20(nn.Module):
    """He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2, n = 3."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        widths = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
        self.blocks = nn.Sequential(*(Block(*pair) for pair in itertools.pairwise(widths)))
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        return self.fc(self.blocks(relu(self.bn(self.conv(x)))).mean((2, 3)))


def decoded(held, key, offset):
    blob, at = held[key], held[offset]
    return np.stack(
        [np.asarray(Image.open(io.BytesIO(blob[a:b].tobytes())).convert("RGB")) for a, b in itertools.pairwise(at)]
    )


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """On a busy machine, layers this small wait for each other's threads more than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def encoder():
    weights = DATA / "net_cifar10_resnet20.safetensors"
    return open_encoder(f"torch:{__file__}:ResNet20?weights={weights}&size=32")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def train(encoder, cache):
    with np.load(DATA / "cifar10_lossless_webp.npz") as held:
        inputs = {"images": decoded(held, "train_webp", "train_offset"), "labels": held["train_label"]}
    return encode(inputs, encoder, cache=cache)


@pytest.fixture(scope="module")
def test(encoder, cache):
    with np.load(DATA / "cifar10_lossless_webp.npz") as held:
        inputs = {"images": decoded(held, "test_webp", "test_offset"), "labels": held["test_label"]}
    return encode(inputs, encoder, cache=cache)


@pytest.fixture(scope="module")
def textures(encoder, cache):
    """600 textures, 64 x 64, shrunk by averaging 2 x 2."""
    with np.load(DATA / "far_ood.npz") as held:
        images = decoded(held, "dtd_webp", "dtd_offset")
    boxed = images.reshape(len(images), 32, 2, 32, 2, 3).mean((2, 4)).round().astype(np.uint8)
    return encode({"images": boxed}, encoder, cache=cache)


@pytest.fixture(scope="module")
def digits(encoder, cache):
    """1,000 digits, 28 x 28 grey: the encoder itself resizes them bilinearly and repeats the channel."""
    with np.load(DATA / "far_ood.npz") as held:
        return encode({"images": held["mnist"]}, encoder, cache=cache)


def accuracy(support):
    return float((support.signals.gather("logits").argmax(1).numpy() == support.labels).mean())


def test_the_weights_bring_their_normalisation(encoder):
    assert '"mean": [0.48' in encoder.id
    assert encoder.head.weight.shape == (10, 64)


def test_accuracy(test):
    assert len(test) == 846
    assert accuracy(test) == pytest.approx(0.9173, abs=0.002)


@pytest.mark.slow
def test_accuracy_on_what_it_was_trained_on(train):
    assert len(train) == 4660
    assert accuracy(train) == pytest.approx(0.9974, abs=0.002)


MEASURED = {
    "textures": {"msp": 0.876, "energy": 0.900, "knn(k=20)": 0.950},
    "digits": {"msp": 0.925, "energy": 0.979, "knn(k=20)": 0.972},
}


@pytest.mark.parametrize("detector", ["msp", "energy", pytest.param("knn(k=20)", marks=pytest.mark.slow)])
@pytest.mark.parametrize("unknown", ["textures", "digits"])
def test_auroc(request, test, unknown, detector):
    fitted = unseen.create(detector)
    if not fitted.fitted:
        fitted.fit(request.getfixturevalue("train"))
    known_scores = np.asarray(fitted.score(test.signals))
    unknown_scores = np.asarray(fitted.score(request.getfixturevalue(unknown).signals))
    assert float(auroc(known_scores, unknown_scores)) == pytest.approx(MEASURED[unknown][detector], abs=0.01)


@pytest.mark.parametrize("unknown", ["textures", "digits"])
def test_auroc_of_the_largest_logit(request, test, unknown):
    known_scores, unknown_scores = (
        torch.as_tensor(s.signals.gather("logits")).max(1).values.numpy()
        for s in (test, request.getfixturevalue(unknown))
    )
    measured = {"textures": 0.900, "digits": 0.978}[unknown]
    assert float(auroc(known_scores, unknown_scores)) == pytest.approx(measured, abs=0.01)


def test_features_and_head_give_the_logits(encoder, test):
    features, logits = test.signals.gather("features"), test.signals.gather("logits")
    torch.testing.assert_close(features @ encoder.head.weight.T + encoder.head.bias, logits, rtol=1e-4, atol=1e-4)
