"""GROOD: by hand, the gradient against a backward pass, which known inputs count, draws, its errors."""

import math

import numpy as np
import pytest
import torch

from unseen import GROOD
from unseen.errors import NotEnoughKnown, WrongUse

RNG = np.random.default_rng(0)
LABELS = np.arange(120) % 3
KNOWN = 3 * np.eye(6)[LABELS] + 1.2 * RNG.normal(size=(120, 6))
ASKED = 2 * RNG.normal(size=(40, 6))


def test_by_hand():
    """Class means at 0 and 9, their mixture half-way. At 3 the distances are 3, 6 and 1.5; at 0 they are 0, 9, 4.5."""
    known = [[0.0], [0.0], [9.0], [9.0]]
    detector = GROOD().fit(known, ["a", "a", "b", "b"])

    def pull(own, rest, other):
        return math.exp(-other) / (math.exp(-own) + math.exp(-rest) + math.exp(-other))

    assert detector.score([[3.0], [0.0]]) == pytest.approx([pull(0, 9, 4.5) - pull(3, 6, 1.5), 0])


def test_the_gradient_is_that_of_a_backward_pass():
    """Of the cross-entropy against any known class."""
    detector = GROOD().fit(KNOWN, LABELS)
    pulls = []
    for x in (*torch.tensor(ASKED), *torch.tensor(KNOWN)):
        found = []
        for label in range(3):
            other = detector.other.clone().requires_grad_()
            prototypes = torch.cat([detector.means + detector.other, other[None]])
            logits = -(x - prototypes).norm(dim=1)
            torch.nn.functional.cross_entropy(logits[None], torch.tensor([label])).backward()
            found.append(other.grad)
        torch.testing.assert_close(found[0], found[2])
        pulls.append(found[0])
    means = np.stack([KNOWN[c == LABELS].mean(axis=0) for c in range(3)])
    right = np.linalg.norm(KNOWN[:, None] - means, axis=2).argmin(axis=1) == LABELS
    assert 0 < (~right).sum() < 20  # or the bank would be the same without looking
    own, bank = torch.stack(pulls[:40]), torch.stack(pulls[40:])[torch.tensor(right)]
    np.testing.assert_allclose(detector.score(ASKED), -torch.cdist(own, bank).amin(dim=1), rtol=1e-5, atol=1e-9)


def test_the_prototype_itself_pulls_nowhere():
    detector = GROOD().fit(KNOWN, LABELS)
    assert np.isfinite(detector.score(detector.other[None].numpy())).all()


def test_noise_lies_in_the_range_of_the_known():
    """And its mean in the middle, the nearer the more is drawn."""
    middle = (KNOWN.max(axis=0) + KNOWN.min(axis=0)) / 2
    gaps = [np.abs(GROOD("noise", samples).fit(KNOWN, LABELS).other.numpy() - middle).max() for samples in (1, 10000)]
    assert gaps[0] < (KNOWN.max(axis=0) - KNOWN.min(axis=0)).max() / 2
    assert gaps[1] < 0.1 < gaps[0] / 5


@pytest.mark.parametrize("prototype", ["mixup", "noise"])
def test_one_draw_a_seed(prototype):
    one, again, other = (GROOD(prototype, 20, seed).fit(KNOWN, LABELS).score(ASKED) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)


def test_the_mean_of_unknown_inputs_as_prototype():
    """Of all of them, batch by batch, whatever the seed; no other prototype asks for them or looks at them."""
    unknown = RNG.normal(size=(5000, 6)) + 3  # more than a batch
    detector = GROOD("unknown").fit(KNOWN, LABELS, unknown=unknown)
    np.testing.assert_allclose(detector.other, unknown.mean(axis=0), rtol=1e-12)
    again = GROOD("unknown", samples=3, seed=5).fit(KNOWN, LABELS, unknown=unknown)
    np.testing.assert_array_equal(again.score(ASKED), detector.score(ASKED))
    assert {"uses_unknown", "sampled"} & detector.traits == {"uses_unknown"}
    assert {"uses_unknown", "sampled"} & GROOD().traits == {"sampled"}
    plain = GROOD().fit(KNOWN, LABELS)
    np.testing.assert_array_equal(GROOD().fit(KNOWN, LABELS, unknown=unknown).score(ASKED), plain.score(ASKED))


def test_a_prototype_far_from_the_known_costs_no_digits():
    """Seen from there, float32 squares would lose those of the distances between known inputs."""
    unknown = np.full((2, 6), 6.0)
    exact = GROOD("unknown").fit(KNOWN, LABELS, unknown=unknown).score(ASKED)
    found = GROOD("unknown").fit(KNOWN.astype("float32"), LABELS, unknown=unknown.astype("float32"))
    np.testing.assert_allclose(found.score(ASKED.astype("float32")), exact, rtol=1e-3, atol=2e-6 * np.abs(exact).max())


def test_errors():
    with pytest.raises(WrongUse, match="'mixup', 'noise' or 'unknown'"):
        GROOD("median").fit(KNOWN, LABELS)
    with pytest.raises(WrongUse, match=r"^grood learns from unknown inputs too and none were given"):
        GROOD("unknown").fit(KNOWN, LABELS)
    for samples in (0, 1.5):
        with pytest.raises(WrongUse, match="whole number from 1"):
            GROOD(samples=samples).fit(KNOWN, LABELS)
    with pytest.raises(NotEnoughKnown, match="needs two classes"):
        GROOD().fit(KNOWN, ["a"] * 120)
    angles = np.arange(3) * 2 * np.pi / 3
    means = np.stack([np.cos(angles), np.sin(angles)], axis=1)  # on both sides of its mean a class lies far out
    across = 10 * means @ np.array([[0, 1], [-1, 0]])
    with pytest.raises(NotEnoughKnown, match="nearest to the mean of its own class"):
        GROOD().fit(np.concatenate([means + across, means - across]), [0, 1, 2] * 2)
