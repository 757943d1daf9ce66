"""Temperature: by hand, against another minimiser, at its bounds, and in a chain."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from unseen import create
from unseen.detectors import temperature
from unseen.detectors.energy import Energy
from unseen.detectors.msp import MSP
from unseen.detectors.temperature import Temperature
from unseen.errors import BadInput, NotEnoughKnown, NotFitted, WrongUse
from unseen.heads.ridge import Ridge
from unseen.parts import rebuild
from unseen.signals import LinearHead, Signals, Support


def nll(logits, labels, temperature=1.0):
    return -log_softmax(logits / temperature, axis=1)[np.arange(len(labels)), labels].mean()


def drawn(n=2000, c=5, scale=3.0, seed=0):
    """Logits, and labels drawn from their softmax: they are calibrated as they are."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, c)) * scale
    labels = (softmax(logits, axis=1).cumsum(axis=1) < random.uniform(size=(n, 1))).sum(axis=1).clip(max=c - 1)
    return logits, labels


def learnt(logits, labels):
    return Temperature().fit({"logits": logits}, labels).temperature.item()


def test_by_hand():
    """Logits 0 and a, right in a share q of inputs: sigmoid(a / T) = q, so T = a / log(q / (1 - q))."""
    logits = np.array([[2.0, 0.0]] * 8 + [[0.0, 2.0]] * 2)
    labels = [0] * 7 + [1] + [1, 1]
    assert learnt(logits, labels) == pytest.approx(2 / math.log(9), rel=1e-9)
    assert learnt(100 * logits, labels) == pytest.approx(200 / math.log(9), rel=1e-9)


@pytest.mark.parametrize("factor", [0.05, 0.4, 1.0, 3.0, 500.0])
@pytest.mark.parametrize("c", [2, 5, 40])
def test_agrees_with_scipy(factor, c):
    logits, labels = drawn(n=400, c=c)
    logits *= factor
    labels[:c] = np.arange(c)  # each class occurs
    best = minimize_scalar(
        lambda u: nll(logits, labels, math.exp(u)),
        bracket=(math.log(factor) - 1, math.log(factor) + 1),
        options={"xtol": 1e-12},
    )
    step = Temperature().fit({"logits": logits}, labels)
    t = step.temperature.item()
    assert t == pytest.approx(math.exp(best.x), rel=1e-6)
    assert not step.bounded
    # A minimiser that compares values is good to the root of the precision; the slope says more.
    p = softmax(logits / t, axis=1)
    slope = ((p * logits).sum(axis=1) - logits[np.arange(400), labels]).mean() / t
    assert abs(slope) < 1e-9


@pytest.mark.parametrize("true", [0.3, 1.0, 4.0])
def test_recovers_a_known_temperature(true):
    logits, labels = drawn(n=20_000)
    assert learnt(logits * true, labels) == pytest.approx(true, rel=0.05)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(6, 30), st.floats(-12, 12), st.floats(0, 3))
@example(6, 6, 6, 0.703125, 0.6875)  # the slope is 0 to the last bit
def test_never_worse_than_one_whatever_the_logits(seed, c, n, log_scale, lead):
    """NLL at T is no more than at 1, nor at any other T within the bounds; T is within them."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % c
    logits = random.normal(size=(n, c))
    logits[np.arange(n), labels] += lead
    logits *= math.exp(log_scale)
    centred = logits - logits.mean(axis=1, keepdims=True)
    if centred[np.arange(n), labels].mean() <= 0:
        with pytest.raises(WrongUse, match="no temperature fits"):
            learnt(logits, labels)
        return
    step = Temperature().fit({"logits": logits}, labels)
    t, (low, high) = step.temperature.item(), step.bounds.tolist()
    assert low <= 1 <= high
    assert low <= t <= high
    others = [1.0, *np.exp(np.linspace(math.log(low), math.log(high), 60))]
    assert nll(logits, labels, t) <= min(nll(logits, labels, other) for other in others) + 1e-12


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_likeliest_class_stays_and_the_precision_too(dtype):
    logits, labels = drawn()
    logits = (3 * logits).astype(dtype)
    step = Temperature().fit({"logits": logits}, labels)
    given_logits = torch.from_numpy(logits)
    written = step.apply_to({"logits": given_logits})
    assert list(written) == ["logits"]
    assert written["logits"].dtype == given_logits.dtype == step.temperature.dtype
    assert torch.equal(written["logits"].argmax(1), given_logits.argmax(1))
    assert step.temperature.item() == pytest.approx(learnt(logits.astype(np.float64), labels), rel=1e-6)
    assert not torch.equal(written["logits"], given_logits)


@pytest.mark.parametrize("factor", [1e-4, 0.1, 1.0, 20.0, 1e4])
def test_twenty_passes_are_enough(factor, monkeypatch):
    passes = []
    slopes = temperature._slopes
    monkeypatch.setattr(temperature, "_slopes", lambda *given: passes.append(0) or slopes(*given))
    for seed in range(20):
        logits, labels = drawn(n=60, c=4, seed=seed)
        passes.clear()
        learnt(factor * logits, np.r_[labels[:-4], 0, 1, 2, 3])
        assert len(passes) <= 20


def test_many_batches_are_one(monkeypatch):
    logits, labels = drawn(n=1001)
    whole = learnt(logits, labels)
    monkeypatch.setattr("unseen.detectors.temperature.BATCH", 100)
    assert learnt(logits, labels) == pytest.approx(whole, rel=1e-12)


def test_the_logits_are_read_once():
    logits, labels = drawn(n=50)

    class Counted:
        shape, dtype, read = logits.shape, logits.dtype, []

        def __len__(self):
            return len(logits)

        def __getitem__(self, rows):
            self.read.extend(range(len(logits))[rows])
            return logits[rows]

    Temperature().learn(Support(Signals({"logits": Counted()}), labels, tuple("abcde")))
    assert sorted(Counted.read) == list(range(50))


# Bounds ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("c", [2, 10, 1000])
def test_without_an_error_it_stops_at_the_lower_bound_and_says_so(c):
    """NLL falls as long as T does. At the bound float32 still tells inputs apart, with any number of classes."""
    random = np.random.default_rng(1)
    labels = np.arange(2 * c) % c
    logits = (np.eye(c)[labels] + 0.05 * random.uniform(size=(2 * c, c))).astype(np.float32)
    step = Temperature().fit({"logits": logits}, labels)
    assert step.bounded
    lead = (logits[np.arange(2 * c), labels] - logits.mean(axis=1)).mean()
    assert step.temperature.item() == pytest.approx(lead * c / (c - 1) / 80, rel=1e-5)
    scores = MSP().score(step.apply_to({"logits": torch.from_numpy(logits)}))
    assert len(scores.unique()) > 1.9 * c
    large = Temperature().fit({"logits": 1000 * logits}, labels)
    assert (large.temperature.item(), large.bounded) == (1.0, True)  # sharper than as given it never gets


def test_one_error_ends_the_bound():
    logits = np.array([[1.0, 0.0]] * 50 + [[0.0, 1.0]] * 50)
    labels = [0] * 50 + [1] * 49 + [0]
    step = Temperature().fit({"logits": logits}, labels)
    assert not step.bounded
    assert step.temperature.item() == pytest.approx(1 / math.log(99), rel=1e-6)


def test_nearly_useless_logits_stop_at_the_upper_bound():
    logits = np.random.default_rng(2).normal(size=(1000, 2))
    logits -= logits.mean(axis=1, keepdims=True)
    labels = np.arange(1000) % 2
    lead = logits[np.arange(1000), labels].mean()
    logits[np.arange(1000), labels] += 1e-3 - lead
    logits[np.arange(1000), 1 - labels] -= 1e-3 - lead
    step = Temperature().fit({"logits": logits}, labels)
    assert step.bounded
    assert step.temperature.item() == pytest.approx(64 * np.sqrt((logits**2).mean()))


# Errors ----------------------------------------------------------------------------------------------------


def test_one_class_is_no_classifier():
    for logits in (np.zeros((4, 1)), np.ones((4, 1))):
        with pytest.raises(NotEnoughKnown, match="temperature tells classes apart and needs two classes, got 1"):
            learnt(logits, ["only"] * 4)


def test_columns_that_are_not_those_of_the_labels_are_refused():
    logits, labels = drawn(n=200)
    with pytest.raises(WrongUse, match=r"temperature needs logits of the 4 classes .* these have 5 columns"):
        learnt(logits, labels.clip(max=3))
    head = LinearHead(torch.eye(5), torch.zeros(5), tuple("43210"))
    with pytest.raises(WrongUse, match="in their order"):
        Temperature().fit({"logits": logits}, labels, head=head)
    with pytest.raises(WrongUse, match="are the 5 columns in the order of the classes"):
        learnt(np.roll(2 * np.eye(5)[labels], 1, axis=1), labels)
    with pytest.raises(WrongUse, match="no temperature fits"):
        learnt(np.ones((200, 5)), labels)


def test_other_wrong_use_is_named():
    with pytest.raises(WrongUse, match="learns from labels"):
        Temperature().fit({"logits": np.eye(3)})
    with pytest.raises(WrongUse, match=r"temperature reads logits, there is only features"):
        Temperature().fit({"features": np.eye(3)}, [0, 1, 2])
    with pytest.raises(BadInput, match="logits row 1"):
        Temperature().fit({"logits": [[1.0, 0.0], [math.nan, 0.0]]}, [0, 1])
    with pytest.raises(NotFitted, match="temperature >> msp is not fitted"):
        (Temperature() >> MSP()).score({"logits": np.eye(3)})
    with pytest.raises(BadInput, match="fitted on 5 logits, these inputs have 3"):
        (Temperature() >> MSP()).fit({"logits": drawn(50)[0]}, drawn(50)[1]).score({"logits": np.eye(3)})


# In a chain ------------------------------------------------------------------------------------------------


def test_it_is_the_detector_s_own_temperature():
    logits, labels = drawn(n=300, scale=6.0)
    t = learnt(logits, labels)
    np.testing.assert_allclose(
        (Temperature() >> MSP()).fit({"logits": logits}, labels).score({"logits": logits}),
        MSP(temperature=t).score({"logits": logits}),
        rtol=1e-12,
    )
    np.testing.assert_allclose(
        t * (Temperature() >> Energy()).fit({"logits": logits}, labels).score({"logits": logits}),
        Energy(temperature=t).score({"logits": logits}),
        rtol=1e-12,
    )


def test_it_learns_from_what_the_head_before_it_makes():
    random = np.random.default_rng(3)
    labels = np.arange(120) % 3
    features = np.eye(3)[labels] + random.normal(size=(120, 3))
    chain = (Ridge() >> Temperature() >> MSP()).fit({"features": features}, labels)
    head = Ridge().fit({"features": features}, labels)
    logits = head.apply_to({"features": torch.from_numpy(features)})["logits"].numpy()
    t = learnt(logits, labels)
    scores = chain.score({"features": features})
    np.testing.assert_allclose(scores, MSP(temperature=t).score({"logits": logits}), rtol=1e-9)
    again = rebuild(chain.describe())
    again.load_state_dict(chain.state_dict())
    np.testing.assert_array_equal(again.score({"features": features}), scores)


def test_it_is_made_by_name():
    chain = create("ridge >> temperature >> msp")
    assert chain.expression() == "ridge >> temperature >> msp"
    assert chain.labels == "aligned"


def test_it_can_be_exported():
    logits, labels = drawn(n=100)
    chain = (Temperature() >> MSP()).fit({"logits": logits.astype(np.float32)}, labels).eval()
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(
        chain, ({"logits": torch.zeros(2, 5)},), dynamic_shapes=({"logits": {0: batch}},)
    ).module()
    for size in (1, 9):
        x = {"logits": torch.randn(size, 5, generator=torch.Generator().manual_seed(0))}
        torch.testing.assert_close(program(x), chain(x))
