"""OpenGAN: layers against torch's own, which epoch is kept, what is held out, batches, what is generated, errors."""

import numpy as np
import pytest
import torch
from torch import nn

from unseen import OpenGAN
from unseen.detectors import opengan
from unseen.detectors.opengan import LEAK, Network
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.metrics import auroc

RNG = np.random.default_rng(0)
KNOWN, UNKNOWN = RNG.normal(2 * np.eye(5)[0], size=(60, 5)), RNG.normal(-2 * np.eye(5)[0], size=(40, 5))
ASKED = 3 * RNG.normal(size=(30, 5))
SOON = {"epochs": 3, "batch": 16, "lr": 0.01, "width": 4}


def fit(known=KNOWN, unknown=UNKNOWN, **arguments):
    return OpenGAN(**{**SOON, **arguments}).fit(known, unknown=unknown)


@pytest.mark.parametrize(("first", "leak"), [(False, LEAK), (True, 0.0)])
def test_a_network_is_that_of_torch(first, leak):
    """With its own layers and normalisation, while it learns and when asked after some batches; slopes too."""
    sizes = [5, 8, 6, 1]
    ours = Network(np.random.default_rng(0), torch.zeros(1).double(), sizes, first, leak)
    layers, held = [], iter(zip(ours.gains.values(), ours.shifts.values(), strict=True))
    for layer, weight in enumerate(ours.weights):
        last = layer == 2
        linear = nn.Linear(sizes[layer], sizes[layer + 1], bias=last and first).double()
        linear.weight = nn.Parameter(weight.detach().clone())
        layers.append(linear)
        if last and first:
            nn.init.zeros_(linear.bias)
        elif not last and (first or layer):
            normal = nn.BatchNorm1d(sizes[layer + 1]).double()
            normal.weight, normal.bias = (nn.Parameter(x.detach().clone()) for x in next(held))
            layers.append(normal)
        layers += [] if last else [nn.LeakyReLU(leak)]
    theirs = nn.Sequential(*layers)
    for batch in torch.tensor(ASKED).split(10):
        torch.testing.assert_close(ours(batch), theirs(batch))
    ours(torch.tensor(KNOWN)).square().sum().backward()
    theirs(torch.tensor(KNOWN)).square().sum().backward()
    torch.testing.assert_close(ours.weights[0].grad, theirs[0].weight.grad)
    assert len(ours.parameters) == len(list(theirs.parameters()))
    if not first:
        torch.testing.assert_close(
            opengan._answer(torch.tensor(ASKED), ours.folded()), theirs.eval()(torch.tensor(ASKED))[:, 0].detach()
        )


@pytest.mark.parametrize(("ranks", "kept"), [([0.3, 0.9, 0.5], 2), ([0.9, 0.5, 0.9], 3), ([0.9, 0.5, 0.4], 1)])
def test_the_best_epoch_is_kept(monkeypatch, ranks, kept):
    """The latest of equals; what follows it leaves no trace."""
    given = iter([*ranks, *range(kept)])
    monkeypatch.setattr(opengan, "_ranked", lambda known, unknown: next(given))
    whole, short = fit(), fit(epochs=kept)
    np.testing.assert_array_equal(whole.score(ASKED), short.score(ASKED))


def test_an_epoch_is_chosen_by_inputs_that_are_not_learnt(monkeypatch):
    """Of those given, known and unknown alike; each is on one side or the other."""
    seen = []
    played = OpenGAN._played

    def watched(self, learnt, asked, rng):
        seen.extend([*learnt, *asked])
        return played(self, learnt, asked, rng)

    monkeypatch.setattr(OpenGAN, "_played", watched)
    fit(held_out=0.25)
    assert [len(x) for x in seen] == [45, 30, 15, 10]
    for side, rows in enumerate((60, 40)):
        assert len(torch.cat([seen[side], seen[side + 2]]).unique(dim=0)) == rows


def test_auroc_of_the_choice():
    known, unknown = torch.tensor([1.0, 2.0, 2.0, 5.0]), torch.tensor([2.0, 0.0, 7.0])
    assert opengan._ranked(known, unknown) == pytest.approx(auroc(known.numpy(), unknown.numpy()))


@pytest.mark.parametrize("batch", [2, 7, 47, 1000])
def test_no_batch_has_a_single_row(monkeypatch, batch):
    """Which would have no spread; and each walk takes every row that is learnt, 48 of 60."""
    rows = []
    tensor_split = torch.Tensor.tensor_split

    def watched(x, parts):
        found = tensor_split(x, parts)
        rows.extend([len(part) for part in found] if x.dtype == torch.int64 else [])
        return found

    monkeypatch.setattr(torch.Tensor, "tensor_split", watched)
    fit(batch=batch, epochs=2)
    assert sum(rows) == 2 * 48
    assert min(rows) >= min(batch, 48)


def test_blobs_against_noise():
    """Held-out rows of what was learnt stand above new noise that is five times as wide."""
    rng = np.random.default_rng(1)
    centres = 3 * rng.normal(size=(3, 8))
    known, new = (centres[np.arange(n) % 3] + 0.5 * rng.normal(size=(n, 8)) for n in (300, 100))
    detector = OpenGAN(epochs=20, batch=32, lr=2e-3, width=8).fit(known, unknown=5 * rng.normal(size=(300, 8)))
    assert auroc(detector.score(new), detector.score(5 * rng.normal(size=(200, 8)))) > 0.9


def test_generated_features_count_by_their_weight(monkeypatch):
    """And with a weight of 0 there are none: each batch is known and unknown rows alone."""
    whole, some = fit().score(ASKED), fit(generated=0.1).score(ASKED)
    assert not np.allclose(whole, some, rtol=1e-3)
    batches = []
    call = Network.__call__
    monkeypatch.setattr(Network, "__call__", lambda self, x: (batches.append(x.shape), call(self, x))[1])
    assert not np.allclose(fit(generated=0.0).score(ASKED), some, rtol=1e-3)
    assert set(batches) == {(32, 5)}


def test_units_and_offsets_do_not_matter():
    scale, shift = np.array([1e4, 1e-3, 1, 5, 1]), np.array([3, 0, -1, 0, 100.0])
    moved = fit(KNOWN * scale + shift, UNKNOWN * scale + shift).score(ASKED * scale + shift)
    np.testing.assert_allclose(moved, fit().score(ASKED), rtol=1e-4, atol=1e-6)


def test_sure_scores_do_not_tie():
    """They are logits, not probabilities that end at 1."""
    sure = fit(lr=0.05, epochs=10).score(np.outer(np.linspace(10, 100, 50), np.eye(5)[0]))
    assert len(np.unique(sure)) == 50


def test_seed():
    one, again, other = (fit(seed=seed).score(ASKED) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, r"^OpenGAN\(epochs=0\): give a whole number from 1"),
        ({"batch": 1}, r"^OpenGAN\(batch=1\): give a whole number from 2"),
        ({"width": 2.5}, r"^OpenGAN\(width=2.5\): give a whole number from 1"),
        ({"seed": -1}, r"^OpenGAN\(seed=-1\): give a whole number from 0"),
        ({"lr": "fast"}, r"^OpenGAN\(lr='fast'\): give a number above 0"),
        ({"lr": 0.0}, r"^OpenGAN\(lr=0.0\): give a number above 0"),
        ({"generated": float("nan")}, r"^OpenGAN\(generated=nan\): give a number from 0"),
        ({"held_out": 1.0}, r"^OpenGAN\(held_out=1.0\): give a share between 0 and 1"),
        ({"lr": 1e38}, r"^OpenGAN: training left the finite numbers at lr=1e\+38: lower lr"),
    ],
)
def test_a_value_out_of_range_is_named(arguments, message):
    with pytest.raises(WrongUse, match=message):
        fit(**arguments)


def test_too_few_inputs():
    with pytest.raises(NotEnoughKnown, match="needs 5 known ones, got 4"):
        fit(KNOWN[:4])
    with pytest.raises(NotEnoughKnown, match="needs 5 unknown ones, got 3"):
        fit(unknown=UNKNOWN[:3])
    assert np.isfinite(fit(KNOWN[:5], UNKNOWN[:5]).score(ASKED)).all()
    with pytest.raises(WrongUse, match=r"^opengan learns from unknown inputs too and none were given"):
        OpenGAN().fit(KNOWN)
