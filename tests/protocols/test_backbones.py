"""The study of backbones: votes are those of a plain loop, the line is least squares, nothing learnt is tested."""

import json
import math

import numpy as np
import pytest
from scipy.stats import binomtest, linregress

from unseen import create
from unseen.data import split
from unseen.errors import BadInput, MissingExtra, NoRoom, NotEnoughKnown, WrongUse
from unseen.metrics import bootstrap, evaluate
from unseen.protocols.backbones import Encoded, backbones, fit_line, knn_accuracy
from unseen.signals import Signals, Support

CLASSES = ("ant", "bee", "cat", "dog")


def support(x, labels=None, classes=CLASSES, **more):
    return Support(Signals({"features": x}), labels=labels, classes=() if labels is None else classes, **more)


def clouds(n=120, of=4, noise=0.5, seed=0, width=6, centres=4):
    """Rows around directions of their own, codes below ``of``; float64, so that rotations cost no digits."""
    random = np.random.default_rng(seed)
    codes = np.arange(n) % of
    return np.random.default_rng(99).normal(size=(centres, width))[codes] + noise * random.normal(
        size=(n, width)
    ), codes


def loop(train, labels, test, k, temperature, classes=4):
    """Votes as the formula has them, one query at a time."""
    said = []
    for query in test:
        cosines = [float(row @ query / np.linalg.norm(row) / np.linalg.norm(query)) for row in train]
        votes = [0.0] * classes
        for at in sorted(range(len(train)), key=lambda at: -cosines[at])[:k]:
            votes[labels[at]] += math.exp(cosines[at] / temperature)
        said.append(votes.index(max(votes)))
    return said


# The accuracy


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.02), (7, 0.02), (7, 1.0), (20, 0.02), (20, 5.0)])
def test_votes_are_those_of_a_plain_loop(k, temperature):
    train, labels = clouds(noise=1.0)
    test, truth = clouds(n=50, noise=1.0, seed=1)
    right = np.array(loop(train, labels, test, k, temperature)) == truth
    assert 0.2 < right.mean() < 0.95  # else any vote would do
    assert knn_accuracy(support(train, labels), support(test, truth), k, temperature) == right.mean()


def test_one_neighbour_is_nearest_neighbour_classification_at_any_temperature():
    (train, labels), (test, truth) = clouds(noise=1.0), clouds(n=60, noise=1.0, seed=1)
    unit, query = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (train, test))
    nearest = labels[((query[:, None] - unit[None]) ** 2).sum(axis=2).argmin(axis=1)]
    for temperature in (0.001, 0.02, 100.0):
        got = knn_accuracy(support(train, labels), support(test, truth), 1, temperature)
        assert got == (nearest == truth).mean()


def test_a_near_vote_weighs_more_than_two_far_ones():
    near, far = [1.0, 0.02], [1.0, 0.3]
    train = support(np.array([near, far, [1.0, -0.3]]), np.array([0, 1, 1]))
    test = support(np.array([[1.0, 0.0]]), np.array([0]))
    assert knn_accuracy(train, test, 3, 0.02) == 1.0
    assert knn_accuracy(train, test, 3, 10.0) == 0.0  # where all weigh alike the majority wins


def test_no_temperature_overflows():
    (train, labels), (test, truth) = clouds(), clouds(n=40, seed=1)
    one = knn_accuracy(support(train, labels), support(test, truth), 1)
    assert knn_accuracy(support(train, labels), support(test, truth), 20, 1e-6) == one  # exp(1e6) is no float


def test_a_rotation_and_a_scale_of_the_features_change_nothing():
    (train, labels), (test, truth) = clouds(noise=1.0), clouds(n=60, noise=1.0, seed=1)
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(6, 6)))[0]
    scale = np.random.default_rng(6).uniform(0.1, 10, size=(len(train), 1))
    before = knn_accuracy(support(train, labels), support(test, truth), 9)
    assert knn_accuracy(support(scale * train @ turn, labels), support(3 * test @ turn, truth), 9) == before
    assert before < 1


def test_classes_are_compared_by_name_not_by_code():
    (train, labels), (test, truth) = clouds(noise=0.1), clouds(n=40, noise=0.1, seed=1)
    turned = support(test, 3 - truth, CLASSES[::-1])
    assert knn_accuracy(support(train, labels), turned, 5) == knn_accuracy(
        support(train, labels), support(test, truth), 5
    )
    assert knn_accuracy(support(train, labels), turned, 5) > 0.9


def test_what_makes_no_accuracy_is_refused_in_one_line():
    (train, labels), (test, truth) = clouds(n=8), clouds(n=8, seed=1)
    known, tested = support(train, labels), support(test, truth)
    for bad in (0, -1, 2.0):
        with pytest.raises(WrongUse, match="k counts neighbours"):
            knn_accuracy(known, tested, bad)
    for bad in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(WrongUse, match="give a number above 0"):
            knn_accuracy(known, tested, 1, bad)
    with pytest.raises(NotEnoughKnown, match="k=9 needs at least 9 known inputs to learn from, got 8"):
        knn_accuracy(known, tested, 9)
    with pytest.raises(WrongUse, match="needs labels"):
        knn_accuracy(known, support(test), 1)
    with pytest.raises(BadInput, match="class 'cow' is not among the known ones"):
        knn_accuracy(known, support(test, truth, ("cow", *CLASSES[1:])), 1)
    with pytest.raises(BadInput, match="the known test has 5 features an input, the known inputs have 6"):
        knn_accuracy(known, support(test[:, :5], truth), 1)


# The line


def test_a_line_through_three_points_by_hand():
    # Less their means: x (-1/6, 0, 1/6), y (-4/60, -1/60, 5/60).
    line = fit_line([0.5, 2 / 3, 5 / 6], [0.6, 0.65, 0.75])
    assert line.slope == pytest.approx(0.45)
    assert line.intercept == pytest.approx(2 / 3 - 0.45 * 2 / 3)
    assert line.r2 == pytest.approx((0.45 / 18) ** 2 / (1 / 18 * (16 + 1 + 25) / 3600))
    assert (line.n, line.slope_interval, line.r2_interval) == (3, None, None)


def test_r2_is_the_squared_pearson_correlation_whatever_its_sign():
    random = np.random.default_rng(3)
    x = random.uniform(0.2, 0.9, 12)
    for y in (0.5 + 0.3 * x + 0.05 * random.normal(size=12), 0.9 - 0.4 * x + 0.05 * random.normal(size=12)):
        line, theirs = fit_line(x, y), linregress(x, y)
        assert line.r2 == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2, rel=1e-12)
        assert (line.slope, line.intercept) == pytest.approx((theirs.slope, theirs.intercept), rel=1e-12)


def test_two_backbones_have_no_r2():
    with pytest.raises(WrongUse, match="a line through 2 backbones says nothing"):
        fit_line([0.5, 0.7], [0.6, 0.7])
    with pytest.raises(WrongUse, match="5 backbones lie on 2 points"):
        fit_line([0.5, 0.7, 0.7, 0.7, 0.5], [0.6, 0.7, 0.7, 0.7, 0.6])


def test_a_line_needs_both_to_vary_and_finite_pairs():
    with pytest.raises(WrongUse, match="same accuracy"):
        fit_line([0.5, 0.5, 0.5], [0.6, 0.7, 0.8])
    with pytest.raises(WrongUse, match="same AUROC"):
        fit_line([0.5, 0.6, 0.7], [0.6, 0.6, 0.6])
    with pytest.raises(BadInput, match="accuracy is of 3 backbones, auroc of 4"):
        fit_line([0.5, 0.6, 0.7], [0.6, 0.7, 0.8, 0.9])
    with pytest.raises(BadInput, match="not finite"):
        fit_line([0.5, 0.6, math.nan], [0.6, 0.7, 0.8])


def test_the_interval_is_that_of_resampled_backbones():
    random = np.random.default_rng(4)
    x = random.uniform(0.2, 0.9, 8)
    y = 0.5 + 0.3 * x + 0.06 * random.normal(size=8)
    line = fit_line(x, y, replicates=1500, seed=1)
    again = np.random.default_rng(11)
    kept = []
    while len(kept) < 1500:
        rows = again.integers(8, size=8)
        if len(set(rows.tolist())) >= 3:
            kept.append(np.corrcoef(x[rows], y[rows])[0, 1] ** 2)
    assert line.r2_interval == pytest.approx(np.quantile(kept, [0.025, 0.975]), abs=0.05)
    assert line.r2_interval[0] < line.r2 < line.r2_interval[1]
    assert line == fit_line(x, y, replicates=1500, seed=1)
    assert line.r2_interval != fit_line(x, y, replicates=1500, seed=2).r2_interval
    wider = fit_line(x, y, replicates=1500, seed=1, confidence=0.99)
    assert wider.r2_interval[0] <= line.r2_interval[0]
    assert wider.slope_interval[1] >= line.slope_interval[1]


def test_no_resample_is_of_two_backbones_that_lie_on_a_line_anyway():
    turn = 0.3 + 2 * np.pi * np.arange(5) / 5  # a pentagon: no three on a line, though a tenth of all draws are of two
    line = fit_line(0.5 + 0.2 * np.cos(turn), 0.6 + 0.2 * np.sin(turn))
    assert line.r2 == pytest.approx(0, abs=1e-12)
    assert line.r2_interval[1] < 0.99


# The study


def encoded(noise, n=200, seed=0, unknown_labels=None, test=False, **more):
    """Six directions, the last two unknown, as an encoder sees them that adds so much noise."""
    x, codes = clouds(n, of=6, noise=noise, seed=seed, width=8, centres=6)
    known = codes < 4
    new = support(x[~known], codes[~known] - 4, unknown_labels) if unknown_labels else support(x[~known])
    held = support(x[known], codes[known], encoder=f"noise:{noise}", **more)
    if not test:
        return Encoded(held, new)
    y, truth = clouds(n, of=6, noise=noise, seed=seed + 50, width=8, centres=6)
    return Encoded(held, new, support(y[truth < 4], truth[truth < 4]))


def study(noises=(0.2, 0.5, 0.8, 1.2, 2.0), **more):
    options = {name: more.pop(name) for name in ("test", "n", "unknown_labels", "groups") if name in more}
    return backbones({f"n{noise}": lambda noise=noise: encoded(noise, **options) for noise in noises}, k=5, **more)


def test_numbers_are_those_of_held_out_rows():
    found = study((0.5, 0.8), seed=3)
    for row in found.rows:
        held = encoded(float(row.encoder[1:]))
        fit, rest = split(held.known.labels, None, 0.6, 3)
        learnt, tested = held.known.take(fit), held.known.take(rest)
        detector = create("knn(k=1)").fit(learnt)
        result = evaluate(detector.score(tested.signals), detector.score(held.unknown.signals))
        assert row.accuracy == knn_accuracy(learnt, tested, 5)
        assert (row.auroc, row.auroc_interval) == (result.auroc, result.auroc_interval())
        share = binomtest(round(row.accuracy * row.n_test), row.n_test).proportion_ci(method="wilson")
        assert row.accuracy_interval == (share.low, share.high)
        assert (row.n_fit, row.n_test, row.n_unknown, row.dim) == (len(fit), len(rest), len(held.unknown), 8)
        assert row.id == f"noise:{row.encoder[1:]}"


def test_a_known_test_leaves_all_known_rows_to_be_learnt():
    row = study((0.5,), test=True).rows[0]
    held = encoded(0.5, test=True)
    assert (row.n_fit, row.n_test) == (len(held.known), len(held.known_test))
    assert row.accuracy == knn_accuracy(held.known, held.known_test, 5)


def test_what_is_learnt_is_not_tested():
    held = encoded(0.5)
    with pytest.raises(WrongUse, match="what was learnt must not be tested"):
        backbones({"one": lambda: Encoded(held.known, held.unknown, held.known)}, k=5)
    x, y = encoded(0.5), encoded(0.5, seed=9)
    features = np.concatenate([x.known.gather("features")[:7], y.known.gather("features")])
    test = support(features, np.concatenate([x.known.labels[:7], y.known.labels]))
    found = backbones({"one": lambda: Encoded(x.known, x.unknown, test)}, k=5)
    assert found.warnings[0] == (
        f"one: 7 of {len(test)} known test inputs have the very features of a learnt one: if they are copies, both "
        "numbers are flattered"
    )


def test_known_inputs_among_the_unknown_are_warned_of():
    found = study((0.5,), unknown_labels=("dog", "owl"))
    assert [text for text in found.warnings if "labelled" in text] == [
        "33 unknown inputs are labelled as class 'dog', which is known: recognising them counts as an error"
    ]
    held = encoded(0.5)
    fit, _ = split(held.known.labels, None, 0.6, 0)
    new = np.concatenate([held.unknown.gather("features"), held.known.gather("features")[fit[:4]]])
    found = backbones({"one": lambda: Encoded(held.known, support(new))}, k=5)
    assert any("4 of 70 unknown inputs have the very features of a learnt one" in text for text in found.warnings)
    assert not any("very features" in text for text in study((0.5,)).warnings)


def test_lines_go_through_all_and_through_each_family():
    families = {"sharp": ["n0.2", "n0.5", "n0.8"], "blurred": ["n1.2", "n2.0"]}
    found = study(families=families)
    assert [row.auroc for row in found.rows] == sorted((row.auroc for row in found.rows), reverse=True)
    assert [(line.family, line.n) for line in found.lines] == [(None, 5), ("sharp", 3)]
    expected = fit_line([row.accuracy for row in found.rows], [row.auroc for row in found.rows])
    assert found.lines[0] == expected
    sharp = [row for row in found.rows if row.family == "sharp"]
    assert {row.encoder for row in sharp} == set(families["sharp"])
    assert found.lines[1].r2 == fit_line([r.accuracy for r in sharp], [r.auroc for r in sharp]).r2
    assert "family 'blurred': a line through 2 backbones says nothing" in " ".join(found.warnings)
    assert found.sentence.startswith("over 5 encoders accuracy explains")


def test_a_family_must_be_of_encoders_that_are_there_and_in_no_other():
    with pytest.raises(WrongUse, match=r"""'n0\.22' is not among the encoders; did you mean "n0\.2"\?"""):
        study((0.2, 0.5), families={"a": ["n0.22"]})
    with pytest.raises(WrongUse, match=r"'n0\.2' is in two families, 'a' and 'b'"):
        study((0.2, 0.5), families={"a": ["n0.2"], "b": ["n0.2"]})
    with pytest.raises(WrongUse, match="needs encoders"):
        backbones({})


def test_an_encoder_that_fails_is_listed_and_the_others_go_on():
    def fails():
        raise MissingExtra("timm is not installed")

    done = []
    given = {"bad": fails, "good": lambda: encoded(0.5)}
    found = backbones(given, k=5, progress=lambda at, total: done.append((at, total)))
    assert found.failed == {"bad": "timm is not installed"}
    assert [row.encoder for row in found.rows] == ["good"]
    assert found.sentence == "no line can be drawn"
    assert done == [(1, 2), (2, 2)]
    with pytest.raises(WrongUse, match="no encoder could be measured: bad: timm is not installed"):
        backbones({"bad": fails})


def test_a_full_disk_ends_the_study():
    def full():
        raise NoRoom("the disk is full")

    with pytest.raises(NoRoom):
        backbones({"a": full, "b": lambda: encoded(0.5)}, k=5)


def test_one_number_an_input_has_no_direction():
    random = np.random.default_rng(0)
    one = Encoded(support(random.normal(size=(40, 1)), np.arange(40) % 4), support(random.normal(size=(10, 1))))
    found = backbones({"narrow": lambda: one, "wide": lambda: encoded(0.5)}, k=5)
    assert found.failed == {"narrow": "it gives one number an input, and one number has no direction"}


def test_groups_stay_whole_and_are_what_varies():
    n = 200
    known = np.arange(n) % 6 < 4
    groups = (np.arange(n) // 12)[known]
    found = study((0.8,), n=n, groups=groups)
    row, held = found.rows[0], encoded(0.8, n=n, groups=groups)
    fit, rest = split(held.known.labels, groups, 0.6, 0)
    assert not set(groups[fit]) & set(groups[rest])
    assert (row.n_fit, row.n_test) == (len(fit), len(rest))
    detector = create("knn(k=1)").fit(held.known.take(fit))
    tested, asked = (detector.score(one.signals) for one in (held.known.take(rest), held.unknown))
    assert row.auroc_interval == bootstrap(tested, asked, "auroc", groups=(groups[rest], None))


def test_a_class_that_is_only_tested_takes_no_part():
    held = encoded(0.5, test=True)
    known = held.known.take(held.known.labels != 3)
    row_of = backbones({"one": lambda: Encoded(known, held.unknown, held.known_test)}, k=5)
    many = int((held.known_test.labels == 3).sum())
    assert row_of.warnings[0] == (
        f"no input of class 'dog' is learnt from, so the {many} that would be tested take no part"
    )
    assert row_of.rows[0].n_test == len(held.known_test) - many


def test_encoders_that_read_other_inputs_are_not_compared_in_silence():
    found = backbones({"a": lambda: encoded(0.5), "b": lambda: encoded(0.5, n=180)}, k=5)
    assert "not every encoder could read the same inputs: compare a, b with care" in found.warnings


def test_everything_is_plain_json():
    told = study(families={"all of them": [f"n{noise}" for noise in (0.2, 0.5, 0.8, 1.2, 2.0)]}).to_dict()
    again = json.loads(json.dumps(told, allow_nan=False))
    assert again == told
    assert again["lines"][0]["n"] == 5
    assert again["backbones"][0]["auroc"] >= again["backbones"][-1]["auroc"]
