"""Gram: from images on against whole Gram matrices, by hand, classes that are not there, its errors."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import relu

from unseen import Gram, create, encode
from unseen.encoders.torch import Torch
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.signals import GramStatistics

RNG = np.random.default_rng(0)
KNOWN, ASKED = (RNG.integers(low, 256, (n, 8, 8, 3), dtype=np.uint8) for low, n in ((0, 40), (60, 12)))
KEY = GramStatistics("-1", orders=1).key


class Net(nn.Module):
    """Two resolutions; the second activation writes over what it reads."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 5, 3)
        self.two = nn.Conv2d(5, 7, 3, stride=2)
        self.act = nn.ReLU(inplace=True)
        self.fc = nn.Linear(7, 3)

    def forward(self, x):
        return self.fc(self.act(self.two(relu(self.one(x)))).mean((2, 3)))


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net().eval()


def naive(net, images, orders):
    """Predicted class, and for each of the two convolutions the row sums of Gram matrices, ``(N, orders * width)``."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = ((torch.from_numpy(images).float() / 255 - mean) / std).permute(0, 3, 1, 2)
    found = ([], [])
    with torch.no_grad():
        one = net.one(x)
        two = net.two(relu(one))
        for maps, rows in zip((one, two), found, strict=True):
            for image in maps.double().flatten(2).numpy():
                sums = [((image**p) @ (image**p).T).sum(axis=1) for p in range(1, orders + 1)]
                rows.append(np.concatenate([np.sign(s) * np.abs(s) ** (1 / p) for p, s in enumerate(sums, 1)]))
        return net.fc(relu(two).mean((2, 3))).argmax(dim=1).numpy(), [np.stack(rows) for rows in found]


def test_from_images_on():
    """Every Gram matrix made, every known input held out in a loop."""
    net = network()
    (classes, known), (called, asked) = naive(net, KNOWN, 3), naive(net, ASKED, 3)
    assert len(np.unique(classes)) > 1
    expected = np.zeros(len(ASKED))
    for g, queries, width in zip(known, asked, (5, 7), strict=True):
        size = np.abs(g).max(axis=0).reshape(3, width)
        least = np.repeat(0.05 * size.mean(axis=1), width)

        def deviation(rows, row, least=least):
            low, high = rows.min(axis=0), rows.max(axis=0)
            below, above = np.maximum(low - row, 0), np.maximum(row - high, 0)
            return (below / np.maximum(abs(low), least) + above / np.maximum(abs(high), least)).sum()

        def others(i, g=g):
            rows = np.arange(len(g)) != i
            return g[rows & (classes == classes[i])]

        usual = np.mean([deviation(others(i), g[i]) for i in range(len(g)) if len(others(i))])
        expected -= [deviation(g[classes == c], row) / usual for c, row in zip(called, queries, strict=True)]
    encoder = Torch(net, size=8)
    known_signals, asked_signals = (encode({"images": x}, encoder, "logits", cache=False) for x in (KNOWN, ASKED))
    scores = Gram(layers="one,two", orders=3, floor=0.05).fit(known_signals).score(asked_signals)
    assert len(np.unique(scores)) > 6
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-4)


def test_stages_are_the_layers_that_end_a_resolution():
    encoder = Torch(network(), size=8)
    assert encoder.stages == ("one", "act")
    known, asked = (encode({"images": x}, encoder, "logits", cache=False) for x in (KNOWN, ASKED))
    scores = [create(f"gram(layers='{layers}')").fit(known).score(asked) for layers in ("-2,-1", "one,act")]
    np.testing.assert_array_equal(*scores)


def test_by_hand():
    """Class 0 has 2, 3, 4 and class 1 has 10, 20; the third class is never predicted and has 2 to 20.

    Held out, the five deviate by 1/3, 0, 1/3, 1/2 (10 below 20) and 1 (20 above 10).
    """
    usual = (1 / 3 + 0 + 1 / 3 + 1 / 2 + 1) / 5
    logits = np.eye(3)
    known = {"logits": logits[[0, 0, 0, 1, 1]], KEY: [[2.0], [3.0], [4.0], [10.0], [20.0]]}
    detector = Gram(layers="-1", orders=1).fit(known)
    scores = detector.score({"logits": logits[[0, 0, 1, 2, 2]], KEY: [[1.0], [6.0], [15.0], [15.0], [1.0]]})
    np.testing.assert_allclose(scores, [-0.5 / usual, -0.5 / usual, 0, 0, -0.5 / usual], rtol=1e-6)


def test_a_silent_channel_divides_by_the_floor():
    """Bounds are 0 there; the mean bound of the two channels is 2, so the floor is 0.2."""
    known = {"logits": np.zeros((3, 1)), KEY: [[0.0, 2.0], [0.0, 3.0], [0.0, 4.0]]}
    detector = Gram(layers="-1", orders=1, floor=0.1).fit(known)
    usual = 2 * (1 / 3) / 3
    assert detector.score({"logits": [[0.0]], KEY: [[0.5, 3.0]]}) == pytest.approx(-0.5 / 0.2 / usual)


def test_a_single_input_of_a_class_has_the_bounds_of_all():
    logits = np.eye(2)
    known = {"logits": logits[[0, 0, 1]], KEY: [[1.0], [3.0], [2.0]]}
    detector = Gram(layers="-1", orders=1).fit(known)
    assert detector.score({"logits": logits[[1, 1]], KEY: [[1.5], [3.0]]}).tolist() == [0, 0]


def test_errors():
    for layers in ("", "-1,", "-1,-2,-1"):
        with pytest.raises(WrongUse, match="names of layers with commas between them, each once"):
            Gram(layers=layers)
    with pytest.raises(WrongUse, match=r"GramStatistics\(orders=0\): give a whole number from 1"):
        Gram(orders=0)
    known = {"logits": np.eye(3), KEY: [[1.0], [2.0], [3.0]]}
    with pytest.raises(WrongUse, match="share above 0"):
        Gram("-1", 1, floor=0.0).fit(known)
    with pytest.raises(NotEnoughKnown, match="no class is predicted for two known inputs"):
        Gram("-1", 1).fit(known)
    with pytest.raises(NotEnoughKnown, match="predicted alike do not differ in layer '-1'"):
        Gram("-1", 1).fit({"logits": np.ones((4, 2)), KEY: np.ones((4, 3))})
    with pytest.raises(
        WrongUse, match=r"gram asks the encoder for GramStatistics.* there is only logits: the inputs are"
    ):
        Gram("-1", 1).fit({"logits": np.eye(3)})
