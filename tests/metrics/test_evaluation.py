"""Metrics against scikit-learn, against naive definitions written here, and by hand."""

import itertools
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from unseen.errors import BadInput, WrongUse
from unseen.metrics import (
    RULES,
    SIDES,
    aupr_trapezoid,
    auroc,
    average_precision,
    evaluate,
    fpr_at_tpr,
)

inf = math.inf


def cases():
    random = np.random.default_rng(0)
    known, unknown = random.normal(1, 1, 300), random.normal(0, 1.5, 200)
    yield "untied", known, unknown
    yield "tied", known.round(1), unknown.round(1)
    yield "heavily tied", known.round(0), unknown.round(0)
    yield "constant", np.full(30, 2.0), np.full(20, 2.0)
    yield "separated", known + 100, unknown
    yield "reversed", known - 100, unknown
    yield "infinite", np.r_[known, inf, inf, -inf], np.r_[unknown, -inf, -inf, inf]
    yield "one known", known[:1], unknown
    yield "one unknown", known, unknown[:1]
    yield "one of each", known[:1], unknown[:1]
    yield "one tie", known[:1], known[:1]
    yield "signed zero", np.array([0.0, -0.0, 1.0]), np.array([-0.0, 0.0, -1.0])
    yield "long", random.normal(1, 1, 40_000).round(4), random.normal(0, 1, 30_000)  # several blocks


CASES = {name: (known, unknown) for name, known, unknown in cases()}
SMALL = {name: pair for name, pair in CASES.items() if name != "long"}
every_case = pytest.mark.parametrize("case", CASES)
every_small_case = pytest.mark.parametrize("case", SMALL)


def pooled(known, unknown, positive):
    """Labels and scores as scikit-learn wants them; it takes no infinities, so ranks stand in."""
    scores = np.r_[known, unknown]
    if not np.isfinite(scores).all():
        scores = stats.rankdata(scores)
    is_known = np.r_[np.ones(len(known)), np.zeros(len(unknown))]
    return (is_known, scores) if positive == "known" else (1 - is_known, -scores)


def check_against_scikit_learn(known, unknown):
    result = evaluate(known, unknown)
    assert result.auroc == pytest.approx(roc_auc_score(*pooled(known, unknown, "known")), abs=1e-12)
    for side in SIDES:
        y, s = pooled(known, unknown, side)
        assert result.average_precision(side) == pytest.approx(average_precision_score(y, s), abs=1e-12)
        precision, recall, _ = precision_recall_curve(y, s)
        assert result.aupr_trapezoid(side) == pytest.approx(auc(recall, precision), abs=1e-12)
        fpr, tpr, _ = roc_curve(y, s, drop_intermediate=False)
        for level in (0.05, 0.5, 0.8, 0.95, 1.0):
            first = np.argmax(tpr >= level - 1e-12)
            assert result.fpr_at_tpr(level, positive=side) == pytest.approx(fpr[first], abs=1e-12)
        ours = result.roc(positive=side)
        np.testing.assert_allclose(ours.fpr, fpr, atol=1e-12)
        np.testing.assert_allclose(ours.tpr, tpr, atol=1e-12)
        ours = result.precision_recall(side)
        np.testing.assert_allclose(ours.recall[: len(recall)], recall[::-1], atol=1e-12)
        np.testing.assert_allclose(ours.precision[: len(recall)], precision[::-1], atol=1e-12)


@every_case
def test_agrees_with_scikit_learn(case):
    check_against_scikit_learn(*CASES[case])


few_values = st.lists(st.sampled_from([-2.0, -0.5, -0.0, 0.0, 0.25, 1.0, 3.5]), min_size=1, max_size=12)
any_values = st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=12)


@settings(max_examples=70, deadline=None, derandomize=True)
@given(known=few_values | any_values, unknown=few_values | any_values)
def test_agrees_with_scikit_learn_on_anything(known, unknown):
    check_against_scikit_learn(np.array(known), np.array(unknown))


def naive_auroc(known, unknown):
    return float(np.mean([(a > b) + 0.5 * (a == b) for a in known for b in unknown]))


def naive_points(known, unknown, positive):
    """(tpr, fpr) at each distinct threshold, from the most positive on, by comparing all with all."""
    pos, neg = (known, unknown) if positive == "known" else (-unknown, -known)
    thresholds = np.unique(np.r_[pos, neg])[::-1]
    return [(np.mean(pos >= t), np.mean(neg >= t)) for t in thresholds]


def naive_average_precision(known, unknown, positive):
    pos, neg = (known, unknown) if positive == "known" else (-unknown, -known)
    return float(np.mean([np.sum(pos >= t) / (np.sum(pos >= t) + np.sum(neg >= t)) for t in pos]))


@every_small_case
def test_agrees_with_naive_definitions(case):
    known, unknown = SMALL[case]
    result = evaluate(known, unknown)
    assert result.auroc == pytest.approx(naive_auroc(known, unknown), abs=1e-12)
    for side in SIDES:
        expected = naive_average_precision(known, unknown, side)
        assert result.average_precision(side) == pytest.approx(expected, abs=1e-12)
        points = naive_points(known, unknown, side)
        for level in (0.3, 0.95):
            first = next(fpr for tpr, fpr in points if tpr >= level - 1e-12)
            assert result.fpr_at_tpr(level, side) == pytest.approx(first, abs=1e-12)
            below = max((fpr for tpr, fpr in points if tpr < level - 1e-12), default=0.0)
            assert result.fpr_at_tpr(level, side, "below") == pytest.approx(below, abs=1e-12)


def naive_delong(known, unknown):
    wins = np.array([[(a > b) + 0.5 * (a == b) for b in unknown] for a in known])
    return wins.mean(1).var(ddof=1) / len(known) + wins.mean(0).var(ddof=1) / len(unknown)


@pytest.mark.parametrize("case", ["untied", "tied", "heavily tied", "infinite", "separated", "constant"])
def test_delong_agrees_with_its_definition(case):
    known, unknown = CASES[case]
    result = evaluate(known, unknown)
    assert result.auroc_variance == pytest.approx(naive_delong(known, unknown), abs=1e-12)
    swapped = evaluate(unknown, known)
    assert swapped.auroc_variance == pytest.approx(result.auroc_variance, abs=1e-12)


def test_delong_interval_by_hand():
    """The logit interval of the formula, and the same interval seen from the other side."""
    known, unknown = CASES["tied"]
    area, sd = naive_auroc(known, unknown), math.sqrt(naive_delong(known, unknown))
    reach = stats.norm.ppf(0.95) * sd / (area * (1 - area))
    expected = [1 / (1 + math.exp(-(math.log(area / (1 - area)) + sign * reach))) for sign in (-1, 1)]
    low, high = evaluate(known, unknown).auroc_interval(confidence=0.9)
    assert [low, high] == pytest.approx(expected, abs=1e-12)
    assert evaluate(unknown, known).auroc_interval(confidence=0.9) == pytest.approx((1 - high, 1 - low))


def test_delong_interval_covers():
    """In 1000 draws of 60 + 40 scores, the interval holds the true AUROC about 95 times of 100."""
    random = np.random.default_rng(1)
    truth = stats.norm.cdf(1 / math.sqrt(2))
    inside = 0
    for _ in range(1000):
        low, high = evaluate(random.normal(1, 1, 60), random.normal(0, 1, 40)).auroc_interval()
        inside += low <= truth <= high
    assert 0.93 <= inside / 1000 <= 0.975


def test_intervals_where_delong_says_nothing():
    reach = -math.log(0.05) / 20
    assert evaluate(np.arange(30) + 100, np.arange(20)).auroc_interval() == pytest.approx((1 - reach, 1))
    assert evaluate(np.arange(20), np.arange(30) + 100).auroc_interval() == pytest.approx((0, reach))
    assert evaluate([1.0] * 30, [1.0] * 20).auroc_interval() == pytest.approx((0.5 - reach, 0.5 + reach))
    assert evaluate([1], [0]).auroc_interval() == (0.0, 1.0)
    low, high = evaluate([1.5], [0, 1, 2, 3]).auroc_interval()
    assert low < 0.2
    assert high > 0.8


# FPR rules -----------------------------------------------------------------------------------------------


def test_fpr_rules_by_hand():
    """Known at 10, 20 .. 100. At 95 %: ten of ten are needed, nine is the nearest below, 9.5 between."""
    known = np.arange(1, 11) * 10
    unknown = np.array([5, 10, 15, 20, 20, 25, 35, 200])
    result = evaluate(known, unknown)
    expected = {
        "first": 7 / 8,  # threshold 10: all but 5
        "nearest": 7 / 8,  # 1.0 and 0.9 are equally near, the higher wins
        "below": 6 / 8,  # threshold 15, the last with nine known: 15 20 20 25 35 200
        "linear": 6.5 / 8,  # half way
        "quantile_ge": 5 / 8,  # ninth largest known, 20: 20 20 25 35 200
        "quantile_gt": 7 / 8 - 1 / 8,  # index round(0.5) = 0, 10: strictly above it
    }
    assert {rule: result.fpr_at_tpr(0.95, "known", rule) for rule in RULES} == pytest.approx(expected)
    mirrored = evaluate(-unknown, -known)
    assert {rule: mirrored.fpr_at_tpr(0.95, "unknown", rule) for rule in RULES} == pytest.approx(expected)


def test_levels_are_compared_as_integers():
    """19 of 20 is 0.95, also where the level's last bits say otherwise."""
    known, unknown = np.arange(20), np.arange(20) - 0.5  # one unknown just below each known
    for level in (0.95, 1 - 0.05, 0.95 + 1e-16, np.float64(0.95)):
        for rule in ("first", "linear", "quantile_ge"):
            assert evaluate(known, unknown).fpr_at_tpr(level, "known", rule) == 18 / 20, (level, rule)
    assert 0.07 * 100 > 7  # seven of a hundred must do
    assert fpr_at_tpr(np.arange(100), np.arange(100) - 0.5, level=0.07) == 6 / 100


def test_fpr_at_the_ends():
    result = evaluate([3, 4], [1, 2])
    assert [result.fpr_at_tpr(1.0, rule=rule) for rule in RULES] == [0] * len(RULES)
    assert evaluate([1, 2], [3, 4]).fpr_at_tpr(0.95) == 1
    assert evaluate([1, 2], [3, 4]).fpr_at_tpr(0.4, rule="nearest") == 1  # (0, 0) is no threshold
    assert evaluate([2], [1, 3]).fpr_at_tpr(0.3, rule="nearest") == 0.5  # but recall 0 at 3 is one
    assert evaluate([1], [1]).fpr_at_tpr(0.5, rule="below") == 0


def hand_rules(known, unknown, level):
    """The quantile rules, the nearest recall and the interpolated curve, in the words of their authors."""
    n = len(known)
    ascending = np.sort(known)
    at_least = ascending[-max(1, math.floor(round(level * n, 9)))]
    above = ascending[min(n - 1, round(round((1 - level) * n, 9)))]
    points = naive_points(known, unknown, "known")
    full = next(i for i, (tpr, _) in enumerate(points) if tpr == 1)
    descending = points[full::-1]
    nearest = min(descending, key=lambda point: round(abs(point[0] - level), 12))[1]
    tpr, fpr = np.array([(0.0, 0.0), *points]).T
    exact = np.abs(tpr - level) < 1e-12
    linear = fpr[exact].min() if exact.any() else np.interp(level, tpr, fpr)
    return {
        "quantile_ge": np.mean(unknown >= at_least),
        "quantile_gt": np.mean(unknown > above),
        "nearest": nearest,
        "linear": linear,
    }


@every_small_case
@pytest.mark.parametrize("level", [0.1, 0.5, 0.9, 0.95, 0.99])
def test_fpr_rules_agree_with_their_authors_words(case, level):
    known, unknown = SMALL[case]
    for rule, expected in hand_rules(known, unknown, level).items():
        assert evaluate(known, unknown).fpr_at_tpr(level, "known", rule) == pytest.approx(expected), rule
        assert evaluate(-unknown, -known).fpr_at_tpr(level, "unknown", rule) == pytest.approx(expected), rule


@settings(max_examples=100, deadline=None, derandomize=True)
@given(known=few_values | any_values, unknown=few_values | any_values, level=st.floats(0.01, 1))
def test_fpr_rules_keep_their_order(known, unknown, level):
    result = evaluate(known, unknown)
    for side in SIDES:
        values = {rule: result.fpr_at_tpr(level, side, rule) for rule in RULES}
        assert values["below"] <= values["first"]
        assert values["linear"] <= values["first"]
        assert all(0 <= value <= 1 for value in values.values())
        assert values["first"] <= result.fpr_at_tpr(min(1, level + 0.1), side)  # monotone in the level


@every_small_case
def test_increasing_transforms_change_nothing(case):
    known, unknown = SMALL[case]
    ranks = stats.rankdata(np.r_[known, unknown])
    result = evaluate(known, unknown)
    for a, b in (
        (ranks[: len(known)], ranks[len(known) :]),
        (np.arctan(known / 4), np.arctan(unknown / 4)),
        (known * 2.0, unknown * 2.0),
    ):
        moved = evaluate(a, b)
        if moved.distinct_scores == result.distinct_scores:  # arctan may merge far scores
            assert moved.to_dict() == result.to_dict()


def test_no_point_of_the_curve_is_dropped():
    """Tie groups of one ratio lie on the diagonal: scikit-learn's default drops them and reports 1.0."""
    known = unknown = np.repeat(np.arange(20.0), 10)
    y, s = pooled(known, unknown, "unknown")
    fpr, tpr, _ = roc_curve(y, s)
    assert fpr[np.argmax(tpr >= 0.95)] == 1.0
    assert fpr_at_tpr(known, unknown, positive="unknown") == 0.95
    assert fpr_at_tpr(known, unknown, positive="known") == 0.95


# Detection errors ----------------------------------------------------------------------------------------


@every_case
def test_detection_errors_are_the_least_of_all_cuts(case):
    known, unknown = CASES[case]
    n, m = len(known), len(unknown)
    fpr, tpr, _ = roc_curve(*pooled(known, unknown, "known"), drop_intermediate=False)
    result = evaluate(known, unknown)
    assert result.detection_error() == pytest.approx(np.min((1 - tpr) + fpr) / 2, abs=1e-12)
    expected = np.min((1 - tpr) * n + fpr * m) / (n + m)
    assert result.prior_weighted_detection_error() == pytest.approx(expected, abs=1e-12)
    assert result.prior_weighted_detection_error() <= min(n, m) / (n + m)
    mirrored = evaluate(-unknown, -known)  # unknown as positive
    assert mirrored.detection_error() == result.detection_error()
    assert mirrored.prior_weighted_detection_error() == result.prior_weighted_detection_error()


def test_detection_errors_part_where_sides_differ_in_size():
    """Ten known and two unknown: refusing none costs half of one error rate, but only 2 inputs of 12."""
    known, unknown = np.arange(10), np.array([4.5, -1])
    result = evaluate(known, unknown)
    assert result.detection_error() == 0.25  # from 0 on: one of two unknown passes
    assert result.prior_weighted_detection_error() == 1 / 12
    many = evaluate(known, np.repeat(unknown, 10))  # 10 + 10 copies
    assert many.detection_error() == 0.25
    assert many.prior_weighted_detection_error() == 5 / 30  # from 5 on: five known are refused, no unknown passes
    assert evaluate([1, 1], [1]).detection_error() == 0.5
    assert evaluate([2], [1]).detection_error() == 0
    assert evaluate([1], [2]).detection_error() == 0.5


# Invariances ---------------------------------------------------------------------------------------------


@every_case
def test_order_changes_not_a_bit(case):
    known, unknown = CASES[case]
    random = np.random.default_rng(5)
    shuffled = evaluate(random.permutation(known), random.permutation(unknown))
    assert shuffled.to_dict() == evaluate(known, unknown).to_dict()


@every_case
def test_swapping_or_negating_mirrors(case):
    known, unknown = CASES[case]
    result, swapped = evaluate(known, unknown), evaluate(-unknown, -known)  # twice turned
    assert swapped.auroc == result.auroc
    assert swapped.average_precision("unknown") == pytest.approx(result.average_precision("known"), abs=1e-12)
    assert swapped.aupr_trapezoid("known") == pytest.approx(result.aupr_trapezoid("unknown"), abs=1e-12)
    assert evaluate(-known, -unknown).auroc == pytest.approx(1 - result.auroc, abs=1e-15)
    assert evaluate(unknown, known).auroc == pytest.approx(1 - result.auroc, abs=1e-15)


@every_case
def test_types_change_not_a_bit(case):
    known, unknown = (x.astype(np.float32) for x in CASES[case])
    expected = evaluate(known.astype(np.float64), unknown.astype(np.float64)).to_dict()
    assert evaluate(known, unknown).to_dict() == expected
    assert evaluate(known, unknown.astype(np.float64)).to_dict() == expected
    assert evaluate(known.tolist(), torch.from_numpy(unknown).requires_grad_()).to_dict() == expected
    assert evaluate(known[::-1], unknown[::-1]).to_dict() == expected  # negative strides


@pytest.mark.parametrize(
    "cast",
    [
        lambda x: x.astype(np.float16),
        lambda x: x.astype(np.int8),
        lambda x: x.astype(np.int64),
        lambda x: (x + 8).astype(np.uint64),
        lambda x: torch.from_numpy(x).bfloat16(),
        lambda x: torch.from_numpy(x).half(),
        lambda x: x.astype(int).tolist(),
    ],
)
def test_other_types(cast):
    random = np.random.default_rng(6)
    known, unknown = random.integers(-5, 9, 50).astype(float), random.integers(-8, 5, 40).astype(float)
    expected = evaluate(known, unknown).to_dict()
    assert evaluate(cast(known), cast(unknown)).to_dict() == expected


def test_integers_keep_their_order():
    big = 2**60
    assert auroc([big + 1], [big]) == 1.0  # equal as float64
    assert auroc([True, True], [False, True]) == 0.75
    assert auroc(np.array([3], np.uint64), np.array([-1], np.int64)) == 1.0
    with pytest.raises(BadInput, match=r"known scores: integers beyond 2\*\*53"):
        evaluate([big + 1], [0.5])


def test_inputs_are_not_written_to():
    known, unknown = np.array([3.0, -0.0, 2.0], np.float32), np.array([1.0, 5.0], np.float32)
    known.flags.writeable = unknown.flags.writeable = False
    assert evaluate(known, unknown).auroc == 2 / 6


def test_functions_are_the_methods():
    known, unknown = CASES["tied"]
    result = evaluate(known, unknown)
    assert auroc(known, unknown) == result.auroc
    for side in SIDES:
        assert average_precision(known, unknown, positive=side) == result.average_precision(side)
        assert aupr_trapezoid(known, unknown, positive=side) == result.aupr_trapezoid(side)
        for rule in RULES:
            assert fpr_at_tpr(known, unknown, 0.9, side, rule) == result.fpr_at_tpr(0.9, side, rule)


# Curves and printing -------------------------------------------------------------------------------------


@every_case
def test_curves_keep_their_ends_when_thinned(case):
    result = evaluate(*CASES[case])
    for side in SIDES:
        for whole, thin in (
            (result.roc(side), result.roc(side, points=7)),
            (result.precision_recall(side), result.precision_recall(side, points=7)),
        ):
            assert len(thin[0]) <= 7
            assert {tuple(p) for p in np.array(thin).T} <= {tuple(p) for p in np.array(whole).T}
            assert [tuple(np.array(thin)[:, end]) for end in (0, -1)] == [
                tuple(np.array(whole)[:, end]) for end in (0, -1)
            ]
        assert auc(*result.roc(side)[:2]) == pytest.approx(result.auroc, abs=1e-12)


def test_thresholds_give_their_point():
    known, unknown = np.array([4, 3, 3, 1]), np.array([3, 2, 1])
    curve = evaluate(known, unknown).roc()
    assert curve.thresholds[0] == inf
    for fpr, tpr, t in zip(*curve, strict=True):
        assert (fpr, tpr) == (np.mean(unknown >= t), np.mean(known >= t))
    curve = evaluate(known, unknown).precision_recall("unknown")
    assert curve.thresholds[0] == -inf
    for recall, precision, t in list(zip(*curve, strict=True))[1:]:
        called = np.sum(known <= t) + np.sum(unknown <= t)
        assert (recall, precision) == (np.mean(unknown <= t), np.sum(unknown <= t) / called)


def test_to_dict_is_json():
    numbers = evaluate([3, 4, 5], [1, 2, 3]).to_dict()
    assert json.loads(json.dumps(numbers)) == numbers
    assert numbers["fpr_at_tpr95"] == 1 / 3
    assert (numbers["n_known"], numbers["n_unknown"], numbers["distinct_scores"]) == (3, 3, 5)


def test_constant_scores():
    result = evaluate([7.0] * 30, [7.0] * 10)
    assert result.auroc == 0.5
    assert result.average_precision("known") == 0.75
    assert result.average_precision("unknown") == 0.25


# Errors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_nan_is_named(dtype):
    bad = np.array([1, 2, np.nan, 3, np.nan], dtype)
    with pytest.raises(BadInput, match=r"unknown scores: 2 of 5 are NaN, the first in row 2"):
        evaluate(bad[:2], bad)
    with pytest.raises(BadInput, match=r"known scores: 2 of 5 are NaN"):
        evaluate(torch.from_numpy(bad), [1.0])


@pytest.mark.parametrize(
    ("known", "unknown", "message"),
    [
        ([], [1.0], "known scores: there are none"),
        ([1.0], torch.empty(0), "unknown scores: there are none"),
        ([[1.0]], [1.0], r"known scores: expected shape \(N,\), got \(1, 1\)"),
        (3.0, [1.0], r"known scores: expected shape"),
        ([1.0], ["a"], "unknown scores: expected real numbers"),
        ([1.0], [1j], "unknown scores: expected real numbers"),
        ([[1.0], [1.0, 2.0]], [1.0], "known scores: not an array"),
    ],
)
def test_bad_inputs_are_named(known, unknown, message):
    with pytest.raises(BadInput, match=message):
        evaluate(known, unknown)


def test_wrong_use_is_named():
    result = evaluate([1, 2], [0, 1])
    for call, message in (
        (lambda: result.average_precision("id"), 'positive must be "known" or "unknown"'),
        (lambda: result.aupr_trapezoid("ood"), "positive must be"),
        (lambda: result.fpr_at_tpr(positive="in"), "positive must be"),
        (lambda: result.fpr_at_tpr(rule="last"), "rule 'last' is not one of first, nearest"),
        (lambda: result.fpr_at_tpr(0), "level must be above 0"),
        (lambda: result.fpr_at_tpr(95), "level must be above 0"),
        (lambda: result.roc(points=1), "at least 2 points"),
        (lambda: result.roc(positive="ood"), "positive must be"),
        (lambda: result.auroc_interval(95), "confidence must be within 0 and 1"),
        (lambda: result.bootstrap("f1"), "metric 'f1' is not one of auroc, ap_known"),
        (lambda: result.bootstrap("auroc", replicates=0), "replicates must be at least 1"),
    ):
        with pytest.raises(WrongUse, match=message):
            call()
    with pytest.raises(TypeError):
        average_precision([1], [0])


def test_import_is_light():
    code = (
        "import sys, unseen.metrics; unseen.metrics.evaluate([1.0], [0.0]).average_precision('known');"
        "print(*({'torch', 'scipy', 'sklearn', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not done.stdout.strip()


def test_every_rank_order_of_four():
    """All orders of two known and two unknown: AUROC is the share of pairs in order."""
    for order in itertools.permutations(range(4)):
        assert auroc(order[:2], order[2:]) == naive_auroc(order[:2], order[2:])
