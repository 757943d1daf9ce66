"""Open-set metrics against loops over all pairs and all thresholds, and the facts that tie them to AUROC."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unseen.errors import BadInput, WrongUse
from unseen.metrics import TIES, HScore, evaluate

inf = math.inf


def cases():
    random = np.random.default_rng(0)
    known, unknown = random.normal(1, 1, 120), random.normal(0, 1.5, 90)
    correct = random.random(120) < 0.5 + 0.3 * (known > 1)  # high scores are right more often
    yield "untied", known, unknown, correct
    yield "tied", known.round(1), unknown.round(1), correct
    yield "heavily tied", known.round(0), unknown.round(0), correct
    yield "constant", np.full(120, 2.0), np.full(90, 2.0), correct
    yield "separated", known + 100, unknown, correct
    yield "reversed", known - 100, unknown, correct
    yield "infinite", np.r_[known[:-2], inf, -inf], np.r_[unknown, -inf, inf], correct
    yield "all correct", known, unknown, np.full(120, True)
    yield "none correct", known, unknown, np.full(120, False)
    yield "one of each", known[:1], unknown[:1], correct[:1]


CASES = {name: rest for name, *rest in cases()}
every_case = pytest.mark.parametrize("case", CASES)


def naive_oscr(known, unknown, correct, ties):
    half = 0.5 if ties == "diagonal" else 0.0
    wins = [right * ((a > b) + half * (a == b)) for a, right in zip(known, correct, strict=True) for b in unknown]
    return float(np.mean(wins))


@every_case
@pytest.mark.parametrize("ties", TIES)
def test_oscr_is_the_share_of_pairs(case, ties):
    known, unknown, correct = CASES[case]
    expected = naive_oscr(known, unknown, correct, ties)
    assert evaluate(known, unknown, correct).oscr(ties) == pytest.approx(expected, abs=1e-12)


@every_case
def test_oscr_is_the_area_of_its_curve(case):
    """Trapezoids through (FPR, CCR) at every distinct threshold and (0, 0)."""
    known, unknown, correct = CASES[case]
    thresholds = np.unique(np.r_[known, unknown])[::-1]
    fpr = [0.0, *(np.mean(unknown >= t) for t in thresholds)]
    ccr = [0.0, *(np.mean(correct & (known >= t)) for t in thresholds)]
    assert evaluate(known, unknown, correct).oscr() == pytest.approx(np.trapezoid(ccr, fpr), abs=1e-12)


few_values = st.sampled_from([-2.0, -0.0, 0.0, 0.25, 1.0, 3.5, inf])
judged = st.lists(st.tuples(few_values, st.booleans()), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(judged=judged, unknown=st.lists(few_values, min_size=1, max_size=12))
def test_oscr_keeps_its_bounds(judged, unknown):
    known, correct = (list(column) for column in zip(*judged, strict=True))
    result = evaluate(known, unknown, correct)
    assert 0 <= result.oscr("pessimistic") <= result.oscr() <= min(result.accuracy, result.auroc)
    assert result.accuracy == np.mean(correct)
    assert evaluate(known, unknown, [True] * len(known)).oscr() == result.auroc  # to the last bit
    assert evaluate(known, unknown, [False] * len(known)).oscr() == 0
    others = evaluate(known, unknown, [not right for right in correct])
    assert result.oscr() + others.oscr() == pytest.approx(result.auroc, abs=1e-12)


def test_oscr_at_its_limits():
    known, unknown, correct = CASES["separated"]
    assert evaluate(known, unknown, correct).oscr("pessimistic") == np.mean(correct)
    known, unknown, correct = CASES["constant"]
    assert evaluate(known, unknown, correct).oscr() == np.mean(correct) / 2
    assert evaluate(known, unknown, correct).oscr("pessimistic") == 0


def test_oscr_of_many_scores():
    """More distinct scores than one block holds: the AUROC of the correct ones, times their share."""
    random = np.random.default_rng(1)
    known, unknown = random.normal(1, 1, 40_000), random.normal(0, 1, 30_000)
    correct = random.random(40_000) < 0.7
    result = evaluate(known, unknown, correct)
    assert result.oscr() == pytest.approx(np.mean(correct) * evaluate(known[correct], unknown).auroc, abs=1e-12)


@every_case
def test_flags_change_nothing_else(case):
    known, unknown, correct = CASES[case]
    plain, told = evaluate(known, unknown), evaluate(known, unknown, correct)
    for counts in ("known_below", "unknown_below", "scores"):
        np.testing.assert_array_equal(getattr(plain, counts), getattr(told, counts))
    added = {name: value for name, value in told.to_dict().items() if name not in plain.to_dict()}
    assert added == {"accuracy": np.mean(correct), "oscr": told.oscr(), "oscr_ties": "diagonal"}
    assert told.to_dict() == plain.to_dict() | added


@every_case
def test_flags_follow_their_inputs(case):
    """Shuffled together, no bit changes; the counts are those of comparing each score with each threshold."""
    known, unknown, correct = CASES[case]
    result = evaluate(known, unknown, correct)
    assert result.correct_below.tolist() == [*(np.sum(correct & (known < t)) for t in result.scores), np.sum(correct)]
    order = np.random.default_rng(2).permutation(len(known))
    shuffled = evaluate(known[order], unknown, correct[order])
    np.testing.assert_array_equal(shuffled.correct_below, result.correct_below)
    as_tensor = evaluate(torch.from_numpy(known), unknown.tolist(), torch.from_numpy(correct))
    np.testing.assert_array_equal(as_tensor.correct_below, result.correct_below)


@every_case
@pytest.mark.parametrize("fpr", [0.001, 0.05, 0.1, 0.3, 0.5, 1.0])
def test_ccr_in_the_words_of_openood(case, fpr):
    known, unknown, correct = CASES[case]
    threshold = np.sort(unknown)[-math.ceil(round(fpr * len(unknown), 9))]
    expected = np.mean(correct & (known > threshold))
    assert evaluate(known, unknown, correct).ccr_at_fpr(fpr) == pytest.approx(expected, abs=1e-15)


def test_ccr_compares_counts_as_integers():
    """0.07 of 100 are 7 unknown inputs, though 0.07 * 100 > 7: seven lie at or above 93, none of them accepted."""
    known = np.arange(100) + 0.5
    assert evaluate(known, np.arange(100), np.full(100, True)).ccr_at_fpr(0.07) == 7 / 100


def naive_h(known, unknown, correct, threshold):
    a, u = np.mean(correct & (known >= threshold)), np.mean(unknown < threshold)
    return (2 * a * u / (a + u) if a * u > 0 else 0.0), a, u


@every_case
def test_h_score_agrees_with_its_definition(case):
    known, unknown, correct = CASES[case]
    result = evaluate(known, unknown, correct)
    for threshold in (-inf, -0.3, 0.0, float(known[0]), float(unknown[0]), 2.0, 50.0, inf):
        found = result.h_score(threshold)
        assert tuple(found[:3]) == pytest.approx(naive_h(known, unknown, correct, threshold), abs=1e-12)
        assert (found.threshold, found.oracle) == (threshold, False)


@every_case
def test_best_h_score_is_the_best_of_all(case):
    known, unknown, correct = CASES[case]
    result = evaluate(known, unknown, correct)
    best = result.best_h_score()
    every = [naive_h(known, unknown, correct, t)[0] for t in result.scores]
    assert best.h == pytest.approx(max(every), abs=1e-12)
    assert best.threshold == pytest.approx(result.scores[np.argmax(np.round(every, 12))])
    assert best.oracle
    assert result.h_score(best.threshold) == best._replace(oracle=False)


def test_h_score_by_hand():
    """At 3: the known 3 and 5 are accepted and right, 4 is accepted and wrong; one of two unknown is refused."""
    result = evaluate([2, 3, 4, 5], [1, 3], correct=[True, True, False, True])
    assert result.h_score(3) == HScore(0.5, 0.5, 0.5, 3, oracle=False)
    assert result.h_score(inf).h == 0
    assert result.h_score(-inf).h == 0


def test_thresholds_are_compared_exactly():
    """float32(0.1) lies above 0.1, and integers beyond 2**53 are told apart."""
    assert evaluate(np.array([0.1], np.float32), [-1.0], [True]).h_score(0.1).known_accuracy == 1
    big = 2**60
    best = evaluate([big + 1], [big], [True]).best_h_score()
    assert (best.h, best.threshold) == (1.0, big + 1)


def test_what_needs_flags_says_so():
    result = evaluate([1, 2], [0, 1])
    assert result.correct_below is None
    for name, call in (
        ("accuracy", lambda: result.accuracy),
        ("OSCR", result.oscr),
        ("CCR@FPR", lambda: result.ccr_at_fpr(0.1)),
        ("H-score", lambda: result.h_score(1.0)),
        ("H-score", result.best_h_score),
        ("OSCR", lambda: result.bootstrap("oscr")),
    ):
        with pytest.raises(WrongUse, match=f"^{name} needs to know which known inputs .*: pass correct="):
            call()


def test_wrong_use_is_named():
    result = evaluate([1, 2], [0, 1], [True, False])
    for call, message in (
        (lambda: result.oscr("strict"), "ties 'strict' is not one of diagonal, pessimistic"),
        (lambda: result.ccr_at_fpr(0), "fpr must be above 0 and at most 1, got 0"),
        (lambda: result.ccr_at_fpr(10), "fpr must be above 0 and at most 1, got 10"),
        (lambda: result.h_score(math.nan), "threshold is NaN"),
    ):
        with pytest.raises(WrongUse, match=message):
            call()


@pytest.mark.parametrize(
    ("correct", "got"),
    [
        ([True], r"bool of shape \(1,\)"),
        (True, r"bool of shape \(\)"),
        ([[True], [False]], r"bool of shape \(2, 1\)"),
        ([1, 0], "int64"),  # predicted classes would look like this
        (torch.tensor([1.0, 0.0]), "float32"),
    ],
)
def test_flags_that_are_none_are_named(correct, got):
    with pytest.raises(BadInput, match=f"^correct: expected 2 of True and False in the order .*, got {got}"):
        evaluate([1, 2], [0], correct)
