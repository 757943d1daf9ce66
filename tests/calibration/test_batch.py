"""Benjamini-Hochberg over a batch: against scipy, by hand, and the promise on p-values of one calibration set."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unseen.calibration import ClassConditional, SplitConformal, discoveries, fewest_discoveries, q_values
from unseen.errors import BadInput, NotEnoughKnown, WrongUse

RANKS = st.lists(st.integers(1, 40), min_size=1, max_size=60)  # over 40: many ties


def step_up(ranks, n, level, storey):
    """The rule as it is written, in integers: level is a number of thousandths."""
    m, ordered = len(ranks), sorted(ranks)
    known = 2 * (1 + sum(2 * r > n for r in ranks)) if storey else m
    allowed = [not storey or 2 * r <= n for r in ordered]
    passes = [1000 * r * known <= level * j * n for j, r in enumerate(ordered, start=1)]
    last = max((j for j in range(1, m + 1) if passes[j - 1] and allowed[j - 1]), default=0)
    return [last > 0 and r <= ordered[last - 1] for r in ranks]


# Against others --------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, derandomize=True)
@given(ranks=RANKS)
def test_q_values_agree_with_scipy(ranks):
    p_values = np.array(ranks) / 40
    np.testing.assert_allclose(q_values(p_values), stats.false_discovery_control(p_values), rtol=1e-12)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(ranks=RANKS, level=st.sampled_from([50, 100, 200, 300, 333, 700]), storey=st.booleans())
def test_discoveries_are_the_rule_to_the_last_bit(ranks, level, storey):
    """Ranks over 40 meet ``level j / m`` exactly very often; float32 p-values must answer alike."""
    expected = step_up(ranks, 40, level, storey)
    correction = "storey" if storey else None
    p_values = [r / 40 for r in ranks]
    assert discoveries(p_values, level / 1000, correction) == expected
    assert discoveries(torch.tensor(p_values), level / 1000, correction).tolist() == expected
    if any(expected):
        assert sum(expected) >= fewest_discoveries(len(ranks), level / 1000, 39, correction)


def test_by_hand():
    """p_(j) <= 0.2 j / 5: 0.04, 0.08, 0.12, 0.16, 0.2. The third passes, and takes the second with it."""
    p_values = [0.12, 0.5, 0.1, 0.03, 0.9]
    assert discoveries(p_values, 0.2) == [True, False, True, True, False]
    assert q_values(p_values) == pytest.approx([0.2, 0.625, 0.2, 0.15, 0.9])
    # Storey: two p-values above 0.5 (0.5 is not) and one more, doubled, are 4 of 5 taken for known.
    assert q_values([0.12, 0.5, 0.1, 0.6, 0.9], "storey") == pytest.approx([6 * 0.12 / 2, 1.0, 0.36, 1.0, 1.0])


def test_the_correction_is_not_cut_off_at_one():
    """All p-values large: it counts more known inputs than there are, and says less than without it."""
    p_values = [0.04, 0.6, 0.7, 0.8]
    assert q_values(p_values)[0] == pytest.approx(0.16)
    assert q_values(p_values, "storey")[0] == pytest.approx(0.32)


def test_the_correction_calls_no_p_value_above_a_half():
    """Among a hundred unknown inputs one false call would be allowed, but not of an input like this."""
    p_values = [0.01] * 100 + [0.6]
    assert discoveries(p_values, 0.1, "storey") == [True] * 100 + [False]


def test_each_is_called_from_its_q_value_on():
    p_values = np.random.default_rng(0).integers(1, 100, 80) / 100
    for correction in (None, "storey"):
        q = q_values(p_values, correction)
        for level in np.unique(q[q < 1]):
            np.testing.assert_array_equal(discoveries(p_values, level, correction), q <= level * (1 + 1e-12))
            assert not discoveries(p_values, level * (1 - 1e-6), correction)[np.isclose(q, level)].any()


def test_order_does_not_matter_and_equals_are_treated_alike():
    random = np.random.default_rng(1)
    p_values = random.integers(1, 20, 200) / 20
    order = random.permutation(200)
    for correction in (None, "storey"):
        q = q_values(p_values, correction)
        np.testing.assert_array_equal(q_values(p_values[order], correction), q[order])
        assert len(set(zip(p_values, q, strict=True))) == len(set(p_values))


# The promise -----------------------------------------------------------------------------------------------


def shares(how, known=40, unknown=10, n=99, draws=1500, shift=3.0):
    """Share of false calls among the calls, and of the unknown that were called; one calibration set a batch."""
    random = np.random.default_rng(2)
    false, found = np.empty(draws), np.empty(draws)
    for i in range(draws):
        scores = np.concatenate([random.normal(size=known), random.normal(size=unknown) - shift])
        called = how(SplitConformal().fit(random.normal(size=n)).p_value(scores))
        false[i] = called[:known].sum() / max(1, called.sum())
        found[i] = called[known:].mean()
    return false, found


def test_the_share_of_false_calls_is_as_promised():
    """80 % known: at most level times that share. A threshold at the same number makes many more false calls."""
    level = 0.2
    false, found = shares(lambda p: discoveries(p, level))
    error = false.std(ddof=1) / math.sqrt(len(false))
    assert false.mean() <= level * 0.8 + 3 * error
    assert false.mean() >= level * 0.8 - 0.04  # the promise is used
    assert found.mean() > 0.5
    by_threshold, _ = shares(lambda p: p <= level)
    assert by_threshold.mean() > 2 * level


def test_the_correction_keeps_the_promise_and_finds_more():
    """Half unknown, so that counting all inputs as known wastes half of the level."""
    level = 0.2
    plain, found = shares(lambda p: discoveries(p, level), known=30, unknown=30, shift=2.0)
    false, more = shares(lambda p: discoveries(p, level, "storey"), known=30, unknown=30, shift=2.0)
    assert false.mean() <= level + 3 * false.std(ddof=1) / math.sqrt(len(false))
    assert false.mean() > plain.mean()
    assert more.mean() > found.mean() + 0.05


def test_nothing_unknown_makes_a_false_call_in_a_share_of_batches():
    """Every call is false then: some call is made in at most ``level`` of the batches."""
    for correction in (None, "storey"):
        false, _ = shares(lambda p, c=correction: discoveries(p, 0.1, c), known=50, unknown=1, shift=0.0, n=999)
        assert false.mean() <= 0.1 + 3 * false.std(ddof=1) / math.sqrt(len(false))
        assert false.mean() > 0.02


def test_the_promise_holds_for_p_values_by_class():
    random, level = np.random.default_rng(3), 0.2
    false = []
    for _ in range(600):
        classes = random.integers(0, 3, 300)
        scores = random.normal(size=300) * (1 + classes) - 3 * classes
        scores[290:] -= 12
        conformal = ClassConditional().fit(scores[:240], classes[:240])
        called = discoveries(conformal.p_value(scores[240:], classes[240:]), level)
        false.append(called[:50].sum() / max(1, called.sum()))
    assert np.mean(false) <= level * 50 / 60 + 3 * np.std(false) / math.sqrt(600)
    assert np.mean(false) > 0.08


# Too few calibration scores --------------------------------------------------------------------------------


@pytest.mark.parametrize("correction", [None, "storey"])
@pytest.mark.parametrize(("inputs", "level", "n"), [(50, 0.1, 99), (7, 0.3, 10), (100, 0.1, 999), (20, 0.04, 24)])
def test_fewest_is_the_first_count_that_is_called(inputs, level, n, correction):
    """That many p-values of 1 / (n + 1) are called, one fewer are not."""
    fewest = fewest_discoveries(inputs, level, n, correction)
    others = 0.5  # not above it, so that the correction counts none of them
    for count in (fewest - 1, fewest):
        called = discoveries([1 / (n + 1)] * count + [others] * (inputs - count), level, correction)
        assert sum(called[:count]) == (count if count == fewest else 0)


def test_a_lone_unknown_input_needs_calibration_scores():
    """N + 1 >= m / level, exactly."""
    assert fewest_discoveries(30, 0.1, 299) == 1
    assert fewest_discoveries(30, 0.1, 298) == 2
    assert fewest_discoveries(30, 0.3, 99) == 1  # 0.3 * 100 / 30 is 1 in numbers, not in floating point


def test_too_few_for_any_batch_says_what_would_do():
    with pytest.raises(
        NotEnoughKnown,
        match=r"level 0.01 needs 99 calibration scores to find anything among 10 inputs, there are 50: "
        "add known inputs or take level 0.0197 or more",
    ):
        discoveries([1 / 51] * 10, 0.01, calibration=50)
    assert not any(discoveries([1 / 51] * 10, 0.01))
    assert all(discoveries([1 / 100] * 10, 0.01, calibration=99))
    assert all(discoveries([1 / 51] * 10, 0.0197, calibration=50))
    with pytest.raises(NotEnoughKnown, match=r"needs 19 calibration scores to find anything among 1 inputs.* are 18"):
        discoveries([1 / 19], 0.1, "storey", calibration=18)
    assert discoveries([1 / 20], 0.1, "storey", calibration=19) == [True]
    with pytest.raises(NotEnoughKnown, match=r"there are 1: add known inputs$"):
        discoveries([0.5], 0.1, "storey", calibration=1)
    assert discoveries([], 0.01, calibration=1) == []


# Containers and errors -------------------------------------------------------------------------------------


def test_the_same_kind_comes_back():
    assert discoveries([[0.01], [0.9]], 0.1) == [[True], [False]]
    assert q_values((0.01, 0.9)) == pytest.approx([0.02, 0.9])
    assert discoveries(0.01, 0.1)
    array = discoveries(np.array([[0.01, 0.9]]), 0.1)
    assert isinstance(array, np.ndarray)
    assert (array.dtype, array.shape) == (bool, (1, 2))
    tensor = q_values(torch.tensor([0.25, 0.5], requires_grad=True))
    assert tensor.dtype == torch.float64
    assert tensor.tolist() == [0.5, 0.5]
    assert discoveries([], 0.1) == q_values([]) == []
    p_values = np.array([0.9, 0.01])
    p_values.flags.writeable = False
    q_values(p_values)


def test_bad_p_values_are_named():
    for bad in (math.nan, -0.1, 1.1):
        with pytest.raises(BadInput, match="p-values: 1 of 3 are not within 0 and 1, the first in row 2"):
            discoveries([0.1, 0.2, bad], 0.1)
        with pytest.raises(BadInput, match="p-values: 1 of 1"):
            q_values(torch.tensor([bad]))
    assert discoveries([0.0, 1.0], 0.1) == [True, False]


def test_other_wrong_use_is_named():
    for level in (0, 1, 5, math.nan):
        with pytest.raises(WrongUse, match=f"level must be within 0 and 1, got {level}"):
            discoveries([0.1], level)
    with pytest.raises(WrongUse, match=r"correction='Storey': there is 'storey', or None"):
        q_values([0.1], "Storey")
    for inputs, n, name in ((0, 5, "inputs"), (5, 0, "calibration")):
        with pytest.raises(WrongUse, match=f"{name} must be at least 1, got 0"):
            fewest_discoveries(inputs, 0.1, n)
