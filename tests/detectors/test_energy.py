"""Energy: by hand, against scipy, within its bounds."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp

from unseen import Energy


def test_by_hand():
    assert Energy().score([[math.log(2.0), math.log(3.0)]]).item() == pytest.approx(math.log(5.0))
    assert Energy(temperature=2.0).score([[2.0, 2.0]]).item() == pytest.approx(2 + 2 * math.log(2))


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
def test_agrees_with_scipy(temperature):
    rows = np.random.default_rng(0).normal(size=(50, 7)) * 4
    expected = temperature * logsumexp(rows / temperature, axis=1)
    np.testing.assert_allclose(Energy(temperature).score(rows), expected, rtol=1e-12)


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=6))
def test_between_the_largest_logit_and_that_plus_log_c(row):
    score = Energy().score(np.array([row])).item()
    assert max(row) - 1e-9 <= score <= max(row) + math.log(len(row)) + 1e-9
