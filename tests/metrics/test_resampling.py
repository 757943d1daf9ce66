"""Bootstrap intervals against DeLong, against starting over from raw scores, and in groups against known answers."""

import math
from itertools import islice

import numpy as np
import pytest
import torch
from scipy import stats

from unseen.errors import BadInput, WrongUse
from unseen.metrics import bands, bootstrap, evaluate
from unseen.metrics.resampling import METRICS, drawn_times, place, read_curves


@pytest.mark.parametrize("digits", [6, 1])  # one draw an input; one binomial draw a score
def test_bootstrap_spread_agrees_with_delong(digits):
    random = np.random.default_rng(3)
    known, unknown = random.normal(1, 1, 500).round(digits), random.normal(0, 1, 500).round(digits)
    result, values = evaluate(known, unknown), []

    def watched(replicate):
        assert (replicate.n_known, replicate.n_unknown) == (500, 500)
        values.append(replicate.auroc)
        return values[-1]

    interval = result.bootstrap(watched, replicates=1500)
    assert np.std(values) == pytest.approx(math.sqrt(result.auroc_variance), rel=0.1)
    assert interval == pytest.approx(result.auroc_interval(), abs=0.004)
    assert interval == result.bootstrap("auroc", replicates=1500)
    assert interval != result.bootstrap("auroc", replicates=1500, seed=1)


def test_bootstrap_agrees_with_resampling_the_scores():
    """FPR and average precision: the same spread as resampling the raw scores and starting over."""
    random = np.random.default_rng(4)
    known, unknown = random.normal(1.5, 1, 200).round(2), random.normal(0, 1, 120).round(2)
    result = evaluate(known, unknown)
    again = [evaluate(random.choice(known, 200), random.choice(unknown, 120)) for _ in range(1500)]
    for name, value in {
        "fpr_at_tpr95": lambda e: e.fpr_at_tpr(0.95),
        "ap_known": lambda e: e.average_precision("known"),
        "ap_unknown": lambda e: e.average_precision("unknown"),
    }.items():
        expected = np.quantile([value(e) for e in again], [0.025, 0.975])
        assert result.bootstrap(name, replicates=1500) == pytest.approx(expected, abs=0.03)
        assert result.bootstrap(name, replicates=50) == result.bootstrap(value, replicates=50)


@pytest.mark.parametrize("digits", [6, 1])  # one draw an input; one binomial draw a score
def test_flags_are_drawn_with_their_inputs(digits):
    """Accuracy spreads as a binomial share does, OSCR as by resampling raw scores and flags together."""
    random = np.random.default_rng(5)
    known, unknown = random.normal(1, 1, 300).round(digits), random.normal(0, 1, 200).round(digits)
    correct = random.random(300) < 0.4 + 0.5 * (known > 1)
    result, accuracies = evaluate(known, unknown, correct), []

    def watched(replicate):
        assert (replicate.n_known, replicate.n_unknown) == (300, 200)
        assert (np.diff(replicate.correct_below) >= 0).all()
        assert (np.diff(replicate.correct_below) <= np.diff(replicate.known_below)).all()
        accuracies.append(replicate.accuracy)
        return replicate.oscr()

    interval = result.bootstrap(watched, replicates=1500)
    share = np.mean(correct)
    assert np.mean(accuracies) == pytest.approx(share, abs=0.004)
    assert np.std(accuracies) == pytest.approx(math.sqrt(share * (1 - share) / 300), rel=0.1)
    again = []
    for _ in range(1500):
        rows = random.integers(300, size=300)
        again.append(evaluate(known[rows], random.choice(unknown, 200), correct[rows]).oscr())
    assert interval == pytest.approx(np.quantile(again, [0.025, 0.975]), abs=0.01)
    assert interval == result.bootstrap("oscr", replicates=1500)
    assert interval == bootstrap(known, unknown, "oscr", correct=correct, replicates=1500)


# Bands ---------------------------------------------------------------------------------------------------


def tpr_at(result, positive, level):
    """On the straight line between points, the highest where several have this rate; in plain steps."""
    points = list(zip(*result.roc(positive)[:2], strict=True))
    before = max(point for point in points if point[0] <= level)
    after = min((point for point in points if point[0] > level), default=None)
    if before[0] == level or after is None:
        return before[1]
    return before[1] + (level - before[0]) / (after[0] - before[0]) * (after[1] - before[1])


def precision_at(result, level):
    recall, precision, _ = result.precision_recall("unknown")
    return next(p for r, p in zip(recall, precision, strict=True) if r >= level)


def test_a_curve_is_read_at_every_level():
    """Two known above, one among and one below the unknown: points (0, 0), (0, .5), (.5, .5), (.5, .75), ..."""
    result = evaluate(known=[9, 8, 4, 1], unknown=[5, 3])
    tpr, precision = read_curves(result, "known")
    assert [tpr[at] for at in (0, 25, 50, 75, 100)] == [0.5, 0.5, 0.75, 0.75, 1.0]
    assert [precision[at] for at in (1, 50, 51, 100)] == [0.5, 0.5, 0.5, 0.5]
    tpr, _ = read_curves(result, "unknown")
    assert [tpr[at] for at in (0, 24, 25, 49, 50)] == [0.0, 0.0, 0.5, 0.5, 1.0]


@pytest.mark.parametrize("positive", ["known", "unknown"])
@pytest.mark.parametrize("grouped", [False, True])
def test_a_band_is_the_bootstrap_of_each_point(positive, grouped):
    random = np.random.default_rng(8)
    known, unknown = random.normal(1, 1, 60).round(1), random.normal(0, 1, 40)
    groups = (np.arange(60) // 3, np.arange(40) % 9) if grouped else None
    given = {"groups": groups, "confidence": 0.8, "replicates": 50, "seed": 2}
    found = bands(known, unknown, positive=positive, **given)
    assert found.levels[[0, 29, 100]].tolist() == [0.0, 0.29, 1.0]
    for at in (0, 7, 29, 100):
        expected = bootstrap(known, unknown, lambda e, at=at: tpr_at(e, positive, at / 100), **given)
        assert found.tpr[at] == pytest.approx(expected, abs=1e-12)
        expected = bootstrap(known, unknown, lambda e, at=at: precision_at(e, at / 100), **given)
        assert found.precision[at] == pytest.approx(expected, abs=1e-12)
    assert found.auroc == bootstrap(known, unknown, "auroc", **given)
    assert found.ap_unknown == bootstrap(known, unknown, "ap_unknown", **given)


@pytest.mark.parametrize("grouped", [False, True])
def test_a_band_has_the_curve_at_a_point_as_often_as_it_says(grouped):
    """Against the true rate, known in closed form; were groups drawn input by input, few bands would have it."""
    random, inside, runs, level = np.random.default_rng(9), 0, 150, 0.2
    true = stats.norm.cdf(stats.norm.ppf(level) + 1)  # unknown N(0, 1) found below, known N(1, 1)
    groups = (np.repeat(np.arange(50), 4), np.repeat(np.arange(50), 4)) if grouped else None
    for seed in range(runs):
        known, unknown = random.normal(1, 1, 50), random.normal(0, 1, 50)
        if grouped:
            known, unknown = known.repeat(4), unknown.repeat(4)
        low, high = bands(known, unknown, groups=groups, replicates=100, confidence=0.9, seed=seed).tpr[20]
        inside += low <= true <= high
    assert 0.82 < inside / runs < 0.97


def test_wrong_use_of_bands_is_named():
    for given, error, message in (
        ({"positive": "ood"}, WrongUse, "positive must be"),
        ({"confidence": 95}, WrongUse, "confidence must be within"),
        ({"replicates": 0}, WrongUse, "replicates must be at least 1"),
        ({"groups": ([1, 1, 1], None)}, BadInput, "all 3 inputs are in one group"),
    ):
        with pytest.raises(error, match=message):
            bands([1, 2, 3], [0, 1], **given)


# Groups --------------------------------------------------------------------------------------------------


def tied_scores(seed, n=60, m=40):
    random = np.random.default_rng(seed)
    return random.normal(1, 1, n).round(1), random.normal(0, 1, m).round(1), random.random(n) < 0.7


def test_counting_anew_is_repeating_inputs():
    """Any numbers of occurrences, also none: the evaluation is the one of the scores written out."""
    known, unknown, correct = tied_scores(6)
    random = np.random.default_rng(7)
    placed = place(known, unknown, correct)
    for _ in range(20):
        times, others = random.integers(0, 3, 60), random.integers(0, 3, 40)
        counted = placed.counted(times, others)
        written = evaluate(np.repeat(known, times), np.repeat(unknown, others), np.repeat(correct, times))
        for counts in ("known_below", "unknown_below", "correct_below", "scores"):
            np.testing.assert_array_equal(getattr(counted, counts), getattr(written, counts))


def test_groups_are_drawn_whole():
    names = ["a", "b", "a", None, "c", None, "b"]
    for known, unknown in islice(drawn_times(7, 4, (names, None), seed=0), 200):
        assert known[0] == known[2]
        assert known[1] == known[6]
        assert known[0] + known[1] + known[3] + known[4] + known[5] == 5  # five groups are drawn from five
        assert unknown.sum() == 4
    both = np.array([np.r_[k, u] for k, u in islice(drawn_times(7, 4, (names, None), seed=0), 2000)])
    assert np.abs(both.mean(0) - 1).max() < 0.12  # every input once on average: sd 1, so 5 standard errors
    assert abs(np.corrcoef(both[:, 3], both[:, 5])[0, 1]) < 0.5  # the nameless are two groups
    assert np.corrcoef(both.T)[0, 7] == pytest.approx(0, abs=0.12)  # the sides are drawn separately


@pytest.mark.parametrize("metric", METRICS)
def test_copies_in_a_group_add_nothing(metric):
    """Ten copies of each input in a group of their own: the interval of the inputs themselves."""
    known, unknown, correct = tied_scores(8)
    alone = (range(60), range(40))
    groups = tuple(np.repeat(side, 10) for side in alone)
    copied = (np.repeat(known, 10), np.repeat(unknown, 10))
    interval = bootstrap(*copied, metric, groups=groups, correct=np.repeat(correct, 10), replicates=200)
    assert interval == pytest.approx(
        bootstrap(known, unknown, metric, groups=alone, correct=correct, replicates=200), abs=1e-12
    )


@pytest.mark.parametrize("metric", ["auroc", "fpr_at_tpr95", "oscr"])
def test_groups_of_one_are_no_groups(metric):
    random = np.random.default_rng(9)
    known, unknown = random.normal(1, 1, 400), random.normal(0, 1, 300)
    correct = random.random(400) < 0.8
    plain = bootstrap(known, unknown, metric, correct=correct, replicates=1500)
    for groups in ((range(400), range(300)), (None, None), ([str(i) for i in range(400)], None)):
        grouped = bootstrap(known, unknown, metric, correct=correct, groups=groups, replicates=1500)
        assert grouped == pytest.approx(plain, abs=0.02 if metric == "fpr_at_tpr95" else 0.005)


def test_copies_drawn_one_by_one_look_like_evidence():
    """Ten copies of each input, taken as independent, narrow the interval by sqrt(10)."""
    random = np.random.default_rng(10)
    known, unknown = np.repeat(random.normal(1, 1, 200), 10), np.repeat(random.normal(0, 1, 200), 10)
    groups = np.repeat(np.arange(200), 10)
    low, high = bootstrap(known, unknown, "auroc", groups=(groups, groups), replicates=1500)
    naive = bootstrap(known, unknown, "auroc", replicates=1500)
    assert (high - low) / (naive[1] - naive[0]) == pytest.approx(math.sqrt(10), rel=0.1)


def test_names_of_any_kind():
    known, unknown, _ = tied_scores(11)
    codes = np.random.default_rng(12).integers(8, size=60), np.random.default_rng(13).integers(8, size=40)
    expected = bootstrap(known, unknown, "auroc", groups=codes, replicates=50)
    for cast in (torch.from_numpy, lambda x: x.astype(str), lambda x: [f"video {i}" for i in x], lambda x: x - 100):
        groups = tuple(cast(side) for side in codes)
        assert bootstrap(known, unknown, "auroc", groups=groups, replicates=50) == expected
    assert bootstrap(known, unknown, "auroc", groups=codes, replicates=50, seed=1) != expected
    wide, narrow = bootstrap(known, unknown, "auroc", groups=codes, confidence=0.99), expected
    assert wide[1] - wide[0] > narrow[1] - narrow[0]


def videos(random, groups, frames):
    """Scores of as many videos a side, each with a mean of its own; the AUROC of two new frames is known."""
    mean = np.repeat(random.normal(size=2 * groups), frames)
    scores = mean + random.normal(0, 0.5, mean.size)
    half = groups * frames
    return scores[:half] + 1, scores[half:], np.repeat(np.arange(groups), frames)


@pytest.mark.slow
def test_intervals_over_groups_cover():
    """In 300 draws of 30 + 30 videos, about 95 of 100 hold the truth; frame by frame it is far fewer."""
    random = np.random.default_rng(14)
    truth = stats.norm.cdf(1 / math.sqrt(2 * 1.25))
    inside = np.zeros(2)
    for _ in range(300):
        known, unknown, group = videos(random, 30, 8)
        for i, groups in enumerate([(group, group), None]):
            low, high = bootstrap(known, unknown, "auroc", groups=groups, replicates=300)
            inside[i] += low <= truth <= high
    assert 0.90 <= inside[0] / 300 <= 0.98
    assert inside[1] / 300 < 0.7


def test_wrong_groups_are_named():
    known, unknown = [1, 2, 3], [0, 1]
    for groups, error, message in (
        (([1, 2], None), BadInput, "groups of known: 2 names for 3 known scores: pass one an input"),
        ((None, "abc"), BadInput, "groups of unknown: 3 names for 2 unknown scores"),
        (([1, 1, 1], None), BadInput, "groups of known: all 3 inputs are in one group, at least two"),
        (([[1], [2], [3]], None), BadInput, "groups of known: expected one name an input"),
        ([1, 2, 3], WrongUse, "groups: expected a pair"),
        (1, WrongUse, "groups: expected a pair"),
    ):
        with pytest.raises(error, match=message):
            bootstrap(known, unknown, "auroc", groups=groups)


def test_wrong_use_is_named():
    known, unknown, alone = [1, 2, 3], [0, 1], ([1, 2, 3], [1, 2])
    for call, message in (
        (lambda: bootstrap(known, unknown, "f1", groups=alone), "metric 'f1' is not one of auroc, ap_known"),
        (lambda: bootstrap(known, unknown, "auroc", groups=alone, replicates=0), "replicates must be at least 1"),
        (lambda: bootstrap(known, unknown, "auroc", groups=alone, confidence=95), "confidence must be within"),
        (lambda: bootstrap(known, unknown, "oscr", groups=alone), "OSCR needs to know"),
    ):
        with pytest.raises(WrongUse, match=message):
            call()
    with pytest.raises(BadInput, match="correct: expected 3 of True and False"):
        bootstrap(known, unknown, "oscr", groups=alone, correct=[True])
