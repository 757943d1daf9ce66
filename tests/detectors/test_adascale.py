"""AdaSCALE: from the image by autograd, its ends, the kept distribution, its errors."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from unseen import AdaSCALE, create, encode
from unseen.detectors import adascale
from unseen.encoders.torch import Torch
from unseen.errors import WrongUse
from unseen.signals import Nudged

RNG = np.random.default_rng(0)
KNOWN, NEW = RNG.integers(0, 256, (30, 8, 8, 3), dtype=np.uint8), RNG.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 40, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, 4)
        ).eval()


@pytest.mark.parametrize("variant", ["A", "L"])
def test_from_the_image(net, variant):
    """The moved input, both sums, the distribution, and the energy of what was enlarged, each image alone."""
    encoder = Torch(net, size=8)
    known, new = (encode({"images": x}, encoder, ["features", "logits"], cache=False) for x in (KNOWN, NEW))
    expression = f"adascale(variant={variant!r}, lower=0.1, upper=0.9, k1=0.2, k2=0.1, share=0.25, step=1.5) >> energy"
    found = create(expression).fit(known).score(new)

    def both(image):
        x = ((torch.from_numpy(image).float() / 255 - MEAN) / STD).permute(2, 0, 1)[None].requires_grad_(True)
        (slope,) = torch.autograd.grad(net(x).max(), x)
        least = slope.abs().flatten().argsort()[: round(0.25 * 192)]
        step = torch.zeros(192)
        step[least] = 1.5 * slope.flatten()[least].sign()
        with torch.no_grad():
            return net[:4](x)[0].double(), net[:4](x + step.view(x.shape))[0].double()

    def shift(x, moved):
        order = (-x).argsort()
        return (moved[order[:8]].relu().sum() + 10 * (x - moved)[order[:4]].abs().sum()).item()

    shifts = np.array([shift(*both(image)) for image in KNOWN])
    assert len(np.unique(shifts)) == 30
    quantiles = []
    for image, score in zip(NEW, found, strict=True):
        x, moved = both(image)
        quantiles.append(0.1 + 0.8 * (1 - np.mean(shifts <= shift(x, moved))))
        r = x.sum() / x.sort().values[-(40 - round(40 * quantiles[-1])) :].sum()
        linear = net[4].double()
        logits = linear(x * r.exp()) if variant == "A" else linear(x) * r**2
        net.float()
        assert score == pytest.approx(logits.logsumexp(0).item(), rel=1e-4)
    assert len(set(quantiles)) > 2


@pytest.mark.parametrize(("variant", "fixed"), [("A", "scale(quantile=0.8)"), ("L", "lts(quantile=0.8)")])
def test_with_one_quantile_it_is_scale_or_lts(variant, fixed):
    x, logits = RNG.normal(size=(50, 20)), RNG.normal(size=(50, 3))
    signals = {"features": x, "logits": logits, Nudged().key: x + RNG.normal(size=x.shape)}
    step = AdaSCALE(variant, lower=0.8, upper=0.8).fit(signals)
    batch = {name: torch.tensor(rows) for name, rows in signals.items()}
    (name,) = step.writes
    torch.testing.assert_close(step(batch)[name], create(fixed)(batch)[name])


def test_a_larger_shift_is_a_smaller_factor():
    """Of equal features, the one that stays is enlarged by upper's quantile, the one that shifts by lower's."""
    x = np.arange(1.0, 21.0)[None].repeat(50, axis=0)
    moved = x.copy()
    moved[:, 19] += np.linspace(0, 1, 50)
    step = AdaSCALE(lower=0.5, upper=0.9, k1=0.05, k2=0.05).fit({"features": x, Nudged().key: moved})
    written = step({"features": torch.tensor(x), Nudged().key: torch.tensor(moved)})["features"].numpy()
    factors = written[:, 0]
    assert (np.diff(factors) <= 0).all()
    assert factors[-1] == pytest.approx(math.exp(210 / x[0, 10:].sum()))  # F = 1
    assert factors[0] == pytest.approx(math.exp(210 / x[0, 18:].sum()))  # F = 1/50: 20 - round(20 * 0.892) = 2


def test_the_distribution_of_many_known_inputs(monkeypatch):
    """Of 1,003 inputs 100 points tell the share that is not larger to a hundredth."""
    monkeypatch.setattr(adascale, "POINTS", 100)
    x = RNG.exponential(size=(1003, 10))
    step = AdaSCALE(lam=0.0).fit({"features": x, Nudged().key: x})
    assert step.points.shape == (100,)
    largest = np.sort(x.max(axis=1))
    for value in (-1.0, 0.5, 2.0, 4.0, 99.0):
        share = (step.points <= value).double().mean().item()
        assert 0 <= np.mean(largest <= value) - share < 0.01


def test_what_is_read_and_written():
    assert AdaSCALE().needs == AdaSCALE().at_fit() == {"features", Nudged(0.05, 0.5)}
    assert AdaSCALE("L", share=0.1, step=1).needs == {"features", "logits", Nudged(0.1, 1.0)}
    assert create("adascale >> energy").needs == {"features", Nudged()}  # the logits are made again


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"variant": "B"}, "give 'A' or 'L'"),
        ({"lower": 0.9, "upper": 0.8}, "two quantiles from 0 to below 1, in order"),
        ({"upper": 85}, "two quantiles"),
        ({"k1": 5}, "shares above 0 and at most 1"),
        ({"k2": 0.0}, "shares above 0 and at most 1"),
        ({"lam": -1.0}, "weight from 0"),
        ({"share": 5}, "a share is above 0"),
    ],
)
def test_errors(arguments, says):
    with pytest.raises(WrongUse, match=says):
        AdaSCALE(**arguments).fit({"features": [[1.0, 2.0]], Nudged().key: [[1.0, 2.0]]})
