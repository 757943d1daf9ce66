"""Several weights of one network: their logits side by side, ids, the detector on top, refusals."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from unseen import create, encode, export, fit
from unseen.checks import check_encoder
from unseen.encoders import open_encoder
from unseen.encoders.torch import Torch
from unseen.errors import WrongUse

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), dtype=np.uint8)
CODE = """
from torch import nn

def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
"""


@pytest.fixture
def three(tmp_path):
    """An address with three weights files, and the networks."""
    (tmp_path / "nets.py").write_text(CODE)
    networks = []
    with torch.random.fork_rng():
        for seed in range(3):
            torch.manual_seed(seed)
            parts = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
            networks.append(nn.Sequential(*parts).eval())
            save_file(networks[-1].state_dict(), tmp_path / f"{seed}.safetensors")
    return f"{tmp_path}/nets.py:net?size=8&weights=", [f"{tmp_path}/{seed}.safetensors" for seed in range(3)], networks


def test_samples_are_the_logits_of_every_network(three):
    address, files, networks = three
    encoder = open_encoder(f"ensemble:{address}{','.join(files)}")
    found = encode({"images": IMAGES}, encoder, {"features", "samples"}, cache=False)
    assert set(found.signals.names) == {"features", "samples"}
    plain = [Torch(net, size=8) for net in networks]
    logits = [encode({"images": IMAGES}, one, "logits", cache=False).gather("logits") for one in plain]
    torch.testing.assert_close(found.gather("samples"), torch.stack(logits, dim=1))
    features = encode({"images": IMAGES}, plain[0], "features", cache=False).gather("features")
    torch.testing.assert_close(found.gather("features"), features)
    mean = torch.stack(logits).softmax(dim=2).mean(dim=0).amax(dim=1).log()
    np.testing.assert_allclose(create("ensemble").score(found), mean, rtol=1e-4)


def test_samples_only_where_they_are_named(three):
    address, files, _ = three
    encoder = open_encoder(f"ensemble:{address}{','.join(files)}")
    assert set(encode({"images": IMAGES}, encoder, cache=False).signals.names) == {"features", "logits"}
    assert set(encoder.answer(IMAGES, frozenset({"samples"}))) == {"samples"}
    assert set(encoder.answer(IMAGES, frozenset({"samples", "logits"}))) == {"samples", "logits"}


def test_every_file_is_in_the_id(three):
    address, files, _ = three
    ids = {
        open_encoder(f"ensemble:{address}{','.join(files[i] for i in some)}").id for some in ((0, 1), (0, 2), (1, 0))
    }
    assert len(ids) == 3


def test_it_meets_the_contract(three):
    address, files, _ = three
    check_encoder(open_encoder(f"ensemble:{address}{','.join(files)}"))


@pytest.mark.parametrize("detector", ["ensemble", "msp"])
def test_a_guard_on_several_networks(three, tmp_path, detector):
    """It reads what it needs by itself. A graph has the first network alone, so it holds what reads only that."""
    pytest.importorskip("onnxruntime")
    address, files, _ = three
    encoder = open_encoder(f"ensemble:{address}{','.join(files)}&classes=a,b,c")
    known = {"images": np.random.default_rng(1).integers(0, 256, (100, 8, 8, 3), dtype=np.uint8)}
    guard = fit(known, encoder, detector=detector, cache=False).classifier
    scores = create(detector).score(encode({"images": IMAGES}, encoder, {"logits", "samples"}, cache=False))
    np.testing.assert_allclose(guard.predict({"images": IMAGES}).familiarity, scores, rtol=1e-4)
    if detector == "msp":
        assert export(guard, {"images": IMAGES}, tmp_path / "guard.onnx").n == len(IMAGES)
    else:
        with pytest.raises(WrongUse, match="ensemble reads samples, which a graph cannot answer"):
            export(guard, {"images": IMAGES}, tmp_path / "guard.onnx")


def test_refusals(three, tmp_path):
    address, files, _ = three
    with pytest.raises(WrongUse, match="two weights files or more"):
        open_encoder(f"ensemble:{address}{files[0]}")
    flat = address.replace("nets.py", "flat.py")
    (tmp_path / "flat.py").write_text(CODE.replace(", nn.Linear(4, 3))", ")"))
    bodies = [nn.Sequential(nn.Conv2d(3, 4, 3)) for _ in range(2)]
    for i, body in enumerate(bodies):
        save_file(body.state_dict(), tmp_path / f"body{i}.safetensors")
    with pytest.raises(WrongUse, match=r"have logits of the same classes, these \[0, 0\]"):
        open_encoder(f"ensemble:{flat}{tmp_path}/body0.safetensors,{tmp_path}/body1.safetensors")
