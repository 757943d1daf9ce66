"""Calibration by predicted class: exact by enumeration, by simulation, and where one calibrator for all fails."""

import copy
import itertools
import math
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unseen.calibration import ClassConditional, SplitConformal
from unseen.errors import BadInput, NotEnoughKnown, NotFitted, WrongUse


def naive_p(score, predicted, calibration, classes, minimum):
    own = [c for c, y in zip(calibration, classes, strict=True) if y == predicted]
    own = own if len(own) >= minimum else calibration
    return (1 + sum(c <= score for c in own)) / (len(own) + 1)


# Exact ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("categories", ["aab", "abab", "aabbb", "aabbc"])
def test_every_order(categories):
    """All orders of N + 1 inputs with scores and classes: given its class, an input's p-value is uniform.

    Class and score depend on each other (the scores of a class lie together), which only inputs of one class share.
    """
    pairs = [(float(score), "abc".index(c)) for score, c in enumerate(categories)]
    seen = defaultdict(Counter)
    for order in itertools.permutations(pairs):
        (score, predicted), calibration = order[-1], order[:-1]
        conformal = ClassConditional(minimum=1).fit(*map(list, zip(*calibration, strict=True)), n_classes=3)
        own = sum(y == predicted for _, y in calibration)
        if own:  # else the class is pooled
            seen[predicted, own][conformal.p_value(score, predicted)] += 1
    assert seen
    for (_, own), counts in seen.items():
        np.testing.assert_allclose(sorted(counts), np.arange(1, own + 2) / (own + 1))
        assert len(set(counts.values())) == 1


@pytest.mark.parametrize("classes", [(0, 0, 0, 1, 1), (0, 1, 0, 0, 0)])
def test_every_order_of_tied_scores_keeps_the_promise(classes):
    """Scores from 0, 0, 1, 1, .. in all orders: in each class and at every alpha, at most that share is called."""
    for predicted in (0, 1):
        own = classes.count(predicted)
        orders = set(itertools.permutations([i // 2 for i in range(len(classes) + 1)]))
        for k in range(1, own + 1):
            alpha = k / (own + 1)
            ranks = [
                ClassConditional(1).fit(order[:-1], classes).p_value(order[-1], predicted) <= alpha + 1e-12
                for order in orders
            ]
            assert np.mean(ranks) <= alpha + 1e-12


SOME = st.sampled_from([-1.5, 0.0, 0.1, 0.25, 2.0])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    known=st.lists(st.tuples(SOME, st.integers(0, 3)), min_size=1, max_size=40),
    asked=st.lists(
        st.tuples(st.sampled_from([-math.inf, -1.5, -0.0, 0.05, 0.1, 2.0, math.inf]), st.integers(0, 4)), min_size=1
    ),
    minimum=st.integers(1, 12),
    alpha=st.floats(0.01, 0.99),
)
def test_agrees_with_its_definition(known, asked, minimum, alpha):
    calibration, classes = map(list, zip(*known, strict=True))
    scores, predicted = map(list, zip(*asked, strict=True))
    conformal = ClassConditional(minimum).fit(calibration, classes, n_classes=5)
    expected = [naive_p(s, c, calibration, classes, minimum) for s, c in asked]
    p_values = conformal.p_value(scores, predicted)
    assert p_values == pytest.approx(expected, abs=1e-15)
    in_forward = conformal(torch.tensor(scores, dtype=torch.float64), torch.tensor(predicted))
    assert in_forward.tolist() == p_values
    if alpha < conformal.smallest_alpha.max():
        with pytest.raises(NotEnoughKnown):
            conformal.rejects(scores, predicted, alpha)
        return
    called, thresholds = conformal.rejects(scores, predicted, alpha), conformal.thresholds(alpha)
    assert called == [s < thresholds[c] for s, c in asked]
    assert called == [p <= alpha + 1e-12 for p in p_values]


def test_one_class_is_split_conformal():
    random = np.random.default_rng(0)
    calibration, scores = random.normal(size=99).round(1), random.normal(size=300).round(1)
    one, plain = ClassConditional().fit(calibration, np.zeros(99, int)), SplitConformal().fit(calibration)
    zeros = np.zeros(300, int)
    np.testing.assert_array_equal(one.p_value(scores, zeros), plain.p_value(scores))
    for confidence in (None, 0.9):
        np.testing.assert_array_equal(
            one.rejects(scores, zeros, 0.07, confidence), plain.rejects(scores, 0.07, confidence)
        )
        assert one.thresholds(0.07, confidence).tolist() == [plain.threshold(0.07, confidence)]
    assert one.smallest_alpha.tolist() == [plain.smallest_alpha]
    assert [x.item() for x in one.false_alarm_interval(0.07)] == list(plain.false_alarm_interval(0.07))
    for inputs in (0, 1, 200):
        assert one.expected_alarms(0.07, [0] * inputs) == plain.expected_alarms(0.07, inputs)


def test_order_of_calibration_inputs_does_not_matter():
    random = np.random.default_rng(1)
    scores, classes = random.normal(size=80).round(1), random.integers(0, 4, 80)
    state = ClassConditional(5).fit(scores, classes).state_dict()
    for _ in range(5):
        order = random.permutation(80)
        again = ClassConditional(5).fit(scores[order], classes[order])
        thresholds = ClassConditional(5).fit(scores, classes).thresholds(0.3)
        np.testing.assert_array_equal(again.thresholds(0.3), thresholds)
        asked = random.normal(size=50).round(1), random.integers(0, 4, 50)
        np.testing.assert_array_equal(again.p_value(*asked), ClassConditional(5).fit(scores, classes).p_value(*asked))
        assert torch.equal(again.scores, state["scores"])
        assert torch.equal(again.counts, state["counts"])


def test_each_class_may_be_stretched_by_itself():
    """Only the order within a class counts, where none is pooled."""
    random = np.random.default_rng(2)
    known, classes = random.normal(size=60), np.arange(60) % 3
    asked, predicted = random.normal(size=90), np.arange(90) % 3

    def stretched(x, c):
        return np.choose(c, [np.exp(x), x**3 - 100, 5 * x])

    plain = ClassConditional().fit(known, classes).p_value(asked, predicted)
    moved = ClassConditional().fit(stretched(known, classes), classes).p_value(stretched(asked, predicted), predicted)
    np.testing.assert_array_equal(moved, plain)


# The promise ---------------------------------------------------------------------------------------------


def rates_by_class(calibrate, draws=700, n=120, m=60, seed=3):
    """Called shares of known inputs by predicted class, ``(draws, 2)``: class 1 is rarer and scores lower."""
    random = np.random.default_rng(seed)
    rates = np.full((draws, 2), np.nan)
    for i in range(draws):
        classes = (random.uniform(size=n + m) < 0.3).astype(int)
        scores = random.normal(size=n + m) * (1 + classes) - 2 * classes
        called = calibrate(scores[:n], classes[:n], scores[n:], classes[n:])
        rates[i] = [called[classes[n:] == c].mean() for c in (0, 1)]
    return rates


def within_standard_errors(rates, alpha):
    error = rates.std(ddof=1) / math.sqrt(len(rates))
    return rates.mean() <= alpha + 4 * error, alpha - 1 / 20 - 4 * error <= rates.mean()


def test_the_promise_holds_in_each_class_where_one_calibrator_for_all_breaks_it():
    alpha = 0.1

    def by_class(scores, classes, new, predicted):
        return ClassConditional(minimum=9).fit(scores, classes).rejects(new, predicted, alpha)

    def for_all(scores, classes, new, predicted):
        return SplitConformal().fit(scores).rejects(new, alpha)

    ours, plain = rates_by_class(by_class), rates_by_class(for_all)
    for c in (0, 1):
        kept, used = within_standard_errors(ours[:, c], alpha)
        assert kept
        assert used  # N_c + 1 is above 20, so rounding down takes less than 1 / 20
    assert not within_standard_errors(plain[:, 1], alpha)[0]
    assert plain[:, 1].mean() > 0.25
    assert plain[:, 0].mean() < 0.04


def test_pooled_classes_may_break_it_but_all_together_stay_below_twice_alpha():
    """Every input of a rare class scores low: all of these are called, yet no more than 2 alpha of all inputs."""
    random, alpha = np.random.default_rng(4), 0.1
    shares, rare = [], []
    for _ in range(400):
        classes = (random.uniform(size=300) < 0.08).astype(int)
        scores = random.normal(size=300) - 10 * classes
        conformal = ClassConditional(minimum=30).fit(scores[:150], classes[:150], n_classes=2)
        assert conformal.pooled.tolist() == [False, True]
        called = conformal.rejects(scores[150:], classes[150:], alpha)
        shares.append(called.mean())
        rare.append(called[classes[150:] == 1].mean())
    assert np.nanmean(rare) > 0.5
    assert alpha < np.mean(shares) <= 2 * alpha


def test_rates_of_single_calibration_sets_follow_beta_in_each_class():
    random = np.random.default_rng(5)
    classes = np.repeat([0, 1], [99, 199])
    rates = np.array([ClassConditional().fit(random.uniform(size=298), classes).thresholds(0.1) for _ in range(800)])
    for c, (k, n) in enumerate([(10, 99), (20, 199)]):
        assert stats.kstest(rates[:, c], stats.beta(k, n + 1 - k).cdf).pvalue > 0.01
    low, high = ClassConditional().fit(range(298), classes).false_alarm_interval(0.1, 0.9)
    inside = ((rates >= low) & (rates <= high)).mean(axis=0)
    assert inside == pytest.approx(0.9, abs=4 * math.sqrt(0.09 / 800))


def test_confident_thresholds_hold_for_their_share_of_calibration_sets():
    random, classes = np.random.default_rng(6), np.repeat([0, 1], [60, 199])
    rates = [ClassConditional().fit(random.uniform(size=259), classes).thresholds(0.1, 0.9) for _ in range(600)]
    assert ((np.array(rates) <= 0.1).mean(axis=0) >= 0.9 - 4 * math.sqrt(0.09 / 600)).all()


def test_expected_alarms_hold_the_counts():
    random = np.random.default_rng(7)
    classes, asked = np.repeat([0, 1, 2], [99, 199, 50]), np.repeat([0, 1, 2], [40, 60, 30])
    inside = 0
    for _ in range(500):
        conformal = ClassConditional().fit(random.normal(size=348), classes)
        low, high = conformal.expected_alarms(0.1, asked, confidence=0.9)
        inside += low <= conformal.rejects(random.normal(size=130), asked, 0.1).sum() <= high
    assert inside / 500 >= 0.9 - 4 * math.sqrt(0.09 / 500)


def test_expected_alarms_agree_with_a_sum_of_all_cases():
    conformal = ClassConditional().fit(range(110), [0] * 20 + [1] * 40 + [2] * 50)
    one, two, three = stats.betabinom(7, 2, 19), stats.betabinom(5, 4, 37), stats.betabinom(4, 5, 46)
    total = np.zeros(17)
    for a, b, c in itertools.product(range(8), range(6), range(5)):
        total[a + b + c] += one.pmf(a) * two.pmf(b) * three.pmf(c)
    up_to = np.cumsum(total)
    for confidence in (0.5, 0.8, 0.98):
        expected = tuple((up_to < tail).sum() for tail in ((1 - confidence) / 2, (1 + confidence) / 2))
        assert conformal.expected_alarms(0.1, [0] * 7 + [1] * 5 + [2] * 4, confidence) == expected


# Rare classes and errors -----------------------------------------------------------------------------------


def test_it_says_which_classes_are_pooled():
    classes = [0] * 30 + [1] * 19 + [2] * 18
    conformal = ClassConditional().fit(range(67), classes, n_classes=4)
    assert conformal.pooled.tolist() == [False, False, True, True]
    assert str(conformal) == "ClassConditional(n=67, classes=4, pooled=[2, 3])"
    assert str(ClassConditional().fit(range(67), range(67))) == "ClassConditional(n=67, classes=67, pooled=67)"
    np.testing.assert_array_equal(conformal.smallest_alpha, [1 / 31, 1 / 20, 1 / 68, 1 / 68])
    assert conformal.thresholds(0.1).tolist() == [2, 31, 5, 5]
    low, high = conformal.false_alarm_interval(0.1)
    assert (low[2:].tolist(), high[2:].tolist()) == ([0, 0], [1, 1])
    assert (low[:2] > 0).all()
    assert (high[:2] < 1).all()
    assert conformal.expected_alarms(0.1, [3] * 10) == (0, 10)
    low_count, high_count = conformal.expected_alarms(0.1, [0] * 100)
    assert conformal.expected_alarms(0.1, [0] * 100 + [2] * 10) == (low_count, high_count + 10)


def test_too_few_scores_say_which_class_and_what_would_do():
    classes = [0] * 200 + [1] * 42
    conformal = ClassConditional().fit(range(242), classes)
    message = (
        "class 1: alpha 0.01 needs 99 calibration scores, there are 42: "
        r"add known inputs or take alpha 0.0233 or more, or pool such classes with minimum=99$"
    )
    for call in (
        lambda: conformal.thresholds(0.01),
        lambda: conformal.rejects([1.0], [0], 0.01),  # a class that could: answers must not depend on the batch
        lambda: conformal.false_alarm_interval(0.01),
        lambda: conformal.expected_alarms(0.01, [0]),
    ):
        with pytest.raises(NotEnoughKnown, match=message):
            call()
    assert conformal.thresholds(0.0233).tolist() == [3, 200]
    assert ClassConditional(minimum=99).fit(range(242), classes).thresholds(0.01).tolist() == [1, 1]
    with pytest.raises(NotEnoughKnown, match=r"^alpha 0.01 needs 99 calibration scores, there are 3: .* 0.25 or more$"):
        ClassConditional().fit(range(3), [0, 1, 1]).thresholds(0.01)
    with pytest.raises(
        NotEnoughKnown, match=r"class 1: alpha 0.05 with confidence 0.9 needs 45 .* are 42: .*minimum=45"
    ):
        conformal.thresholds(0.05, confidence=0.9)
    assert ClassConditional().fit(range(245), [0] * 200 + [1] * 45).thresholds(0.05, 0.9)[1] == 200


@pytest.mark.parametrize("wrap", [list, np.array, torch.tensor])
def test_bad_inputs_are_named(wrap):
    fit = ClassConditional().fit
    with pytest.raises(BadInput, match="calibration scores: 1 of 3 are not finite, the first in row 1"):
        fit(wrap([1.0, math.inf, 2.0]), wrap([0, 0, 0]))
    with pytest.raises(BadInput, match="calibration classes: 1 of 2 are negative, the first in row 1"):
        fit(wrap([1.0, 2.0]), wrap([0, -1]))
    with pytest.raises(BadInput, match=r"calibration classes: expected integer codes from 0, got torch.float"):
        fit(wrap([1.0, 2.0]), wrap([0.0, 1.0]))
    with pytest.raises(BadInput, match=r"calibration classes: expected one for each score, shape \(2,\), got \(3,\)"):
        fit(wrap([1.0, 2.0]), wrap([0, 1, 1]))
    with pytest.raises(BadInput, match="there are none"):
        fit(wrap([]), wrap([]))
    fitted = fit(wrap([1.0, 2.0]), wrap([0, 1]))
    with pytest.raises(BadInput, match="classes: 2 of 3 are not among the 2 of the fit, the first in row 1"):
        fitted.p_value(wrap([1.0, 2.0, 3.0]), wrap([1, 2, 7]))
    with pytest.raises(BadInput, match="classes: 1 of 2 are negative"):
        fitted.p_value(wrap([1.0, 2.0]), wrap([-1, 0]))
    with pytest.raises(BadInput, match="scores: 1 of 2 are NaN, the first in row 1"):
        fitted.p_value(wrap([1.0, math.nan]), wrap([1, 0]))
    with pytest.raises(BadInput, match=r"shape \(2,\), got \(1,\)"):  # nothing is broadcast
        fitted.rejects(wrap([1.0, 2.0]), wrap([0]), 0.5)


def test_names_are_not_codes():
    with pytest.raises(BadInput, match="calibration classes: not an array of integer codes"):
        ClassConditional().fit([1.0, 2.0], ["cat", "dog"])
    with pytest.raises(BadInput, match=r"calibration classes: expected integer codes from 0, got .*bool"):
        ClassConditional().fit([1.0, 2.0], [True, False])


def test_other_wrong_use_is_named():
    with pytest.raises(WrongUse, match="minimum=0: a class needs at least one"):
        ClassConditional(minimum=0)
    with pytest.raises(WrongUse, match="n_classes=3, but a calibration input was predicted as class 3"):
        ClassConditional().fit([1.0], [3], n_classes=3)
    fitted = ClassConditional().fit(range(50), [0] * 50)
    with pytest.raises(WrongUse, match="alpha must be within 0 and 1, got 5"):
        fitted.thresholds(5)
    with pytest.raises(WrongUse, match="confidence must be within 0 and 1"):
        fitted.thresholds(0.1, confidence=95)


def test_not_fitted():
    conformal = ClassConditional()
    for call in (
        lambda: conformal(torch.zeros(1), torch.zeros(1, dtype=torch.long)),
        lambda: conformal.p_value([0.0], [0]),
        lambda: conformal.rejects([0.0], [0], 0.1),
        lambda: conformal.thresholds(0.1),
        lambda: conformal.smallest_alpha,
        lambda: conformal.false_alarm_interval(0.1),
        lambda: conformal.expected_alarms(0.1, [0]),
    ):
        with pytest.raises(NotFitted, match="call fit with held-out known inputs"):
            call()


# Containers, types, saving, export -------------------------------------------------------------------------


def test_the_kind_of_the_scores_comes_back():
    conformal = ClassConditional(1).fit([0.1, 0.4, 0.6], [0, 0, 1])
    assert conformal.p_value([[0.2], [0.7]], [[0], [1]]) == [[2 / 3], [1.0]]
    assert conformal.p_value(0.2, 1) == 0.5
    assert conformal.p_value([], []) == []
    array = conformal.p_value(np.array([0.2, 0.7], np.float32), [0, 1])
    assert isinstance(array, np.ndarray)
    assert array.dtype == np.float64
    tensor = conformal.rejects(torch.tensor([0.0, 0.7]), np.array([0, 1], np.int32), 0.5)
    assert tensor.tolist() == [True, False]


def test_types_compare_exactly():
    """0.1 as float32 is above 0.1 as float64, whichever side is the wider."""
    narrow, wide = np.array([0.1], np.float32), np.array([0.1])
    assert ClassConditional(1).fit(narrow, [0]).p_value(wide, [0]) == 0.5
    assert ClassConditional(1).fit(wide, [0]).p_value(narrow, [0]) == 1.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("held", [None, 1, 3])
def test_state_is_adopted_to_the_bit(dtype, held):
    fitted = ClassConditional(2).fit(torch.tensor([0.1, 1 / 3, 0.7], dtype=dtype), [1, 0, 1])
    other = ClassConditional()
    if held:
        other.fit(range(held), [0] * held)
    saved = {k: v.clone() for k, v in fitted.state_dict().items()}
    assert list(saved) == ["scores", "keys", "counts", "pooled"]
    other.load_state_dict(saved)
    assert str(other) == str(fitted) == "ClassConditional(n=3, classes=2, pooled=[0])"
    for name, tensor in saved.items():
        assert torch.equal(other.state_dict()[name], tensor)
        assert other.state_dict()[name].dtype == tensor.dtype
    other.fit([5.0], [0])
    assert torch.equal(copy.deepcopy(fitted).keys, saved["keys"])
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict({"scores": saved["scores"]})


def test_state_grows_with_inputs_and_classes_not_with_their_product():
    random = np.random.default_rng(8)
    fitted = ClassConditional().fit(random.normal(size=2000), random.integers(0, 500, 2000))
    assert sum(t.numel() * t.element_size() for t in fitted.state_dict().values()) == 16 * 2000 + 9 * 500


def exported_cases():
    random = np.random.default_rng(9)
    conformal = ClassConditional(10).fit(random.normal(size=300).round(1).astype("f"), random.integers(0, 12, 300) ** 2)
    assert 0 < int(conformal.pooled.sum()) < len(conformal.counts)
    cases = [
        (torch.from_numpy(random.normal(size=n).round(1).astype("f")), torch.from_numpy(random.integers(0, 122, n)))
        for n in (1, 7, 500)
    ]
    return conformal.eval(), cases


def test_forward_lets_nan_through():
    conformal = ClassConditional(1).fit(torch.tensor([0.1, 0.4, 0.6]), [0, 0, 0])
    scores = torch.tensor([-math.inf, math.nan, 0.4, math.inf])
    torch.testing.assert_close(
        conformal(scores, torch.zeros(4, dtype=torch.long)), torch.tensor([0.25, math.nan, 0.75, 1.0]), equal_nan=True
    )


def test_forward_can_be_exported():
    conformal, cases = exported_cases()
    batch = torch.export.Dim("batch", min=1)
    shapes = {"scores": {0: batch}, "classes": {0: batch}}
    example = (torch.zeros(2), torch.zeros(2, dtype=torch.long))
    program = torch.export.export(conformal, example, dynamic_shapes=shapes).module()
    for case in cases:
        assert torch.equal(program(*case), conformal(*case))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec:FutureWarning", "ignore:# The axis name:UserWarning")
def test_onnx_runtime_agrees(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    conformal, cases = exported_cases()
    batch = torch.export.Dim("batch", min=1)
    program = torch.onnx.export(
        conformal,
        (torch.zeros(2), torch.zeros(2, dtype=torch.long)),
        dynamo=True,
        verbose=False,
        dynamic_shapes=({0: batch}, {0: batch}),
        input_names=["scores", "classes"],
    )
    program.save(tmp_path / "p.onnx", external_data=False)
    session = onnxruntime.InferenceSession(tmp_path / "p.onnx", providers=["CPUExecutionProvider"])
    for scores, classes in cases:
        answer = session.run(None, {"scores": scores.numpy(), "classes": classes.numpy()})[0]
        np.testing.assert_allclose(answer, conformal(scores, classes).numpy(), rtol=1e-6)
