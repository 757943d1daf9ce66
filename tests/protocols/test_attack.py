"""The attack: its mathematics by hand and on a network whose slopes are known, and what is asked of detectors."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from unseen import create
from unseen.encoders import encode
from unseen.encoders.torch import Torch
from unseen.errors import BadInput, NotEnoughKnown, WrongUse
from unseen.metrics import fpr_at_tpr
from unseen.protocols.attack import (
    ORIGINAL,
    PLAIN,
    SMOOTHED,
    Moved,
    attack,
    draw_targets,
    encode_pixels,
    perturb,
    roughness,
    sides,
)
from unseen.signals import Signals, Support

SIDE, WIDTH = 6, 5


class Curved(nn.Module):
    """``tanh(W x)``: its slopes are ``W' (1 - tanh^2)``."""

    def __init__(self, seed=0, dtype=torch.float32):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(WIDTH, 3 * SIDE * SIDE, generator=generator, dtype=dtype) / 6)

    def forward(self, x):
        return torch.tanh(x.flatten(1) @ self.weight.T)


def images(n=5, seed=1, dtype=torch.float32):
    return torch.rand((n, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(seed), dtype=dtype)


def goals(network, n=5, dtype=torch.float32):
    return network(images(n, 2, dtype)).detach()


def test_roughness_by_hand():
    """Down 2 and 3, across 1 and 2; the last row and column have no next one and count in the mean of four."""
    change = torch.tensor([[[[0.0, 1.0], [2.0, 4.0]]], [[[7.0, 7.0], [7.0, 7.0]]]])
    assert roughness(change).tolist() == [(4 + 9) / 4 + (1 + 4) / 4, 0.0]
    three = change[:1].expand(1, 3, 2, 2)  # a mean over channels, too
    assert roughness(three).item() == pytest.approx(4.5)


def test_roughness_is_the_definition():
    change = images(2, dtype=torch.float64) - 0.5
    down, across = torch.zeros_like(change), torch.zeros_like(change)
    down[:, :, :-1] = change[:, :, 1:] - change[:, :, :-1]
    across[..., :-1] = change[..., 1:] - change[..., :-1]
    expected = (down**2).mean((1, 2, 3)) + (across**2).mean((1, 2, 3))
    torch.testing.assert_close(roughness(change), expected)


def by_hand(weight, x, goal, smooth, steps, seed):
    """The attack on one image with slopes written out, and Adam from its paper."""
    shape, generator = x.shape, torch.Generator().manual_seed(seed)
    r = 1e-3 * torch.randn(shape, generator=generator, dtype=x.dtype)
    r = torch.maximum(torch.minimum(r, 1 - x), -x)
    first, second = torch.zeros_like(r), torch.zeros_like(r)
    for step in range(1, steps + 1):
        z = torch.tanh(weight @ (x + r).flatten())
        cosine = z @ goal / (z.norm() * goal.norm())
        of_z = goal / (z.norm() * goal.norm()) - cosine * z / z.norm() ** 2
        slope = -(weight.T @ (of_z * (1 - z**2))).reshape(shape)
        for axis in (1, 2):
            gap = r.diff(dim=axis) * 2 * smooth / r.numel()
            nothing = torch.zeros_like(r.narrow(axis, 0, 1))
            slope = slope + torch.cat([nothing, gap], axis) - torch.cat([gap, nothing], axis)
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
        r = r - 1e-3 * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        r = torch.maximum(torch.minimum(r, 1 - x), -x)
    return x + r


@pytest.mark.parametrize("smooth", [0.0, 50.0])
def test_agrees_with_slopes_and_adam_written_out(smooth):
    network = Curved(dtype=torch.float64)
    x, goal = images(1, dtype=torch.float64), goals(network, 1, torch.float64)
    x[0, 0], x[0, 1, 0] = 0.0, 1.0  # where half of the noise is cut before the first step
    moved = perturb(network, x, goal, smooth=smooth, steps=20, seed=3)
    expected = by_hand(network.weight.detach(), x[0], goal[0], smooth, 20, 3)
    torch.testing.assert_close(moved.images[0], expected, rtol=0, atol=1e-9)


def test_features_come_nearer_and_pixels_stay_pixels():
    network, x = Curved(), images(8)
    x[0], x[1] = 0.0, 1.0  # from which half of all changes would leave the range
    goal = goals(network, 8)
    means = [float(perturb(network, x, goal, steps=steps).after.mean()) for steps in (1, 10, 30, 100)]
    assert means == sorted(means)
    moved = perturb(network, x, goal, steps=100)
    assert float((moved.after - moved.before).min()) > 0.05
    assert 0 <= float(moved.images.min()) <= float(moved.images.max()) <= 1
    torch.testing.assert_close(moved.after, cosine_similarity(network(moved.images), goal).detach())
    change = moved.images - x
    torch.testing.assert_close(moved.l2, change.flatten(1).norm(dim=1), rtol=0, atol=1e-5)
    torch.testing.assert_close(moved.linf, change.flatten(1).abs().amax(dim=1), rtol=0, atol=1e-6)
    eight = moved.eight_bit()
    assert (eight.shape, eight.dtype) == ((8, SIDE, SIDE, 3), np.uint8)
    seen = network(torch.from_numpy(eight).permute(0, 3, 1, 2).float() / 255)
    torch.testing.assert_close(moved.rounded, cosine_similarity(seen, goal).detach())


def test_smoothness_makes_changes_smooth_and_weaker():
    network, x = Curved(), images()
    free, smooth = (perturb(network, x, goals(network), smooth=weight, steps=60) for weight in (0.0, 500.0))
    assert float((smooth.roughness / free.roughness).max()) < 0.5
    assert float(smooth.after.mean()) < float(free.after.mean())


def test_an_image_does_not_depend_on_its_batch():
    """Sums, not means: in a batch of seven every slope is what it is alone, and the noise is the image's own."""
    network = Curved(dtype=torch.float64)
    x, goal = images(7, dtype=torch.float64), goals(network, 7, torch.float64)
    whole, single, three = (
        perturb(network, x, goal, smooth=20.0, steps=30, seed=4, batch=size).images for size in (7, 1, 3)
    )
    torch.testing.assert_close(whole, single, rtol=0, atol=1e-9)
    torch.testing.assert_close(whole, three, rtol=0, atol=1e-9)


def test_one_seed_one_result_and_no_global_state():
    network, x = Curved(), images()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, again, other = (perturb(network, x, goals(network), steps=5, seed=seed).images for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_works_in_a_callers_inference_mode_and_leaves_the_network_alone():
    network = Curved().requires_grad_(False)
    with torch.inference_mode():
        moved = perturb(network, images(), goals(network), steps=20)
    assert float((moved.after - moved.before).min()) > 0
    assert network.weight.grad is None


def test_progress_counts_steps_of_all_batches():
    told = []
    perturb(Curved(), images(), goals(Curved()), steps=3, batch=2, progress=lambda *at: told.append(at))
    assert told == [(step, 9) for step in range(1, 10)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps=0: give a number from 1"),
        ({"smooth": -1.0}, "smooth=-1.0: give a number from 0"),
        ({"smooth": math.nan}, "smooth=nan: give a number from 0"),
        ({"rate": 0.0}, "rate=0.0: give a number above 0"),
        ({"batch": 0}, "batch=0: give a number from 1"),
    ],
)
def test_settings_that_make_no_sense(wrong, message):
    with pytest.raises(WrongUse, match=message):
        perturb(Curved(), images(), goals(Curved()), **wrong)


def test_images_and_networks_that_cannot_be_attacked():
    with pytest.raises(WrongUse, match="within 0 and 1"):
        perturb(Curved(), 255 * images(), goals(Curved()))
    with pytest.raises(WrongUse, match="5 images came with 4 targets"):
        perturb(Curved(), images(), goals(Curved(), 4))

    class Cut(Curved):
        def forward(self, x):
            return super().forward(x).detach()

    with pytest.raises(WrongUse, match="features without slopes"):
        perturb(Cut(), images(), goals(Curved()), steps=1)


# The differentiable network of an encoder


class Net(nn.Module):
    def __init__(self, head=True):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv = nn.Conv2d(3, 4, 3)
            self.norm = nn.BatchNorm2d(4)
            self.norm.running_mean += 0.1
            self.fc = nn.Linear(4, 3) if head else nn.Identity()

    def forward(self, x):
        return self.fc(nn.functional.relu(self.norm(self.conv(x)), inplace=True).mean((2, 3)))


@pytest.mark.parametrize("head", [True, False])
def test_differentiable_says_what_answer_says_and_has_slopes(head):
    encoder = Torch(Net(head), size=SIDE)
    pixels = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)
    expected = encoder.answer(pixels, frozenset({"features"}))["features"]
    x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255).requires_grad_(True)
    features = encoder.differentiable()(x)
    torch.testing.assert_close(features.detach(), expected)
    (slope,) = torch.autograd.grad(features.sum(), x)
    nudged = (x + 1e-3 * slope.sign()).detach()
    rise = float((encoder.differentiable()(nudged) - features).sum().detach())
    assert rise == pytest.approx(1e-3 * float(slope.abs().sum()), rel=0.05)
    # The encoder itself still says the same: nothing of it was changed.
    assert torch.equal(encoder.answer(pixels, frozenset({"features"}))["features"], expected)


def test_differentiable_is_made_in_inference_mode_too():
    with torch.inference_mode():
        network = Torch(Net(), size=SIDE).differentiable()
    x = images(2).requires_grad_(True)
    assert torch.autograd.grad(network(x).sum(), x)[0].abs().sum() > 0


def test_float_pixels_are_encoded_as_they_are():
    """A change of a thousandth of an 8-bit step is seen, and eight-bit pixels give what `encode` gives."""
    encoder = Torch(Net(), size=SIDE, classes=("a", "b", "c"))
    pixels = np.random.default_rng(0).integers(0, 255, (40, SIDE, SIDE, 3), dtype=np.uint8)
    usual = encode({"images": pixels}, encoder, ["features", "logits"], cache=False)
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    same = encode_pixels(encoder, x, ["features", "logits"], usual)
    for name in ("features", "logits"):
        torch.testing.assert_close(same.gather(name), usual.gather(name), rtol=1e-5, atol=1e-6)
    moved = encode_pixels(encoder, x + 0.001 / 255 * 400, ["features"], usual)
    assert not torch.allclose(moved.gather("features"), usual.gather("features"))
    odin = create("odin").fit(usual)  # asks for passes of its own
    torch.testing.assert_close(
        torch.as_tensor(odin.score(same.signals)), torch.as_tensor(odin.score(usual.signals)), rtol=1e-4, atol=1e-5
    )


# Detectors before and after


def known(n=60, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    x = 3 * np.eye(WIDTH)[labels] + rng.normal(size=(n, WIDTH))
    keys = [f"known {seed} {row}" for row in range(n)]
    return Support(Signals({"features": x.astype("float32")}), labels=labels, classes=("a", "b", "c"), keys=keys)


def unknown(x):
    return Support(Signals({"features": np.asarray(x, dtype="float32")}), keys=[f"new {row}" for row in range(len(x))])


def change(n):
    flat = torch.rand((n, 3, 2, 2), generator=torch.Generator().manual_seed(5))
    return perturb(nn.Flatten(), flat, torch.ones(n, 12), steps=2)


@pytest.fixture(scope="module")
def case():
    """Twelve unknown inputs, moved nearly onto their targets."""
    fit, test = known(), known(45, 1)
    rng = np.random.default_rng(2)
    originals = unknown(rng.normal(size=(12, WIDTH)) - 3)
    targets = draw_targets(fit, 12, 0)
    near = fit.gather("features").numpy()[targets] + 0.05 * rng.normal(size=(12, WIDTH))
    moved = {
        PLAIN: Moved(0.0, change(12), unknown(near), unknown(near - 0.5)),
        SMOOTHED: Moved(5e3, change(12), unknown(near - 1), unknown(near - 1)),
    }
    return fit, test, originals, moved, targets


@pytest.fixture(scope="module")
def found(case):
    return attack(*case, detectors=["knn(k=1)", "mahalanobis", "ridge >> msp"], steps=2)


def test_numbers_are_those_of_the_scores(case, found):
    fit, test, originals, moved, targets = case
    left = fit.take(np.setdiff1d(np.arange(len(fit)), targets))
    for row in found.rows:
        for with_targets, learnt in ((True, fit), (False, left)):
            detector = create(row.name).fit(learnt)
            of_known = detector.score(test.signals)
            for name, pixels, asked in (
                (ORIGINAL, "8-bit", originals),
                (PLAIN, "8-bit", moved[PLAIN].eight_bit),
                (PLAIN, "float", moved[PLAIN].exact),
            ):
                cell, scores = row.cell(name, pixels, with_targets), detector.score(asked.signals)
                assert cell["auroc"] == pytest.approx(
                    np.mean([[(k > u) + 0.5 * (k == u) for u in scores] for k in of_known])
                )
                assert cell["success"] == fpr_at_tpr(of_known, scores) == cell["fpr_at_tpr95"]
                low, high = cell["success_interval"]
                assert 0 <= low <= cell["success"] <= high <= 1
                assert (cell["n_known"], cell["n_unknown"]) == (45, 12)
    assert {len(row.cells) for row in found.rows} == {2 * 5}


def test_wilson_interval_is_scipys(found):
    from scipy.stats import binomtest

    for cell in found.rows[0].cells:
        expected = binomtest(round(12 * cell["success"]), 12).proportion_ci(method="wilson")
        assert cell["success_interval"] == pytest.approx([expected.low, expected.high], abs=1e-12)


def test_the_bank_without_targets_takes_no_more_images_for_known(case, found):
    """What lies on its target is nearest to it; without the target the nearest is further off, never nearer."""
    fit, _, _, moved, targets = case
    with_targets, without = (
        create("knn(k=1)").fit(support).score(moved[PLAIN].eight_bit.signals)
        for support in (fit, fit.take(np.setdiff1d(np.arange(len(fit)), targets)))
    )
    assert np.all(np.asarray(without) <= np.asarray(with_targets))
    row = next(row for row in found.rows if row.name == "knn(k=1)")
    assert row.cell(PLAIN, targets=True)["auroc"] < row.cell(PLAIN, targets=False)["auroc"]
    assert row.cell(ORIGINAL)["auroc"] > 0.95  # the case is one


def test_success_of_each_image_is_that_of_the_first_detector(found):
    for name in (PLAIN, SMOOTHED):
        flags = [one["success"] for one in found.images[name]]
        assert np.mean(flags) == found.rows[0].cell(name)["success"]
    assert any(one["success"] for one in found.images[PLAIN])


def test_counts_and_names_are_told(case, found):
    fit, _, _, _, targets = case
    told = found.to_dict()
    assert (told["n_targets"], told["n_removed"]) == (len(set(targets.tolist())),) * 2
    assert [one["target"] for one in told["images"][PLAIN]] == [fit.keys[row] for row in targets]
    assert told["images"][PLAIN][3]["source"] == "new 3"
    assert told["sets"][SMOOTHED]["smooth"] == 5e3
    assert told["sets"][PLAIN]["l2"]["least"] <= told["sets"][PLAIN]["l2"]["mean"] <= told["sets"][PLAIN]["l2"]["most"]
    assert repr(found).startswith("Attack(knn(k=1): original ")


def test_exact_copies_leave_with_their_targets(case):
    fit, test, originals, _, targets = case
    copy = next(row for row in range(len(fit)) if row not in targets)
    more = attack(*case, copies=[copy], detectors=["knn(k=1)"])
    assert more.n_removed == more.n_targets + 1
    # One row fewer is one neighbour fewer, which must be seen in what is nearest to it.
    asked = {PLAIN: Moved(0.0, change(12), *(unknown(fit.gather("features").numpy()[[copy] * 12]),) * 2)}
    with_copy, without = (
        attack(fit, test, originals, asked, targets, copies=gone, detectors=["knn(k=1)"]).rows[0]
        for gone in ([], [copy])
    )
    assert with_copy.cell(PLAIN)["auroc"] == 0.0
    assert without.cell(PLAIN)["auroc"] > 0.0


def test_by_default_the_nearest_known_input_is_read_first(case):
    found = attack(*case)
    names = [row.name for row in found.rows]
    assert names[0] == "knn(k=1)"
    assert {"mahalanobis", "ridge >> energy", "knn"} - set(found.not_tried) <= set(names)
    before = [row.cell(ORIGINAL)["auroc"] for row in found.rows[1:]]
    assert before == sorted(before, reverse=True)
    assert "reads" not in found.not_tried.get("mahalanobis", "")


def test_too_few_known_inputs_are_refused(case):
    fit, test, originals, moved, _ = case
    everything = np.arange(12)
    with pytest.raises(NotEnoughKnown, match="all 12 known inputs to learn from are targets"):
        attack(fit.take(everything), test, originals, moved, everything)
    of_a = np.flatnonzero(fit.labels == 0)[:12]
    few = fit.take(np.union1d(of_a, np.flatnonzero(fit.labels != 0)))
    with pytest.raises(NotEnoughKnown, match="all known inputs of class 'a' are targets"):
        attack(few, test, originals, moved, np.flatnonzero(few.labels == 0))
    with pytest.raises(BadInput, match="attack: 12 images for 3 targets"):
        attack(fit, test, originals, moved, np.arange(3))


def test_a_detector_that_guesses_before_is_warned_of(case):
    fit, test, _, moved, targets = case
    found = attack(fit, test, unknown(known(12, 7).gather("features")), moved, targets, detectors=["knn(k=1)"])
    assert "cannot tell the unknown images from known ones before the attack" in found.warnings[0]


def test_targets_are_drawn_under_the_seed_from_what_is_learnt():
    fit, test, warnings = sides(known(), unknown(np.ones((4, WIDTH))), None, 3)
    assert (len(fit), len(test), warnings) == (36, 24, [])
    assert not set(fit.keys) & set(test.keys)
    first, again, other = (draw_targets(fit, 30, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert set(first) <= set(range(36))
