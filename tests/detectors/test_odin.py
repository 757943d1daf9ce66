"""ODIN, IODIN and GODIN: from an image to the score by autograd alone, by hand, ranks, ties, their errors."""

import numpy as np
import pytest
import torch
from torch import nn

from unseen import ODIN, create, encode
from unseen.encoders.torch import Torch
from unseen.errors import WrongUse
from unseen.signals import Perturbed

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.AvgPool2d(6), nn.Flatten(), nn.Linear(6, 4)
        ).eval()


def scored(net, detector):
    """By an encoder, live: nothing is asked before the detector asks."""
    support = encode({"images": IMAGES}, Torch(net, size=8), ["features"], cache=False)
    return create(detector).score(support)


def moved(net, slope_of, epsilon, units="pixels", largest=False):
    """Logits after the step up the slope of ``slope_of(logits)``, each image alone."""
    rows = []
    for image in IMAGES:
        x = ((torch.from_numpy(image).float() / 255 - MEAN) / STD).permute(2, 0, 1)[None].requires_grad_(True)
        (slope,) = torch.autograd.grad(slope_of(net(x)[0]), x)
        step = epsilon * slope.sign() / (STD[:, None, None] if units == "pixels" else 1)
        if largest:
            step = step * (slope.abs() == slope.abs().max())
        rows.append(net(x + step)[0].detach().double())
    return torch.stack(rows)


def confidence(temperature):
    return lambda logits: torch.log_softmax(logits / temperature, 0).max()


@pytest.mark.parametrize("units", ["pixels", "normalised"])
@pytest.mark.parametrize("temperature", [1.0, 1000.0])
def test_odin_from_the_image(net, units, temperature):
    """The published score is a softmax; the lead is its log-odds, in units of the logits."""
    found = scored(net, f"odin(epsilon=0.01, temperature={temperature}, units={units!r})")
    p = (moved(net, confidence(temperature), 0.01, units) / temperature).softmax(dim=1).amax(dim=1)
    expected = temperature * (3 * p / (1 - p)).log()
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-3, atol=1e-4)
    assert np.abs(found - scored(net, f"odin(epsilon=0, temperature={temperature})")).min() > 1e-3


def test_iodin_from_the_image(net):
    found = scored(net, "iodin(epsilon=0.5, temperature=2.0)")
    p = (moved(net, confidence(2.0), 0.5, largest=True) / 2).softmax(dim=1).amax(dim=1)
    np.testing.assert_allclose(found, (2 * (3 * p / (1 - p)).log()).numpy(), rtol=1e-3, atol=1e-4)
    assert np.abs(found - scored(net, "iodin(epsilon=0, temperature=2.0)")).min() > 1e-3


def test_godin_from_the_image(net):
    logits = moved(net, lambda logits: logits.max(), 0.01)
    np.testing.assert_allclose(scored(net, "godin(epsilon=0.01)"), logits.amax(dim=1).numpy(), rtol=1e-4, atol=1e-5)
    p = logits.softmax(dim=1).amax(dim=1)
    by_probability = scored(net, "godin(epsilon=0.01, readout='probability')")
    np.testing.assert_allclose(by_probability, (3 * p / (1 - p)).log().numpy(), rtol=1e-4, atol=1e-5)
    assert (scored(net, "godin(epsilon=0.01)") > scored(net, "godin(epsilon=0)")).all()


def test_by_hand():
    """At T = 2 the others' mean is (e^0 + e^1) / 2; the winner's 4 is halved as well."""
    detector = ODIN(epsilon=0.0, temperature=2.0)
    (score,) = detector.score({detector.moved.key: [[4.0, 0.0, 2.0]]})
    assert score == pytest.approx(2 * (2 - np.log((1 + np.e) / 2)))


@pytest.mark.parametrize("temperature", [1.0, 1000.0])
def test_float32_keeps_apart_what_the_softmax_ties(temperature):
    """Sure rows at T = 1, and at T = 1000 rows whose largest probabilities differ by less than float32 tells."""
    detector = ODIN(temperature=temperature)
    rows = np.zeros((200, 5), np.float32)
    rows[:, 1] = np.linspace(20, 60, 200) if temperature == 1.0 else np.linspace(1, 1.002, 200)
    softmax = torch.from_numpy(rows).div(temperature).softmax(dim=1).amax(dim=1)
    assert len(softmax.unique()) < 50
    assert (np.diff(detector.score({detector.moved.key: rows})) > 0).all()


def test_ranks_as_the_softmax():
    rows = 5 * np.random.default_rng(1).normal(size=(300, 7))
    for temperature in (0.5, 3.0, 1000.0):
        detector = ODIN(temperature=temperature)
        found = detector.score({detector.moved.key: rows})
        p = torch.tensor(rows).div(temperature).softmax(dim=1).amax(dim=1).numpy()
        assert (found.argsort() == p.argsort()).all()


def test_one_class_is_one_score():
    detector = create("odin")
    assert detector.score({detector.moved.key: [[3.0], [-4.0]]}).tolist() == [0.0, 0.0]


def test_known_inputs_cost_no_pass(net):
    """A fit reads nothing, and stored arrays cannot answer."""
    for name in ("odin", "iodin", "godin"):
        detector = create(name)
        assert detector.at_fit() == frozenset()
        assert {request.passes for request in detector.needs} == {(2, 1)}
        with pytest.raises(WrongUse, match=rf"{name} asks the encoder for Perturbed.*the inputs are not at hand"):
            detector.score({"features": np.zeros((2, 3)), "logits": np.zeros((2, 3))})


def test_errors():
    with pytest.raises(WrongUse, match=r"temperature=0.0\): the temperature is above 0"):
        create("odin(temperature=0)")
    with pytest.raises(WrongUse, match="'pixels' or 'normalised'"):
        create("iodin(units='bytes')")
    with pytest.raises(WrongUse, match="'logit' or 'probability'"):
        create("godin(readout='energy')")


def test_each_asks_for_its_own_step():
    asked = [next(iter(create(name).needs)) for name in ("odin", "iodin", "godin")]
    assert asked == [
        Perturbed(0.0014, 1000.0),
        Perturbed(0.0014, 1000.0, coordinates="largest"),
        Perturbed(0.0025, 1.0, towards="logit"),
    ]
