"""Means over units against scipy, their errors, and the level of the paired test."""

import math

import numpy as np
import pytest
from scipy import stats

from unseen.errors import BadInput
from unseen.metrics import mean_interval, paired_difference

inf = math.inf


def test_mean_interval_agrees_with_scipy():
    values = np.random.default_rng(7).normal(0.8, 0.1, 12)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert mean_interval(values, 0.9) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert mean_interval([1, 1, 1]) == (1, 1)


def test_mean_interval_is_cut_only_where_asked():
    assert mean_interval([0.9, 1.0])[1] > 1
    assert mean_interval([0.9, 1.0], bounds=(0, 1))[1] == 1
    assert mean_interval([5, 5.01], bounds=(0, 1)) == (1, 1)


def test_paired_difference_agrees_with_scipy():
    random = np.random.default_rng(8)
    a = random.normal(0.8, 0.1, 9)
    b = a - random.normal(0.02, 0.03, 9)
    ours, theirs = paired_difference(a, b), stats.ttest_rel(a, b)
    assert ours["p_value"] == pytest.approx(theirs.pvalue, abs=1e-12)
    assert ours["interval"] == pytest.approx(tuple(theirs.confidence_interval(0.95)), abs=1e-12)
    assert paired_difference(b, a)["mean"] == -ours["mean"]
    assert paired_difference(a, a) == {"mean": 0.0, "interval": (0.0, 0.0), "p_value": 1.0}
    assert paired_difference([2, 3, 4], [1, 2, 3])["p_value"] == 0.0


def test_paired_difference_keeps_its_level():
    """Under no difference, five of a hundred p-values are below 0.05."""
    random = np.random.default_rng(9)
    draws = random.normal(size=(1500, 6))
    p = [paired_difference(d, np.zeros(6))["p_value"] for d in draws]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / 1500))


def test_units_that_cannot_be_used_are_named():
    for call, message in (
        (lambda: mean_interval([0.5]), "values: at least 2 are needed, got 1"),
        (lambda: mean_interval([0.5, np.nan, inf]), "values: 2 of 3 are not finite, the first in row 1"),
        (lambda: paired_difference([1, 2, 3], [1, 2]), "a has 3 units, b has 2"),
    ):
        with pytest.raises(BadInput, match=message):
            call()
