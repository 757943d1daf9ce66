"""A user's own network: every form of its path, its weights, its head, and one line for every mistake."""

import os
import pickle
import sys
import textwrap

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from unseen.encoders import encode, open_encoder
from unseen.encoders.torch import Torch
from unseen.errors import BadInput, DamagedFile, WrongUse

NETWORK = '''
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

VERSION = 3


@dataclass
class Settings:
    width: int = 4


class Net(nn.Module):
    """Words do not count."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv = nn.Conv2d(3, Settings().width, 3)
            self.bn = nn.BatchNorm2d(4)
            self.fc = nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(functional.relu(self.bn(self.conv(x))).mean((2, 3)))


def build():
    return Net()


net = Net()


def needs(width):
    return Net()


def breaks():
    raise KeyError("no such thing")
'''

BATCH = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
BOTH = frozenset({"features", "logits"})


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "mynets.py").write_text(NETWORK)
    (tmp_path / "mypackage").mkdir()
    (tmp_path / "mypackage" / "__init__.py").write_text("")
    (tmp_path / "mypackage" / "inner.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    yield tmp_path
    for name in ("mynets", "mypackage", "mypackage.inner"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "path",
    [
        "mynets.py:net",
        "mynets.py:Net",
        "mynets.py:build",
        "mynets:net",
        "mypackage.inner:Net",
        "mypackage/inner.py:Net",
    ],
)
def test_every_form_of_a_path(here, path):
    encoder = open_encoder(f"torch:{path}?size=8")
    answers = encoder.answer(BATCH, BOTH)
    direct = open_encoder(f"torch:{here / 'mynets.py'}:net?size=8").answer(BATCH, BOTH)
    assert answers["features"].shape == (4, 4)
    assert answers["logits"].shape == (4, 2)
    for name in BOTH:
        torch.testing.assert_close(answers[name], direct[name], rtol=0, atol=0)
    logits = answers["features"] @ encoder.head.weight.T + encoder.head.bias
    torch.testing.assert_close(answers["logits"], logits)


def test_modules_beside_the_file_are_found_and_shadow_nothing_installed(tmp_path):
    (tmp_path / "mylayers.py").write_text("from torch import nn\n\nclass Head(nn.Linear):\n    pass\n")
    (tmp_path / "colorsys.py").write_text("raise RuntimeError('the wrong colorsys')\n")
    (tmp_path / "nets.py").write_text(
        "from torch import nn\nfrom mylayers import Head\n\ndef build():\n"
        "    return nn.Sequential(nn.Flatten(), Head(192, 3))\n"
    )
    assert open_encoder(f"torch:{tmp_path / 'nets.py'}:build?size=8").head.weight.shape == (3, 192)
    import colorsys

    assert colorsys.ONE_THIRD


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("mynets.py", "write package.module:name or file.py:name"),
        (":net", "write package.module:name or file.py:name"),
        ("none.py:net", "FileNotFoundError: there is no file none.py"),
        ("nosuchmodule:net", "No module named 'nosuchmodule'"),
        ("mynets.py:other", "mynets.py has no 'other'"),
        ("mynets.py:VERSION", "VERSION is not a torch.nn.Module and gives none when called"),
        ("mynets.py:Settings", "Settings is not a torch.nn.Module and gives none when called"),
        ("mynets.py:needs", "TypeError: needs\\(\\) missing 1 required positional argument: 'width'"),
        ("mynets.py:breaks", "mynets.py line 45: KeyError: 'no such thing'"),
        ("broken.py:net", "broken.py line 3: ZeroDivisionError: division by zero"),
        ("deep.py:net", "broken.py line 3: ZeroDivisionError"),
        ("letters.py:net", "letters.py line 1: SyntaxError"),
        ("leaves.py:net", "leaves.py line 2: SystemExit: 3"),
        ("silent.py:net", "silent.py line 1: AssertionError$"),
    ],
)
def test_wrong_paths_give_one_line_with_the_place(here, path, message):
    (here / "broken.py").write_text("import torch\n\n1 / 0\n")
    (here / "deep.py").write_text("import broken\n")
    (here / "letters.py").write_text("def net(:\n")
    (here / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    (here / "silent.py").write_text("assert not 1\n")
    with pytest.raises(WrongUse, match=message) as caught:
        open_encoder(f"torch:{path}?size=8")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"torch:{path}: ")


@pytest.fixture
def net():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5))


def test_the_callers_network_is_left_alone(net):
    net.train()
    net[3].half()
    before = {name: (tensor.clone(), tensor.dtype, tensor.stride()) for name, tensor in net.state_dict().items()}
    encoder = Torch(net, size=8)
    encoder.answer(BATCH, BOTH)
    assert net.training
    assert all(p.requires_grad for p in net.parameters())
    assert not net[3]._forward_hooks
    assert not net[3]._forward_pre_hooks
    for name, tensor in net.state_dict().items():
        assert torch.equal(before[name][0], tensor)
        assert before[name][1:] == (tensor.dtype, tensor.stride())
    assert all(tensor.dtype != torch.float16 for tensor in encoder.state().values())


def test_a_read_only_batch_is_fine_and_unchanged(net):
    batch = BATCH.copy()
    batch.flags.writeable = False
    torch.testing.assert_close(Torch(net, size=8).answer(batch, BOTH), Torch(net, size=8).answer(BATCH, BOTH))


def test_weights_are_loaded_with_their_normalisation(net, tmp_path):
    path = tmp_path / "net.safetensors"
    save_file(net.state_dict(), path, {"mean": "0.1,0.2,0.3", "std": "0.4,0.5,0.6"})
    fresh = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5))
    encoder = Torch(fresh, weights=str(path), size=8)
    x = (
        torch.from_numpy(BATCH).permute(0, 3, 1, 2) / 255 - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    ) / torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(encoder.answer(BATCH, BOTH)["logits"], net.eval()(x))
        torch.testing.assert_close(encoder.module(torch.from_numpy(BATCH).permute(0, 3, 1, 2) / 255), net(x))
    given = Torch(fresh, weights=str(path), size=8, mean="0,0,0", std=(1, 1, 1))
    assert given.id != encoder.id
    assert '"mean": [0.0, 0.0, 0.0]' in given.id  # what is given counts, not what the file says


def test_half_precision_weights_are_raised_and_counters_may_lack(net, tmp_path):
    half = {n: t.half() for n, t in net.state_dict().items() if not n.endswith("num_batches_tracked")}
    save_file(half, tmp_path / "half.safetensors")
    encoder = Torch(net, weights=str(tmp_path / "half.safetensors"), size=8)
    answers = encoder.answer(BATCH, BOTH)
    assert answers["logits"].dtype == torch.float32
    assert torch.equal(encoder.head.weight, half["3.weight"].float())
    assert not torch.equal(encoder.head.weight, net[3].weight)


def test_weights_of_another_network_name_the_tensor(net, tmp_path):
    path = tmp_path / "net.safetensors"
    state = net.state_dict()
    for changed, message in (
        ({n: t for n, t in state.items() if n != "0.bias"}, r"lack 0\.bias \(1 such tensors\)"),
        ({**state, "9.weight": torch.ones(1)}, r"have an unknown 9\.weight"),
        ({**state, "3.weight": torch.ones(6, 144)}, r"have another shape for 3\.weight"),
    ):
        save_file(changed, path)
        with pytest.raises(BadInput, match=message) as caught:
            Torch(net, weights=str(path), size=8)
        assert str(path) in str(caught.value)
    with pytest.raises(BadInput, match="there is no such weights file"):
        Torch(net, weights=str(tmp_path), size=8)


def test_damaged_weights(net, tmp_path):
    path = tmp_path / "net.safetensors"
    save_file(net.state_dict(), path)
    whole = path.read_bytes()
    for content in (whole[:-1], whole[:30], b"", b"\xff" * 64):
        path.write_bytes(content)
        with pytest.raises(DamagedFile, match=r"net\.safetensors: not a whole safetensors file"):
            Torch(net, weights=str(path), size=8)


class Bomb:
    def __reduce__(self):
        return os.mkdir, (self.target,)


def test_a_pickle_is_never_opened(net, tmp_path):
    bomb = Bomb()
    bomb.target = str(tmp_path / "ran")
    (tmp_path / "a.pth").write_bytes(pickle.dumps(bomb))
    torch.save({"x": net.state_dict()}, tmp_path / "b.pth")
    for name in ("a.pth", "b.pth"):
        with pytest.raises(DamagedFile, match=r"save the tensors with safetensors\.torch\.save_file"):
            Torch(net, weights=str(tmp_path / name), size=8)
    assert not (tmp_path / "ran").exists()


class Shaped(nn.Module):
    """Two linear layers, and something after the last."""

    def __init__(self, after):
        super().__init__()
        self.body = nn.Linear(192, 6)
        self.fc = nn.Linear(6, 6)
        self.after = after

    def forward(self, x):
        return self.after(self.fc(self.body(x.flatten(1)).relu()))


def same(x):
    return x


def test_the_head_is_found():
    encoder = Torch(Shaped(same), size=8)
    assert encoder.provides == BOTH
    answers = encoder.answer(BATCH, BOTH)
    torch.testing.assert_close(answers["features"] @ encoder.head.weight.T + encoder.head.bias, answers["logits"])
    assert bool((answers["features"] >= 0).all())  # after the ReLU: what goes into fc, not what comes out of body


@pytest.mark.parametrize(
    "after",
    [
        functional.relu,
        functional.relu_,
        lambda x: x.mul_(2),
        lambda x: functional.log_softmax(x, 1),
        lambda x: x[:, :3],
        functional.normalize,
    ],
)
def test_an_output_that_is_not_the_layers_has_no_head(after):
    encoder = Torch(Shaped(after), size=8)
    assert encoder.head is None
    assert encoder.provides == {"features"}
    with pytest.raises(WrongUse, match="gives features, not logits"):
        encoder.answer(BATCH, BOTH)


def test_the_head_by_name():
    assert Torch(Shaped(same), size=8, head="fc").head.weight.shape == (6, 6)
    with pytest.raises(WrongUse, match="the network's output is not that of its layer 'body'"):
        Torch(Shaped(same), size=8, head="body")
    with pytest.raises(WrongUse, match="no linear layer 'after'; it has body, fc"):
        Torch(Shaped(same), size=8, head="after")
    with pytest.raises(WrongUse, match="it has none"):
        Torch(nn.Flatten(), size=8, head="fc")


def test_a_head_without_bias():
    encoder = Torch(nn.Sequential(nn.Flatten(), nn.Linear(192, 3, bias=False)), size=8)
    assert torch.equal(encoder.head.bias, torch.zeros(3))


def test_maps_are_flattened_to_features():
    encoder = Torch(nn.Conv2d(3, 2, 3), size=8)
    assert encoder.provides == {"features"}
    assert encoder.answer(BATCH, frozenset({"features"}))["features"].shape == (4, 72)


def test_class_names():
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    assert Torch(net, size=8).classes is None
    assert Torch(net, size=8, classes="cat,dog,1").head.classes == ("cat", "dog", "1")
    assert Torch(net, size=8, classes=["a", "b", "c"]).classes == ("a", "b", "c")
    with pytest.raises(WrongUse, match="2 class names were given for a head of 3 outputs"):
        Torch(net, size=8, classes="cat,dog")
    with pytest.raises(WrongUse, match="not a linear layer's"):
        Torch(nn.Flatten(), size=8, classes="cat,dog")


def test_class_names_that_look_like_numbers(here):
    assert open_encoder("torch:mynets.py:net?size=8&classes=0,1").classes == ("0", "1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean": "0.5"}, "mean must be three numbers"),
        ({"mean": "a,b,c"}, "mean must be three numbers"),
        ({"std": (1, 0, 1)}, "std above 0"),
        ({"std": "1,nan,1"}, "must be finite"),
        ({"size": "big"}, "size must be"),
        ({"resize": "stretch"}, "resize must be"),
    ],
)
def test_wrong_options(net, arguments, message):
    with pytest.raises(WrongUse, match=message):
        Torch(net, **{"size": 8, **arguments})


def test_zero_is_a_mean(net):
    assert '"mean": [0.0, 0.0, 0.0]' in Torch(net, size=8, mean=np.zeros(3)).id


class Raising(nn.Module):
    def __init__(self, what):
        super().__init__()
        self.what = what

    def forward(self, x):
        if isinstance(self.what, Exception):
            raise self.what
        return self.what


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Raising(AttributeError("no such attribute\nand more")), "8x8: AttributeError: no such attribute$"),
        (Raising(AssertionError()), "8x8: AssertionError$"),
        (nn.Sequential(nn.Flatten(), nn.Linear(3, 3)), "8x8: RuntimeError: mat1"),
        (Raising({"logits": 1}), "gives a dict, not one tensor: wrap it"),
        (Raising(torch.ones(4)), r"gives \(4,\) for 4 images"),
        (Raising(torch.ones(1, 3)), r"gives \(1, 3\) for 4 images"),
        ("a", "write package.module:name"),
        (3, "torch takes an import path or a torch.nn.Module, got a int"),
    ],
)
def test_networks_that_do_not_serve(network, message):
    with pytest.raises(WrongUse, match=message):
        Torch(network, size=8)


@pytest.mark.parametrize("device", ["banana", "cuda:99", "meta", "cuda" if not torch.cuda.is_available() else "xpu"])
def test_a_device_that_is_not_there(net, device):
    encoder = Torch(net, size=8)
    with pytest.raises(WrongUse, match=f"device '{device}' cannot be used: ") as caught:
        encoder.to(device)
    assert "\n" not in str(caught.value)
    encoder.answer(BATCH, BOTH)  # still where it was
    with pytest.raises(WrongUse, match="cannot be used"):
        encode({"images": BATCH}, Torch(net, size=8).to(device), cache=False)


def test_the_id_is_that_of_the_numbers(here):
    spec = "torch:mynets.py:build?size=8"
    first = open_encoder(spec).id
    assert open_encoder(spec).id == first
    assert open_encoder(spec + "&resize=crop").id != first
    (here / "mynets.py").write_text(NETWORK.replace("Words do not count.", "Nor do these.") + "\n# nor this\n")
    assert open_encoder(spec).id == first
    # An edited forward with the same weights gives other numbers: the store must not answer for it.
    (here / "mynets.py").write_text(NETWORK.replace("functional.relu(", "functional.gelu("))
    assert open_encoder(spec).id != first


def test_settings_of_layers_are_in_the_id():
    def build(slope):
        return nn.Sequential(nn.Flatten(), nn.LeakyReLU(slope))

    assert Torch(build(0.1), size=8).id == Torch(build(0.1), size=8).id
    assert Torch(build(0.1), size=8).id != Torch(build(0.2), size=8).id


def test_a_file_cannot_carry_it(net):
    encoder = Torch(net, size=8)
    assert not encoder.rebuildable
    assert encoder.state() == {}
    assert encoder.describe() == {"name": "torch", "arguments": {}}


def test_the_state_of_a_channels_last_network_can_be_saved(net):
    from unseen.encoders._module import ModuleEncoder

    state = ModuleEncoder.state(Torch(net, size=8))
    assert all(tensor.is_contiguous() for tensor in state.values())
    assert torch.equal(state["0.weight"], net[0].weight)


def test_a_class_defined_in_the_file_can_be_inspected(here):
    """TorchScript, pickle and dataclasses look a class's module up while it runs."""
    (here / "scripted.py").write_text(
        NETWORK
        + textwrap.dedent("""
            import inspect
            source = inspect.getsource(Net)
            assert "functional.relu" in source
        """)
    )
    assert open_encoder("torch:scripted.py:net?size=8").head is not None
