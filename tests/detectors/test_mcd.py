"""MCD: from images on, by hand, its limits, sure inputs, one draw a seed, its errors."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import relu

from unseen import MCD, create, encode
from unseen.encoders.torch import Torch
from unseen.errors import WrongUse
from unseen.signals import Samples

ASKED = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), dtype=np.uint8)
WAYS = ("probabilities", "logits", "variance")
KEY = Samples(draws=3).key


class Net(nn.Module):
    """A dropout layer inside, and one before the head."""

    def __init__(self, p=0.5):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.inner = nn.Dropout(p)
        self.mid = nn.Linear(6, 10)
        self.outer = nn.Dropout(p)
        self.fc = nn.Linear(10, 4)

    def forward(self, x):
        pooled = self.inner(relu(self.conv(x)).mean((2, 3)))
        return self.fc(self.outer(relu(self.mid(pooled))))


def signals(p=0.5):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Net(p)
        net.fc.weight.data *= 20
    return encode({"images": ASKED}, Torch(net, size=8), "logits", cache=False), net


@pytest.mark.parametrize("reduce", WAYS)
def test_of_a_network(reduce):
    """Many passes of torch's own dropout, each input with masks of its own, come to the same up to chance."""
    found, net = signals()
    scores = MCD(passes=2000, reduce=reduce).score(found)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = ((torch.from_numpy(ASKED).float() / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        net.train()
        logits = torch.stack([net(x) for _ in range(2000)]).double()  # (R, N, C)
    p = logits.softmax(dim=2)
    expected = {
        "probabilities": p.mean(dim=0).amax(dim=1).log(),
        "logits": logits.mean(dim=0).log_softmax(dim=1).amax(dim=1),
        "variance": -p.var(dim=0).mean(dim=1),
    }[reduce].numpy()
    np.testing.assert_allclose(scores, expected, rtol=0.1)


def test_by_hand():
    """Three networks of two classes that say 3/4, 1/2 and 1/2 for the first: mean 7/12, variance 1/48 of each class."""
    logits = np.log([[[3.0, 1.0], [1.0, 1.0], [1.0, 1.0]]])
    expected = np.log(7 / 12), np.log(3 ** (1 / 3) / (1 + 3 ** (1 / 3))), -1 / 48
    for reduce, score in zip(WAYS, expected, strict=True):
        assert MCD(3, reduce).score({KEY: logits}).item() == pytest.approx(score)


def test_layers_that_drop_next_to_nothing_change_nothing():
    found, _ = signals(p=1e-9)
    plain = create("msp").score(found)
    for reduce in WAYS[:2]:
        np.testing.assert_allclose(MCD(2, reduce).score(found), plain, rtol=1e-4, atol=1e-6)
    assert abs(MCD(2, "variance").score(found)).max() < 1e-12


@pytest.mark.parametrize("reduce", WAYS)
def test_sure_inputs_do_not_tie(reduce):
    """In float32 each pass's largest probability is 1.0 here."""
    gaps = np.linspace(18, 40, 200)[:, None, None] * np.array([[[1.0, 0.0], [1.1, 0.0], [1.2, 0.0]]])
    scores = MCD(3, reduce).score({KEY: gaps.astype(np.float32)})
    assert (np.diff(scores) > 0).mean() > 0.98


def test_one_draw_a_seed():
    found, _ = signals()
    one, again, other = (MCD(4, seed=seed).score(found) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)


def test_flat_logits_do_not_vary():
    """What the trait 'blind_to_flat_logits' says, of the variance alone."""
    rng = np.random.default_rng(0)
    flat, sure = 1e-3 * rng.normal(size=(20, 3, 4)), rng.normal(size=(20, 3, 4))
    assert MCD(3, "variance").score({KEY: flat}).min() > MCD(3, "variance").score({KEY: sure}).max()
    assert "blind_to_flat_logits" in MCD(3, "variance").traits - MCD(3).traits


def test_errors():
    with pytest.raises(WrongUse, match="'probabilities', 'logits' or 'variance'"):
        MCD(reduce="votes")
    with pytest.raises(WrongUse, match="give a whole number from 2"):
        MCD(passes=1, reduce="variance")
    with pytest.raises(WrongUse, match=r"Samples\(draws=0\): give a whole number from 1"):
        MCD(passes=0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    found = encode({"images": ASKED}, Torch(net, size=8), "logits", cache=False)
    with pytest.raises(WrongUse, match=r"mcd asks .* the network has no dropout layer; the detector dropout drops"):
        MCD().score(found)
