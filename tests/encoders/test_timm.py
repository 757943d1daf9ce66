"""Models of timm by name; their smallest ones, with weights from a file."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from unseen.checks import check_encoder
from unseen.encoders import encode, open_encoder
from unseen.encoders.timm import Timm
from unseen.errors import BadInput, MissingExtra, WrongUse
from unseen.optional import require
from unseen.signals import LayerStatistics

try:
    timm = require("timm", "timm")  # not importorskip: torchvision may need mending first
except MissingExtra as error:
    pytest.skip(str(error), allow_module_level=True)

BATCH = np.random.default_rng(0).integers(0, 256, (2, 160, 160, 3), dtype=np.uint8)
BOTH = frozenset({"features", "logits"})


@pytest.fixture
def offline(monkeypatch):
    """No attempt is made to reach a network."""
    hub = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("timm.models._hub.has_hf_hub", lambda *_: True)


def weights(model, folder, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model(model, **options).eval()
    path = folder / f"{model}.safetensors"
    save_file(network.state_dict(), path)
    return network, path


@pytest.mark.parametrize("model", ["test_resnet", "test_vit", "test_convnext"])
def test_a_model_with_its_own_preprocessing(tmp_path, model):
    network, path = weights(model, tmp_path)
    encoder = open_encoder(f"timm:{model}?weights={path}")
    data = timm.data.resolve_model_data_config(network)
    size = data["input_size"][-1]
    assert encoder.prepare(np.zeros((300, 200, 3), np.uint8)).shape == (size, size, 3)
    batch = BATCH[:, :size, :size]
    mean, std = (torch.tensor(data[name]).view(3, 1, 1) for name in ("mean", "std"))
    x = (torch.from_numpy(batch).permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.no_grad():
        features = network.forward_head(network.forward_features(x), pre_logits=True)
        logits = network(x)
    answers = encoder.answer(batch, BOTH)
    torch.testing.assert_close(answers["features"], features, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(answers["logits"], logits, rtol=1e-4, atol=1e-5)


def test_size_and_classes(tmp_path):
    _, path = weights("test_vit", tmp_path, img_size=96, num_classes=7)
    encoder = open_encoder(f"timm:test_vit?weights={path}&size=96&classes=7")
    assert encoder.head.weight.shape[0] == 7
    assert encoder.answer(BATCH[:, :96, :96], BOTH)["logits"].shape == (2, 7)
    _, path = weights("test_resnet", tmp_path, num_classes=3)
    encoder = open_encoder(f"timm:test_resnet?weights={path}&size=64&classes=3")
    assert encoder.answer(BATCH[:, :64, :64], BOTH)["logits"].shape == (2, 3)


@pytest.mark.parametrize("model", ["test_resnet", "test_vit.r160_in1k"])
def test_state_and_back_without_the_file(tmp_path, model):
    _, path = weights(model.split(".")[0], tmp_path)
    encoder = Timm(model, weights=str(path))
    state = encoder.state()
    path.unlink()
    again = Timm.restore(encoder.describe(), state)
    assert again.id == encoder.id
    for key, answer in encoder.answer(BATCH, BOTH).items():
        assert torch.equal(again.answer(BATCH, BOTH)[key], answer)


def test_layer_statistics_by_timms_names(tmp_path):
    _, path = weights("test_vit", tmp_path)
    request = LayerStatistics("blocks.1")
    support = encode({"images": BATCH}, f"timm:test_vit?weights={path}", [request], cache=False)
    assert support.signals.width(request.key) == 2 * 64


def test_weights_of_another_model_are_named(tmp_path):
    _, path = weights("test_resnet", tmp_path)
    with pytest.raises(BadInput, match=r"the weights lack .* another network\?"):
        open_encoder(f"timm:test_vit?weights={path}")


def test_no_download_says_to_give_a_file(offline, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BadInput, match=r"cannot be downloaded .*give a file: timm:test_resnet\?weights=FILE") as caught:
        open_encoder("timm:test_resnet")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timm:resnet81", "timm has no such model; there are .*resnet18"),
        ("timm:xyzzy", "timm has no such model$"),
        ("timm:test_resnet?size=big", "size is a whole number from 1, got 'big'"),
        ("timm:test_resnet?classes=0", "classes is a whole number from 1, got 0"),
    ],
)
def test_wrong_use(text, message):
    with pytest.raises(WrongUse, match=message):
        open_encoder(text)


def test_the_contract(tmp_path):
    _, path = weights("test_resnet", tmp_path)
    assert not check_encoder(open_encoder(f"timm:test_resnet?weights={path}")).skipped
