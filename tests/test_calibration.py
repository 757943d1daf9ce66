"""Split conformal calibration: exact by enumeration, by simulation, and where it must fail."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unseen.calibration import SplitConformal
from unseen.errors import BadInput, NotEnoughKnown, NotFitted, WrongUse

CALIBRATION = np.random.default_rng(0).normal(size=99)


def naive_p(score, calibration):
    return (1 + sum(c <= score for c in calibration)) / (len(calibration) + 1)


@pytest.mark.parametrize("n", range(1, 7))
def test_every_rank_order(n):
    """All orders of n calibration scores and one test score: the p-value is uniform on 1/(n+1) .. 1."""
    p_values = [
        SplitConformal().fit(order[:-1]).p_value(float(order[-1])) for order in itertools.permutations(range(n + 1))
    ]
    values, counts = np.unique(p_values, return_counts=True)
    np.testing.assert_allclose(values, np.arange(1, n + 2) / (n + 1))
    assert set(counts) == {math.factorial(n)}


@pytest.mark.parametrize("n", range(1, 7))
def test_every_order_of_tied_scores_keeps_the_promise(n):
    """Scores drawn from 0, 0, 1, 1, ..: at every alpha, at most that share is called unseen."""
    pool = [i // 2 for i in range(n + 1)]
    orders = set(itertools.permutations(pool))
    for k in range(1, n + 1):
        rejected = [SplitConformal().fit(order[:-1]).rejects(order[-1], k / (n + 1)) for order in orders]
        assert np.mean(rejected) <= k / (n + 1) + 1e-12


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    calibration=st.lists(st.sampled_from([-1.5, 0.0, 0.1, 0.25, 2.0]), min_size=1, max_size=30),
    scores=st.lists(st.sampled_from([-math.inf, -1.5, -0.0, 0.05, 0.1, 2.0, math.inf]), min_size=1),
    alpha=st.floats(0.01, 0.99),
)
def test_agrees_with_its_definition(calibration, scores, alpha):
    conformal = SplitConformal().fit(calibration)
    p_values = conformal.p_value(scores)
    assert p_values == pytest.approx([naive_p(s, calibration) for s in scores], abs=1e-15)
    if alpha < conformal.smallest_alpha:
        return
    called, threshold = conformal.rejects(scores, alpha), conformal.threshold(alpha)
    assert called == [s < threshold for s in scores]
    assert called == [p <= alpha + 1e-12 for p in p_values]


def test_p_values_rise_with_the_score_and_ignore_its_scale():
    scores = np.sort(np.random.default_rng(1).normal(size=200))
    p_values = SplitConformal().fit(CALIBRATION).p_value(scores)
    assert (np.diff(p_values) >= 0).all()
    stretched = SplitConformal().fit(np.exp(CALIBRATION)).p_value(np.exp(scores))
    np.testing.assert_array_equal(stretched, p_values)
    assert SplitConformal().fit(CALIBRATION).p_value([-9.0, 9.0]) == [1 / 100, 1.0]


# The promise, and how to break it ------------------------------------------------------------------------


def nearest(queries, bank):
    """Minus the distance to the nearest fitted row: as simple as a detector can be."""
    return -np.linalg.norm(queries[:, None] - bank[None], axis=-1).min(1)


def mean_false_alarm_rate_is_as_promised(calibrate_on_fitted_rows, draws=1000, n=39, k=4):
    """Over draws of fitting, calibration and test rows, the mean rate is within 4 standard errors of k/(n+1).

    The rates of single draws must follow Beta(k, n + 1 - k) as well, up to the size of the test set.
    """
    random = np.random.default_rng(2)
    rates = np.empty(draws)
    for i in range(draws):
        fitted, aside, test = (
            random.normal(size=(n, 2)),
            random.normal(size=(n, 2)),
            random.normal(size=(50, 2)),
        )
        calibration = fitted if calibrate_on_fitted_rows else aside
        conformal = SplitConformal().fit(nearest(calibration, fitted))
        rates[i] = conformal.rejects(nearest(test, fitted), k / (n + 1)).mean()
    assert abs(rates.mean() - k / (n + 1)) <= 4 * rates.std(ddof=1) / math.sqrt(draws)
    expected = stats.betabinom(50, k, n + 1 - k)
    assert rates.std(ddof=1) * 50 == pytest.approx(expected.std(), rel=0.1)


def test_held_out_calibration_keeps_the_promise():
    mean_false_alarm_rate_is_as_promised(calibrate_on_fitted_rows=False)


def test_the_same_check_fails_when_fitted_rows_calibrate():
    """Each row finds itself at distance 0: every new input looks stranger than all of them."""
    with pytest.raises(AssertionError):
        mean_false_alarm_rate_is_as_promised(calibrate_on_fitted_rows=True)


def test_rates_of_single_calibration_sets_follow_beta():
    """The true rate at the threshold, known for uniform scores, against Beta quantiles (KS)."""
    random = np.random.default_rng(3)
    rates = [SplitConformal().fit(random.uniform(size=199)).threshold(0.05) for _ in range(1500)]
    assert stats.kstest(rates, stats.beta(10, 190).cdf).pvalue > 0.01


def test_confident_threshold_holds_for_its_share_of_calibration_sets():
    random = np.random.default_rng(4)
    rates = [SplitConformal().fit(random.uniform(size=199)).threshold(0.05, 0.9) for _ in range(1500)]
    kept = np.mean(np.array(rates) <= 0.05)
    assert kept >= 0.9 - 4 * math.sqrt(0.09 / 1500)
    plain = [SplitConformal().fit(random.uniform(size=199)).threshold(0.05) for _ in range(500)]
    assert np.mean(np.array(plain) <= 0.05) < 0.65  # the average promise is kept by about half of them


def test_duplicated_scores_alarm_less():
    random = np.random.default_rng(5)
    rates = []
    for _ in range(1000):
        conformal = SplitConformal().fit(random.normal(size=99).round(1))
        rates.append(conformal.rejects(random.normal(size=50).round(1), 0.1).mean())
    assert np.mean(rates) <= 0.1 + 4 * np.std(rates) / math.sqrt(1000)


# Ranks, intervals and counts -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alpha", "n", "k"),
    [
        (0.29, 99, 29),  # 28.999999999999996
        (0.57, 99, 57),  # 56.99999999999999
        (0.07, 99, 7),  # 7.000000000000001
        (1 - 0.9, 99, 10),  # 9.999999999999998
        (0.1 + 0.2, 9, 3),
        (np.float32(0.05), 99, 5),
        (0.05, 1000, 50),
        (0.05, 19, 1),
        (1 / 3, 2, 1),
        (2 / 7, 6, 2),
        (0.0999, 99, 9),
        (0.999999, 3, 3),
    ],
)
def test_ranks_are_exact(alpha, n, k):
    conformal = SplitConformal().fit(range(1, n + 1))
    assert conformal.threshold(alpha) == k
    assert sum(conformal.rejects(np.arange(1, n + 1), alpha)) == k - 1


def test_all_hundredths_are_exact():
    conformal = SplitConformal().fit(range(1, 1000))
    assert [conformal.threshold(i / 1000) for i in range(1, 1000)] == list(range(1, 1000))


@pytest.mark.parametrize("n", [50, 333, 1000])
@pytest.mark.parametrize("confidence", [0.05, 0.5, 0.9, 0.999])
def test_confident_rank_is_the_largest(n, confidence):
    conformal, alpha = SplitConformal().fit(range(1, n + 1)), 0.15
    k = conformal.threshold(alpha, confidence)
    assert stats.beta.cdf(alpha, k, n + 1 - k) >= confidence
    assert stats.beta.cdf(alpha, k + 1, n - k) < confidence
    assert sum(conformal.rejects(range(1, n + 1), alpha, confidence)) == k - 1


def test_intervals_agree_with_scipy():
    conformal = SplitConformal().fit(range(1000))
    low, high = conformal.false_alarm_interval(0.05)
    assert (low, high) == pytest.approx(tuple(stats.beta(50, 951).ppf([0.025, 0.975])), abs=1e-12)
    assert high == pytest.approx(0.064, abs=5e-4)  # a nominal 5 % threshold is above 6.4 % once in forty
    for inputs, confidence in itertools.product((0, 1, 20, 500), (0.5, 0.95)):
        counts = stats.betabinom(inputs, 50, 951)
        expected = tuple(counts.ppf([(1 - confidence) / 2, (1 + confidence) / 2]))
        assert conformal.expected_alarms(0.05, inputs, confidence) == expected
    assert conformal.expected_alarms(0.05, 200_000)[1] < 200_000 * 0.07


def test_expected_alarms_hold_the_counts():
    random = np.random.default_rng(6)
    inside = 0
    for _ in range(600):
        conformal = SplitConformal().fit(random.normal(size=199))
        low, high = conformal.expected_alarms(0.1, 100, confidence=0.9)
        inside += low <= conformal.rejects(random.normal(size=100), 0.1).sum() <= high
    assert inside / 600 >= 0.9 - 4 * math.sqrt(0.09 / 600)


# Errors --------------------------------------------------------------------------------------------------


def test_too_few_scores_say_what_would_do():
    conformal = SplitConformal().fit(range(1, 7))
    with pytest.raises(NotEnoughKnown, match=r"alpha 0.05 needs 19 calibration scores, there are 6: .* 0.143 "):
        conformal.threshold(0.05)
    for call in (conformal.rejects, conformal.false_alarm_interval, conformal.expected_alarms):
        with pytest.raises(NotEnoughKnown):
            call(*([[1.0], 0.05] if call == conformal.rejects else [0.05, 10]))
    assert conformal.threshold(0.143) == conformal.threshold(conformal.smallest_alpha) == 1
    assert SplitConformal().fit(range(19)).threshold(0.05) == 0


@pytest.mark.parametrize(("alpha", "confidence"), [(0.05, None), (0.03, 0.95), (0.001, 0.5), (0.29, 0.9)])
def test_what_it_advises_works(alpha, confidence):
    with pytest.raises(NotEnoughKnown) as caught:
        SplitConformal().fit([1.0, 2.0]).threshold(alpha, confidence)
    words = str(caught.value).split()
    needed = int(words[words.index("needs") + 1])
    advised = float(words[-3])
    assert SplitConformal().fit(range(needed)).threshold(alpha, confidence) == 0
    with pytest.raises(NotEnoughKnown):
        SplitConformal().fit(range(needed - 1)).threshold(alpha, confidence)
    assert SplitConformal().fit([1.0, 2.0]).threshold(advised, confidence) == 1


def test_an_alpha_below_all_counts_is_too_small():
    with pytest.raises(NotEnoughKnown, match="alpha 1e-12 needs 1000000000000 calibration scores, there are 6"):
        SplitConformal().fit(range(6)).threshold(1e-12)


@pytest.mark.parametrize("wrap", [list, np.array, torch.tensor])
def test_bad_scores_are_named(wrap):
    with pytest.raises(BadInput, match="calibration scores: 2 of 4 are not finite, the first in row 1"):
        SplitConformal().fit(wrap([1.0, math.nan, 2.0, -math.inf]))
    with pytest.raises(BadInput, match="scores: 1 of 3 are NaN, the first in row 2"):
        SplitConformal().fit([1.0]).p_value(wrap([1.0, math.inf, math.nan]))
    with pytest.raises(BadInput, match="scores: 1 of 1 are NaN"):
        SplitConformal().fit([1.0]).rejects(wrap([math.nan]), 0.5)
    with pytest.raises(BadInput, match="there are none"):
        SplitConformal().fit(wrap([]))
    with pytest.raises(BadInput, match=r"expected shape \(N,\), got \(1, 1\)"):
        SplitConformal().fit(wrap([[1.0]]))


def test_other_wrong_use_is_named():
    conformal = SplitConformal().fit(range(100))
    for call, message in (
        (lambda: conformal.threshold(0), "alpha must be within 0 and 1"),
        (lambda: conformal.threshold(5), "alpha must be within 0 and 1, got 5"),
        (lambda: conformal.threshold(0.1, confidence=95), "confidence must be within 0 and 1"),
        (lambda: conformal.false_alarm_interval(0.1, 1.0), "confidence must be within 0 and 1"),
        (lambda: conformal.expected_alarms(0.1, -1), "inputs must be at least 0"),
    ):
        with pytest.raises(WrongUse, match=message):
            call()
    for wrong in (["a"], [[1.0], [1.0, 2.0]], torch.tensor([1j])):
        with pytest.raises(BadInput, match="scores: "):
            conformal.fit(wrong)


def test_not_fitted():
    conformal = SplitConformal()
    for call in (
        lambda: conformal(torch.zeros(1)),
        lambda: conformal.p_value([0.0]),
        lambda: conformal.rejects([0.0], 0.1),
        lambda: conformal.threshold(0.1),
        lambda: conformal.smallest_alpha,
        lambda: conformal.false_alarm_interval(0.1),
        lambda: conformal.expected_alarms(0.1, 5),
    ):
        with pytest.raises(NotFitted, match="call fit with held-out known inputs"):
            call()


# Containers, types, saving, export -----------------------------------------------------------------------


def test_the_same_kind_comes_back():
    conformal = SplitConformal().fit([0.1, 0.4, 0.6])
    assert conformal.p_value([[0.0], [0.5]]) == [[0.25], [0.75]]
    assert conformal.p_value((0.0, 0.5)) == [0.25, 0.75]
    assert conformal.p_value(0.5) == 0.75
    assert conformal.rejects(np.float32(0.0), 0.25)
    array = conformal.p_value(np.array([0.0, 0.5], np.float32))
    assert isinstance(array, np.ndarray)
    assert array.dtype == np.float64
    assert conformal.rejects(np.array([0.0, 0.5]), 0.3).dtype == bool
    tensor = conformal.p_value(torch.tensor([0.0, 0.5], requires_grad=True))
    assert isinstance(tensor, torch.Tensor)
    assert not tensor.requires_grad


def test_types_compare_exactly():
    """0.1 as float32 is above 0.1 as float64, whichever side is the wider."""
    narrow, wide = np.array([0.1], np.float32), np.array([0.1])
    assert SplitConformal().fit(narrow).p_value(wide) == 0.5
    assert SplitConformal().fit(wide).p_value(narrow) == 1.0
    assert SplitConformal().fit(narrow).scores.dtype == torch.float32
    assert SplitConformal().fit(torch.tensor([0.5, 0.25]).bfloat16()).scores.dtype == torch.float32
    assert SplitConformal().fit([1, 2]).p_value(np.array([1, 3])).tolist() == [2 / 3, 1.0]


def test_inputs_are_not_written_to_or_held():
    given_scores = torch.tensor([0.3, 0.1], requires_grad=True)
    conformal = SplitConformal().fit(given_scores)
    assert given_scores.tolist() == pytest.approx([0.3, 0.1])
    assert not conformal.scores.requires_grad
    frozen = np.array([0.3, 0.1])
    frozen.flags.writeable = False
    SplitConformal().fit(frozen).p_value(frozen)
    ascending = torch.tensor([1.0, 2.0])
    conformal.fit(ascending)
    ascending += 5
    assert conformal.scores.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("held", [[], [9.0], [9.0, 8.0, 7.0]])
def test_state_is_adopted_to_the_bit(dtype, held):
    fitted = SplitConformal().fit(torch.tensor([0.1, 1 / 3, 0.7], dtype=dtype))
    other = SplitConformal().fit(held) if held else SplitConformal()
    before = {k: v.clone() for k, v in fitted.state_dict().items()}
    assert list(before) == ["scores"]
    parent = torch.nn.ModuleDict({"calibrator": other})
    parent.load_state_dict({f"calibrator.{k}": v for k, v in before.items()})
    assert other.scores.dtype == dtype
    assert torch.equal(other.scores, fitted.scores)
    other.fit([5.0])
    assert torch.equal(fitted.scores, before["scores"])
    assert torch.equal(copy.deepcopy(fitted).scores, fitted.scores)
    assert str(fitted) == "SplitConformal(n=3)"
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict({})


def test_forward_agrees_and_lets_nan_through():
    scores = torch.tensor([-math.inf, 0.0, 0.4, math.nan, math.inf])
    conformal = SplitConformal().fit(torch.tensor([0.1, 0.4, 0.6]))
    p_values = conformal(scores)
    assert p_values.dtype == torch.float32
    torch.testing.assert_close(
        p_values, torch.tensor([0.25, 0.25, 0.75, math.nan, 1.0]), equal_nan=True, rtol=0, atol=0
    )
    assert conformal(scores.reshape(5, 1)).shape == (5, 1)


def test_forward_can_be_exported():
    conformal = SplitConformal().fit(torch.from_numpy(CALIBRATION).float()).eval()
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(conformal, (torch.zeros(2),), dynamic_shapes={"scores": {0: batch}})
    for size in (1, 7, 300):
        scores = torch.linspace(-3, 3, size)
        assert torch.equal(program.module()(scores), conformal(scores))
