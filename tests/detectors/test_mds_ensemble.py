"""MDSEnsemble: from the image by autograd, held-out distances by learning again, order of layers, its errors."""

import numpy as np
import pytest
import torch
from torch import nn

from unseen import MDSEnsemble, create, encode
from unseen.detectors.mds_ensemble import Layer
from unseen.encoders.torch import Torch
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.metrics import auroc
from unseen.signals import LayerStatistics, Signals, Support

RNG = np.random.default_rng(0)
KNOWN, NEW = RNG.integers(0, 256, (50, 8, 8, 3), dtype=np.uint8), RNG.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(50) % 2
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


class Net(nn.Module):
    """Counts its passes."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3, stride=2), nn.Linear(5, 2)
        self.passes = 0

    def forward(self, x):
        self.passes += 1
        return self.fc(self.second(self.first(x).tanh()).mean((2, 3)))


@pytest.fixture(scope="module")
def encoder():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Torch(Net(), size=8)


def inputs(encoder):
    known = encode({"images": KNOWN, "labels": LABELS}, encoder, ["features"], cache=False)
    return known, encode({"images": NEW}, encoder, ["features"], cache=False)


@pytest.mark.parametrize("layers", ["first,second", "second, first"])
def test_from_the_image(encoder, layers):
    """Each layer's distance and its own step by autograd, image by image; one scale for each layer, left-out inputs."""
    known, new = inputs(encoder)
    found = MDSEnsemble(layers=layers, epsilon=0.01, floor=0.0).fit(known).score(new)
    net = encoder._module
    inner = {"first": net.first, "second": lambda x: net.second(net.first(x).tanh())}
    x0 = ((torch.from_numpy(np.concatenate([KNOWN, NEW])).float() / 255 - MEAN) / STD).permute(0, 3, 1, 2)
    expected = np.zeros(len(NEW))
    for layer in inner.values():

        def values(image, layer=layer):
            return layer(image).mean((2, 3)).double()

        with torch.no_grad():
            x = values(x0[:50])

        def distance(q, rows, x=x):
            means = [x[rows & (c == LABELS)].mean(dim=0) for c in (0, 1)]
            gaps = x[rows] - torch.stack(means)[LABELS[rows]]
            inverse = torch.linalg.inv(gaps.T @ gaps / int(rows.sum()))
            return min((q - m) @ inverse @ (q - m) for m in means)

        every = np.ones(50, bool)
        left_out = np.array([-distance(x[i], np.arange(50) != i).item() for i in range(50)])
        for i, image in enumerate(x0[50:]):
            start = image[None].clone().requires_grad_(True)
            (slope,) = torch.autograd.grad(distance(values(start)[0], every), start)
            with torch.no_grad():
                moved = values(start - 0.01 * slope.sign() / STD[:, None, None])[0]
            expected[i] += (-distance(moved, every).item() - left_out.mean()) / left_out.std() / 2
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_held_out_is_what_learning_without_says():
    """With one class that has a single input, which then has only the other classes to be near to."""
    x = RNG.normal(size=(20, 6))
    labels = np.array([0] * 10 + [1] * 9 + [2])
    key = LayerStatistics("-1").key

    def support(rows):
        return Support(
            Signals({key: np.concatenate([x, x], axis=1)[rows]}), labels=labels[rows], classes=("a", "b", "c")
        )

    every = np.arange(20)
    layer = Layer("-1", 0.0).fit(support(every))
    expected = []
    for i in every:
        rest = every != i
        expected.append(Layer("-1", 0.0).fit(support(rest)).score(support([i]).signals).item())
    np.testing.assert_allclose(layer.held_out(support(every)).numpy(), expected, rtol=1e-9)


def test_inputs_that_were_learnt_look_nearer_than_held_out_ones():
    """Nearly as many channels as inputs: the in-sample scale would be far off."""
    x = RNG.normal(size=(60, 40))
    statistics = {LayerStatistics("-1").key: np.concatenate([x, x], axis=1)}
    layer = Layer("-1", 0.0).fit(statistics)
    new = {LayerStatistics("-1").key: RNG.normal(size=(500, 80))}
    held_out = layer.held_out(Support(Signals(statistics))).mean().item()
    assert held_out == pytest.approx(layer.score(new).mean(), rel=0.25)
    assert held_out < 2 * layer.score(statistics).mean()


def test_passes(encoder):
    """No step: all in one pass. With a step two passes more for two layers, of queries alone."""
    known, new = inputs(encoder)
    net = encoder._module
    for epsilon, queries in ((0.0, 1), (0.01, 3)):
        detector = MDSEnsemble(layers="first,second", epsilon=epsilon)
        net.passes = 0
        detector.fit(known)
        assert net.passes == -(-50 // 32)
        net.passes = 0
        detector.score(new)
        assert net.passes == queries


def test_sum_of_one_layer_is_mahalanobis():
    x = RNG.normal(size=(80, 5)).astype(np.float32)
    statistics = {LayerStatistics("-1").key: np.concatenate([x, x], axis=1)}
    found = MDSEnsemble(layers="-1", epsilon=0.0, combine="sum").fit(statistics, np.arange(80) % 3).score(statistics)
    plain = create("mahalanobis").fit(x, np.arange(80) % 3).score(x)
    np.testing.assert_allclose(found, plain, rtol=1e-5)


def test_logistic_weights_the_layer_in_which_unknown_inputs_differ():
    """The other layer gets next to none, though it is ten times as wide; odds are against those of the mean known."""
    keys = LayerStatistics("-2").key, LayerStatistics("-1").key
    rng = np.random.default_rng(1)

    def drawn(n, away):
        wide, narrow = rng.normal(size=(n, 40)), rng.normal(size=(n, 4)) + away
        return {key: np.concatenate([x, x], axis=1) for key, x in zip(keys, (wide, narrow), strict=True)}

    known, unknown = drawn(300, 0.0), drawn(200, 1.5)
    detector = MDSEnsemble(layers="-2,-1", epsilon=0.0, combine="logistic").fit(known, unknown=unknown)
    wide, narrow = detector.scale.tolist()
    assert abs(wide) < 0.1 * narrow
    scores = detector.score(drawn(200, 1.5))
    for combine in ("sum", "standardised"):
        plain = MDSEnsemble(layers="-2,-1", epsilon=0.0, combine=combine).fit(known)
        assert "uses_unknown" not in plain.traits
        assert auroc(detector.score(drawn(500, 0.0)), scores) > auroc(
            plain.score(drawn(500, 0.0)), plain.score(drawn(500, 1.5))
        )
    held_out = [layer.held_out(Support(Signals(known))).mean().item() for layer in detector.distances]
    np.testing.assert_allclose(detector.center, held_out, rtol=1e-12)


def test_stored_statistics_serve_without_a_step_only():
    stored = {LayerStatistics("-1").key: RNG.normal(size=(30, 8))}
    assert MDSEnsemble(layers="-1", epsilon=0.0).fit(stored).score(stored).shape == (30,)
    with pytest.raises(WrongUse, match=r"mds_ensemble asks the encoder for Climbed.*the inputs are not at hand"):
        MDSEnsemble(layers="-1").fit(stored).score(stored)


def test_errors():
    with pytest.raises(WrongUse, match="names of layers"):
        MDSEnsemble(layers="-1,-1")
    with pytest.raises(WrongUse, match=r"^mds_ensemble learns from unknown inputs too and none were given"):
        MDSEnsemble(layers="-1", epsilon=0.0, combine="logistic").fit({LayerStatistics("-1").key: [[0.0, 1.0]]})
    with pytest.raises(WrongUse, match="'standardised', 'sum' or 'logistic'"):
        MDSEnsemble(combine="fisher")
    with pytest.raises(WrongUse, match="'pixels' or 'normalised'"):
        MDSEnsemble(units="bytes")
    two = {LayerStatistics("-1").key: [[0.0, 1.0], [2.0, 1.0]]}
    with pytest.raises(NotEnoughKnown, match="as far from their class in layer '-1'"):
        MDSEnsemble(layers="-1", epsilon=0.0).fit(two)
