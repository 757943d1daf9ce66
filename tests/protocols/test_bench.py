"""The bench: nothing leaks, the numbers are those of the scores, and what is trivial is called so."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import unseen as library
from unseen import create
from unseen.__main__ import main
from unseen.data import Unreadable, open_inputs, split
from unseen.encoders.torch import Torch
from unseen.errors import BadInput, NotEnoughKnown, WrongUse
from unseen.metrics import bands, bootstrap, compare, evaluate, holm
from unseen.protocols import Sources, bench
from unseen.protocols.candidates import candidates
from unseen.signals import LinearHead, Signals, Support

CENTRES = 1.2 * np.random.default_rng(7).normal(size=(6, 8))


def known(n=30, of=4, seed=0, **more):
    labels = np.arange(of * n) % of
    x = CENTRES[labels] + np.random.default_rng(seed).normal(size=(len(labels), 8))
    held = {"labels": labels, "classes": tuple(f"c{i}" for i in range(of)), "encoder": "test:1"} | more
    return Support(Signals({"features": x.astype("float32")}), **held)


def unknown(n=40, centre=4, seed=1, groups=None, shift=0.0):
    rng = np.random.default_rng(seed)
    x = CENTRES[centre] + shift + rng.normal(size=(n, 8))
    return Support(Signals({"features": x.astype("float32")}), groups=groups, encoder="test:1")


def sources(**more):
    near = {"new class": unknown(), "another": unknown(25, 5, 2)}
    return Sources(known(), **({"near": near, "far": {"noise": unknown(30, shift=20.0)}} | more))


@pytest.fixture(scope="module")
def found():
    return bench(sources())


def row(found, name):
    return next(one for one in (*found.rows, *found.baselines) if one.name == name)


def own_scores(all_of, expression):
    """Scores as one would compute them by hand: known test, and each set."""
    data = all_of.known
    fit, test = split(data.labels, data.groups, 0.6, 0, rows=len(data))
    detector = create(expression).fit(data.take(fit))
    return detector.score(data.take(test).signals), {n: detector.score(s.signals) for _, n, s in all_of.unknown()}


# The numbers


def test_numbers_are_those_of_the_scores(found):
    tested, asked = own_scores(sources(), "mahalanobis")
    for name, scores in asked.items():
        result, numbers = evaluate(tested, scores), row(found, "mahalanobis").sets[name]
        assert numbers["auroc"] == result.auroc
        assert numbers["ap_unknown"] == result.average_precision("unknown")
        assert numbers["fpr_at_tpr95"] == result.fpr_at_tpr(0.95, positive="known", rule="first")
        assert numbers["auroc_interval"] == list(result.auroc_interval())
        assert (numbers["n_known"], numbers["n_unknown"]) == (len(tested), len(scores))


def test_the_mean_of_a_kind_counts_sets_not_inputs(found):
    for one in found.rows:
        for key in ("auroc", "ap_unknown", "fpr_at_tpr95", "rank"):
            values = [one.sets[name][key] for name in ("new class", "another")]  # 40 and 25 inputs
            assert one.means["near"][key] == pytest.approx(np.mean(values))
    order = [one.means["near"]["auroc"] for one in found.rows]
    assert order == sorted(order, reverse=True)
    assert found.groups["near"]["best"] == found.rows[0].name


def test_ranks(found):
    for name in found.sets:
        ranks = [one.sets[name]["rank"] for one in found.rows]
        assert sum(ranks) == len(ranks) * (len(ranks) + 1) / 2
        assert row(found, found.sets[name]["best"]).sets[name]["rank"] == min(ranks)


def test_the_interval_of_a_mean_is_that_of_drawing_again():
    """Known inputs drawn once for both sets, as they share them."""
    near = {"new class": unknown(100), "another": unknown(100, 5, 2)}
    all_of = Sources(known(100), near=near)
    tested, asked = own_scores(all_of, "knn(k=5)")
    rng = np.random.default_rng(0)
    means = []
    for _ in range(2000):
        drawn = rng.choice(tested, len(tested))
        means.append(np.mean([evaluate(drawn, rng.choice(s, len(s))).auroc for s in asked.values()]))
    about = bench(all_of, detectors=["knn(k=5)"]).groups["near"]
    low, high = about["auroc_interval"]
    assert low < about["auroc"] < high
    assert high - low == pytest.approx(2 * 1.96 * np.std(means), rel=0.05)


def test_groups_widen_intervals_as_drawing_groups_does():
    """Thirty videos of six frames, each video with an offset of its own."""
    rng = np.random.default_rng(3)
    videos = np.repeat(np.arange(30), 6)
    base = CENTRES[0] + 1.3 * rng.normal(size=(30, 8))[videos] + 0.2 * rng.normal(size=(180, 8))
    data = Support(Signals({"features": base.astype("float32")}), groups=videos)
    all_of = Sources(known(60), near={"videos": data})
    numbers = bench(all_of, detectors=["mahalanobis"]).rows[0].sets["videos"]
    assert numbers["auroc_interval_method"] == "delong, groups as one draw"
    tested, asked = own_scores(all_of, "mahalanobis")
    drawn = bootstrap(tested, asked["videos"], "auroc", groups=(None, videos))
    plain = evaluate(tested, asked["videos"]).auroc_interval()
    width = numbers["auroc_interval"][1] - numbers["auroc_interval"][0]
    assert width == pytest.approx(drawn[1] - drawn[0], rel=0.15)
    assert width > 1.5 * (plain[1] - plain[0])


def test_a_single_group_has_no_interval():
    all_of = Sources(known(), near={"one video": unknown(groups=np.zeros(40, np.int64))})
    found = bench(all_of, detectors=["knn(k=5)", "mahalanobis"])
    assert found.rows[0].sets["one video"]["auroc_interval"] is None
    about = found.groups["near"]
    assert about["auroc_interval"] is None
    assert about["comparisons"][0]["p_holm"] is None
    assert about["ties"], "what cannot be tested is not told apart"
    assert any("near one video: there is a single input or group" in text for text in found.warnings)


@pytest.mark.parametrize("turned", [False, True])
def test_comparisons_are_those_of_all_pairs(turned):
    all_of = Sources(known(), near={"new class": unknown()})
    names = ["knn(k=5)", "mahalanobis", "nearest_prototype", "ridge >> msp"]
    scores = {}
    for name in names:
        tested, asked = own_scores(all_of, name)
        scores[name] = (tested, asked["new class"])
    pairs = compare(scores)
    about = bench(all_of, detectors=names[::-1] if turned else names).groups["near"]
    expected = {frozenset((pair.a, pair.b)): pair for pair in pairs}
    assert len(about["comparisons"]) == 3
    for one in about["comparisons"]:
        pair = expected[frozenset((one["name"], about["best"]))]
        assert one["p_value"] == pytest.approx(pair.p_value)
        assert one["p_holm"] == pytest.approx(pair.p_holm)
        assert one["difference"] == pytest.approx(abs(pair.difference))
        low, high = pair.interval if pair.a == about["best"] else [-end for end in reversed(pair.interval)]
        assert one["interval"] == pytest.approx([low, high])
    assert holm([pair.p_value for pair in pairs]) == [pair.p_holm for pair in pairs]


def test_equal_rankings_are_a_tie():
    found = bench(sources(far={}), detectors=["ridge >> maxlogit", "ridge >> temperature >> maxlogit"])
    about = found.groups["near"]
    assert len(about["ties"]) == 1
    assert about["comparisons"][0]["p_value"] == 1
    assert "cannot tell it from" in about["sentence"]


def test_the_same_seed_gives_the_same_numbers(found):
    again = bench(sources())
    assert [one.sets for one in again.rows] == [one.sets for one in found.rows]
    assert bench(sources(), seed=1, detectors=["knn"]).rows[0].sets != row(again, "knn").sets


def test_json_and_curves(found):
    result = json.loads(json.dumps(found.to_dict()))
    assert {"groups", "detectors", "baselines", "sets", "curves", "warnings", "n_fit", "n_known_test"} <= set(result)
    assert (result["n_fit"], result["n_known_test"]) == (72, 48)
    for name, (curve,) in result["curves"].items():
        assert curve["name"] == result["groups"][result["sets"][name]["kind"]]["best"]
        fpr, tpr = np.array(curve["roc"]["fpr"]), np.array(curve["roc"]["tpr"])
        assert len(fpr) == len(tpr) <= 200
        area = np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2)
        assert area == pytest.approx(row(found, curve["name"]).sets[name]["auroc"], abs=1e-3)
        recall, precision = curve["precision_recall"]["recall"], curve["precision_recall"]["precision"]
        assert recall == sorted(recall)
        assert precision[-1] == pytest.approx(result["sets"][name]["share_unknown"], abs=1e-5)


@pytest.mark.parametrize("grouped", [False, True])
def test_the_bands_are_those_of_the_scores(grouped):
    groups = np.arange(40) // 5 if grouped else None
    all_of = sources(near={"new class": unknown(groups=groups)}, far={})
    (curve,) = bench(all_of, detectors=["mahalanobis"], confidence=0.8, seed=0).curves["new class"]
    known_scores, unknown_scores = own_scores(all_of, "mahalanobis")
    pair = (None, groups) if grouped else None
    given = {"positive": "known", "groups": pair, "confidence": 0.8, "replicates": 400, "seed": 0}
    expected = bands(known_scores, unknown_scores["new class"], **given)
    drawn = np.array(curve["roc"]["band"])
    np.testing.assert_allclose(drawn[:, 0], expected.levels)
    np.testing.assert_allclose(drawn[:, 1:], expected.tpr, atol=1e-5)
    np.testing.assert_allclose(
        curve["precision_recall"]["band"], np.c_[expected.levels, expected.precision][1:], atol=1e-5
    )
    assert (drawn[1:, 1] < drawn[1:, 2]).any()


def test_a_set_of_one_group_has_no_band():
    near = {"one video": unknown(groups=np.zeros(40, dtype=int)), "another": unknown(25, 5, 2)}
    curves = bench(sources(near=near, far={}), detectors=["mahalanobis"]).curves
    assert curves["one video"][0]["roc"]["band"] is curves["one video"][0]["precision_recall"]["band"] is None
    assert len(curves["another"][0]["roc"]["band"]) == 101


# What is learnt and what is asked


def test_the_known_test_and_the_unknown_are_never_learnt(monkeypatch):
    from unseen.detectors.mahalanobis import Mahalanobis

    learnt = []
    learn = Mahalanobis.learn
    monkeypatch.setattr(Mahalanobis, "learn", lambda self, s: (learnt.append(s.gather("features")), learn(self, s)))
    all_of = sources()
    bench(all_of, detectors=["mahalanobis"])
    fit = split(all_of.known.labels, None, 0.6, 0)[0]
    assert len(learnt) == 1, "fitted once for all sets"
    np.testing.assert_array_equal(learnt[0], all_of.known.take(fit).gather("features"))


def test_groups_are_not_parted():
    """Pairs of copies: were they split, a test input would be its own nearest neighbour and look too known."""
    noise = np.random.default_rng(0).normal(size=(100, 8)).astype("float32")
    pairs = np.repeat(np.arange(100), 2)
    new = {"same": Support(Signals({"features": np.random.default_rng(1).normal(size=(100, 8)).astype("float32")}))}
    kept, leaked = (
        bench(
            Sources(Support(Signals({"features": noise[pairs]}), groups=groups), near=new), detectors=["knn(k=1)"]
        ).groups["near"]["auroc"]
        for groups in (pairs, None)
    )
    assert abs(kept - 0.5) < 0.1
    assert leaked > kept + 0.1


def test_a_class_of_one_group_takes_no_part_where_it_was_not_learnt():
    """The first group of A fills the fit part, so the other one goes to the test, and takes C along."""
    labels = np.concatenate([np.zeros(22, np.int64), np.ones(40, np.int64), [2]])  # A, B, C
    groups = np.concatenate([np.zeros(12, np.int64), np.ones(10, np.int64), np.arange(2, 42), [1]])
    x = CENTRES[labels] + np.random.default_rng(0).normal(size=(63, 8))
    data = Support(Signals({"features": x}), labels=labels, classes=("A", "B", "C"), groups=groups)
    found = bench(Sources(data, near={"x": unknown()}), detectors=["mahalanobis", "ridge >> msp"])
    assert found.classes == ("A", "B")
    assert found.n_fit + found.n_known_test == 62
    assert "class 'C' has no group left to learn from: its input, which is in the test, takes no part" in found.warnings


def test_a_known_test_is_read_by_the_names_of_its_classes():
    turned = known(seed=5)
    names = tuple(reversed(turned.classes))
    test = known(seed=5, labels=3 - turned.labels, classes=names)  # the same classes under other codes
    all_of = sources(known_test=test, far={})
    one = bench(all_of, detectors=["ridge >> msp"])
    assert (one.n_fit, one.n_known_test) == (120, 120)
    logits = create("ridge").fit(known())({"features": turned.gather("features")})["logits"].numpy()
    assert one.rows[0].accuracy == (logits.argmax(1) == turned.labels).mean() > 0.8


def test_a_known_test_with_a_class_of_its_own_is_refused():
    with pytest.raises(BadInput, match="known test: class 'c4' is not among the known ones"):
        bench(sources(known_test=known(of=5)))


# What can be tried


def test_without_labels_heads_are_not_tried():
    found = bench(Sources(unknown(150), near={"x": unknown(seed=9)}))
    assert {"knn", "mahalanobis"} <= {one.name for one in found.rows}
    assert "labels of two classes or more" in found.not_tried["msp"]
    assert "learns from labels" in found.not_tried["relative_mahalanobis"]
    assert "needs a linear layer" in found.not_tried["vim"]
    assert all(one.accuracy is None for one in found.rows)


def test_one_class_is_like_no_labels():
    found = bench(Sources(known(of=1, n=150), near={"x": unknown()}))
    assert "msp" in found.not_tried
    assert "knn" in {one.name for one in found.rows}


def test_not_a_number_is_named_with_its_source():
    x = np.ones((5, 8))
    x[3, 2] = np.nan
    with pytest.raises(BadInput, match=r"^holes: features row 3"):
        bench(sources(far={"holes": Support(Signals({"features": x}))}), detectors=["mahalanobis"])


def test_what_is_asked_twice_is_done_once():
    found = bench(sources(), detectors=["msp", "ridge >> msp", "msp"])
    assert sorted(one.name for one in found.rows) == ["prototypes >> msp", "ridge >> msp"]


def test_nothing_that_can_be_fitted_is_an_error():
    with pytest.raises(NotEnoughKnown, match=r"no detector could be fitted: knn\(k=500\): KNN\(k=500\) needs"):
        bench(sources(), detectors=["knn(k=500)"])


def test_given_logits_are_read_as_they_are():
    """No class is left out, so a network's own answers need no other head."""

    def with_logits(support, **more):
        x = support.gather("features").numpy()
        return Support(Signals({"features": x, "logits": x[:, :4]}), **more)

    data = known()
    all_of = Sources(with_logits(data, labels=data.labels, classes=data.classes), near={"x": with_logits(unknown())})
    found = bench(all_of, detectors=["msp", "vim"])
    assert {"msp", "ridge >> msp", "prototypes >> msp", "vim"} == {one.name for one in found.rows}
    test = split(data.labels, None, 0.6, 0)[1]
    right = data.gather("features").numpy()[test][:, :4].argmax(1) == data.labels[test]
    assert row(found, "msp").accuracy == right.mean()
    scores = create("msp").score(all_of.known.take(test).signals), create("msp").score(all_of.near["x"].signals)
    assert row(found, "msp").sets["x"]["auroc"] == evaluate(*scores).auroc


def test_the_own_head_stands_in_for_no_labels():
    head = LinearHead(torch.eye(3, 8), torch.zeros(3))
    support = Support(unknown().signals, head=head)
    assert [c.name for c in candidates(support, ["residual", "knn"])[0]] == ["residual", "knn"]


def test_an_audit_reads_no_given_logits():
    data = known()
    x = data.gather("features")
    support = Support(Signals({"features": x, "logits": x[:, :4]}), labels=data.labels, classes=data.classes)
    assert [c.name for c in candidates(support, ["msp"], refit=True)[0]] == ["ridge >> msp", "prototypes >> msp"]


@pytest.mark.parametrize(
    ("more", "kind", "message"),
    [
        ({"near": {}, "far": {}}, WrongUse, "needs unknown inputs"),
        ({"far": {"another": unknown()}}, WrongUse, "'another' names a near and a far set"),
        ({"far": {"wide": Support.of(np.ones((3, 9)))}}, BadInput, "far wide: 9 features an input, the known"),
        ({"far": {"other": Support.of({"logits": np.ones((3, 8))})}}, BadInput, "other: there is no features; it"),
        ({"far": {"none": unknown().take([])}}, BadInput, "far none: there are no inputs"),
    ],
)  # fmt: skip
def test_sources_that_do_not_fit(more, kind, message):
    with pytest.raises(kind, match=message):
        bench(sources(**more))


def test_known_inputs_that_cannot_be_split():
    with pytest.raises(NotEnoughKnown, match="the 40 known inputs are in too few groups"):
        bench(Sources(unknown(groups=np.zeros(40, np.int64)), near={"x": unknown()}))
    with pytest.raises(NotEnoughKnown, match="one known input cannot be split"):
        bench(Sources(unknown(1), near={"x": unknown()}))


def test_a_baseline_of_other_rows_is_refused():
    with pytest.raises(WrongUse, match="the baseline 'pixels' must hold the rows of every source"):
        bench(sources(), baselines={"pixels": sources(far={})})


# Baselines


def sizes(all_of, of_known, of_unknown):
    """Every source as one number a row."""

    def told(support, value):
        column = np.full((len(support), 1), value) + 0.0
        return Support(Signals({"features": column}), labels=support.labels, classes=support.classes)

    near = {name: told(s, of_unknown) for name, s in all_of.near.items()}
    return Sources(told(all_of.known, of_known), near=near)


def test_what_is_trivial_is_called_so():
    """All known files have one size and all unknown ones another: even where no size varies, this must be noticed."""
    all_of = sources(far={})
    found = bench(all_of, baselines={"file size": sizes(all_of, 7.0, 8.0)}, detectors=["mahalanobis"])
    assert row(found, "file size").means["near"]["auroc"] == 1
    assert [one.baseline for one in found.baselines] == ["file size"]
    told = [text for text in found.warnings if "told apart by file size alone (file size: AUROC 1.000)" in text]
    assert len(told) == 2
    assert found.rows[0].name in told[0]
    assert {curve["baseline"] for curve in found.curves["another"]} == {None, "file size"}


def test_what_is_not_trivial_is_not():
    all_of = sources(far={})
    found = bench(all_of, baselines={"file size": sizes(all_of, 7.0, 7.0)}, detectors=["mahalanobis"])
    assert row(found, "file size").means["near"]["auroc"] == 0.5
    assert found.warnings == []


def test_file_sizes_are_bytes(digits):
    inputs = open_inputs(digits / "known")
    assert [inputs.size(i) for i in (0, 9)] == [inputs.path(i).stat().st_size for i in (0, 9)]
    gone = open_inputs(digits / "known")
    gone._paths = [Path("/nowhere.png")] * len(gone)
    with pytest.raises(Unreadable, match=r"five|four|one|two|three|zero.*no such file"):
        gone.size(0)


# From folders


@pytest.fixture
def folders(digits, tmp_path):
    """Two digits that are new, one of which holds a known file; bitmaps, which a size alone gives away."""
    for name in ("five", "six"):
        for path in sorted((digits / "new" / name).iterdir()):
            for folder, suffix in (("near", ".png"), ("bitmaps", ".bmp")):
                target = tmp_path / folder / name / f"{path.stem}{suffix}"
                target.parent.mkdir(parents=True, exist_ok=True)
                Image.open(path).save(target)
    copied = next((digits / "known" / "two").iterdir())
    (tmp_path / "near" / "five" / "a-known-two.png").write_bytes(copied.read_bytes())
    (tmp_path / "near" / "six" / "broken.png").write_bytes(b"no image")
    return tmp_path


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


def test_folders(digits, folders, cache):
    near, far = {"new": folders / "near"}, {"bitmaps": folders / "bitmaps"}
    encoder = Torch(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)), size=8)  # features are the pixels, by another name
    found = library.bench(digits / "known", near, far, encoder, cache=cache, detectors=["knn(k=5)", "msp"])
    assert (found.n_fit, found.n_known_test, found.encoder) == (180, 120, encoder.id)
    assert found.left_out == {"near new": 1}
    assert (found.sets["new"]["left_out"], found.sets["new"]["n_unknown"]) == (1, 40)
    assert [pair[:2] for pair in found.skipped] == [("near new", "six/broken.png")]
    baselines = {one.baseline: one for one in found.baselines}
    assert set(baselines) == {"pixels", "pixel Gaussians", "edges", "file size"}
    # Bitmaps of one size, against compressed files: nothing needs to be looked at.
    assert baselines["file size"].sets["bitmaps"]["auroc"] == 1
    (told,) = [text for text in found.warnings if text.startswith("far bitmaps: told apart by ")]
    assert "file size alone (file size: AUROC 1.000)" in told
    assert row(found, "knn(k=5)").sets["new"]["auroc"] > 0.8
    assert row(found, "ridge >> msp").accuracy > 0.8
    assert {one.name for one in found.baselines if one.baseline == "pixels"} == {"pixels: knn(k=5)"}


def test_an_encoder_is_no_baseline_of_itself(digits, folders, cache):
    found = library.bench(
        digits / "known", {"new": folders / "near"}, encoder="pixels", cache=cache, detectors=["knn(k=5)"]
    )
    assert {one.baseline for one in found.baselines} == {"pixel Gaussians", "edges", "file size"}


def test_a_known_test_loses_what_was_learnt():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(60, 4)).astype("float32"), np.arange(60) % 3
    data, near = {"features": features[:40], "labels": labels[:40]}, {"x": {"features": features[:20] + 1}}
    found = library.bench(data, near, known_test={"features": features[30:], "labels": labels[30:]}, detectors=["msp"])
    assert (found.n_fit, found.n_known_test, found.left_out) == (40, 20, {"known test": 10})
    # What is tested as known is no longer unknown.
    found = library.bench(
        data, {"x": {"features": features[45:60]}}, known_test={"features": features[40:50]}, detectors=["knn(k=5)"]
    )
    assert found.left_out == {"near x": 5}
    assert found.rows[0].accuracy is None


def test_arrays():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(90, 4)).astype("float32")
    data = {"features": features, "labels": np.arange(90) % 3}
    near = {"shifted": {"features": np.concatenate([features[:5], features[:30] + 1])}}
    found = library.bench(data, near, detectors=["mahalanobis"])
    assert found.left_out == {"near shifted": 5}
    assert found.baselines == []
    assert any("the inputs are arrays" in note for note in found.notes)
    with pytest.raises(BadInput, match="all 5 inputs are exact copies of known ones"):
        library.bench(data, {"copies": {"features": features[:5]}})
    with pytest.raises(WrongUse, match="needs unknown inputs"):
        library.bench(data)
    with pytest.raises(WrongUse, match="did you mean 'knn'"):
        library.bench(data, near, detectors=["kn"])


def test_images_in_arrays_have_no_file(digits, folders, cache):
    far = {"noise": {"images": np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)}}
    found = library.bench(digits / "known", far=far, encoder="edges?size=8", cache=cache, detectors=["knn(k=5)"])
    assert {one.baseline for one in found.baselines} == {"pixels", "pixel Gaussians"}
    assert any("sizes of files are not compared, as these inputs are not files: far noise" in n for n in found.notes)


# The command


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Run ``unseen bench`` -> exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["unseen", "bench", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return caught.value.code, out, err

    return run


def test_the_command(command, digits, folders, cache):
    words = ["--known", digits / "known", "--near", f"new digits={folders / 'near'}", "-e", "pixels?size=8"]
    words += ["--far", f"bitmaps={folders / 'bitmaps'}", "--cache", cache]
    code, out, err = command(*words, "--json", "bench.json")
    assert (code, err) == (0, "")
    result = json.loads(Path("bench.json").read_text())
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out, "a column was cut"
    (of_set,) = [line.split() for line in out.splitlines() if line.startswith("new digits ")]
    found = next(one for one in result["detectors"] if one["name"] == result["groups"]["near"]["best"])["sets"]
    assert of_set[-4:-3] == [f"{100 * found['new digits']['fpr_at_tpr95']:.1f}"], "of all columns, to the last"
    assert all(f" {one['name'].split()[-1]} " in f" {' '.join(out.split())} " for one in result["detectors"])
    assert "Near sets, by " in out
    assert out.index("detector") < out.index("Near sets") < out.index("Far sets") < out.index("Warning: ")
    assert "Left out of near new digits: 1 exact copy of known inputs" in out
    assert "Skipped near new digits: six/broken.png: not an image" in " ".join(out.split())
    code, out, err = command(*words, "--detectors", "knn(k=5), msp", "--json", "-", "--strict")
    assert code == 3
    assert "1 inputs were skipped and --strict was given" in err
    asked = {"knn(k=5)", "ridge >> msp", "prototypes >> msp"}
    assert {one["name"] for one in json.loads(out)["detectors"]} == asked


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--near", "photos/"], 2, "--near photos/: write NAME=SOURCE, such as --near textures=photos/textures"),
        (["--far", "=photos/"], 2, "--far =photos/: write NAME=SOURCE"),
        (["--near", "a=x", "--near", "a=y"], 2, "--near a=y: 'a' is given twice"),
        ([], 2, "a bench needs unknown inputs: give at least one near or far set as NAME=SOURCE"),
        (["--near", "a=nowhere"], 3, "nowhere: no such file or folder"),
    ],
)  # fmt: skip
def test_wrong_words(command, digits, words, code, message):
    found, _, err = command("--known", digits / "known", *words)
    assert found == code
    assert err.startswith(f"unseen: {message}")
    assert err.count("\n") == 1
