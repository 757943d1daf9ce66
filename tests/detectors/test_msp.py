"""MSP: by hand, against float64, and where float32 probabilities would tie."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

from unseen import MSP

ROWS = np.random.default_rng(0).normal(size=(50, 7)) * 4


def test_by_hand():
    assert MSP().score([[math.log(3.0), 0.0]]).item() == pytest.approx(math.log(0.75))
    assert MSP(temperature=2.0).score([[2 * math.log(3.0), 0.0]]).item() == pytest.approx(math.log(0.75))


def test_agrees_with_float64():
    expected = log_softmax(ROWS, axis=1).max(axis=1)
    np.testing.assert_allclose(MSP().score(ROWS), expected, rtol=1e-10)
    np.testing.assert_allclose(MSP().score(ROWS.astype(np.float32)), expected, rtol=2e-5)


def test_confident_rows_do_not_tie():
    """In float32 the probability is 1.0 for all of these; a log-softmax rounds to a handful of values."""
    gaps = np.linspace(18, 80, 1000, dtype=np.float32)
    scores = MSP().score(np.stack([gaps, np.zeros_like(gaps)], axis=1))
    assert len(np.unique(scores)) == 1000
    assert (np.diff(scores) > 0).all()
    np.testing.assert_allclose(scores, -np.exp(-gaps.astype(float)), rtol=1e-5)


def test_two_equal_winners():
    assert MSP().score([[4.0, 4.0]]).item() == pytest.approx(-math.log(2))


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=6), st.floats(-100, 100, width=32))
def test_range_and_shift(row, shift):
    score = MSP().score([row]).item()
    assert -math.log(len(row)) - 1e-5 <= score <= 0
    moved = MSP().score(np.array([row]) + shift).item()
    assert moved == pytest.approx(MSP().score(np.array([row])).item(), abs=1e-6, rel=1e-6)
