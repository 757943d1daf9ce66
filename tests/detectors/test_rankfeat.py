"""RankFeat: from images on against NumPy's SVD, maps of rank one, layers that cannot be reduced."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import relu

from unseen import RankFeat, encode
from unseen.encoders.torch import Torch
from unseen.errors import WrongUse

ASKED = np.random.default_rng(0).integers(0, 256, (8, 12, 12, 3), dtype=np.uint8)


class Net(nn.Module):
    """Maps with more positions than channels, and then with fewer."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 5, 3)
        self.two = nn.Conv2d(5, 30, 3, stride=2)
        self.fc = nn.Linear(30, 4)

    def forward(self, x):
        return self.fc(relu(self.two(relu(self.one(x)))).mean((2, 3)))


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net()


def reduced(maps):
    """One map without its largest singular component, by NumPy."""
    flat = maps[0].flatten(1).numpy()
    left, sizes, right = np.linalg.svd(flat, full_matrices=False)
    return torch.from_numpy(flat - sizes[0] * np.outer(left[:, 0], right[0])).view_as(maps)


def test_from_images_on():
    net = network()
    encoder = Torch(net, size=12)
    assert encoder.stages == ("one", "two")
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = []
    with torch.no_grad():
        for image in ASKED:
            x = ((torch.from_numpy(image).float() / 255 - mean) / std).permute(2, 0, 1)[None]
            one = net.one(x)
            first = net.fc(relu(net.two(relu(reduced(one)))).mean((2, 3)))
            second = net.fc(relu(reduced(net.two(relu(one)))).mean((2, 3)))
            expected.append(torch.logsumexp((first + second) / 2, dim=1).item())
    scores = RankFeat().score(encode({"images": ASKED}, encoder, "logits", cache=False))
    np.testing.assert_allclose(scores, expected, rtol=1e-4)


def test_of_a_map_of_rank_one_nothing_is_left():
    """A grey image behind one kernel for all channels: all channels of the map are multiples of one."""
    net = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    grey = np.repeat(ASKED[..., :1], 3, axis=3)
    encoder = Torch(net, size=12, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    found = RankFeat("0").score(encode({"images": grey}, encoder, "logits", cache=False))
    np.testing.assert_allclose(found, torch.logsumexp(net[3].bias.detach(), dim=0).item(), rtol=1e-4)


def test_nothing_is_asked_of_known_inputs():
    encoder = Torch(network(), size=12)
    known = encode({"images": ASKED}, encoder, "logits", cache=False)
    assert RankFeat().at_fit() == frozenset()
    RankFeat().fit(known)
    assert known.signals.names == ("logits",)


def test_errors():
    with pytest.raises(WrongUse, match="names of layers with commas between them, each once"):
        RankFeat("-1,-1")
    signals = encode({"images": ASKED}, Torch(network(), size=12), "logits", cache=False)
    with pytest.raises(WrongUse, match="has 2 stages and -3 was asked for"):
        RankFeat("-3").score(signals)
