"""CFOOD: by hand, against the ranks of the definition, many references, seeds, too few."""

import math

import numpy as np
import pytest

from unseen import CFOOD
from unseen.errors import NotEnoughKnown, WrongUse

RNG = np.random.default_rng(0)
KNOWN, ASKED = RNG.normal(size=(400, 5)) + 1, 2 * RNG.normal(size=(50, 5)) + 1


def at(*degrees):
    return np.array([[math.cos(math.radians(a)), math.sin(math.radians(a))] for a in degrees])


def chord(a):
    return 2 * math.sin(math.radians(a) / 2)


def test_by_hand():
    """References at 0, 10 and 40 degrees; asked at 20. Seen from 40 it is nearer than 10 is: a part of rank 1 of 2.

    From 10 it is as near as 0 is: rank 1. From 0 it lies between 10 and 40: more than rank 1.
    """
    asked = 7 * at(20)
    shares = [0.5 * chord(20) / chord(30), 0.5, 0.5 + 0.5 * (chord(20) - chord(10)) / (chord(40) - chord(10))]
    for m in (1, 2, 3):
        found = CFOOD(share=1.0, least=m / 3).fit(at(0, 10, 40)).score(asked).item()
        assert found == pytest.approx(-shares[m - 1])


@pytest.mark.parametrize("least", [0.01, 0.1])
def test_ranks_are_those_of_the_definition(least):
    """The smallest k for which the input is among the k nearest of at least m references."""
    known = KNOWN[:200]
    z, q = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (known, ASKED))
    m = math.ceil(least * 200)
    others = np.sort(np.linalg.norm(z[:, None] - z[None], axis=2), axis=1)  # own first
    expected = []
    for row in q:
        d = np.linalg.norm(z - row, axis=1)
        inside = [k for k in range(1, 200) if (others[:, k] >= d).sum() >= m]
        expected.append(inside[0] if inside else 200)
    found = np.ceil(-CFOOD(share=1.0, least=least).fit(known).score(ASKED) * 199).clip(max=200)
    np.testing.assert_array_equal(found, expected)


def test_many_references_keep_some_distances(monkeypatch):
    exact = CFOOD(share=1.0, least=0.05).fit(KNOWN[:256]).score(ASKED)
    monkeypatch.setattr("unseen.detectors.cfood.KNOTS", 64)
    coarse = CFOOD(share=1.0, least=0.05).fit(KNOWN[:256])
    assert coarse.distances.shape[1] <= 64
    np.testing.assert_allclose(coarse.score(ASKED), exact, atol=0.01)
    assert np.abs(coarse.score(ASKED) - exact).max() > 0


def test_far_inputs_do_not_tie():
    scores = CFOOD(share=1.0).fit(at(0, 1, 2, 3)).score(at(20, 40, 90))
    assert (scores < -1).all()
    assert (np.diff(scores) < 0).all()


def test_one_draw_a_seed():
    one, again, other = (CFOOD(seed=seed).fit(KNOWN).score(ASKED) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)
    assert len(CFOOD().fit(KNOWN).references) == 40


def test_too_little_says_what_to_do():
    with pytest.raises(NotEnoughKnown, match="the 20 known inputs is 2: raise share"):
        CFOOD().fit(KNOWN[:20])
    with pytest.raises(NotEnoughKnown, match="one direction"):
        CFOOD(share=1.0).fit(np.arange(1, 9)[:, None] * np.ones((1, 3)))
    for arguments in ({"share": 0.0}, {"share": 10}, {"least": 0.0}):
        with pytest.raises(WrongUse, match="above 0, up to 1"):
            CFOOD(**arguments).fit(KNOWN)
