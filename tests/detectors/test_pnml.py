"""pNML: by hand, against the formula in float64 where float32 would saturate, copies of the known, its error."""

import math

import numpy as np
import pytest
import torch

from unseen import PNML
from unseen.errors import NotEnoughKnown
from unseen.signals import LinearHead

HEAD = LinearHead(torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]]), torch.zeros(2))


def test_by_hand():
    """Four known inputs at h = (1, 1, 0) leave t = 4 / 16 for another there, so k = 1/5; p = (3/4, 1/4)."""
    known = [[2.0, 0.0]] * 4
    p = np.array([0.75, 0.25])
    expected = -math.log((p / (p + (1 - p) * p**0.2)).sum()) / math.log(2)
    assert PNML().fit(known, head=HEAD).score([[9.0, 0.0]]).item() == pytest.approx(expected)


def test_what_no_known_input_uses_counts_whole():
    """From the same inputs h = (1, 0, 1) has (1/2, -1/2, 1) left outside, t = 3/2; inside it is only 1/16."""
    p = np.array([0.5, 0.5])
    expected = -math.log((p / (p + (1 - p) * p**0.6)).sum()) / math.log(2)
    assert PNML().fit([[2.0, 0.0]] * 4, head=HEAD).score([[0.0, 7.0]]).item() == pytest.approx(expected)


def test_more_known_inputs_mean_less_regret():
    known = np.random.default_rng(0).normal(size=(20, 2))
    scores = [PNML().fit(np.tile(known, (times, 1)), head=HEAD).score(known) for times in (1, 3, 100)]
    assert (scores[0] < scores[1]).all()
    assert (scores[1] < scores[2]).all()
    assert scores[2].max() < 0


def test_sure_answers_agree_with_float64():
    """Gaps of up to 60, of which a float32 softmax would leave 1 and 0."""
    angles = np.linspace(0.2, 1.5, 40)
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    weight = torch.tensor([[60.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    known = np.random.default_rng(1).normal(size=(50, 2))
    single = PNML().fit(known.astype(np.float32), head=LinearHead(weight, torch.zeros(3))).score(x.astype(np.float32))
    exact = PNML().fit(known, head=LinearHead(weight.double(), torch.zeros(3).double())).score(x)
    np.testing.assert_allclose(single, exact, rtol=1e-4)
    assert len(np.unique(single)) == 40


def test_the_length_of_features_does_not_matter():
    known = np.random.default_rng(2).normal(size=(20, 2))
    expected = PNML().fit(known, head=HEAD).score(known)
    np.testing.assert_allclose(PNML().fit(7 * known, head=HEAD).score(1000 * known), expected, rtol=1e-10)


def test_one_class_has_no_regret():
    with pytest.raises(NotEnoughKnown, match="needs two, got 1"):
        PNML().fit([[1.0, 2.0]], head=LinearHead(torch.ones(1, 2), torch.zeros(1)))
