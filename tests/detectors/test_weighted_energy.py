"""WeightedEnergy: the formula, a minimum that beats plain energies, which classes count, its errors."""

import numpy as np
import pytest
import torch

from unseen import WeightedEnergy, create
from unseen.detectors._logistic import discriminate
from unseen.errors import NotEnoughKnown, WrongUse

RNG = np.random.default_rng(0)
LABELS = np.arange(120) % 3
# The network calls the unknown the third class and is nearly as sure of it as of known inputs.
KNOWN = 6 * np.eye(3)[LABELS] + RNG.normal(size=(120, 3))
UNKNOWN = RNG.normal([0, 0, 5], size=(80, 3))
NEW, OTHER = 6 * np.eye(3)[LABELS] + RNG.normal(size=(120, 3)), RNG.normal([0, 0, 5], size=(80, 3))


def fit(known=KNOWN, unknown=UNKNOWN, **arguments):
    return WeightedEnergy(**arguments).fit({"logits": known}, unknown={"logits": unknown})


def loss(u, a, b, penalty=1e-3):
    """Written out, slopes in spreads of the plain energy."""
    plain = [np.log(np.exp(x).sum(axis=1)) for x in (KNOWN, UNKNOWN)]
    centre = np.mean([x.mean() for x in plain])
    spread = np.sqrt(np.mean([((x - centre) ** 2).mean() for x in plain]))
    z = [a * np.log(np.exp(x + u).sum(axis=1)) + b for x in (KNOWN, UNKNOWN)]
    halves = np.log1p(np.exp(-z[0])).mean() + np.log1p(np.exp(z[1])).mean()
    return halves / 2 + penalty / 2 * (u @ u + (a * spread) ** 2)


def test_it_is_the_formula():
    detector = fit()
    a, b = detector.line.tolist()
    weights = detector.log_weights.exp().numpy()
    np.testing.assert_allclose(detector.score({"logits": NEW}), a * np.log(np.exp(NEW) @ weights) + b, rtol=1e-12)


def test_it_stands_in_a_minimum():
    detector = fit()
    at = [*detector.log_weights.tolist(), *detector.line.tolist()]
    least = loss(np.array(at[:3]), *at[3:])
    for place in range(5):
        for step in (-1e-3, 1e-3):
            moved = np.array(at)
            moved[place] += step
            assert loss(moved[:3], *moved[3:]) > least


def test_it_does_no_worse_than_plain_energies():
    """In the loss that both minimise, over the inputs that they learn from."""
    detector = fit()
    u, (a, b) = detector.log_weights.numpy(), detector.line.tolist()
    energies = [torch.tensor(x).logsumexp(dim=1, keepdim=True) for x in (KNOWN, UNKNOWN)]
    slope, offset = discriminate(lambda: [energies[0]], lambda: [energies[1]], 1e-3, "")
    assert loss(u, a, b) < loss(np.zeros(3), slope.item(), offset.item()) - 0.05


def test_the_class_that_unknown_inputs_are_taken_for_counts_least():
    detector = fit()
    assert detector.log_weights.argmin() == 2
    energy = create("energy")

    def ranked(scores):
        return (scores(NEW)[:, None] > scores(OTHER)).mean()

    assert ranked(lambda x: detector.score({"logits": x})) > ranked(energy.score) + 0.05


def test_large_logits_do_not_overflow():
    """Their exponentials would, from 89 in float32."""
    detector = fit(KNOWN.astype("float32"), UNKNOWN.astype("float32"))
    scores = detector.score({"logits": np.float32([[1e4, 0, 0], [0, 1e4, 0], [-1e4, -1e4, -1e4]])})
    assert np.isfinite(scores).all()
    assert scores[0] > scores[2]


def test_where_unknown_inputs_are_the_louder_energy_counts_against():
    """And a single class has no weight to speak of."""
    detector = fit(RNG.normal(size=(50, 1)), RNG.normal(size=(50, 1)) + 4)
    assert detector.line[0] < -0.5
    assert abs(detector.log_weights.item()) < 1e-6
    assert detector.score({"logits": [[0.0]]}) > 0 > detector.score({"logits": [[4.0]]})


def test_behind_a_head():
    """Which makes the logits of the unknown inputs too."""
    x, far = RNG.normal(size=(60, 4)) + 3 * np.eye(4)[np.arange(60) % 3], RNG.normal(size=(60, 4))
    detector = create("ridge >> weighted_energy").fit({"features": x}, np.arange(60) % 3, unknown={"features": far})
    assert detector.score({"features": x}).mean() > detector.score({"features": far}).mean() + 0.5


def test_errors():
    with pytest.raises(WrongUse, match=r"^weighted_energy learns from unknown inputs too and none were given"):
        WeightedEnergy().fit({"logits": KNOWN})
    with pytest.raises(WrongUse, match=r"WeightedEnergy\(penalty=0\)"):
        fit(penalty=0)
    with pytest.raises(NotEnoughKnown, match="WeightedEnergy: known and unknown inputs are all the same"):
        fit(np.zeros((5, 3)), np.zeros((4, 3)))
