import json
import math
import struct

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

import unseen
from unseen.calibration import ClassConditional, SplitConformal, q_values
from unseen.classifier import FORMAT, OpenSetClassifier, _content_hash, set_aside, short_id
from unseen.encoders import open_encoder
from unseen.errors import BadInput, DamagedFile, NotEnoughKnown, NotFitted, WrongUse
from unseen.signals import Signals, Support

NET = """
import torch
from torch import nn

print("imported")

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.last = nn.Linear(3 * 8 * 8, 16), nn.Linear(16, 5)

    def forward(self, x):
        return self.last(self.body(x.flatten(1)).relu())

def other():
    net = Net()
    with torch.no_grad():
        net.body.weight += 1
    return net
"""


def blobs(per_class=60, classes=3, width=8, seed=0):
    """Features ``(N, D)`` around class means, names ``(N,)`` and rows far from all of them."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(classes, width)) * 4
    codes = np.repeat(np.arange(classes), per_class)
    known = (means[codes] + rng.normal(size=(len(codes), width))).astype(np.float32)
    far = (30 + rng.normal(size=(20, width))).astype(np.float32)
    return known, np.array(["ant", "bee", "cow", "dog", "emu"])[codes], far


def same(one, two):
    assert one.keys == two.keys
    assert one.nearest == two.nearest
    for name in ("p_value", "familiarity", "unseen"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    known, labels, _ = blobs()
    guard = OpenSetClassifier("arrays", "ridge >> energy").fit(known, labels)
    return guard, guard.save(tmp_path_factory.mktemp("saved") / "guard.unseen")


# Fitting and answering


@pytest.mark.parametrize("detector", ["knn(k=3)", "mahalanobis", "ridge >> energy", "prototypes >> msp"])
def test_arrays_files_mappings_and_supports_give_the_same_bits(detector, tmp_path):
    known, labels, far = blobs()
    new = np.concatenate([blobs(seed=0)[0][::7], far])
    guard = OpenSetClassifier("arrays", detector).fit(known, labels)
    verdicts = guard.predict(new)
    if ">>" not in detector:  # logits are large far away too
        assert verdicts.unseen[-len(far) :].all()
    np.savez(tmp_path / "known.npz", features=known, labels=labels)
    np.save(tmp_path / "new.npy", new)
    np.savez(tmp_path / "new.npz", features=new, labels=["ant"] * len(new))
    fits = [
        (tmp_path / "known.npz", None),
        ({"features": known, "labels": labels}, None),
        (Support.of(known, labels), None),
        (Signals({"features": known}), labels),
        (torch.from_numpy(known), labels),
    ]
    for source, names in fits:
        other = OpenSetClassifier("arrays", detector).fit(source, names)
        for asked in (new, tmp_path / "new.npy", tmp_path / "new.npz", {"features": new}, torch.from_numpy(new)):
            np.testing.assert_array_equal(other.predict(asked).familiarity, verdicts.familiarity)
            np.testing.assert_array_equal(other.predict(asked).p_value, verdicts.p_value)
        assert other.predict(Signals({"features": new})).nearest == verdicts.nearest
    back = OpenSetClassifier.load(guard.save(tmp_path / "g.unseen"))
    same(back.predict(new), verdicts)
    assert back.info() == guard.info() == unseen.info(tmp_path / "g.unseen")
    same(OpenSetClassifier.load(back.save(tmp_path / "h.unseen")).predict(new), verdicts)


def test_label_is_none_for_the_unseen_and_nearest_is_given():
    known, labels, far = blobs()
    records = OpenSetClassifier("arrays", "mahalanobis").fit(known, labels).predict(np.vstack([known, far])).records()
    assert {r["verdict"] for r in records} == {"known", "unseen"}
    for record in records:
        assert list(record) == ["path", "verdict", "label", "nearest", "p_value", "familiarity"]
        assert record["nearest"] in ("ant", "bee", "cow")
        assert record["label"] == (record["nearest"] if record["verdict"] == "known" else None)
        assert (record["p_value"] <= 0.05) == (record["verdict"] == "unseen")


def test_labelled_inputs_are_counted():
    known, labels, far = blobs()
    guard = OpenSetClassifier("arrays", "mahalanobis").fit(known, labels)
    new = {"features": np.vstack([known, far]), "labels": [*labels, *["newt"] * len(far)]}
    about = guard.predict(new).summary()
    counts = about["labelled"]
    assert (counts["known"], counts["other"]) == (len(known), len(far))
    assert counts["other_called_unseen"] == len(far)
    assert counts["known_called_unseen"] + len(far) == about["unseen"]
    assert counts["accuracy_on_known"] > 0.9
    assert about["share_unseen"] == about["unseen"] / about["n"]
    assert "labelled" not in guard.predict(known).summary()


def test_without_labels():
    known, _, far = blobs()
    made = unseen.fit(known)
    assert made.audit is None
    assert made.classifier.detector.name == "knn"
    assert "no labels" in made.reason
    verdicts = made.classifier.predict({"features": far, "labels": ["newt"] * len(far)})
    assert verdicts.unseen.all()
    assert set(verdicts.nearest) == {None}
    assert made.classifier.classes == ()
    assert "labelled" not in verdicts.summary()


def test_one_class():
    known, _, far = blobs(classes=1, per_class=100)
    made = unseen.fit({"features": known, "labels": ["only"] * len(known)})
    assert "1 class is too few" in made.reason
    verdicts = made.classifier.predict({"features": np.vstack([known, far]), "labels": ["only"] * (len(known) + 20)})
    assert set(verdicts.nearest) == {"only"}
    assert "accuracy_on_known" not in verdicts.summary()["labelled"]


def test_an_audit_chooses_and_says_so():
    known, labels, _ = blobs(classes=5)
    made = unseen.fit({"features": known, "labels": labels})
    assert made.audit is not None
    assert made.classifier.detector.expression() == made.audit.recommended["expression"]
    assert made.reason == made.audit.recommended["sentence"] == made.classifier.info()["chosen"]


def test_another_alpha_and_the_range_expected():
    known, labels, far = blobs()
    guard = OpenSetClassifier("arrays", "mahalanobis", alpha=0.1).fit(known, labels)
    new = np.vstack([known, far])
    loose, strict = guard.predict(new, alpha=0.5), guard.predict(new, alpha=0.03)
    assert (loose.alpha, strict.alpha) == (0.5, 0.03)
    np.testing.assert_array_equal(loose.p_value, strict.p_value)
    for verdicts in (loose, strict):
        np.testing.assert_array_equal(verdicts.unseen, verdicts.p_value <= verdicts.alpha)
        low, high = verdicts.expected
        assert 0 <= low <= verdicts.alpha * len(new) <= high <= len(new)
    assert guard.alpha == 0.1
    for alpha, error in ((0.01, NotEnoughKnown), (0, WrongUse), (1, WrongUse), (float("nan"), WrongUse)):
        with pytest.raises(error, match="alpha"):
            guard.predict(new, alpha=alpha)


def test_calibration_rows_are_not_learnt_from(monkeypatch):
    known, labels, _ = blobs()
    groups = np.arange(len(known)) // 3
    support = Support(Signals({"features": known}), *_coded(labels), groups=groups)
    guard = OpenSetClassifier("arrays", "knn(k=1)").fit(support)
    rest, aside = set_aside(support, 0.2, 0)
    assert sorted([*rest, *aside]) == list(range(len(known)))
    assert not set(groups[rest]) & set(groups[aside])
    assert (guard.about["n_fit"], guard.about["n_calibration"]) == (len(rest), len(aside))
    assert len(guard.detector.bank) == len(rest)
    scores = guard.detector.score(known)
    assert np.allclose(scores[rest], 0)
    assert (scores[aside] < -1e-3).all()
    np.testing.assert_array_equal(np.sort(scores[aside]), guard.calibrator.scores.numpy())


def _coded(labels):
    classes, codes = np.unique(labels, return_inverse=True)
    return codes.astype(np.int64), tuple(classes.tolist())


def test_too_few_inputs_for_alpha_are_named_before_anything_is_learnt(monkeypatch):
    known, labels, _ = blobs()
    guard = OpenSetClassifier("arrays", "mahalanobis", alpha=0.01)
    monkeypatch.setattr(guard.detector, "fit", lambda support: pytest.fail("nothing may be learnt"))
    with pytest.raises(NotEnoughKnown, match=r"alpha 0.01 needs 99 .* these 180 are 36: give about 495 inputs"):
        guard.fit(known, labels)
    assert OpenSetClassifier("arrays", "mahalanobis", alpha=1 / 37).fit(known, labels)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"alpha": 0}, "alpha=0: give the share"),
        ({"alpha": 1.0}, "alpha=1.0"),
        ({"alpha": float("nan")}, "alpha=nan"),
        ({"calibration": 0}, "calibration=0"),
        ({"seed": -1}, "seed=-1"),
        ({"detector": "ridge"}, "'ridge' is not a detector"),
        ({"detector": "knnn"}, "did you mean 'knn'"),
        ({"encoder": "pixel"}, "did you mean 'pixels'"),
    ],
)
def test_wrong_arguments(arguments, says):
    with pytest.raises(WrongUse, match=says):
        OpenSetClassifier(**{"encoder": "arrays", **arguments})


def test_before_fit(tmp_path):
    guard = OpenSetClassifier("arrays")
    assert "not fitted" in repr(guard)
    with pytest.raises(NotFitted, match="call fit"):
        guard.predict(np.ones((1, 2)))
    with pytest.raises(NotFitted, match="nothing to save"):
        guard.save(tmp_path / "x")


def test_another_width_names_both(tmp_path):
    known, labels, _ = blobs()
    guard = OpenSetClassifier("arrays", "knn").fit(known, labels)
    np.save(tmp_path / "wide.npy", np.ones((3, 9)))
    for new in (np.ones((3, 9)), tmp_path / "wide.npy", Signals({"features": np.ones((3, 9))})):
        with pytest.raises(BadInput, match=r"8 features.* 9"):
            guard.predict(new)


def test_signals_of_another_encoder_are_refused():
    known, labels, _ = blobs()
    guard = OpenSetClassifier("arrays?source=mine", "knn").fit(known, labels)
    with pytest.raises(WrongUse, match="of the encoder pixels:8x8, the classifier's is arrays:mine"):
        guard.predict(Support(Signals({"features": known}), encoder="pixels:8x8"))


def test_people_can_read_what_they_print():
    known, labels, far = blobs(classes=5)
    made = unseen.fit({"features": known, "labels": labels}, detector="knn(k=2)")
    assert repr(made.classifier) == (
        "OpenSetClassifier(arrays >> knn(k=2), alpha=0.05, 5 classes, 60 calibration scores)"
    )
    assert repr(made).endswith("knn(k=2) was asked for.")
    assert repr(made.classifier.predict(far)) == "Verdicts(20 of 20 unseen, alpha=0.05, 0 skipped)"
    assert short_id('packaged:0a1b:{"size": [1, 2]}') == "packaged:0a1b"


# Images


@pytest.mark.parametrize("detector", ["knn(k=1)", "mahalanobis", "ridge >> energy", "prototypes >> msp"])
def test_folders_of_images(digits, tmp_path, detector):
    made = unseen.fit(digits / "known", "pixels?size=8", detector, cache=tmp_path)
    made.classifier.save(tmp_path / "g.unseen")
    verdicts = made.classifier.predict(digits / "new")
    same(unseen.score(tmp_path / "g.unseen", digits / "new"), verdicts)
    assert verdicts.keys[0] == "five/0060.png" or verdicts.keys == sorted(verdicts.keys)
    about = verdicts.summary()["labelled"]
    assert (about["known"], about["other"]) == (100, 40)
    assert about["known_called_unseen"] / 100 < 0.2 < about["other_called_unseen"] / 40


def test_arrays_and_a_guard_of_images_do_not_mix(digits, tmp_path):
    guard = unseen.fit(digits / "known", "pixels?size=8", "knn", cache=tmp_path).classifier
    with pytest.raises(BadInput, match="holds arrays, the encoder 'pixels' reads images"):
        guard.predict(np.ones((3, 192), dtype=np.float32))
    with pytest.raises(WrongUse, match="energy reads logits, which the encoder pixels:8x8 does not give"):
        unseen.fit(digits / "known", "pixels?size=8", "energy", cache=tmp_path)


def test_a_network_of_the_users_own_is_asked_for_at_load(digits, tmp_path, python):
    (tmp_path / "net.py").write_text(NET)
    mine, other = (f"torch:{tmp_path / 'net.py'}:{name}?size=8" for name in ("Net", "other"))
    guard = unseen.fit(digits / "known", mine, "knn(k=1)", cache=tmp_path / "cache").classifier
    path = guard.save(tmp_path / "g.unseen")
    expected = guard.predict(digits / "new")
    same(unseen.score(path, digits / "new", encoder=mine), expected)
    with pytest.raises(WrongUse, match="which its file cannot hold: give it"):
        unseen.score(path, digits / "new")
    with pytest.raises(WrongUse, match=r"was fitted with the encoder torch:Net:.*this one is torch:other:"):
        unseen.score(path, digits / "new", encoder=other)
    done = python(f"import unseen; g = unseen.load({str(path)!r}); print(g.info()['detector'])", cwd=tmp_path)
    assert done.stdout == "knn(k=1)\n", "no code is imported because a file names it"
    # Signals that the right encoder made need no encoder.
    support = unseen.encode(digits / "new", mine, cache=tmp_path / "cache")
    same(unseen.load(path).predict(support), expected)


def test_the_encoders_own_logits(digits, tmp_path):
    (tmp_path / "net.py").write_text(NET)
    encoder = f"torch:{tmp_path / 'net.py'}:Net?size=8"
    guard = unseen.fit(digits / "known", encoder, "energy", cache=tmp_path / "cache").classifier
    assert guard.detector.reads() == {"logits"}
    assert set(guard.predict(digits / "new").nearest) <= set(guard.classes)


# Files


def forge(path, target, change, encoder=False):
    """Copy a saved file with another description and a hash that fits."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    description = json.loads(metadata["description"])
    change(description)
    metadata["description"] = json.dumps(description)
    metadata["sha256"] = _content_hash(metadata, tensors)
    save_file(tensors, target, metadata)
    return target


def test_a_file_cannot_name_code(saved, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def as_encoder(name, **arguments):
        return lambda d: d["encoder"].update({"name": name, "arguments": arguments})

    def as_detector(**entry):
        return lambda d: d.update({"detector": {"room": "detectors", "name": "knn", "arguments": {}} | entry})

    changes = [
        as_encoder("torch", path="evil.py:net"),
        as_encoder("torch", path="evil:net"),
        as_encoder("evil"),
        as_encoder("../evil"),
        as_encoder("arrays", nothing=1),
        as_encoder("pixels", size=4),
        as_detector(room="../..", name="evil"),
        as_detector(room="encoders", name="torch", arguments={"path": "evil.py:net"}),
        as_detector(name="__import__('evil')"),
        as_detector(name="knn(k=1)"),
        as_detector(arguments={"evil": 1}),
        as_detector(arguments=[1]),
        lambda d: d.pop("classes"),
        lambda d: d.update(detector=[]),
        lambda d: d.update(about=None),
        lambda d: d.update(encoder="arrays"),
        lambda d: d.update(calibrator={"name": "evil", "arguments": {}}),
        lambda d: d.update(calibrator={"name": "ClassConditional", "arguments": {"minimum": 19}}),
        lambda d: d["calibrator"]["arguments"].update(minimum=1),
        lambda d: d.update(calibrator=None),
    ]
    for number, change in enumerate(changes):
        forged = forge(saved[1], tmp_path / f"{number}.unseen", change)
        with pytest.raises(DamagedFile) as caught:
            OpenSetClassifier.load(forged)
        assert "\n" not in str(caught.value)
    assert OpenSetClassifier.load(forge(saved[1], tmp_path / "fine.unseen", lambda d: None))


def test_truncated_anywhere(saved, tmp_path):
    content = saved[1].read_bytes()
    for length in [*range(0, 64), *range(64, len(content), 97), len(content) - 1]:
        (tmp_path / "g").write_bytes(content[:length])
        with pytest.raises(DamagedFile):
            OpenSetClassifier.load(tmp_path / "g")
    (tmp_path / "g").write_bytes(content + b"x")
    with pytest.raises(DamagedFile):
        OpenSetClassifier.load(tmp_path / "g")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_altered_byte_is_found(saved, tmp_path, data):
    guard, path = saved
    content = bytearray(path.read_bytes())
    header = 8 + struct.unpack("<Q", content[:8])[0]
    # Half of the draws in the header: there a change may still be well-formed.
    at = data.draw(st.one_of(st.integers(0, header - 1), st.integers(0, len(content) - 1)))
    content[at] ^= data.draw(st.integers(1, 255))
    (tmp_path / "g").write_bytes(content)
    try:
        altered = OpenSetClassifier.load(tmp_path / "g")
    except DamagedFile:
        return
    # Only the white space between the parts of the header means nothing.
    assert bytes([content[at]]).isspace()
    assert bytes([path.read_bytes()[at]]).isspace()
    same(altered.predict(blobs()[0]), guard.predict(blobs()[0]))
    assert altered.info() == guard.info()


def test_foreign_and_newer_files(saved, tmp_path):
    tensors = {"a": torch.ones(2)}
    save_file(tensors, tmp_path / "foreign")
    save_file(tensors, tmp_path / "newer", {"format": FORMAT, "version": "3", "description": "{}", "sha256": ""})
    save_file(tensors, tmp_path / "odd", {"format": FORMAT, "version": "²", "description": "{}", "sha256": ""})
    save_file(tensors, tmp_path / "bare", {"format": FORMAT})
    (tmp_path / "text").write_text("not a model")
    (tmp_path / "empty").write_bytes(b"")
    says = {
        "foreign": "not a file that `unseen fit` saved",
        "newer": "newer version of unseen: upgrade",
        "odd": "not a whole file|newer version",
        "bare": "not a whole file",
        "text": "not a whole file",
        "empty": "not a whole file",
    }
    for name, message in says.items():
        with pytest.raises(DamagedFile, match=message) as caught:
            OpenSetClassifier.load(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(BadInput, match="there is no such file"):
        OpenSetClassifier.load(tmp_path / "absent")
    with pytest.raises(BadInput, match="is a directory"):
        OpenSetClassifier.load(tmp_path)


def test_info_needs_no_encoder(saved, monkeypatch):
    monkeypatch.setattr("unseen.classifier.find", lambda *_: pytest.fail("the encoder is not needed"))
    assert unseen.info(saved[1])["encoder"] == "arrays"


def test_verdicts_as_tables(saved, tmp_path):
    verdicts = saved[0].predict({"features": blobs()[2], "keys": ['a,"b"', *(f"\u00e9{i}" for i in range(19))]})
    lines = verdicts.write(tmp_path / "t.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == verdicts.records()
    import csv

    with verdicts.write(tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == verdicts.keys
    assert [float(row["p_value"]) for row in rows] == verdicts.p_value.tolist()
    assert [row["label"] or None for row in rows] == [record["label"] for record in verdicts.records()]


# By class


def mixed():
    """Three classes that overlap, so that labels and nearest classes differ; few inputs of the last, ``cow``."""
    known, labels, _ = blobs(per_class=120)
    known += np.random.default_rng(1).normal(size=known.shape).astype(np.float32) * 4
    return known[:260], labels[:260]


@pytest.fixture(scope="module")
def by_class(tmp_path_factory):
    """A guard of which ``cow`` has too few inputs set aside for a threshold of its own."""
    guard = OpenSetClassifier("arrays", "ridge >> energy", by_class=True).fit(*mixed())
    assert guard.about["accuracy"] < 0.95
    return guard, guard.save(tmp_path_factory.mktemp("by_class") / "guard.unseen")


def test_an_input_is_compared_with_the_calibration_rows_of_its_nearest_class(by_class):
    """The p-value is the rank among the rows set aside that the head names alike, counted out."""
    guard, _ = by_class
    support = Support.of(*mixed())
    aside = guard.predict(support.take(set_aside(support, 0.2, 0)[1]))
    found = guard.predict(np.vstack([mixed()[0], blobs()[2]]))
    assert isinstance(guard.calibrator, ClassConditional)
    assert found.by_class
    for name, score, p in zip(found.nearest, found.familiarity, found.p_value, strict=True):
        alike = [name in (other, "cow") for other in aside.nearest]  # cow is pooled
        held = aside.familiarity[alike]
        assert p == (1 + (held <= score).sum()) / (len(held) + 1)
    np.testing.assert_array_equal(found.unseen, found.p_value <= 0.05)
    assert 0 < found.unseen.sum() < len(found)


def test_small_classes_are_pooled_and_named(by_class):
    guard, _ = by_class
    rows = {row["class"]: row for row in guard.info()["per_class"]}
    assert [row["pooled"] for row in rows.values()] == [False, False, True]
    assert rows["cow"]["n_calibration"] < 19 <= min(rows[name]["n_calibration"] for name in ("ant", "bee"))
    assert rows["cow"]["false_alarm_interval"] is None
    low, high = rows["ant"]["false_alarm_interval"]
    assert low < 0.05 < high
    assert [row["threshold"] for row in rows.values()] == guard.thresholds().tolist()
    assert rows["cow"]["threshold"] == SplitConformal().fit(guard.calibrator.scores).threshold(0.05)
    about = guard.info()
    assert (about["threshold"], about["false_alarm_interval"], about["by_class"]) == (None, None, True)
    assert about["smallest_alpha"] == 1 / (min(rows[name]["n_calibration"] for name in ("ant", "bee")) + 1)
    said = "1 of 3 classes are pooled (cow): fewer than 19 inputs set aside were taken for each. They are compared"
    assert guard.notes[0].startswith(said)
    assert "0.1 for all classes together" in guard.notes[0]
    assert guard.predict(blobs()[0]).notes == guard.notes
    assert "alpha=0.05 by class, 3 classes" in repr(guard)


def test_a_class_that_no_row_set_aside_is_taken_for_is_pooled():
    known, labels, _ = blobs(per_class=110)
    rows = np.r_[0:221]  # one row of the last class, which is learnt from
    guard = OpenSetClassifier("arrays", "prototypes >> energy", by_class=True).fit(known[rows], labels[rows])
    assert [row["n_calibration"] for row in guard.info()["per_class"]] == [22, 22, 0]
    found = guard.predict(known[220:])
    assert set(found.nearest) == {"cow"}
    n = len(guard.calibrator.scores)
    np.testing.assert_allclose(found.p_value * (n + 1), np.rint(found.p_value * (n + 1)))


def test_a_guard_for_all_classes_says_so(saved):
    guard, _ = saved
    about = guard.info()
    assert (about["by_class"], about["per_class"], guard.notes) == (False, [], ())
    assert guard.thresholds().tolist() == [about["threshold"]]


def test_by_class_saved_and_loaded_it_answers_with_the_same_bits(by_class, saved, tmp_path):
    guard, path = by_class
    back = OpenSetClassifier.load(path)
    new = np.vstack([blobs()[0], blobs()[2]])
    same(back.predict(new), guard.predict(new))
    same(back.predict(new, discoveries=0.2), guard.predict(new, discoveries=0.2))
    assert back.info() == guard.info() == unseen.info(path)
    assert back.calibrator.minimum == 19
    same(OpenSetClassifier.load(back.save(tmp_path / "again")).predict(new), guard.predict(new))
    with safe_open(path, "pt") as file, safe_open(saved[1], "pt") as other:
        # What an earlier version can read is written so that it does.
        assert (file.metadata()["version"], other.metadata()["version"]) == ("2", "1")
        assert json.loads(file.metadata()["description"])["calibrator"] == {
            "name": "ClassConditional", "arguments": {"minimum": 19}
        }  # fmt: skip


def test_a_file_by_class_without_the_head_that_names_classes_is_refused(by_class, tmp_path):
    for number, change in enumerate(
        [lambda d: d.update(head=None), lambda d: d.update(classes=["ant", "bee"]), lambda d: d.pop("calibrator")]
    ):
        with pytest.raises(DamagedFile, match="do not fit together"):
            OpenSetClassifier.load(forge(by_class[1], tmp_path / str(number), change))


def test_by_class_needs_classes():
    known, labels, _ = blobs(per_class=110)
    guard = OpenSetClassifier("arrays", "energy", by_class=True)
    with pytest.raises(WrongUse, match="by class needs labels of two classes or more, and these inputs have no labels"):
        guard.fit({"logits": known})
    with pytest.raises(WrongUse, match="these inputs are of one class: fit without it"):
        guard.fit({"logits": known}, ["ant"] * len(known))
    with pytest.raises(WrongUse, match="a head reads features: give features beside"):
        guard.fit({"logits": known}, labels)
    assert OpenSetClassifier("arrays", "energy", by_class=True).fit({"logits": known, "features": known}, labels).head
    with pytest.raises(NotEnoughKnown, match=r"by class, alpha 0.05 .* no class has more than 12: give about 95"):
        OpenSetClassifier("arrays", "knn", by_class=True).fit(*blobs(classes=5)[:2])
    with pytest.raises(WrongUse, match="have no labels"):
        unseen.fit(known, by_class=True)


def test_by_class_alpha_must_be_within_reach_of_every_class(by_class):
    guard, _ = by_class
    new = blobs()[0]
    n = min(row["n_calibration"] for row in guard.info()["per_class"][:2])
    says = rf"class '(ant|bee)': alpha 0.01 needs 99 calibration scores, there are {n}: .* fit with alpha 0.01, which"
    with pytest.raises(NotEnoughKnown, match=says) as caught:
        guard.predict(new, alpha=0.01)
    guard.predict(new, alpha=float(str(caught.value).split("take alpha ")[1].split()[0]))


# Discoveries


def test_discoveries_decide_over_the_batch(saved, tmp_path):
    """One input among many is not enough to be called; the same input among few is."""
    guard, _ = saved
    known = blobs(seed=0)[0]
    new = np.vstack([known, np.linspace(0, 0.9, 20)[:, None] * known[:20]])
    found = guard.predict(new, discoveries=0.2)
    assert (found.discoveries, found.alpha, found.expected) == (0.2, None, None)
    np.testing.assert_array_equal(found.p_value, guard.predict(new).p_value)
    q = q_values(found.p_value)
    np.testing.assert_array_equal(found.unseen, q <= 0.2 * (1 + 1e-12))
    assert [record["q_value"] for record in found.records()] == q.tolist()
    about = found.summary()
    assert (about["alpha"], about["discoveries"], about["expected_if_all_known"]) == (None, 0.2, None)
    assert repr(found) == f"Verdicts({found.unseen.sum()} of 200 unseen, discoveries=0.2, 0 skipped)"
    assert "path,verdict,label,nearest,p_value,familiarity,q_value" in found.write(tmp_path / "t.csv").read_text()
    alone = guard.predict(new[found.p_value.argmin()][None], discoveries=0.2)
    assert alone.unseen.tolist() == [True]
    assert alone.notes == ()
    assert not found.unseen[found.p_value > 0.05].any()
    assert found.notes == (
        "with these calibration scores, discoveries among 200 inputs are none or at least 28: to find fewer, score "
        "fewer inputs at a time or fit on more",
    )
    empty = guard.predict(Signals({"features": new[:0]}), discoveries=0.2)
    assert (len(empty), empty.notes) == (0, ())


def test_discoveries_that_cannot_be_are_refused_before_anything_is_encoded(saved, monkeypatch):
    guard, _ = saved
    new = blobs()[0]
    monkeypatch.setattr(guard, "_support", lambda *_: pytest.fail("nothing may be encoded"))
    says = "^discoveries 0.01 needs 99 calibration scores, there are 36: fit on more .* discoveries 0.0271 or more$"
    with pytest.raises(NotEnoughKnown, match=says):
        guard.predict(new, discoveries=0.01)
    with pytest.raises(WrongUse, match="alpha and discoveries are two rules for one verdict: give one"):
        guard.predict(new, alpha=0.05, discoveries=0.1)
    for level in (0, 1, -0.1, float("nan")):
        with pytest.raises(WrongUse, match="discoveries must be within 0 and 1"):
            guard.predict(new, discoveries=level)
    monkeypatch.undo()
    assert guard.predict(new, discoveries=0.0271).discoveries == 0.0271


def test_discoveries_of_a_guard_with_pooled_classes_come_with_a_note(by_class):
    notes = by_class[0].predict(blobs()[0][:1], discoveries=0.2).notes
    assert notes[0].startswith("1 of 3 classes are pooled")
    assert notes[1:] == ("the level of discoveries is promised only where no class is pooled",)


# The promise


def check_promise(rates, n, alpha):
    """The mean false-alarm rate over independent draws is the exact one of split conformal, to 4 standard errors."""
    rates = np.asarray(rates)
    exact = math.floor(alpha * (n + 1)) / (n + 1)
    error = rates.std(ddof=1) / math.sqrt(len(rates))
    assert abs(rates.mean() - exact) < 4 * error, f"{rates.mean():.4f} against {exact:.4f}, standard error {error:.4f}"


def false_alarms(draws, reuse):
    """Realised false-alarm rate of each draw: 100 known rows, half of them set aside, 20 new known rows."""
    rates = []
    rng = np.random.default_rng(7)
    encoder = open_encoder("arrays")
    for seed in range(draws):
        rows = rng.normal(size=(120, 16)).astype(np.float32)
        known, new = Support.of(rows[:100]), Support.of(rows[100:])
        guard = OpenSetClassifier(encoder, "knn(k=1)", alpha=0.1, calibration=0.5, seed=seed).fit(known)
        if reuse:  # what nobody may do: the detector has seen the rows that calibrate it
            aside = known.take(guard.set_aside(known)[1])
            guard.detector.fit(known)
            guard.calibrator = SplitConformal().fit(guard.detector.score(aside))
        assert len(guard.calibrator.scores) == 50
        rates.append(guard.predict(new).unseen.mean())
    return rates


def test_the_promise_over_a_thousand_draws():
    check_promise(false_alarms(1000, reuse=False), n=50, alpha=0.1)


def test_the_promise_breaks_when_calibration_rows_are_learnt_from():
    rates = false_alarms(100, reuse=True)
    with pytest.raises(AssertionError, match="standard error"):
        check_promise(rates, n=50, alpha=0.1)
    assert np.mean(rates) > 0.15


def rates_of_each_class(by_class, draws=80, alpha=0.1):
    """Mean false-alarm rate of the known inputs taken for each of two classes, one wide and one narrow; its error."""
    rng = np.random.default_rng(11)
    encoder = open_encoder("arrays")
    rates = []
    for seed in range(draws):
        codes = np.arange(600) % 2
        rows = 12 * np.eye(2, 8)[codes] + rng.normal(size=(600, 8)) * np.where(codes, 2.0, 0.5)[:, None]
        guard = OpenSetClassifier(
            encoder, "mahalanobis", alpha=alpha, calibration=0.5, seed=seed, by_class=by_class
        ).fit(rows[:400], codes[:400])
        found = guard.predict(rows[400:])
        rates.append([found.unseen[[near == name for near in found.nearest]].mean() for name in ("0", "1")])
    return np.mean(rates, axis=0), np.std(rates, axis=0, ddof=1) / math.sqrt(draws)


def test_by_class_the_promise_holds_in_each_class():
    mean, error = rates_of_each_class(by_class=True)
    assert (mean < 0.1 + 4 * error).all(), (mean, error)
    assert (mean > 0.1 - 1 / 100 - 4 * error).all(), "the rate of each class is used up, to a rank of about 100"
    assert error.max() < 0.01


def test_for_all_classes_at_once_it_breaks_in_the_wide_one():
    mean, error = rates_of_each_class(by_class=False)
    assert mean[0] + 4 * error[0] < 0.02, "the narrow class"
    assert mean[1] - 4 * error[1] > 0.15, "the wide class"


def false_shares(draws=60, by_class=False, **rule):
    """Share of known inputs among those called unseen, in batches of 80 known and 20 unknown; share that is found."""
    rng = np.random.default_rng(5)
    encoder = open_encoder("arrays")
    false, found = [], []
    for seed in range(draws):
        codes = np.arange(680) % 2
        rows = 12 * np.eye(2, 8)[codes] + rng.normal(size=(680, 8))
        guard = OpenSetClassifier(encoder, "mahalanobis", calibration=0.6, seed=seed, by_class=by_class)
        guard.fit(rows[:600], codes[:600])
        called = guard.predict(np.vstack([rows[600:], 5 * rng.normal(size=(20, 8))]), **rule).unseen
        false.append(called[:80].sum() / max(1, called.sum()))
        found.append(called[80:].mean())
    return np.mean(false), np.std(false, ddof=1) / math.sqrt(draws), np.mean(found)


@pytest.mark.parametrize("by_class", [False, True])
def test_discoveries_keep_the_share_of_false_ones(by_class):
    false, error, found = false_shares(by_class=by_class, discoveries=0.1)
    assert false < 0.1 + 4 * error, (false, error)
    assert found > 0.8


def test_a_threshold_does_not_keep_that_share():
    false, error, _ = false_shares(alpha=0.1)
    assert false - 4 * error > 0.2
