"""How a network answers requests: against one input at a time, written out; what is shared; what is refused."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, relu

from unseen import create
from unseen.encoders.torch import Torch
from unseen.errors import WrongUse
from unseen.signals import (
    Climbed,
    GramStatistics,
    LayerStatistics,
    Nudged,
    Perturbed,
    RankReduced,
    Samples,
    Sensitivity,
)

BATCH = np.random.default_rng(0).integers(0, 256, (6, 12, 12, 3), dtype=np.uint8)
MEAN, STD = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))


class Net(nn.Module):
    """Two resolutions, activations in place, tokens, dropout, and layers that lead nowhere."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.wide = nn.Conv2d(6, 6, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.down = nn.Conv2d(6, 8, 3, stride=3)
        self.end = nn.ReLU(inplace=True)
        self.tokens = nn.Linear(8, 7)
        self.drop = nn.Dropout(0.4)
        self.fc = nn.Linear(7, 4)
        self.unused = nn.Linear(2, 2)
        self.aside = nn.Linear(7, 3)
        self.pair = nn.LSTM(7, 7, batch_first=True)
        self.forwards = 0

    def maps(self, x):
        first = self.stem(x)
        first = self.act(first + self.wide(relu(first)))
        return first, self.end(self.down(first))

    def after(self, second):
        tokens = self.tokens(second.flatten(2).transpose(1, 2))  # (B, 16, 7)
        self.pair(tokens)
        self.aside(tokens)
        return tokens

    def forward(self, x):
        self.forwards += 1
        return self.fc(self.drop(self.after(self.maps(x)[1]).tanh().mean(1)))


class Transformer(nn.Module):
    """Six equal blocks of tokens behind one convolution."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.blocks = nn.Sequential(*(nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8)) for _ in range(6)))
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        return self.fc(self.blocks(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


def made(module):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Torch(module(), size=12)


@pytest.fixture
def encoder():
    found = made(Net)
    found._module.forwards = 0
    return found


def inputs(images=BATCH):
    """Normalised, float64, one batch of one for each image."""
    x = (torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255 - MEAN) / STD
    return [row[None].clone() for row in x]


def exact(encoder):
    """The network in float64, with slopes of its own."""
    net = Net().double().eval()
    net.load_state_dict(encoder._module.state_dict())
    return net


def answered(encoder, *requests, batch=BATCH):
    found = encoder.answer(batch, frozenset(requests))
    return [found[request.key].double() for request in requests]


def agree(found, expected, tolerance=1e-4):
    expected = torch.as_tensor(np.stack([np.asarray(row) for row in expected]))
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * float(expected.abs().max()))


# --- stages -----------------------------------------------------------------------------------------------------------


def test_a_stage_ends_with_the_last_layer_of_a_resolution(encoder):
    assert encoder.stages == ("act", "end")
    one, two = answered(encoder, LayerStatistics("-2"), LayerStatistics("act"))
    assert torch.equal(one, two)


def test_stages_of_equal_blocks_are_four_depths():
    assert made(Transformer).stages == ("blocks.1", "blocks.2", "blocks.3", "blocks.5")


def test_a_network_without_maps_has_no_stages():
    def flat():
        return nn.Sequential(nn.Flatten(), nn.Linear(432, 5), nn.ReLU(), nn.Linear(5, 3))

    encoder = made(flat)
    assert encoder.stages == ()
    with pytest.raises(WrongUse, match="the network has 0 stages and -1 was asked for: name a layer, such as 0, 1, 2"):
        encoder.answer(BATCH, frozenset({LayerStatistics("-1")}))
    (found,) = answered(encoder, LayerStatistics("1"))
    assert found.shape == (6, 10)
    assert float(found[:, 5:].abs().max()) == 0  # one position has no spread


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["down", "tokens", "fc"])
def test_gram_statistics_are_row_sums_of_whole_matrices(encoder, layer):
    net, rows, held = exact(encoder), [], []
    net.layers = dict(net.named_modules())
    net.layers[layer].register_forward_hook(lambda _m, _i, output: held.append(output.detach().clone()))
    for x in inputs():
        net(x)
        output = held.pop()[0]
        maps = {"down": lambda o: o.flatten(1), "tokens": lambda o: o.T, "fc": lambda o: o[:, None]}[layer](output)
        sums = [((maps**p) @ (maps**p).T).sum(1) for p in range(1, 5)]
        rows.append(torch.cat([s.sign() * s.abs() ** (1 / p) for p, s in enumerate(sums, 1)]))
    (found,) = answered(encoder, GramStatistics(layer, orders=4))
    for columns in torch.arange(found.shape[1]).chunk(4):  # the first orders are far larger
        agree(found[:, columns], [row[columns] for row in rows])


def test_high_orders_of_large_maps_do_not_overflow(encoder):
    """In float32 a value of 2,000 to the power of 20 does."""
    request = GramStatistics("tokens", orders=10)
    (small,) = answered(encoder, request)
    encoder._module.tokens.weight.data *= 2e4
    encoder._module.tokens.bias.data *= 2e4
    (large,) = answered(encoder, request)
    torch.testing.assert_close(large / 4e8, small, rtol=1e-3, atol=1e-4 * float(small.abs().max()))


@pytest.mark.parametrize("layer", ["stem", "act", "end", "tokens"])
def test_sensitivity_is_activation_times_slope(encoder, layer):
    """By the definition of the divergence; activations are kept before the next layer writes over them."""
    net, rows, held = exact(encoder), [], []
    dict(net.named_modules())[layer].register_forward_hook(lambda _m, _i, output: held.append(output) or output.clone())
    for x in inputs():
        p = net(x).softmax(1)
        uniform = torch.full_like(p, 1 / 4)
        (slope,) = torch.autograd.grad((uniform * (uniform / p).log()).sum(), held[-1])
        product = (held.pop() * slope).detach()[0]
        rows.append(product.mean(0) if product.ndim == 2 else product.mean((1, 2)))
    agree(*answered(encoder, Sensitivity(layer)), rows, 1e-3)


def without_largest(matrix):
    left, sizes, right = np.linalg.svd(matrix, full_matrices=False)
    return torch.from_numpy(matrix - sizes[0] * np.outer(left[:, 0], right[0]))


def test_rank_reduced_runs_the_rest_of_the_network(encoder):
    """Of a map with more positions than channels, and of tokens."""
    net, first, last = exact(encoder), [], []
    with torch.no_grad():
        for x in inputs():
            maps = net.maps(x)
            lower = without_largest(maps[0][0].flatten(1).numpy()).view_as(maps[0])
            first.append(net.fc(net.after(net.end(net.down(lower))).tanh().mean(1))[0])
            tokens = without_largest(net.after(maps[1])[0].numpy())[None]
            last.append(net.fc(tokens.tanh().mean(1))[0])
    found = answered(encoder, RankReduced("act"), RankReduced("tokens"))
    agree(found[0], first)
    agree(found[1], last)


def test_samples_are_networks_without_some_units(encoder):
    """Every answer is that of one mask; units that are kept are enlarged."""
    net = exact(encoder)
    with torch.no_grad():
        features = torch.cat([net.after(net.maps(x)[1]).tanh().mean(1) for x in inputs()])
        masks = torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * 7)  # every one that there is
        all_of_them = torch.stack([net.fc(features * mask / 0.6) for mask in masks], 1)  # (B, 128, C)
    (found,) = answered(encoder, Samples(draws=50))
    assert found.shape == (6, 50, 4)
    gaps = (found[:, :, None] - all_of_them[:, None]).abs().amax((0, 3))  # over inputs: they share the mask
    assert float(gaps.amin(1).max()) < 1e-5
    chosen = masks[gaps.argmin(1)]
    assert 0.5 < float(chosen.mean()) < 0.7  # 0.6 are kept
    assert len(chosen.unique(dim=0)) > 20


def test_samples_depend_on_the_seed_alone(encoder):
    one, two, more = (answered(encoder, Samples(*asked))[0] for asked in ((3, 0), (3, 1), (5, 0)))
    assert torch.equal(more[:, :3], one)
    assert not torch.allclose(one, two)
    state = torch.get_rng_state()
    assert torch.equal(answered(encoder, Samples(3, 0))[0], one)
    assert torch.equal(torch.get_rng_state(), state)


def slope_of(net, x, value):
    x = x.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(value(net(x)), x)
    return slope


def confidence(temperature):
    return lambda logits: -cross_entropy(logits / temperature, logits.argmax(1))


@pytest.mark.parametrize(
    "request_",
    [
        Perturbed(0.01, 10.0, "pixels"),
        Perturbed(0.01, 10.0, "normalised"),
        Perturbed(0.3, 2.0, "normalised", "largest"),
        Perturbed(0.01, 7.0, "pixels", "all", "logit"),
        Perturbed(0.3, 7.0, "pixels", "largest", "logit"),
    ],
    ids=lambda request: request.key,
)
def test_perturbed_moves_the_input(encoder, request_):
    net, rows = exact(encoder), []
    for x in inputs():
        climbing = (lambda logits: logits.max()) if request_.towards == "logit" else confidence(request_.temperature)
        slope = slope_of(net, x, climbing)
        if request_.coordinates == "largest":
            slope[slope.abs() < slope.abs().max()] = 0
            assert int((slope != 0).sum()) == 1
        step = request_.epsilon * slope.sign()
        rows.append(net(x + (step / STD if request_.units == "pixels" else step)).detach()[0])
    agree(*answered(encoder, request_), rows)
    assert not np.allclose(rows, answered(encoder, Perturbed(0.0))[0], atol=1e-4)


@pytest.mark.parametrize("share", [0.05, 1e-9, 1.0])
def test_nudged_moves_what_matters_least(encoder, share):
    net, rows = exact(encoder), []
    for x in inputs():
        slope = slope_of(net, x, lambda logits: logits.max())
        order = slope.abs().flatten().argsort()
        chosen = torch.zeros(slope.numel())
        chosen[order[: max(1, round(share * 432))]] = 1
        moved = x + 0.5 * chosen.view_as(x) * slope.sign()
        rows.append(net.after(net.maps(moved)[1]).tanh().mean(1).detach()[0])
    agree(*answered(encoder, Nudged(share, 0.5)), rows, 1e-3)


class Near(nn.Module):
    """A fitted score: minus the squared distance to a point."""

    def __init__(self, signal, center):
        super().__init__()
        self.needs, self.key = frozenset({signal}), signal if isinstance(signal, str) else signal.key
        self.register_buffer("center", center.detach().float())

    def expression(self):
        return "near"

    def forward(self, signals):
        return -(signals[self.key] - self.center).square().sum(1)


@pytest.mark.parametrize("layer", [None, "down"])
@pytest.mark.parametrize("units", ["pixels", "normalised"])
def test_climbed_raises_the_score(encoder, layer, units):
    """Of a detector on features, and of one on what a layer gives: means and deviations."""
    net = exact(encoder)

    def signal(x):
        maps = net.maps(x)[1]
        if layer is None:
            return net.after(maps).tanh().mean(1)
        down = net.down(net.maps(x)[0])
        return torch.cat([down.mean((2, 3)), down.std((2, 3), correction=0)], dim=1)

    needed = "features" if layer is None else LayerStatistics(layer)
    score, rows, before, after = Near(needed, signal(inputs()[0])[0] + 0.1), [], [], []
    center = score.center.double()
    for x in inputs():
        leaf = x.clone().requires_grad_(True)
        value = -(signal(leaf) - center).square().sum()
        (slope,) = torch.autograd.grad(value, leaf)
        step = 0.003 * slope.sign()
        moved = signal(x + (step / STD if units == "pixels" else step)).detach()
        rows.append(moved[0])
        before.append(value.item())
        after.append(-(moved - center).square().sum().item())
    agree(*answered(encoder, Climbed(score, 0.003, units)), rows, 1e-3)
    assert sum(np.greater(after, before)) >= 5


def test_the_key_of_what_is_climbed_knows_what_was_learnt():
    one, same, other = (Climbed(Near("features", torch.full((3,), value))) for value in (1.0, 1.0, 2.0))
    assert one.key == same.key != other.key


# --- passes -----------------------------------------------------------------------------------------------------------

ALL = (
    LayerStatistics("-1"), GramStatistics("-2", 3), Sensitivity("-1"), Sensitivity("tokens"), RankReduced("-1"),
    Samples(2), Perturbed(0.01, 10.0), Perturbed(0.1, coordinates="largest"), Nudged(0.1, 0.2),
)  # fmt: skip


def test_an_answer_is_about_one_input(encoder):
    whole = answered(encoder, *ALL)
    alone = [answered(encoder, *ALL, batch=BATCH[i : i + 1]) for i in range(2)]
    turned = answered(encoder, *ALL, batch=BATCH[::-1].copy())
    for i, (request, answer) in enumerate(zip(ALL, whole, strict=True)):
        close = {"rtol": 1e-4, "atol": 1e-5 * float(answer.abs().max()), "msg": request.key}
        torch.testing.assert_close(torch.cat([one[i] for one in alone]), answer[:2], **close)
        torch.testing.assert_close(turned[i].flip(0), answer, **close)


@pytest.mark.parametrize(
    ("requests", "forwards"),
    [
        ((LayerStatistics("-1"), LayerStatistics("stem"), GramStatistics("-1")), 1),
        ((Sensitivity("-1"), Sensitivity("-2"), Sensitivity("tokens")), 1),
        ((Perturbed(0.01), Perturbed(0.02), Perturbed(0.01, 10.0)), 4),
        ((Nudged(), Perturbed(towards="logit"), Sensitivity("-1")), 3),
        ((RankReduced("-1"), RankReduced("-2")), 2),
        ((Samples(3), LayerStatistics("-1")), 4),
    ],
    ids=str,
)
def test_passes_are_shared(encoder, requests, forwards):
    """And an answer is the same bits with and without the others."""
    together = answered(encoder, *requests)
    assert encoder._module.forwards == forwards
    for request, answer in zip(requests, together, strict=True):
        assert torch.equal(answered(encoder, request)[0], answer), request.key


@pytest.mark.parametrize("request_", ALL, ids=lambda request: request.key)
def test_what_a_request_costs_is_said(encoder, request_):
    """A request that comes with the pass of features costs none of its own."""
    answered(encoder, request_)
    said = request_.passes[0] * (request_.draws if isinstance(request_, Samples) else 1)
    assert encoder._module.forwards == max(1, said)


def test_no_hooks_and_no_slopes_stay(encoder):
    found = encoder.answer(BATCH, frozenset(ALL))
    assert not any(answer.requires_grad for answer in found.values())
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in encoder._module.modules())
    assert all(parameter.grad is None for parameter in encoder._module.parameters())


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [LayerStatistics, GramStatistics, Sensitivity, RankReduced])
def test_layers_that_cannot_be_asked(encoder, kind):
    for layer, said in (
        ("downs", "no layer 'downs'; it has down"),
        ("-3", "has 2 stages and -3 was asked for: name a layer, such as stem, wide, act"),
        ("unused", "the layer 'unused' is .*not run by"),
        ("pair", "the layer 'pair' gives a tuple"),
    ):
        with pytest.raises(WrongUse, match=said) as caught:
            encoder.answer(BATCH, frozenset({kind(layer)}))
        assert "\n" not in str(caught.value)
    assert not any(layer._forward_hooks for layer in encoder._module.modules())


def test_a_layer_that_does_not_lead_to_the_logits_has_no_slope(encoder):
    with pytest.raises(WrongUse, match="the layer 'aside' is run, but the logits do not depend on it"):
        encoder.answer(BATCH, frozenset({Sensitivity("aside")}))
    assert answered(encoder, LayerStatistics("aside"))[0].shape == (6, 6)


@pytest.mark.parametrize("request_", [Sensitivity("0"), RankReduced("0"), Samples(), Perturbed(), Nudged()])
def test_what_needs_logits(request_):
    encoder = made(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(), nn.Flatten()))
    with pytest.raises(WrongUse, match="needs logits, and the network has no classifier"):
        encoder.answer(BATCH, frozenset({request_}))


def test_no_dropout_no_samples():
    encoder = made(Transformer)
    assert encoder.refusal(Perturbed()) is None
    with pytest.raises(WrongUse, match="no dropout layer; the detector dropout drops features before the last layer"):
        encoder.answer(BATCH, frozenset({Samples()}))


def test_climbed_asks_for_what_there_is():
    encoder = made(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()))
    logits = Climbed(create("energy"))
    assert encoder.refusal(logits) == "the network gives no logits"
    assert made(Net).refusal(logits) is None
