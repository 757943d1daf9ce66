"""A saved guard that learns more classes later: nothing is encoded again, and calibration rows stay aside."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import unseen
from unseen.calibration import ClassConditional, SplitConformal
from unseen.classifier import OpenSetClassifier, set_aside
from unseen.encoders import encode
from unseen.encoders.pixels import Pixels
from unseen.errors import BadInput, NotFitted, WrongUse
from unseen.registry import create
from unseen.signals import Support, joined

SEED = 3


class Asked(Pixels):
    """The encoder under test, with a count of the images that it was asked about."""

    name = "pixels"

    def __init__(self):
        super().__init__(size=8)
        self.rows = 0

    def prepare(self, image):
        self.rows += image.shape[0] > 0 and image.any()  # the blank that stands for padding is black
        return super().prepare(image)


@pytest.fixture(scope="module")
def sources(digits, tmp_path_factory):
    """``old/`` of three digits, ``new/`` of two others, ``more/`` of two of the old."""
    root = tmp_path_factory.mktemp("sources")
    for part, names in {"old": ("zero", "one", "two"), "new": ("three", "four")}.items():
        for name in names:
            shutil.copytree(digits / "known" / name, root / part / name)
    for name in ("zero", "two"):
        shutil.copytree(digits / "new" / name, root / "more" / name)
    return root


@pytest.fixture
def fitted(sources, tmp_path):
    """A guard of ``old/`` that was saved, its encoder, and its store."""
    encoder, cache = Asked(), tmp_path / "store"
    guard = unseen.fit(sources / "old", encoder, "knn(k=2)", seed=SEED, cache=cache).classifier
    assert encoder.rows == 180
    encoder.rows = 0
    return guard, encoder, cache


def blobs(names, per_class=60, width=6, seed=0):
    """Features of classes whose means follow from their names."""
    random = np.random.default_rng(seed)
    means = {name: np.random.default_rng(ord(name[0])).normal(size=width) * 5 for name in names}
    labels = np.repeat(names, per_class)
    rows = np.stack([means[name] + random.normal(size=width) for name in labels.tolist()])
    return Support.of(rows.astype(np.float32), labels)


def by_hand(detector, supports, *, seed, calibrator=None):
    """What an extension must be: fitted on all rows not set aside, each source split by itself."""
    parts = [set_aside(one, 0.2, seed) for one in supports]
    names = [np.array(one.classes)[one.labels] for one in supports]
    x = [one.gather("features").numpy() for one in supports]
    rest, aside = (
        (
            np.concatenate([rows[part[side]] for rows, part in zip(x, parts, strict=True)]),
            np.concatenate([rows[part[side]] for rows, part in zip(names, parts, strict=True)]),
        )
        for side in (0, 1)
    )
    fresh = create(detector).fit(*rest)
    return fresh, (calibrator or SplitConformal()).fit(fresh.score(aside[0])), aside


# In Python


@pytest.mark.parametrize(
    "detector",
    ["knn(k=3)", "mahalanobis", "relative_mahalanobis", "vim", "ridge >> react >> energy", "prototypes >> msp"],
)
def test_an_extension_is_a_fresh_fit_whose_calibration_rows_are_those_of_each_source(detector):
    old, new = blobs(["ant", "cow"], seed=1), blobs(["bee", "dog"], seed=2)
    guard = OpenSetClassifier("arrays", detector, seed=SEED).fit(old)
    before = guard.predict(new)
    wider = guard.extend(new, old)
    fresh, calibrator, (asked, names) = by_hand(detector, [old, new], seed=SEED)
    query = {"features": np.concatenate([asked, asked + 9])}
    said = wider.predict(query)
    np.testing.assert_allclose(said.familiarity, fresh.score(query), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(wider.calibrator.scores, calibrator.scores, rtol=1e-4, atol=1e-4)
    assert [name for name, true in zip(said.nearest, names.tolist(), strict=False) if name == true] != []
    assert wider.classes == ("ant", "cow", "bee", "dog")  # the old ones keep their numbers
    assert (wider.about["n_fit"], wider.about["n_calibration"]) == (192, 48)
    assert wider.about["inputs_per_class"] == dict.fromkeys(wider.classes, 60)
    again = guard.predict(new)  # the guard that is given stays as it is
    np.testing.assert_array_equal(again.familiarity, before.familiarity)
    assert (guard.classes, len(guard.calibrator.scores)) == (("ant", "cow"), 24)


def test_what_was_unseen_is_known_afterwards():
    old, new = blobs(["ant", "cow"]), blobs(["bee"])
    guard = OpenSetClassifier("arrays", "mahalanobis").fit(old)
    wider = guard.extend(new, old)
    fresh = blobs(["bee"], seed=9)
    assert guard.predict(fresh).unseen.mean() == 1
    said = wider.predict(fresh)
    assert said.unseen.mean() < 0.2
    assert set(said.nearest) == {"bee"}


def test_an_extension_in_two_steps_keeps_what_each_step_set_aside():
    first, second, third = blobs(["ant", "cow"], seed=1), blobs(["bee"], seed=2), blobs(["ant"], 30, seed=3)
    guard = OpenSetClassifier("arrays", "knn(k=3)", seed=SEED).fit(first).extend(second, first)
    wider = guard.extend(third, (first, second))
    fresh, calibrator, _ = by_hand("knn(k=3)", [first, second, third], seed=SEED)
    asked = {"features": third.gather("features").numpy()}
    np.testing.assert_allclose(wider.predict(asked).familiarity, fresh.score(asked), rtol=1e-5)
    np.testing.assert_allclose(wider.calibrator.scores, calibrator.scores, rtol=1e-5)
    assert wider.about["inputs_per_class"] == {"ant": 90, "cow": 60, "bee": 60}
    with pytest.raises(WrongUse, match="1 sources are given as known and the guard learnt from 2"):
        guard.extend(third, first)


def test_by_class_stays_by_class(tmp_path):
    old, new = blobs(["ant", "cow"], 120), blobs(["bee"], 120)
    guard = OpenSetClassifier("arrays", "knn(k=3)", by_class=True).fit(old)
    wider = OpenSetClassifier.load(guard.extend(new, old).save(tmp_path / "wider.unseen"))
    assert isinstance(wider.calibrator, ClassConditional)
    assert len(wider.thresholds()) == 3
    assert (wider.calibrator.counts > 19).all()


def test_without_labels_there_are_only_more_inputs():
    old, new = blobs(["ant"]).gather("features"), blobs(["bee"]).gather("features")
    guard = OpenSetClassifier("arrays", "knn(k=3)", alpha=0.1).fit(old)
    wider = guard.extend(new, old)
    assert wider.classes == ()
    assert guard.predict(new).unseen.all()
    assert not wider.predict(new).unseen.all()
    with pytest.raises(WrongUse, match="some of the inputs have labels and others have none"):
        guard.extend(blobs(["bee"]), old)


def test_other_known_inputs_than_those_of_the_fit_are_refused():
    old, new = blobs(["ant", "cow"]), blobs(["bee"])
    guard = OpenSetClassifier("arrays", "knn(k=3)").fit(old)
    with pytest.raises(BadInput, match="learnt from 120 inputs, and 119 are given"):
        guard.extend(new, old.take(np.arange(119)))
    with pytest.raises(NotFitted):
        OpenSetClassifier("arrays", "knn(k=3)").extend(new, old)


def test_joined_supports_read_as_one(tmp_path):
    one, other = blobs(["b", "a"], 300), blobs(["c", "a"], 2)
    grouped = Support(other.signals, other.labels, other.classes, groups=np.array([0, 0, 1, 1]))
    both = joined([one, grouped])
    assert both.classes == ("a", "b", "c")
    np.testing.assert_array_equal(
        both.gather("features"), np.concatenate([one.gather("features"), other.gather("features")])
    )
    rows = np.array([603, 0, 599, 600])
    np.testing.assert_array_equal(both.take(rows).gather("features"), both.gather("features")[rows])
    assert [both.classes[code] for code in both.labels[[0, 599, 600, 603]]] == ["b", "a", "c", "a"]
    assert both.groups[-4] == both.groups[-3] != both.groups[-2] == both.groups[-1]
    assert len(set(both.groups.tolist())) == 602
    wide = Support.of(np.zeros((2, 7)), ["a", "b"])
    with pytest.raises(BadInput, match="features are of several shapes"):
        joined([one, wide])


# From files


def test_the_encoder_is_asked_about_new_inputs_only(fitted, sources):
    guard, encoder, cache = fitted
    made = unseen.extend(guard, sources / "new", cache=cache)
    assert encoder.rows == 120
    wider, encoder.rows = made.classifier, 0
    again = unseen.extend(wider, sources / "more", cache=cache).classifier
    assert encoder.rows == 40
    assert again.about["inputs_per_class"] == {"one": 60, "two": 80, "zero": 80, "four": 60, "three": 60}
    assert "with 2 new classes: four, three; the 180 known before stay as they were" in made.reason
    supports = [encode(sources / part, encoder, cache=cache) for part in ("old", "new", "more")]
    assert encoder.rows == 40  # every other way to the store finds what was kept
    fresh, calibrator, _ = by_hand("knn(k=2)", supports, seed=SEED)
    np.testing.assert_allclose(again.calibrator.scores, calibrator.scores, rtol=1e-5)
    np.testing.assert_allclose(again.detector.score(supports[2]), fresh.score(supports[2]), rtol=1e-5)


def test_rows_that_were_set_aside_are_never_learnt(fitted, sources):
    """By what the detector holds: its bank has no row of a calibration input, old or new."""
    guard, encoder, cache = fitted
    wider = unseen.extend(guard, sources / "new", cache=cache).classifier
    scores = []
    for part in ("old", "new"):
        support = encode(sources / part, encoder, cache=cache)
        rest, aside = set_aside(support, 0.2, SEED)
        at = create("knn(k=1)").fit(wider.detector.bank.numpy())  # 0 apart: it is in the bank
        near = {name: -at.score(_unit(support.take(rows))) for name, rows in (("rest", rest), ("aside", aside))}
        assert near["rest"].max() < 1e-3
        assert near["aside"].min() > 1e-3
        scores.append(wider.detector.score(support.take(aside)))
    np.testing.assert_array_equal(np.sort(np.concatenate(scores)), wider.calibrator.scores)


def _unit(support):
    features = support.gather("features").numpy()
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def test_without_a_store_the_known_inputs_are_encoded_again_and_all_is_the_same(fitted, sources):
    guard, encoder, cache = fitted
    stored = unseen.extend(guard, sources / "new", cache=cache).classifier
    encoder.rows = 0
    made = unseen.extend(guard, sources / "new", cache=False).classifier
    assert encoder.rows == 300
    np.testing.assert_array_equal(made.calibrator.scores, stored.calibrator.scores)


def test_a_source_that_moved_is_named_and_found_by_its_new_name(fitted, sources, tmp_path):
    guard, encoder, cache = fitted
    moved = tmp_path / "moved"
    shutil.copytree(sources / "old", moved)
    guard.about["learnt"][0]["source"] = str(tmp_path / "gone")
    with pytest.raises(BadInput, match="gone: the guard learnt from it and it is not there"):
        unseen.extend(guard, sources / "new", cache=cache)
    assert encoder.rows == 0  # nothing is encoded before it is known that all is there
    wider = unseen.extend(guard, sources / "new", known=[moved], cache=cache).classifier
    assert encoder.rows == 120  # the store finds encodings by what the files contain
    assert [one["source"] for one in wider.about["learnt"]] == [str(moved), str(sources / "new")]
    with pytest.raises(WrongUse, match="the guard learnt from 1 sources and 2 are given as known"):
        unseen.extend(guard, sources / "new", known=[moved, moved], cache=cache)


@pytest.mark.parametrize("change", ["add", "remove", "swap", "relabel"])
def test_a_source_that_changed_is_refused(sources, tmp_path, change):
    old = tmp_path / "old"
    shutil.copytree(sources / "old", old)
    guard = unseen.fit(old, "pixels?size=8", "knn(k=2)", cache=False).classifier
    one, two = sorted((old / "one").iterdir())[:2]
    if change == "add":
        shutil.copy(next((sources / "more" / "zero").iterdir()), old / "zero" / "zz.png")
    elif change == "remove":
        one.unlink()
    elif change == "swap":
        first, second = one.read_bytes(), two.read_bytes()
        one.write_bytes(second)
        two.write_bytes(first)
    else:
        one.rename(old / "two" / "zz.png")
    with pytest.raises(BadInput, match="not what the guard learnt from"):
        unseen.extend(guard, sources / "new", cache=False)


def test_exact_copies_of_known_inputs_are_left_out(fitted, sources, tmp_path):
    guard, encoder, cache = fitted
    new = tmp_path / "new"
    shutil.copytree(sources / "new", new)
    copied = sorted((sources / "old" / "one").iterdir())[:3]
    (new / "one").mkdir()
    shutil.copy(copied[0], new / "one" / "same.png")
    for number, file in enumerate(copied[1:]):
        shutil.copy(file, new / "three" / f"zz{number}.png")
    made = unseen.extend(guard, new, cache=cache)
    assert encoder.rows == 120
    assert made.classifier.about["inputs_per_class"]["one"] == 60
    note = next(note for note in made.notes if "exact copies of what" in note)
    assert note.startswith("3 of the new inputs are exact copies of what the guard learnt from and were left out, 2 of")
    assert "such as three/zz" in note
    # And again when this source is one of those that were known before.
    wider = unseen.extend(made.classifier, sources / "more", cache=cache).classifier
    assert wider.about["inputs_per_class"] == {"one": 60, "two": 80, "zero": 80, "four": 60, "three": 60}
    with pytest.raises(BadInput, match="all 180 inputs are exact copies"):
        unseen.extend(guard, sources / "old", cache=cache)


def test_a_limited_fit_is_extended_from_the_inputs_it_took(sources, tmp_path):
    encoder = Asked()
    guard = unseen.fit(sources / "old", encoder, "knn(k=2)", limit=150, seed=4, cache=tmp_path).classifier
    encoder.rows = 0
    wider = unseen.extend(guard, sources / "new", limit=50, cache=tmp_path).classifier
    assert encoder.rows == 50
    assert wider.about["n_fit"] + wider.about["n_calibration"] == 200
    encoder.rows = 0
    unseen.extend(wider, sources / "more", cache=tmp_path)
    assert encoder.rows == 40


def test_labels_on_one_side_only_are_refused(fitted, sources):
    guard, _, cache = fitted
    with pytest.raises(WrongUse, match="has no labels and the inputs that the guard learnt from have some"):
        unseen.extend(guard, sources / "new" / "four", cache=cache)
    plain = unseen.fit(sources / "old" / "one", "pixels?size=8", "knn(k=2)", alpha=0.1, cache=cache).classifier
    with pytest.raises(WrongUse, match="has labels and the inputs that the guard learnt from have none"):
        unseen.extend(plain, sources / "new", cache=cache)


def test_a_guard_that_does_not_say_what_it_learnt_from_is_told(digits, sources):
    """One of an earlier version, and one of arrays in memory."""
    earlier = Path(__file__).parent / "fixtures" / "guard-0.1.0.unseen"
    memory = OpenSetClassifier("arrays", "knn(k=3)").fit(blobs(["ant", "cow"]))
    features = blobs(["bee"])
    for guard, new in (
        (earlier, sources / "new"),
        (memory, {"features": features.gather("features"), "labels": ["bee"] * 60}),
    ):
        with pytest.raises(WrongUse, match="does not say where the inputs lie"):
            unseen.extend(guard, new)
    old = blobs(["ant", "cow"])
    known = {"features": old.gather("features").numpy(), "labels": np.array(old.classes)[old.labels]}
    new = {"features": features.gather("features").numpy(), "labels": ["bee"] * 60}
    assert unseen.extend(memory, new, known=[known]).classifier.classes == ("ant", "cow", "bee")


# The command


def test_from_a_fit_to_a_queue_to_a_wider_guard(unseen, digits):
    """The loop of a year: fit, score, look at what is new, name it, extend, score again."""
    pixels = ("-e", "pixels?size=8", "--cache", "store")
    assert unseen("fit", digits / "known", *pixels, "-d", "knn(k=1)")[0] == 0
    code, out, _ = unseen("score", "guard.unseen", digits / "new", "--queue", "queue.jsonl")
    assert code == 0
    assert "Labelling queue: queue.jsonl" in out
    rows = [json.loads(line) for line in Path("queue.jsonl").read_text().splitlines()]
    for row in rows[:45]:  # a person names what lies on top
        row["label"] = Path(row["path"]).parent.name
    Path("queue.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("extend", "guard.unseen", "queue.jsonl", "-o", "wider.unseen", "--cache", "store")
    code, out, err = unseen(*words, "--json", "wider.json")
    assert (code, err) == (0, "")
    about = json.loads(Path("wider.json").read_text())
    assert {"five", "six"} <= set(about["classes"])
    assert about["n_fit"] + about["n_calibration"] == 345
    assert "Note: 95 rows have no label and were left out" in out
    assert "Next:  unseen score wider.unseen NEW_INPUTS" in out
    before = json.loads(unseen("score", "guard.unseen", digits / "new", "--json", "-")[1])["unseen"]
    assert json.loads(unseen("score", "wider.unseen", digits / "new", "--json", "-")[1])["unseen"] < before
    code, _, err = unseen(*words[:3], "-o", "x.unseen", "--known", "nowhere")
    assert code == 3
    assert err.startswith("unseen: nowhere: no such file or folder")
