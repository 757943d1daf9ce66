"""Detectors on the same inputs: DeLong's covariance by its definition, both tests under no difference, and Holm."""

import math

import numpy as np
import pytest
from scipy import stats

from unseen.errors import BadInput, WrongUse
from unseen.metrics import auroc_covariance, compare, evaluate, holm


def detectors(seed, n=60, m=40, digits=9):
    """Three that share what makes an input hard: a good one, one nearly like it, and a weak one with many ties."""
    random = np.random.default_rng(seed)
    hard = random.normal(size=n + m)
    is_known = np.arange(n + m) < n
    scores = {
        "good": hard + 1.5 * is_known,
        "near": hard + 1.5 * is_known + random.normal(0, 0.1, n + m),
        "weak": (hard + random.normal(size=n + m) + 0.5 * is_known).round(),
    }
    return {name: (x[:n].round(digits), x[n:].round(digits)) for name, x in scores.items()}


# DeLong's covariance -------------------------------------------------------------------------------------


def naive_covariance(scores):
    """Wins of all pairs, then sample covariances of their row and column means."""
    wins = [np.array([[(a > b) + 0.5 * (a == b) for b in unknown] for a in known]) for known, unknown in scores]
    n, m = wins[0].shape
    return np.cov([w.mean(1) for w in wins]) / n + np.cov([w.mean(0) for w in wins]) / m


@pytest.mark.parametrize("digits", [9, 1, 0])
def test_covariance_agrees_with_its_definition(digits):
    scores = detectors(0, digits=digits)
    scores["infinite"] = (np.r_[scores["good"][0][:-2], math.inf, -math.inf], scores["good"][1])
    found = auroc_covariance(scores)
    np.testing.assert_allclose(found, naive_covariance(scores.values()), rtol=0, atol=1e-12)
    variances = [evaluate(*pair).auroc_variance for pair in scores.values()]
    np.testing.assert_allclose(np.diag(found), variances, rtol=0, atol=1e-15)
    swapped = auroc_covariance({name: (unknown, known) for name, (known, unknown) in scores.items()})
    np.testing.assert_allclose(swapped, found, rtol=0, atol=1e-15)


def test_covariance_with_itself_is_the_variance():
    known, unknown = detectors(1)["weak"]
    covariance = auroc_covariance({"a": (known, unknown), "as ranks": (np.exp(known), np.exp(unknown))})
    np.testing.assert_allclose(covariance, evaluate(known, unknown).auroc_variance, rtol=1e-13)
    assert auroc_covariance({"a": (known, unknown)}) == pytest.approx(covariance[:1, :1])


def test_covariance_describes_new_draws():
    """Over 400 draws, AUROCs vary together as the covariance of one large draw says."""
    draws = [[evaluate(*pair).auroc for pair in detectors(seed).values()] for seed in range(400)]
    large = auroc_covariance(detectors(0, 6000, 4000)) * 100
    np.testing.assert_allclose(np.cov(np.transpose(draws)), large, rtol=0.2)


# Comparisons ---------------------------------------------------------------------------------------------


def test_delong_comparison_by_hand():
    """Difference, normal interval and p-value from the covariance matrix, and Holm over the three pairs."""
    scores = detectors(2)
    covariance, names = naive_covariance(scores.values()), list(scores)
    results = compare(scores, confidence=0.9)
    assert [(r.a, r.b) for r in results] == [("good", "near"), ("good", "weak"), ("near", "weak")]
    for r in results:
        contrast = np.zeros(3)
        contrast[[names.index(r.a), names.index(r.b)]] = 1, -1
        deviation = math.sqrt(contrast @ covariance @ contrast)
        assert (r.value_a, r.value_b) == (evaluate(*scores[r.a]).auroc, evaluate(*scores[r.b]).auroc)
        assert r.difference == r.value_a - r.value_b
        reach = stats.norm.ppf(0.95) * deviation
        assert r.interval == pytest.approx((r.difference - reach, r.difference + reach), abs=1e-12)
        assert r.p_value == pytest.approx(2 * stats.norm.sf(abs(r.difference) / deviation), rel=1e-9)
        assert (r.metric, r.method) == ("auroc", "delong")
    assert [r.p_holm for r in results] == holm([r.p_value for r in results])


def test_against_a_baseline():
    scores = detectors(3)
    results = compare(scores, baseline="near")
    assert [(r.a, r.b) for r in results] == [("good", "near"), ("weak", "near")]
    assert [r.p_holm for r in results] == holm([r.p_value for r in results])  # of two comparisons, not of three
    pairs = {(r.a, r.b): r for r in compare(scores)}
    assert results[0][:8] == pairs["good", "near"][:8]
    assert results[1].difference == -pairs["near", "weak"].difference
    assert results[1].p_value == pairs["near", "weak"].p_value
    assert results[1].interval == pytest.approx([-end for end in reversed(pairs["near", "weak"].interval)])


def test_one_ranking_is_no_difference():
    """Also with ties, however the scores are scaled, and by either method."""
    for digits in (9, 0):
        known, unknown = detectors(4, digits=digits)["good"]
        scores = {"a": (known, unknown), "b": (np.exp(known), np.exp(unknown))}
        (by_delong,) = compare(scores)
        assert (by_delong.difference, by_delong.p_value, by_delong.p_holm) == (0, 1, 1)
        assert by_delong.interval == pytest.approx((math.log(0.05) / 40, -math.log(0.05) / 40))
        for metric in ("ap_unknown", "fpr_at_tpr95", lambda e: e.auroc):
            (resampled,) = compare(scores, metric=metric, replicates=100)
            assert (resampled.difference, resampled.interval, resampled.p_value) == (0, (0, 0), 1)


def test_one_input_is_a_difference():
    """Among many, a single input that moved by one rank: no rounding hides it or makes it certain."""
    known, unknown = np.arange(5000.0) * 2 + 1, np.arange(5000.0) * 2
    moved = known.copy()
    moved[2500] -= 1.5
    (result,) = compare({"a": (known, unknown), "b": (moved, unknown)})
    assert result.difference == pytest.approx(1 / 5000**2, rel=1e-6)
    assert result.p_value == pytest.approx(2 * stats.norm.sf(1 / math.sqrt(2)), rel=1e-3)  # both sides say 1 in n


def test_where_delong_says_nothing():
    """All placements differ by the same amount: 10 + 20 inputs, one detector separates, the others do not."""
    scores = {
        "separates": (np.arange(10) + 100, np.arange(20)),
        "also": (np.arange(10)[::-1] + 100, np.arange(20)),
        "constant": (np.zeros(10), np.zeros(20)),
    }
    same, against, _ = compare(scores)
    reach = -math.log(0.05) / 10
    assert (same.difference, same.p_value, same.interval) == (0, 1, pytest.approx((-reach, reach)))
    assert (against.difference, against.p_value) == (0.5, pytest.approx(math.exp(-5)))
    assert against.interval == pytest.approx((0.5 - reach, 0.5 + reach))
    (few,) = compare({name: (known[:2], unknown[:2]) for name, (known, unknown) in list(scores.items())[1:]})
    assert few.interval == (pytest.approx(0.5 + math.log(0.05) / 2), 1)  # cut at what a difference can be
    assert few.p_value > 0.3


@pytest.mark.parametrize("seed", [5, 6])
def test_bootstrap_agrees_with_delong(seed):
    scores = detectors(seed, 300, 200)
    by_delong = compare(scores)
    resampled = compare(scores, metric=lambda e: e.auroc, replicates=1000)
    for one, other in zip(by_delong, resampled, strict=True):
        width = one.interval[1] - one.interval[0]
        assert other.interval == pytest.approx(one.interval, abs=0.15 * width)  # unpaired draws are far wider
        assert other.difference == one.difference
        assert other.p_value == pytest.approx(max(one.p_value, 2 / 1001), abs=0.08)
        assert (other.metric, other.method) == ("<lambda>", "bootstrap")
    assert compare(scores, metric="ap_known", replicates=50) == compare(scores, metric="ap_known", replicates=50)
    assert compare(scores, metric="ap_known", replicates=50, seed=1) != compare(
        scores, metric="ap_known", replicates=50
    )


def test_smallest_p_value_is_said():
    """With every replicate on one side of 0 it is 2 / (replicates + 1), never 0."""
    scores = {"a": (np.arange(50) + 100, np.arange(50)), "b": (np.arange(50), np.arange(50) + 0.5)}
    (result,) = compare(scores, metric="fpr_at_tpr95", replicates=99)
    assert result.p_value == 2 / 100
    assert result.difference < 0


def test_groups_widen_a_comparison():
    """Ten copies of each input: in groups they add nothing, one by one they seem to."""
    scores = detectors(7)
    copied = {name: (np.repeat(known, 10), np.repeat(unknown, 10)) for name, (known, unknown) in scores.items()}
    groups = np.repeat(np.arange(60), 10), np.repeat(np.arange(40), 10)
    plain = compare(scores, groups=(None, None), replicates=300)
    for one, other in zip(plain, compare(copied, groups=groups, replicates=300), strict=True):
        assert other.interval == pytest.approx(one.interval, abs=1e-12)
        assert other.p_value == one.p_value
        assert (other.metric, other.method) == ("auroc", "bootstrap")
    for one, other in zip(plain, compare(copied), strict=True):
        ratio = (one.interval[1] - one.interval[0]) / (other.interval[1] - other.interval[0])
        assert ratio == pytest.approx(math.sqrt(10), rel=0.2)


def test_flags_for_all_or_for_each():
    scores = detectors(8)
    random = np.random.default_rng(0)
    right = {name: random.random(60) < 0.8 for name in scores}
    for r in compare(scores, metric="oscr", correct=right, replicates=20):
        assert r.value_a == evaluate(*scores[r.a], right[r.a]).oscr()
        assert r.value_b == evaluate(*scores[r.b], right[r.b]).oscr()
    shared = compare(scores, metric="accuracy", correct=right["good"], replicates=20)
    assert [(r.difference, r.interval, r.p_value) for r in shared] == [(0, (0, 0), 1)] * 3
    with pytest.raises(WrongUse, match="OSCR needs to know"):
        compare(scores, metric="oscr")


# Under no difference -------------------------------------------------------------------------------------


def null_draw(random, n=50, groups=None):
    """Two detectors equally good and correlated, on inputs alone or in groups of five."""
    units = n if groups is None else n // 5
    shared = random.normal(size=(2, units, 1)) + random.normal(size=(2, units, 2))
    if groups is not None:
        shared = np.repeat(shared, 5, axis=1)
    scores = shared + random.normal(0, 0.5, size=shared.shape)
    scores[0] += 1
    return {name: (scores[0, :, i], scores[1, :, i]) for i, name in enumerate("ab")}


def test_delong_keeps_its_level():
    random = np.random.default_rng(15)
    p = np.array([compare(null_draw(random))[0].p_value for _ in range(2000)])
    assert np.mean(p < 0.05) == pytest.approx(0.05, abs=0.015)
    assert np.mean(p < 0.5) == pytest.approx(0.5, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("in_groups", [False, True])
def test_bootstrap_keeps_its_level(in_groups):
    """In 400 draws; one by one, the grouped inputs would be told apart far too often."""
    random = np.random.default_rng(16)
    group = np.repeat(np.arange(40), 5)
    p, naive = [], []
    for _ in range(400):
        scores = null_draw(random, 200, groups=group if in_groups else None)
        pair = (group, group) if in_groups else (None, None)
        p.append(compare(scores, groups=pair, replicates=199)[0].p_value)
        naive.append(compare(scores)[0].p_value)
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.04)
    if in_groups:
        assert np.mean(np.array(naive) <= 0.05) > 0.2


# Errors --------------------------------------------------------------------------------------------------


def test_scores_that_do_not_match_are_named():
    a = ([1, 2, 3], [0, 1])
    for scores, message in (
        ({"a": a, "b": ([1, 2], [0, 1])}, "b: 2 known scores, a has 3: compare scores of the same inputs"),
        ({"a": a, "b": ([1, 2, 3], [0])}, "b: 1 unknown scores, a has 2: compare scores of the same inputs"),
        ({"a": a, "b": ([1, 2, np.nan], [0, 1])}, "b: known scores: 1 of 3 are NaN, the first in row 2"),
        ({"a": a, "b": [1, 2, 3]}, r"b: expected a pair of scores, \(known, unknown\)"),
        ({"a": a, "b": evaluate(*a)}, r"b: expected a pair of scores, \(known, unknown\)"),
        ({"a": ([1], [0, 1]), "b": ([2], [0, 1])}, "DeLong's covariance needs at least 2 .* got 1 and 2"),
    ):
        for call in (compare, auroc_covariance):
            with pytest.raises(BadInput, match=f"^{message}"):
                call(scores)
    with pytest.raises(BadInput, match="there is no detector"):
        auroc_covariance({})
    with pytest.raises(BadInput, match="groups of unknown: 3 names for 2 unknown scores"):
        compare({"a": a, "b": a}, groups=(None, [1, 2, 3]))
    with pytest.raises(BadInput, match="a: correct: expected 3 of True and False"):
        compare({"a": a, "b": a}, metric="oscr", correct=[True, False])


def test_wrong_use_is_named():
    a = ([1, 2, 3], [0, 1])
    flags = [True, False, True]
    for scores, options, message in (
        ({}, {}, "compare needs at least two detectors, got 0"),
        ({"a": a}, {}, "compare needs at least two detectors, got 1"),
        ({"knn": a, "msp": a}, {"baseline": "kn"}, "baseline 'kn' is not one of knn, msp; did you mean \"knn\""),
        ({"a": a, "b": a}, {"metric": "f1"}, "metric 'f1' is not one of auroc"),
        ({"a": a, "b": a}, {"metric": "oscr", "correct": {"a": flags}}, "only one of them has b"),
        ({"a": a, "b": a}, {"correct": {"a": flags, "b": flags, "c": flags}}, "only one of them has c"),
        ({"a": a, "b": a}, {"confidence": 95}, "confidence must be within"),
        ({"a": a, "b": a}, {"replicates": 0}, "replicates must be at least 1"),
    ):
        with pytest.raises(WrongUse, match=message):
            compare(scores, **options)


# Several comparisons -------------------------------------------------------------------------------------


def test_holm_agrees_with_its_definition():
    """A p-value is adjusted to the largest of (k - rank) p over those not larger than it."""
    p = [0.01, 0.04, 0.03, 0.005, 0.5]
    expected = [min(1, max((len(p) - sorted(p).index(other)) * other for other in p if other <= each)) for each in p]
    assert holm(p) == pytest.approx(expected)
    assert holm([0.03]) == [0.03]
    assert holm([0.6, 0.7]) == [1, 1]
