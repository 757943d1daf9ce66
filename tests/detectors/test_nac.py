"""NAC: from images on against autograd, by hand, layers with numbers of their own, what asks for what, its errors."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import relu

from unseen import NAC, create, encode
from unseen.checks import checks_for
from unseen.encoders.torch import Torch
from unseen.errors import WrongUse
from unseen.signals import LinearHead, Sensitivity

RNG = np.random.default_rng(0)
KNOWN, ASKED = (RNG.integers(low, 256, (n, 8, 8, 3), dtype=np.uint8) for low, n in ((0, 60), (100, 15)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
        self.fc = nn.Linear(5, 3)

    def forward(self, x):
        return self.fc(relu(self.conv(x)).mean((2, 3)))


def naive(net, images, alpha):
    """States of features and of the convolution's channels, one image and one backward pass at a time."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    rows = ([], [])
    for image in images:
        x = ((torch.from_numpy(image).double() / 255 - mean) / std).permute(2, 0, 1)[None]
        maps = net.conv(x)
        features = relu(maps).mean((2, 3))
        p = net.fc(features).softmax(dim=1)
        divergence = (torch.full_like(p, 1 / 3) * (torch.full_like(p, 1 / 3) / p).log()).sum()
        for held, found, steep in zip((features, maps), rows, alpha, strict=True):
            (slope,) = torch.autograd.grad(divergence, held, retain_graph=True)
            z = (held * slope).detach()
            found.append(torch.sigmoid(steep * (z if z.ndim == 2 else z.mean((2, 3))))[0].numpy())
    return [np.stack(found) for found in rows]


def test_from_images_on():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Net()
    encoder = Torch(net, size=8)
    alpha, bins, full = (50, 2000), (10, 7), (20, 9)
    known, asked = (naive(net.double(), images, alpha) for images in (KNOWN, ASKED))
    expected = np.zeros(len(ASKED))
    for learnt, queries, m, enough in zip(known, asked, bins, full, strict=True):
        counts = [np.bincount((column * m).astype(int), minlength=m) for column in learnt.T]
        found = [[min(count[int(s * m)] / enough, 1) for count, s in zip(counts, row, strict=True)] for row in queries]
        expected += np.mean(found, axis=1) / 2
    support, queries = (encode({"images": x}, encoder, "features", cache=False) for x in (KNOWN, ASKED))
    detector = NAC("features,conv", "50,2000", "10,7", "20,9").fit(support)
    scores = detector.score(queries)
    assert len(np.unique(scores)) > 5
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_by_hand():
    """Two known inputs at (2, 0) and one at (0, 2); W = 1: z = (2 q, 0) with q = p - 1/2 of the own class."""
    head = LinearHead(torch.eye(2), torch.zeros(2))
    detector = NAC(alpha=1.0, bins=10, full=2).fit([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0]], head=head)
    # sigmoid(2 (0.881 - 0.5)) = 0.68: bin 6; sigmoid(0) = 0.5: bin 5.
    assert detector.coverage.view(2, 10)[:, 5:7].tolist() == [[0.5, 1.0], [1.0, 0.5]]
    assert int((detector.coverage > 0).sum()) == 4
    # (2, 0): 1 and 1. (0, 2): a half each. (1, 1): p = 1/2, both in bin 5. (9, 0): sigmoid(4.5) = 0.99, bin 9: nobody.
    assert detector.score([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0], [9.0, 0.0]]).tolist() == [1.0, 0.5, 0.75, 0.5]


def test_a_state_of_one_is_in_the_last_bin():
    head = LinearHead(torch.eye(2), torch.zeros(2))
    detector = NAC(alpha=1e6, bins=4, full=1).fit([[5.0, 0.0]], head=head)
    assert detector.coverage.view(2, 4)[0].tolist() == [0, 0, 0, 1]
    assert detector.score([[5.0, 0.0]]).item() == 1


def test_layers_alone_meet_the_contract():
    """Then neither head nor labels are read, which the contract asks about."""
    part = create("nac(layers='-1', alpha=1.0, full=100)")
    assert part.needs == {Sensitivity("-1")}
    assert (part.labels, part.traits) == ("ignored", {"saturates"})
    for check in checks_for(part):
        if "export" not in check.name and "onnx" not in check.name:  # which are the same as for features, and long
            check(part)


def test_errors():
    known, head = [[1.0, 0.0]], LinearHead(torch.eye(2), torch.zeros(2))
    for arguments, said in (
        ({"alpha": 0.0}, "a steepness is above 0"),
        ({"alpha": "1,2"}, "these are 2 numbers for 1 layers"),
        ({"bins": "a"}, "give one number, or one a layer"),
        ({"bins": 0}, r"NAC\(bins=0\): give whole numbers from 1"),
        ({"full": 2.5}, r"NAC\(full=2.5\): give whole numbers from 1"),
    ):
        with pytest.raises(WrongUse, match=said):
            NAC(**arguments).fit(known, head=head)
    with pytest.raises(WrongUse, match="each once"):
        NAC("features,features")
    with pytest.raises(WrongUse, match="the linear layer behind the logits"):
        NAC().fit(known)
    with pytest.raises(WrongUse, match=r"nac asks the encoder for Sensitivity\(layer='-1'\)"):
        NAC("features,-1").fit({"features": known}, head=head)
