"""What detectors ask beyond features and logits: right values, and no pass more than needed."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import relu

from unseen.encoders.torch import Torch
from unseen.errors import WrongUse
from unseen.signals import LayerStatistics, Perturbed

BATCH = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)


class Net(nn.Module):
    """A convolution whose output is overwritten by the next layer, tokens, and a head."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.act = nn.ReLU(inplace=True)
        self.tokens = nn.Linear(6, 7)
        self.fc = nn.Linear(7, 4)
        self.unused = nn.Linear(2, 2)
        self.pair = nn.LSTM(7, 7, batch_first=True)
        self.forwards = 0
        self.gradients = 0

    def forward(self, x):
        self.forwards += 1
        self.gradients += torch.is_grad_enabled()
        maps = self.act(self.conv(x))
        tokens = self.tokens(maps.flatten(2).transpose(1, 2))  # (B, 36, 7)
        self.pair(tokens)
        return self.fc(tokens.tanh().mean(1))


@pytest.fixture
def encoder():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Torch(Net(), size=8)
    made._module.forwards = made._module.gradients = 0
    return made


def passes(encoder):
    return encoder._module.forwards, encoder._module.gradients


def normalised():
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((torch.from_numpy(BATCH).float() / 255 - mean) / std).permute(0, 3, 1, 2)


def test_features_logits_and_statistics_share_one_pass(encoder):
    wanted = frozenset({"features", "logits", LayerStatistics("conv"), LayerStatistics("tokens")})
    answers = encoder.answer(BATCH, wanted)
    assert passes(encoder) == (1, 0)
    assert {key: tuple(answer.shape) for key, answer in answers.items()} == {
        "features": (5, 7),
        "logits": (5, 4),
        "LayerStatistics(layer='conv')": (5, 12),
        "LayerStatistics(layer='tokens')": (5, 14),
    }


def test_statistics_are_of_what_the_layer_gave(encoder):
    """The in-place ReLU after the convolution must not reach its statistics."""
    net = encoder._module
    with torch.no_grad():
        maps = nn.functional.conv2d(normalised(), net.conv.weight, net.conv.bias)
        tokens = relu(maps).flatten(2).transpose(1, 2) @ net.tokens.weight.T + net.tokens.bias
    assert bool((maps < 0).any())
    wanted = frozenset({LayerStatistics(name) for name in ("conv", "tokens", "fc", "")})
    answers = encoder.answer(BATCH, wanted)
    for name, values in (("conv", maps.flatten(2).transpose(1, 2)), ("tokens", tokens)):
        expected = np.concatenate([values.numpy().mean(1), values.numpy().std(1)], axis=1)
        np.testing.assert_allclose(answers[LayerStatistics(name).key], expected, rtol=1e-4, atol=1e-5)
    logits = encoder.answer(BATCH, frozenset({"logits"}))["logits"]
    expected = torch.cat([logits, torch.zeros_like(logits)], 1)
    for name in ("fc", ""):
        torch.testing.assert_close(answers[LayerStatistics(name).key], expected)


@pytest.mark.parametrize(
    "request_",
    [
        Perturbed(0.01, 1000, "normalised"),
        Perturbed(0.1, 1, "normalised"),
        Perturbed(0.0, 2, "normalised"),
        Perturbed(-0.1, 2, "normalised"),
    ],
)
def test_perturbed_is_the_step_of_the_paper(encoder, request_):
    """Equation 2 of ODIN, one input at a time, by softmax and autograd; no cross-entropy, no batch."""
    net = encoder._module
    rows = []
    for image in normalised():
        x = image[None].clone().requires_grad_(True)
        confidence = torch.log(torch.softmax(net(x) / request_.temperature, 1).max())
        (slope,) = torch.autograd.grad(confidence, x)
        with torch.no_grad():
            rows.append(net(x - request_.epsilon * torch.sign(-slope))[0])
    answer = encoder.answer(BATCH, frozenset({request_}))[request_.key]
    torch.testing.assert_close(answer, torch.stack(rows), rtol=1e-4, atol=1e-5)


def test_a_step_makes_the_network_surer(encoder):
    logits = encoder.answer(BATCH, frozenset({"logits"}))["logits"]
    step = Perturbed(0.01, 1, "normalised")
    stepped = encoder.answer(BATCH, frozenset({step}))[step.key]
    before, after = (torch.softmax(z, 1)[range(5), logits.argmax(1)] for z in (logits, stepped))
    assert bool((after > before).all())


def test_perturbed_requests_share_their_first_pass(encoder):
    one, two = Perturbed(0.01, 10, "normalised"), Perturbed(0.02, 10, "normalised")
    together = encoder.answer(BATCH, frozenset({one, two}))
    assert passes(encoder) == (3, 1)
    for request in (one, two):
        alone = encoder.answer(BATCH, frozenset({request}))[request.key]
        assert torch.equal(together[request.key], alone)
    assert not torch.equal(together[one.key], together[two.key])


def test_the_first_pass_does_not_depend_on_the_temperature(encoder):
    requests = [Perturbed(0.05, temperature, "normalised") for temperature in (1, 10, 1000)]
    together = encoder.answer(BATCH, frozenset(requests))
    assert passes(encoder) == (4, 1)
    for request in requests:
        assert torch.equal(together[request.key], encoder.answer(BATCH, frozenset({request}))[request.key])


def test_everything_at_once(encoder):
    wanted = frozenset(
        {
            "features",
            "logits",
            LayerStatistics("conv"),
            Perturbed(0.01, 10, "normalised"),
            Perturbed(0.02, 10, "normalised"),
        }
    )
    answers = encoder.answer(BATCH, wanted)
    assert passes(encoder) == (4, 1)
    assert not any(answer.requires_grad for answer in answers.values())
    for want in wanted:
        key = want if isinstance(want, str) else want.key
        assert torch.equal(answers[key], encoder.answer(BATCH, frozenset({want}))[key])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_callers_mode_does_not_matter(encoder, mode):
    wanted = frozenset({"logits", Perturbed(0.1, 10, "normalised")})
    expected = encoder.answer(BATCH, wanted)
    with mode():
        answers = encoder.answer(BATCH, wanted)
    for key, value in expected.items():
        assert torch.equal(answers[key], value)
    assert not encoder._module.conv._forward_hooks
    assert encoder._module.conv.weight.grad is None


def test_a_network_may_write_to_its_input():
    class Writes(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(192, 3)

        def forward(self, x):
            return self.fc(x.mul_(2).flatten(1))

    encoder = Torch(Writes(), size=8)
    step = Perturbed(0.1, 1, "normalised")
    both = encoder.answer(BATCH, frozenset({"logits", step}))
    assert torch.equal(both["logits"], encoder.answer(BATCH, frozenset({"logits"}))["logits"])
    assert torch.equal(both[step.key], encoder.answer(BATCH, frozenset({step}))[step.key])


def test_layers_that_cannot_be_asked_are_named(encoder):
    with pytest.raises(WrongUse, match="no layer 'convs'; it has conv"):
        encoder.answer(BATCH, frozenset({LayerStatistics("convs")}))
    with pytest.raises(WrongUse, match="no layer 'zzz'; it has conv, act, tokens"):
        encoder.answer(BATCH, frozenset({LayerStatistics("zzz")}))
    with pytest.raises(WrongUse, match="'unused' is part of the network but is not run"):
        encoder.answer(BATCH, frozenset({LayerStatistics("unused")}))
    with pytest.raises(WrongUse, match="'pair' gives a tuple"):
        encoder.answer(BATCH, frozenset({LayerStatistics("pair")}))
    assert not encoder._module.conv._forward_hooks
    assert not encoder._module.pair._forward_hooks


def test_no_logits_no_perturbation():
    with pytest.raises(
        WrongUse, match=r"torch cannot answer Perturbed.*needs logits, and the network has no classifier"
    ):
        Torch(nn.Flatten(), size=8).answer(BATCH, frozenset({Perturbed()}))
