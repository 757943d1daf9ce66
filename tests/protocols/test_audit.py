"""The audit: nothing leaks, the held-out class is never learnt, the answer is honest about what it can tell."""

import json
import sys

import numpy as np
import pytest

from unseen import create
from unseen.classifier import set_aside
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.metrics import evaluate, mean_interval
from unseen.protocols import audit
from unseen.protocols.audit import recommend_setting
from unseen.protocols.candidates import Candidate
from unseen.registry import names
from unseen.signals import LinearHead, Signals, Support


def support(classes=8, n=60, width=16, spread=3.0, seed=0, head=None, groups=None, names=None):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), n)
    x = (spread * rng.normal(size=(classes, width)))[labels] + rng.normal(size=(classes * n, width))
    return Support(
        Signals({"features": x.astype("float32")}),
        labels=labels,
        classes=tuple(names or (f"c{i}" for i in range(classes))),
        keys=[str(i) for i in range(len(labels))],
        groups=groups,
        head=head,
        encoder="test:1",
    )


@pytest.fixture(scope="module")
def found():
    return audit(support(), repeats=2)


def test_json_holds_what_was_promised(found):
    result = found.to_dict()
    assert {"recommended", "detectors", "held_out", "n", "seed", "encoder", "repeats", "warnings"} <= result.keys()
    for row in result["detectors"]:
        assert {
            "name",
            "auroc",
            "auroc_interval",
            "ap_unknown",
            "fpr_at_tpr95",
            "fit_seconds",
            "score_seconds",
        } <= row.keys()
        low, high = row["auroc_interval"]
        assert 0 <= low <= row["auroc"] <= high <= 1
    assert {h["class"] for h in result["held_out"]} == {f"c{i}" for i in range(8)}
    best = result["recommended"]["name"]
    order = [h["auroc"][best] for h in result["held_out"]]
    assert order == sorted(order)


def test_curves_are_means_over_classes_with_the_interval_of_the_mean(monkeypatch):
    """From the scores of every fold: repeats averaged inside a class, then classes; read with interpolation by hand."""
    from unseen.detectors.mahalanobis import Mahalanobis

    data, scores = support(classes=4, n=20, spread=1.0, width=4), []
    score = Mahalanobis.score

    def watched(self, *given, **more):
        scores.append(np.asarray(score(self, *given, **more)))
        return scores[-1]

    monkeypatch.setattr(Mahalanobis, "score", watched)
    found = audit(data, repeats=2, detectors=["mahalanobis"], confidence=0.9)
    curves = json.loads(json.dumps(found.to_dict()))["curves"]
    folds = [evaluate(new, unknown) for new, unknown in zip(scores[::2], scores[1::2], strict=True)]
    assert len(folds) == 2 * 4  # classes within repeats
    assert (curves["name"], curves["roc"]["positive"]) == ("mahalanobis", "known")
    assert curves["precision_recall"]["positive"] == "unknown"
    assert curves["roc"]["fpr"] == [i / 100 for i in range(101)]
    assert curves["precision_recall"]["recall"] == curves["roc"]["fpr"][1:]

    def by_class(read):
        return np.mean(np.reshape([read(fold) for fold in folds], (2, 4)), axis=0)

    for at in (0.0, 0.05, 0.5, 1.0):
        values = by_class(lambda fold, at=at: tpr_at(fold, at))
        assert curves["roc"]["tpr"][round(100 * at)] == pytest.approx(values.mean(), abs=1e-12)
        ends = mean_interval(values, 0.9, bounds=(0.0, 1.0))
        assert curves["roc"]["band"][round(100 * at)] == pytest.approx([at, *ends], abs=1e-12)
    for at in (0.01, 0.5, 0.95):
        values = by_class(lambda fold, at=at: precision_at(fold, at))
        assert curves["precision_recall"]["precision"][round(100 * at) - 1] == pytest.approx(values.mean(), abs=1e-12)
        ends = mean_interval(values, 0.9, bounds=(0.0, 1.0))
        assert curves["precision_recall"]["band"][round(100 * at) - 1] == pytest.approx([at, *ends], abs=1e-12)
    shares = [fold.n_unknown / (fold.n_known + fold.n_unknown) for fold in folds]
    assert curves["share_unknown"] == pytest.approx(np.mean(shares), abs=1e-12)
    for key, lines in (("roc", "tpr"), ("precision_recall", "precision")):
        assert all(
            0 <= low <= y <= high <= 1
            for (_, low, high), y in zip(curves[key]["band"], curves[key][lines], strict=True)
        )


def tpr_at(fold, level):
    """On the straight line between the points around a false positive rate, the highest of those that have it."""
    points = list(zip(*fold.roc("known")[:2], strict=True))
    (x, y), after = max(point for point in points if point[0] <= level), [p for p in points if p[0] > level]
    return y if x == level else y + (level - x) / (after[0][0] - x) * (after[0][1] - y)


def precision_at(fold, level):
    recall, precision, _ = fold.precision_recall("unknown")
    return precision[np.flatnonzero(recall >= level)[0]]


def test_one_held_out_class_has_curves_and_no_band():
    curves = audit(support(classes=4), repeats=1, held_out=["c1"], detectors=["mahalanobis"]).to_dict()["curves"]
    assert curves["roc"]["band"] is curves["precision_recall"]["band"] is None
    assert len(curves["roc"]["tpr"]) == 101
    assert curves["roc"]["tpr"][-1] == 1.0


HEADS = ("ridge", "prototypes")


def test_every_detector_that_applies_is_tried(found):
    tried = {row.name for row in found.rows}
    assert tried >= {
        "knn",
        "mahalanobis",
        "relative_mahalanobis",
        "unit >> mahalanobis",
        # What reads logits alone is tried behind every head, what needs a linear layer behind the first.
        *(f"{head} >> {name}" for head in HEADS for name in ("energy", "entropy", "gen", "maxlogit", "msp")),
        *(f"ridge >> {name}" for name in ("residual", "vim", "fdbd", "react >> energy", "dice >> energy")),
    }
    assert not {name for name in tried if name.startswith("prototypes >> vim")}
    said = {part for name in tried for part in name.split(" >> ")} | set(found.not_tried)
    assert said >= set(names("detectors")) - {"temperature"}  # it must not learn from what the head learnt from


def test_what_is_recommended_can_be_built(found):
    assert create(found.recommended["expression"]).fit(support())
    assert found.recommended["name"] in {row.name for row in found.rows}


def test_the_same_seed_gives_the_same_numbers():
    one, two = audit(support(), repeats=1, seed=3), audit(support(), repeats=1, seed=3)
    assert [row.auroc for row in one.rows] == [row.auroc for row in two.rows]
    assert one.recommended == two.recommended
    other = audit(support(), repeats=1, seed=4)
    assert [row.auroc for row in one.rows] != [row.auroc for row in other.rows]


def test_calibration_rows_are_never_read():
    """They are made not-a-number; any look at them would raise."""
    data = support()
    _, aside = set_aside(data, 0.2, 0)
    x = data.gather("features").numpy().copy()
    x[aside] = np.nan
    hidden = Support(Signals({"features": x}), labels=data.labels, classes=data.classes, encoder="test:1")
    clean = audit(data, repeats=1, detectors=["mahalanobis"])
    assert audit(hidden, repeats=1, detectors=["mahalanobis"]).rows[0].auroc == clean.rows[0].auroc


def test_the_held_out_class_is_never_learnt(monkeypatch):
    """Every fit of the audit sees fewer classes than there are, and in each fold another one is missing."""
    from unseen.detectors.mahalanobis import Mahalanobis

    seen = []
    learn = Mahalanobis.learn

    def watched(self, known):
        seen.append((known.classes, set(known.labels.tolist()), known.moments("features").count.tolist()))
        learn(self, known)

    monkeypatch.setattr(Mahalanobis, "learn", watched)
    audit(support(), repeats=1, detectors=["mahalanobis"])
    assert [{f"c{i}" for i in range(8)} - set(classes) for classes, _, _ in seen] == [{f"c{i}"} for i in range(8)]
    assert all(codes == set(range(7)) and all(n > 0 for n in counts) and len(counts) == 7 for _, codes, counts in seen)


def test_moments_taken_away_equal_moments_without():
    data = support()
    whole = data.without("c3")
    data.moments("features")
    fast, slow = data.without("c3").moments("features"), whole.moments("features")
    np.testing.assert_allclose(fast.mean, slow.mean, atol=1e-10)
    np.testing.assert_allclose(fast.within, slow.within, atol=1e-8)
    np.testing.assert_array_equal(fast.count, slow.count)


def test_shuffled_labels_are_noticed_by_nobody():
    rng = np.random.default_rng(0)
    data = support(spread=0.0)
    noise = Support(data.signals, labels=rng.permutation(data.labels), classes=data.classes, encoder="test:1")
    for row in audit(noise, repeats=2).rows:
        assert abs(row.mean() - 0.5) < 0.06, row.name


def test_groups_stay_together():
    """Pairs of copies: were they split, the nearest neighbour of a test row would be itself."""
    base = support(classes=6, n=60, spread=0.0)
    x = np.repeat(base.gather("features").numpy(), 2, axis=0)
    labels = np.repeat(base.labels, 2)
    pairs = np.repeat(np.arange(len(base)), 2)
    data = Support(Signals({"features": x}), labels=labels, classes=base.classes, groups=pairs, encoder="test:1")
    kept = audit(data, repeats=2, detectors=["knn"]).rows[0].mean()
    leaked = (
        audit(
            Support(Signals({"features": x}), labels=labels, classes=base.classes, encoder="test:1"),
            repeats=2,
            detectors=["knn"],
        )
        .rows[0]
        .mean()
    )
    assert abs(kept - 0.5) < 0.1
    assert leaked > 0.65


def test_a_group_that_was_learnt_is_not_met_as_unknown(monkeypatch):
    """Videos that show every class: in each fold the unknown come from videos of which nothing was learnt."""
    module = sys.modules["unseen.protocols.audit"]  # the package's name of it is the function
    base = support(classes=6, n=30)
    videos = np.arange(len(base)) % 10
    data = Support(base.signals, base.labels, base.classes, groups=videos, encoder="test:1")
    folds = []
    assert not any("holds other classes too" in text for text in audit(base, repeats=1).warnings)
    honest = module._unknown

    def watched(whole, known, code):
        rows = honest(whole, known, code)
        folds.append((set(rows.groups.tolist()), set(known.groups.tolist()), set(rows.labels.tolist()), code))
        return rows

    monkeypatch.setattr(module, "_unknown", watched)
    found = audit(data, repeats=1, detectors=["mahalanobis"])
    assert len(folds) == 6
    assert all(met and not met & learnt and labels == {code} for met, learnt, labels, code in folds)
    assert sum("holds other classes too" in warning for warning in found.warnings) == 6


def test_a_class_that_shares_every_group_with_the_learnt_is_met_whole():
    data = support(classes=3, n=4)
    one = Support(data.signals, data.labels, data.classes, groups=np.zeros(12, dtype=int))
    from unseen.protocols.audit import _unknown

    assert _unknown(one, one.without("c0"), 0).labels.tolist() == [0] * 4


def test_few_classes_claim_no_winner():
    found = audit(support(classes=4), repeats=1)
    assert not found.recommended["confident"]
    assert "too few to claim a winner" in found.recommended["sentence"]


def test_among_equals_the_smallest_is_recommended_and_the_others_named():
    found = audit(support(spread=8.0), repeats=1)  # so far apart that all are perfect
    sizes = {row.name: row.size for row in found.rows}
    assert sizes[found.recommended["name"]] == min(
        sizes[n] for n in [found.recommended["name"], *found.recommended["ties"]]
    )
    assert found.recommended["ties"]
    assert not found.recommended["confident"]


def test_a_cheaper_but_worse_detector_is_not_recommended():
    """Two classes that go wrong hide a large difference from a test; the margin does not let it through."""
    from unseen.protocols.audit import Row, _recommend

    good = dict(zip("abcdefg", [0.99, 0.99, 0.99, 0.99, 0.99, 0.6, 0.6], strict=True))
    cheap = dict(zip("abcdefg", [0.7, 0.9, 0.6, 0.8, 0.7, 0.9, 0.9], strict=True))
    rows = [Row("mahalanobis", "test", auroc=good, size=900), Row("ridge >> msp", "test", auroc=cheap, size=9)]
    found = _recommend(rows, support(), [Candidate("mahalanobis"), Candidate("msp", "ridge")], 0, 0.95)
    assert found["name"] == "mahalanobis"
    assert found["ties"] == ["ridge >> msp"]
    rows[1].auroc = {name: value - 0.001 for name, value in good.items()}
    rows[1].auroc["a"] += 0.003
    found = _recommend(rows, support(), [Candidate("mahalanobis"), Candidate("msp", "ridge")], 0, 0.95)
    assert found["name"] == "ridge >> msp"
    assert "within 0.01 of the best (mahalanobis" in found["sentence"]


def test_a_head_of_the_same_classes_loses_its_column_and_the_page_warns():
    import torch

    data = support()
    ridge = create("ridge").fit(data)
    head = LinearHead(ridge.weight.clone(), ridge.bias.clone(), data.classes)
    found = audit(Support(data.signals, data.labels, data.classes, head=head, encoder="test:1"), repeats=1)
    assert {"own >> msp", "own >> energy"} <= {row.name for row in found.rows}
    assert any("trained on the held-out classes" in warning for warning in found.warnings)
    foreign = LinearHead(torch.ones(2, 16), torch.ones(2), ("x", "y"))
    other = audit(Support(data.signals, data.labels, data.classes, head=foreign, encoder="test:1"), repeats=1)
    assert not any(row.name.startswith("own") for row in other.rows)


def test_pixels_that_do_as_well_are_a_warning():
    data = support()
    found = audit(data, repeats=1, pixels=Support(data.signals, data.labels, data.classes, encoder="pixels:16x16"))
    assert {row.name for row in found.pixels} >= {"knn", "mahalanobis", "nearest_prototype", "relative_mahalanobis"}
    assert not {row.name for row in found.pixels if "ridge" in row.name}
    assert any("raw pixels do" in warning for warning in found.warnings)
    noise = support(spread=0.0, seed=5)
    far = audit(data, repeats=1, pixels=Support(noise.signals, noise.labels, noise.classes, encoder="pixels:16x16"))
    assert not any("raw pixels" in warning for warning in far.warnings)
    assert any(row["baseline"] for row in far.to_dict()["detectors"])


def test_small_classes_take_no_part_and_are_named():
    data = support(classes=6)
    rows = np.r_[np.flatnonzero(data.labels != 2), np.flatnonzero(data.labels == 2)[:4]]
    found = audit(data.take(np.sort(rows)), repeats=1, detectors=["mahalanobis"])
    assert "c2" not in found.held_out
    assert any("'c2' has only" in warning for warning in found.warnings)


def test_too_large_k_is_not_chosen_and_too_few_rows_are_said():
    data = support(classes=5, n=10)
    found = audit(data, repeats=1, detectors=["knn"])
    assert found.recommended["setting"]["k"] in (1, 5)


def test_grid_is_chosen_on_known_classes_only():
    data = support()
    assert recommend_setting(data, Candidate("knn"), 0) == recommend_setting(data, Candidate("knn"), 0)
    assert Candidate("knn").settings() == [{}, {"k": 1}, {"k": 5}]
    assert Candidate("msp", "ridge").settings() == [{}]


def test_held_out_can_be_named_or_counted():
    assert set(audit(support(), repeats=1, held_out=["c1", "c4"], detectors=["mahalanobis"]).held_out) == {"c1", "c4"}
    assert len(audit(support(), repeats=1, held_out=3, detectors=["mahalanobis"]).held_out) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"held_out": ["nobody"]}, "no class 'nobody'"),
        ({"held_out": 0}, "at least one class"),
        ({"detectors": ["kn"]}, "did you mean 'knn'"),
        ({"calibration": 0.0}, "between 0 and 1"),
    ],
)
def test_wrong_use_is_said(arguments, message):
    with pytest.raises(WrongUse, match=message):
        audit(support(), repeats=1, **arguments)


def test_without_labels_or_classes_it_explains():
    data = support()
    with pytest.raises(WrongUse, match="`fit` works with detectors that ignore labels"):
        audit(Support(data.signals))
    with pytest.raises(WrongUse, match="at least three classes"):
        audit(support(classes=2))


def test_what_cannot_be_tried_says_why():
    data = support()
    both = Support(data.signals, data.labels, data.classes, encoder="test:1")
    found = audit(both, repeats=1, detectors=["msp", "mahalanobis"])
    assert found.not_tried == {}
    logits = Support(Signals({"logits": data.gather("features")}), data.labels, data.classes, encoder="test:1")
    with pytest.raises(NotEnoughKnown, match="no detector could be fitted: msp: reads logits, and without features"):
        audit(logits, repeats=1, detectors=["msp"])


def test_progress_counts_every_fold():
    calls = []
    audit(support(), repeats=2, detectors=["mahalanobis"], progress=lambda done, total: calls.append((done, total)))
    assert calls == [(i, 16) for i in range(1, 17)]


def test_expressions_are_tried_as_they_are():
    found = audit(support(), repeats=1, detectors=["react >> knn", "knn(k=3)", "react", "ridge >> react >> vim"])
    assert {row.name for row in found.rows} == {
        "react >> knn",
        "knn(k=3)",
        "ridge >> react >> energy",
        "ridge >> react >> vim",
    }
    given = next(row for row in found.rows if row.name == "knn(k=3)")
    assert given.settings == {"k=3, index=auto, share=1.0, seed=0": 8}  # not varied
    assert create(found.recommended["expression"]).fit(support())


def test_a_step_that_is_no_detector_is_named():
    with pytest.raises(WrongUse, match="temperature is a step: put a detector behind it"):
        audit(support(), repeats=1, detectors=["temperature"])
