"""NNGuide: by hand, negative energies, too few."""

import math

import numpy as np
import pytest

from unseen import NNGuide
from unseen.errors import NotEnoughKnown, WrongUse

# One logit each, which is then the energy.
KNOWN = {"features": np.array([[2.0, 0.0], [0.0, 5.0], [3.0, 3.0]]), "logits": np.array([[4.0], [6.0], [1.0]])}


def asked(x, energy):
    return {"features": np.array([x]), "logits": np.array([[energy]])}


def test_by_hand():
    """Products with (1, 0): 4, 0 and cos 45; the two largest guide."""
    score = NNGuide(k=2).fit(KNOWN).score(asked([7.0, 0.0], 3.0)).item()
    assert score == pytest.approx(3 * (4 + math.sqrt(0.5)) / 2)


def test_a_far_neighbour_that_is_sure_may_guide_more_than_a_near_one_that_is_not():
    scores = [NNGuide(k=1).fit(KNOWN).score(asked([1.0, y], 1.0)).item() for y in (1.0, 2.0)]
    assert scores == pytest.approx([6 * math.sqrt(0.5), 12 / math.sqrt(5)])


def test_negative_energies_are_moved_up():
    """Energies 4, 6 and -2: with 2 added they are 6, 8 and 0, and so is the query's."""
    known = {**KNOWN, "logits": np.array([[4.0], [6.0], [-2.0]])}
    score = NNGuide(k=1).fit(known).score(asked([1.0, 0.0], -1.0)).item()
    assert score == pytest.approx((-1 + 2) * 6)


def test_two_negatives_are_no_known_input():
    detector = NNGuide(k=3).fit(KNOWN)
    towards, away = (detector.score(asked(x, -2.0)).item() for x in ([1.0, 1.0], [-1.0, -1.0]))
    assert towards < 0
    assert away == pytest.approx(towards)


def test_errors():
    with pytest.raises(NotEnoughKnown, match="at least 10 known inputs, got 3: lower k"):
        NNGuide().fit(KNOWN)
    with pytest.raises(WrongUse, match="from 1"):
        NNGuide(k=0).fit(KNOWN)
