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
from unseen.calibration import SplitConformal
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
    save_file(tensors, tmp_path / "newer", {"format": FORMAT, "version": "2", "description": "{}", "sha256": ""})
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
