"""What may be known beside the inputs: through `audit`, `bench`, `fit`, a file and back."""

import numpy as np
import pytest

import unseen
from unseen import Signals, Support
from unseen.classifier import OpenSetClassifier
from unseen.errors import WrongUse
from unseen.protocols import Sources
from unseen.protocols import audit as audit_protocol
from unseen.protocols import bench as bench_protocol
from unseen.signals import TextBank

NAMES = ["ant", "bee", "cow", "dog", "elk", "fox"]
E, F, N = 24, 12, 360
PLP = "plp(epochs=30, batch=64, lr=0.02)"


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def world():
    """Six known concepts, two unknown ones, texts a little beside the images, features before a projection."""
    rng = np.random.default_rng(0)
    centres = unit(rng.normal(size=(8, F)))
    projection = rng.normal(size=(F, E))

    def images(of, n):
        labels = np.arange(n) % len(of)
        features = 3 * centres[of][labels] + 0.5 * rng.normal(size=(n, F))
        columns = {"features": features.astype("float32"), "embedding": unit(features @ projection).astype("float32")}
        return columns, labels

    known, labels = images(list(range(6)), N)
    texts = unit(unit(centres @ projection) + 0.05 * rng.normal(size=(8, E)))
    words = unit(rng.normal(size=(40, E)))
    bank = TextBank(np.float32(texts[:6]), tuple(NAMES), np.float32(words), tuple(f"word {i}" for i in range(40)))
    return {
        "known": {**known, "labels": np.array(NAMES)[labels]},
        "plain": known,
        "test": {**images(list(range(6)), 120)[0], "labels": np.array(NAMES)[np.arange(120) % 6]},
        "unknown": images([6, 7], 120)[0],
        "bank": bank,
        "labels": labels,
    }


def support(world, *, labels=True):
    told = {"labels": world["labels"], "classes": tuple(NAMES)} if labels else {}
    return Support(Signals(world["plain"]), **told, text=world["bank"])


def test_a_level_takes_away_what_it_does_not_allow(world):
    whole = support(world)
    assert [whole.at_level(level).level for level in ("labels", "names", "none")] == ["labels", "names", "none"]
    names = whole.at_level("names")
    assert names.labels is None
    assert names.text is whole.text
    assert whole.at_level("none").text is None


def test_a_class_left_out_loses_its_name(world):
    left = support(world).without("bee")
    assert left.text.classes == tuple(n for n in NAMES if n != "bee")
    assert left.text.words == world["bank"].words


@pytest.mark.parametrize("detector", ["mcm", "neglabel(groups=4)", "zero_shot >> maxlogit", f"{PLP} >> energy"])
def test_labels_change_nothing_where_only_names_may_be_known(world, detector):
    with_labels = unseen.create(detector).fit(support(world)).score(world["unknown"])
    without = unseen.create(detector).fit(support(world, labels=False)).score(world["unknown"])
    assert np.array_equal(with_labels, without)
    assert unseen.create(detector).availability == "names"


def test_pseudo_labels_stand_for_labels(world):
    expression = f"{PLP} >> relative_mahalanobis(on='logits')"
    detector = unseen.create(expression)
    assert (detector.labels, detector.availability) == ("ignored", "names")
    first = detector.fit(support(world, labels=False)).score(world["unknown"])
    shuffled = Support(Signals(world["plain"]), world["labels"][::-1].copy(), tuple(NAMES), text=world["bank"])
    assert np.array_equal(first, unseen.create(expression).fit(shuffled).score(world["unknown"]))


def test_names_are_needed(world):
    with pytest.raises(WrongUse, match="mcm reads class names as texts and there are none"):
        unseen.create("mcm").fit(world["plain"])


def test_a_bench_by_names(world):
    known, test, new = (Support(Signals({k: v for k, v in world[of].items() if k != "labels"}))
                        for of in ("known", "test", "unknown"))  # fmt: skip
    known = Support(known.signals, world["labels"], tuple(NAMES), text=world["bank"])
    test = Support(test.signals, np.arange(120) % 6, tuple(NAMES))
    detectors = ["knn(k=1)", "mcm", "ridge >> energy", f"{PLP} >> energy", f"{PLP} >> relative_mahalanobis", "msp"]
    sources = Sources(known, near={"new": new}, known_test=test)
    found = bench_protocol(sources, detectors=detectors, level="names")
    rows = {row.name: row for row in found.rows}
    assert found.level == found.to_dict()["level"] == "names"
    assert "ridge >> energy" in found.not_tried  # which learns from labels
    assert {"knn(k=1)", "mcm", "plp >> msp", "zero_shot >> msp"} <= set(rows)
    assert rows[next(n for n in rows if n.endswith(">> energy"))].accuracy > 0.9  # by name, as labels say
    assert rows["zero_shot >> msp"].accuracy > 0.9
    assert {name for name, row in rows.items() if row.means["near"]["auroc"] > 0.8} >= {"knn(k=1)", "mcm"}
    none = bench_protocol(sources, detectors=detectors, level="none")
    assert {row.name for row in none.rows} == {"knn(k=1)"}


def test_an_audit_by_names_holds_the_name_out_too(world, monkeypatch):
    met = []
    original = unseen.signals.TextBank.without
    monkeypatch.setattr(TextBank, "without", lambda bank, name: met.append(name) or original(bank, name))
    found = audit_protocol(support(world), detectors=["mcm", "knn(k=1)"], repeats=1, level="names")
    assert set(NAMES) <= set(met)
    assert found.level == "names"
    assert {row.name for row in found.rows} == {"mcm", "knn(k=1)"}
    assert any("from no label" in warning for warning in found.warnings)


@pytest.mark.parametrize("level", ["none", "names"])
def test_an_audit_tries_all_that_its_level_allows(world, level):
    """What it does not allow is listed with the reason, and ends no audit."""
    found = audit_protocol(support(world), held_out=2, repeats=1, level=level)
    tried = {row.name for row in found.rows}
    assert {"knn", "mahalanobis"} <= tried
    assert ({"mcm", "plp >> energy", "plp >> relative_mahalanobis"} <= tried) == (level == "names")
    assert ("relative_mahalanobis" in found.not_tried) == (level == "none")
    named = audit_protocol(support(world), detectors=["knn", "ridge >> energy"], held_out=2, repeats=1, level=level)
    assert "learns from labels" in named.not_tried["ridge >> energy"]


def test_an_audit_without_labels_takes_the_nearest_name_and_says_so(world):
    found = audit_protocol(support(world, labels=False), detectors=["mcm", "knn(k=1)"], repeats=1, level="names")
    assert any("nobody labelled" in warning for warning in found.warnings)
    assert set(found.held_out) == set(NAMES)
    with pytest.raises(WrongUse, match="no labels"):
        audit_protocol(Support(Signals(world["plain"])), detectors=["knn"], level="none")


def test_a_guard_by_names_alone(world, tmp_path):
    made = unseen.fit(world["plain"], "arrays", "mcm", labels="names", text=world["bank"], cache=False)
    guard = made.classifier
    assert guard.classes == tuple(NAMES)
    assert guard.about["availability"] == "names"
    before = guard.predict(world["unknown"])
    assert before.unseen.mean() > 0.3
    right = guard.predict({k: v for k, v in world["test"].items() if k != "labels"})
    assert np.mean([a == NAMES[i % 6] for i, a in enumerate(right.nearest)]) > 0.9
    guard.save(tmp_path / "guard.unseen")
    again = OpenSetClassifier.load(tmp_path / "guard.unseen").predict(world["unknown"])
    assert np.array_equal(before.p_value, again.p_value)
    assert before.nearest == again.nearest
    with pytest.raises(WrongUse, match="fit again"):
        unseen.extend(guard, world["unknown"], known=[world["plain"]], cache=False)


@pytest.mark.parametrize("detector", [f"{PLP} >> energy", f"{PLP} >> relative_mahalanobis(on='logits')"])
def test_a_guard_of_pseudo_labels_in_a_file(world, tmp_path, detector):
    guard = unseen.fit(world["known"], "arrays", detector, labels="names", text=world["bank"], cache=False).classifier
    assert guard.classes == tuple(NAMES)
    guard.save(tmp_path / "guard.unseen")
    again = OpenSetClassifier.load(tmp_path / "guard.unseen")
    for asked in (world["unknown"], world["plain"]):
        assert np.array_equal(guard.predict(asked).p_value, again.predict(asked).p_value)
    named = zip(again.predict(world["plain"]).nearest, world["known"]["labels"], strict=True)
    assert np.mean([a == b for a, b in named]) > 0.9


def test_auto_by_names_chooses_by_an_audit(world):
    made = unseen.fit(world["known"], "arrays", labels="names", text=world["bank"], cache=False)
    assert made.audit is not None
    assert made.audit.level == "names"
    assert made.classifier.detector.availability in ("none", "names")
    none = unseen.fit(world["known"], "arrays", labels="none", cache=False)
    assert none.audit is not None
    assert none.audit.level == "none"
    assert none.classifier.detector.availability == "none"
    assert none.classifier.classes == ()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"labels": "some"}, "labels='some'"),
        ({"labels": "none", "text": "bank"}, "allows no names"),
        ({"labels": "names"}, "reads no texts"),
        ({"labels": "names", "text": "other"}, "class 'ant' .* has no text"),
        ({"labels": "names", "text": "bank", "by_class": True}, "by class needs labels"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(world, options, said):
    banks = {"bank": world["bank"], "other": TextBank(np.eye(2, E), ("yak", "zebu"))}
    options = options | ({"text": banks[options["text"]]} if "text" in options else {})
    with pytest.raises(WrongUse, match=said):
        unseen.fit(world["known"], "arrays", "mcm", cache=False, **options)


def test_embeddings_alone_serve_as_features(world):
    alone = {"embedding": world["plain"]["embedding"]}
    found = unseen.fit(alone, "arrays", "knn(k=1)", cache=False).classifier.predict(alone)
    assert found.unseen.mean() < 0.2


def test_a_bank_comes_back_from_its_file(world, tmp_path):
    bank = world["bank"]
    again = TextBank.load(bank.save(tmp_path / "texts.safetensors"))
    assert again.id == bank.id
    assert (again.classes, again.words) == (bank.classes, bank.words)
    np.savez(tmp_path / "own.npz", positive=5 * bank.positive.numpy(), classes=np.array(NAMES))
    own = TextBank.load(tmp_path / "own.npz")
    assert np.allclose(own.positive, bank.positive, atol=1e-6)
    assert not len(own.negative)
