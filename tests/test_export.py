"""A guard as an ONNX graph: the graph says what the guard says, and one that does not is never written."""

import copy
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import unseen
from unseen import OpenSetClassifier, create, onnx
from unseen.__main__ import main
from unseen.calibration import SplitConformal
from unseen.encoders.pixels import Pixels
from unseen.encoders.torch import Torch
from unseen.errors import BadInput, MissingExtra, NotFitted, WrongUse
from unseen.onnx import export_part, to_onnx
from unseen.signals import Perturbed

DATA = load_digits()
IMAGES = np.round(DATA.images * (255 / 16)).astype(np.uint8)  # (N, 8, 8)
KNOWN = np.flatnonzero(DATA.target < 7)[:280]
NEW = np.setdiff1d(np.arange(len(IMAGES)), KNOWN)[:90]
FLAT = IMAGES.reshape(len(IMAGES), -1) / 255  # (N, 64), float64
LOGITS = np.random.default_rng(0).normal(size=(64, 7))


def rows_of(encoder: str, rows: np.ndarray) -> dict[str, np.ndarray]:
    if encoder != "arrays":
        return {"images": IMAGES[rows]}
    return {"features": FLAT[rows], "logits": (FLAT[rows] @ LOGITS).astype(np.float32)}


def fitted(encoder, detector: str, name: str = "") -> OpenSetClassifier:
    known = {**rows_of(name or encoder, KNOWN), "labels": DATA.target[KNOWN]}
    return OpenSetClassifier(encoder, detector).fit(known, cache=False)


class Guarded:
    """A guard and the graph of it, run by ONNX Runtime without any code of ours."""

    def __init__(self, guard: OpenSetClassifier, path: Path, rows: dict[str, np.ndarray]) -> None:
        self.guard, self.path, self.rows = guard, path, rows
        self.made = to_onnx(guard, path, rows)
        self.session = onnxruntime.InferenceSession(path)

    def answer(self, rows: slice) -> dict[str, np.ndarray]:
        kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(uint8)": np.uint8}
        given = {}
        for one in self.session.get_inputs():
            if one.name == "pixels":
                given["pixels"] = np.stack([np.repeat(i[:, :, None], 3, axis=2) for i in self.rows["images"][rows]])
            else:
                given[one.name] = self.rows[one.name][rows].astype(kinds[one.type])
        names = [one.name for one in self.session.get_outputs()]
        return dict(zip(names, self.session.run(None, given), strict=True))


slow = pytest.mark.slow
GUARDS = [
    ("pixels?size=8", "knn(k=5)"),
    ("pixels?size=8", "ridge >> energy"),
    ("arrays", "msp"),
    pytest.param(("pixels?size=8", "mahalanobis"), marks=slow),
    pytest.param(("pixels?size=8", "ridge >> msp"), marks=slow),
    pytest.param(("arrays", "mahalanobis"), marks=slow),
    pytest.param(("arrays", "knn(k=5)"), marks=slow),
    pytest.param(("arrays", "ridge >> energy"), marks=slow),
]


@pytest.fixture(scope="module")
def knn(tmp_path_factory):
    """One small guard with its graph, also for the tests of what is refused."""
    path = tmp_path_factory.mktemp("knn") / "guard.onnx"
    return Guarded(fitted("pixels?size=8", "knn(k=5)"), path, rows_of("pixels?size=8", NEW))


@pytest.fixture(scope="module", params=GUARDS, ids=str)
def guarded(request, tmp_path_factory):
    encoder, detector = request.param
    if request.param == GUARDS[0]:
        return request.getfixturevalue("knn")
    path = tmp_path_factory.mktemp("graph") / "guard.onnx"
    return Guarded(fitted(encoder, detector), path, rows_of(encoder, NEW))


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    """A guard of arrays without labels, compared on the rows that it was fitted and calibrated on."""
    guard = OpenSetClassifier("arrays", "mahalanobis").fit({"features": FLAT[KNOWN]}, cache=False)
    return Guarded(guard, tmp_path_factory.mktemp("unlabelled") / "guard.onnx", {"features": FLAT[KNOWN]})


@pytest.mark.parametrize("size", [1, 2, 17, 90])
def test_the_graph_says_what_the_guard_says(guarded, size):
    verdicts = guarded.guard.predict(guarded.rows)
    assert 0 < verdicts.unseen.sum() < len(NEW)
    found = guarded.answer(slice(0, size))
    spread = guarded.guard.calibrator.scores.std().item()
    np.testing.assert_allclose(found["score"], verdicts.familiarity[:size], rtol=1e-5, atol=1e-4 * spread)
    assert found["class"].dtype == np.int64
    assert [guarded.guard.classes[code] for code in found["class"]] == verdicts.nearest[:size]
    # These rows are not those of the calibration, so no score lies on a step of the p-value.
    np.testing.assert_array_equal(found["p_value"], verdicts.p_value[:size])
    np.testing.assert_array_equal(found["unseen"], verdicts.unseen[:size])
    np.testing.assert_array_equal(found["unseen"], found["p_value"] <= guarded.guard.alpha)


def test_the_result_says_what_was_compared(guarded):
    made = guarded.made
    assert (made.n, made.batch_sizes) == (90, (1, 2, 26, 32))
    assert made.size == guarded.path.stat().st_size
    assert made.score_difference < 5e-5
    assert (made.p_value_difference, made.p_values_changed, made.verdicts_changed, made.classes_changed) == (0, 0, 0, 0)
    assert json.loads(json.dumps(made.to_dict()))["file"] == str(guarded.path)


def test_the_metadata_says_how_to_use_it(guarded, tmp_path):
    held = guarded.session.get_modelmeta().custom_metadata_map
    assert (held["format"], held["version"]) == ("unseen graph", "1")
    about = json.loads(held["description"])
    guard = guarded.guard
    assert about["classes"] == list(guard.classes)
    assert (about["alpha"], about["threshold"]) == (0.05, guard.info()["threshold"])
    assert (about["encoder"], about["detector"]) == (guard.encoder_id, guard.detector.expression())
    assert list(about["outputs"]) == [one.name for one in guarded.session.get_outputs()]
    assert list(about["inputs"]) == [one.name for one in guarded.session.get_inputs()]
    if guard.encoder.accepts == "images":
        assert about["inputs"] == {"pixels": "uint8 (batch, 8, 8, 3)"}
        recipe = {key: value for key, value in about["preprocessing"].items() if key != "decoding"}
        assert recipe == {"size": [8, 8], "resize": "squash", "interpolation": "box"}
    else:
        assert about["preprocessing"] is None
    saved = guard.save(tmp_path / "guard.unseen")
    assert about["guard_sha256"].encode() in saved.read_bytes()
    assert str(Path(unseen.__file__).parent).encode() not in guarded.path.read_bytes(), (
        "names the machine it was made on"
    )


def test_calibration_rows_lie_on_the_steps_and_may_move_by_one(unlabelled):
    """Their scores are calibration scores, so a last bit decides the rank: one rank is let through, and counted."""
    made = unlabelled.made
    assert (made.n, made.batch_sizes) == (280, (1, 2, 24, 32))
    assert made.p_values_changed > 0
    assert made.p_value_difference == pytest.approx(1 / (len(unlabelled.guard.calibrator.scores) + 1))


def test_a_score_that_is_no_number_is_unseen(unlabelled):
    x = FLAT[KNOWN[:2]].copy()
    x[1, 5] = np.nan
    _, score, p_value, verdict = unlabelled.session.run(None, {"features": x})
    assert np.isnan([score[1], p_value[1]]).all()
    assert np.isfinite([score[0], p_value[0]]).all()
    assert verdict.tolist() == [False, True]


def test_no_labels_no_class(unlabelled):
    assert unlabelled.answer(slice(0, 3))["class"].tolist() == [-1, -1, -1]


def test_one_row_is_enough(unlabelled, tmp_path, monkeypatch):
    content = unlabelled.path.read_bytes()
    monkeypatch.setattr(onnx, "_written", lambda *_: content)
    made = to_onnx(unlabelled.guard, tmp_path / "g.onnx", {"features": FLAT[NEW[:1]]})
    assert (made.n, made.batch_sizes) == (1, (1, 2))
    assert (tmp_path / "g.onnx").read_bytes() == content


# A guard by class


@pytest.fixture(scope="module")
def by_class(tmp_path_factory):
    """Each digit has a threshold of its own, but for the six, which is rare and pooled."""
    sixes = KNOWN[DATA.target[KNOWN] == 6][::2]
    some = np.setdiff1d(KNOWN, sixes)
    known = {**rows_of("pixels?size=8", some), "labels": DATA.target[some]}
    guard = OpenSetClassifier("pixels?size=8", "knn(k=5)", alpha=0.125, by_class=True).fit(known, cache=False)
    return Guarded(
        guard, tmp_path_factory.mktemp("by_class") / "guard.onnx", rows_of("pixels?size=8", np.r_[NEW, sixes])
    )


@pytest.mark.parametrize("size", [1, 2, 110])
def test_by_class_the_graph_decides_by_the_class_that_it_names(by_class, size):
    guard = by_class.guard
    pooled = guard.calibrator.pooled.tolist()
    assert 0 < sum(pooled) < 7
    verdicts = guard.predict(by_class.rows)
    found = by_class.answer(slice(0, size))
    assert [guard.classes[code] for code in found["class"]] == verdicts.nearest[:size]
    np.testing.assert_array_equal(found["p_value"], verdicts.p_value[:size])
    np.testing.assert_array_equal(found["unseen"], verdicts.unseen[:size])
    assert 0 < verdicts.unseen.sum() < len(verdicts) == 110
    assert {pooled[guard.classes.index(name)] for name in verdicts.nearest} == {False, True}


def test_by_class_the_metadata_holds_every_threshold(by_class):
    about = json.loads(by_class.session.get_modelmeta().custom_metadata_map["description"])
    assert about["by_class"]
    assert about["threshold"] == by_class.guard.thresholds().tolist()
    assert "taken for the same class" in about["outputs"]["p_value"]
    assert list(about["outputs"]) == [one.name for one in by_class.session.get_outputs()]


@pytest.mark.parametrize("name", ["p_value", "unseen"])
def test_by_class_a_graph_with_one_threshold_for_all_is_not_written(by_class, name, tmp_path, monkeypatch):
    """What a guard for all classes says of the same scores is another answer, and is noticed."""
    content = by_class.path.read_bytes()
    monkeypatch.setattr(onnx, "_written", lambda *_: content)
    plain = SplitConformal().fit(by_class.guard.calibrator.scores)
    session = onnx._session

    def changed(content):
        def answer(batch):
            found = session(content)(batch)
            other = {"p_value": plain.p_value(found["score"]), "unseen": plain.rejects(found["score"], 0.125)}
            return {**found, name: other[name]}

        return answer

    monkeypatch.setattr(onnx, "_session", changed)
    with pytest.raises(WrongUse, match=f"the {name.replace('_', '-')} of .* is .* in ONNX Runtime"):
        to_onnx(by_class.guard, tmp_path / "g.onnx", by_class.rows)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("own", [False, True])
def test_by_class_only_scores_of_the_class_count_as_steps(by_class, own):
    """Two calibration scores of another class between the graph's score and the guard's move no p-value."""
    guard = copy.deepcopy(by_class.guard)
    said = guard.predict(by_class.rows)
    held, keys = guard.calibrator.scores.numpy().copy(), guard.calibrator.keys.numpy()
    classes = np.empty(len(held), dtype=np.int64)
    classes[keys % (len(held) + 1)] = keys // (len(held) + 1)
    mine = next(code for code, pooled in enumerate(guard.calibrator.pooled.tolist()) if not pooled)
    row = said.nearest.index(guard.classes[mine])
    centre = said.familiarity[row]
    held[np.flatnonzero((classes == mine) == own)[:2]] = centre + 2e-6 * np.arange(1, 3)
    guard.calibrator.fit(held, classes, 7)

    def change(found):
        found["score"][row] += 5e-6

    if own:
        with pytest.raises(WrongUse, match="the p-value of"):
            compared(guard, by_class.rows, change)
    else:
        found = compared(guard, by_class.rows, change)
        assert (found["p_values_changed"], found["score_difference"] > 0) == (0, True)


# A network of the user's


class Net(nn.Module):
    """Writes to its input, uses one linear layer twice by name, and ends in it."""

    def __init__(self):
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True)
        self.fc = nn.Linear(24, 7)
        self.alias = self.fc

    def forward(self, x):
        x.mul_(2)
        return self.alias(nn.functional.adaptive_avg_pool2d(self.act(self.conv(x)), 2).flatten(1))


class Looks(Net):
    """Looks at its last layer, and calls it under one name only."""

    def forward(self, x):
        x = nn.functional.adaptive_avg_pool2d(self.conv(x.to(self.fc.weight.dtype)), 2).flatten(1)
        return self.fc(x[:, : self.fc.in_features])


def networks():
    torch.manual_seed(0)
    return {
        "aliased head": Net(),
        "looks at its head": Looks(),
        "sequence": nn.Sequential(nn.Flatten(), nn.Linear(192, 12), nn.ReLU(), nn.Linear(12, 7, bias=False)),
        "no head": nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()),
        "dropout after": nn.Sequential(nn.Flatten(), nn.Linear(192, 7), nn.Dropout(0.5)),
    }


@pytest.mark.parametrize("name", networks())
def test_the_module_answers_as_the_encoder(name):
    encoder = Torch(networks()[name], size=8)
    pixels = np.repeat(IMAGES[NEW[:5], :, :, None], 3, axis=3)
    expected = encoder.answer(pixels, encoder.provides)
    graph = encoder.graph()
    with torch.no_grad():
        found = graph(torch.from_numpy(pixels))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-5)
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in graph.modules())
    with torch.no_grad():  # a copy: training it further changes no encoder
        for parameter in graph.parameters():
            parameter.zero_()
    torch.testing.assert_close(encoder.answer(pixels, encoder.provides), expected)


def test_pixels_to_features():
    encoder = Pixels(size=8)
    pixels = np.repeat(IMAGES[NEW[:5], :, :, None], 3, axis=3)
    expected = encoder.answer(pixels, encoder.provides)
    assert torch.equal(encoder.graph()(torch.from_numpy(pixels))["features"], expected["features"])


def test_a_network_from_pixels_to_verdict(tmp_path):
    classes = [str(digit) for digit in range(7)]
    encoder = Torch(networks()["aliased head"], size=12, mean=(0.4, 0.5, 0.6), std=(0.3, 0.2, 0.1), classes=classes)
    guard = fitted(encoder, "own >> energy", "images")
    assert guard.head.name == "own"
    made = to_onnx(guard, tmp_path / "g.onnx", rows_of("images", NEW[:40]))
    assert made.inputs == {"pixels": "uint8 (batch, 12, 12, 3)"}
    pixels = np.stack([encoder.prepare(np.repeat(image[:, :, None], 3, axis=2)) for image in IMAGES[NEW[:17]]])
    code, score, _, unseen_ = onnxruntime.InferenceSession(tmp_path / "g.onnx").run(None, {"pixels": pixels})
    verdicts = guard.predict(rows_of("images", NEW[:17]))
    np.testing.assert_allclose(score, verdicts.familiarity, rtol=1e-5)
    assert [classes[one] for one in code] == verdicts.nearest
    assert unseen_.tolist() == verdicts.unseen.tolist()
    # Its file cannot hold the network, so the graph is made with the network given again.
    saved = guard.save(tmp_path / "own.unseen")
    with pytest.raises(
        WrongUse, match=r"which its file cannot hold: give it, as load\(path, encoder=...\) or --encoder"
    ):
        to_onnx(saved, tmp_path / "h.onnx", rows_of("images", NEW[:3]))
    assert not (tmp_path / "h.onnx").exists()


def test_a_network_that_cannot_do_without_its_last_layer_is_refused(tmp_path):
    class Shaped(nn.Sequential):
        def forward(self, x):
            return super().forward(x).view(-1, 7)

    guard = fitted(Torch(Shaped(nn.Flatten(), nn.Linear(192, 7)), size=8), "knn(k=5)", "images")
    with pytest.raises(WrongUse, match=r"Shaped:\w+:\w+ cannot be exported: with its last linear .* \(\w+: ") as caught:
        to_onnx(guard, tmp_path / "g.onnx", rows_of("images", NEW[:3]))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_network_that_decides_by_its_data_is_refused(tmp_path):
    class Moody(nn.Sequential):
        def forward(self, x):
            return super().forward(x) if x.sum() > 0 else super().forward(-x)

    guard = fitted(Torch(Moody(nn.Flatten(), nn.Linear(192, 7)), size=8), "knn(k=5)", "images")
    with pytest.raises(WrongUse, match=r"cannot be written as a graph \(\w+: .*\): choose another to export") as caught:
        to_onnx(guard, tmp_path / "g.onnx", rows_of("images", NEW[:3]))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_packaged_network_exports(tmp_path):
    images = np.repeat(np.repeat(IMAGES[KNOWN[:100]], 4, axis=1), 4, axis=2)
    known = {"images": images, "labels": DATA.target[KNOWN[:100]]}
    guard = OpenSetClassifier("packaged", "knn(k=5)").fit(known, cache=False)
    made = to_onnx(guard, tmp_path / "g.onnx", {"images": np.repeat(np.repeat(IMAGES[NEW[:20]], 4, axis=1), 4, axis=2)})
    assert made.inputs == {"pixels": "uint8 (batch, 224, 224, 3)"}
    assert 12e6 < made.size < 20e6
    assert made.score_difference < 1e-4
    assert (made.classes_changed, made.verdicts_changed) == (0, 0)


# What is refused


@pytest.fixture
def again(knn, monkeypatch, tmp_path):
    """Export the guard again without waiting for the exporter, the answers of the graph changed by a function."""
    content = knn.path.read_bytes()
    monkeypatch.setattr(onnx, "_written", lambda *_: content)
    session = onnx._session

    def export(change=lambda _: None, **options):
        def changed(content):
            run = session(content)

            def answer(batch):
                found = {name: np.array(value) for name, value in run(batch).items()}
                change(found)
                return found

            return answer

        monkeypatch.setattr(onnx, "_session", changed)
        return to_onnx(knn.guard, tmp_path / "g.onnx", knn.rows, **options)

    return export


def test_a_sound_graph_is_written(again, tmp_path):
    again()
    assert [path.name for path in tmp_path.iterdir()] == ["g.onnx"]


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("score", lambda x: x + 3e-4 * np.arange(len(x)), "score"),
        ("score", lambda x: np.where(np.arange(len(x)) == 1, np.nan, x), "score"),
        ("score", lambda x: np.full_like(x, x[0]), "score"),
        ("p_value", lambda p: np.minimum(p + 1 / 57, 1), "p-value"),
        ("p_value", lambda p: p.astype(np.float32), "p-value"),
        ("unseen", lambda u: ~u, "unseen"),
        ("unseen", np.zeros_like, "unseen"),
        ("class", lambda c: (c + 1) % 7, "class"),
        ("class", lambda c: c - 7, "class"),
        ("class", lambda c: c + 7, "class"),
    ],
)
def test_a_graph_that_disagrees_is_not_written(again, tmp_path, name, value, what, there):
    target = tmp_path / "g.onnx"
    if there:
        target.write_bytes(b"the one before")

    def change(found):
        found[name] = value(found[name])

    with pytest.raises(WrongUse, match=rf"g.onnx was not written, .* guard: the {what} of .* is .* in ONNX") as caught:
        again(change)
    assert "\n" not in str(caught.value)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([b"the one before"] if there else [])


def test_the_tolerance_decides(again, knn):
    held = knn.guard.calibrator.scores.numpy()
    assert (knn.guard.predict(knn.rows).familiarity < held.min()).any(), "else nothing is changed"

    def change(found):
        # Further below every calibration score, where no p-value can move.
        away = found["score"] - np.median(held)
        found["score"] += np.where(found["score"] < held.min(), 5e-4 * away, 0).astype(np.float32)

    with pytest.raises(WrongUse, match="the score of"):
        again(change)
    made = again(change, tolerance=1e-3)
    assert made.score_difference == pytest.approx(5e-4, rel=0.1)
    for tolerance in (0, -1, np.nan):
        with pytest.raises(WrongUse, match="above 0"):
            again(tolerance=tolerance)


def compared(guard, rows, change, tolerance=1e-4):
    """What the comparison finds of a graph that answers as the guard does, but for a change."""
    support = unseen.encode(rows, guard.encoder, cache=False)
    said = guard.predict(support)
    found = {
        "class": np.array([guard.classes.index(name) for name in said.nearest]),
        "score": said.familiarity.copy(),
    }
    change(found)
    beside = (found["class"],) if guard.by_class else ()
    found["p_value"] = guard.calibrator.p_value(found["score"], *beside)
    found["unseen"] = guard.calibrator.rejects(found["score"], *beside, guard.alpha)
    chunks = iter([(np.arange(len(support)), {})])
    return onnx._compare(guard, support, said, lambda _: found, chunks, tolerance, "g.onnx")


@pytest.mark.parametrize("steps", [1, 2])
def test_scores_may_cross_one_calibration_score_and_no_more(knn, steps):
    """At a step the p-value is that of the graph's own score; across two steps it is refused, however close."""
    guard = copy.deepcopy(knn.guard)
    centre = guard.predict(knn.rows).familiarity[0]
    held = guard.calibrator.scores.numpy().copy()
    held[np.argsort(np.abs(held - centre))[:steps]] = centre + 2e-6 * np.arange(1, steps + 1)
    guard.calibrator.fit(held)

    def change(found):
        found["score"][0] += 2e-6 * (steps + 0.5)

    if steps == 1:
        found = compared(guard, knn.rows, change)
        assert found["p_values_changed"] == 1
        assert found["p_value_difference"] == pytest.approx(1 / (len(held) + 1))
    else:
        with pytest.raises(WrongUse, match="the p-value of"):
            compared(guard, knn.rows, change)


def test_classes_may_differ_where_two_logits_are_equal(knn):
    guard = copy.deepcopy(knn.guard)
    guard.head.weight[1], guard.head.bias[1] = guard.head.weight[0], guard.head.bias[0]
    names = guard.predict(knn.rows).nearest
    twins = np.isin(names, guard.classes[:2])
    assert 0 < twins.sum() < len(names)

    def turned(code):
        def change(found):
            found["class"][twins] = code

        return change

    kept, turned_ = (compared(guard, knn.rows, turned(code))["classes_changed"] for code in (0, 1))
    assert {kept, turned_} == {0, twins.sum()}
    with pytest.raises(
        WrongUse, match=rf"the class of .* is 2 in ONNX Runtime and [01] here \({twins.sum()} of 90 such"
    ):
        compared(guard, knn.rows, turned(2))


def test_what_cannot_be_exported_is_named(knn, tmp_path, monkeypatch):
    path = tmp_path / "g.onnx"
    rows = knn.rows
    with pytest.raises(NotFitted, match="not fitted: there is nothing to export"):
        to_onnx(OpenSetClassifier("pixels", "knn"), path, rows)
    with pytest.raises(BadInput, match="no such file"):
        to_onnx(tmp_path / "nothing.unseen", path, rows)
    guard = copy.deepcopy(knn.guard)
    guard.detector.traits = frozenset({"not_exportable"})
    with pytest.raises(WrongUse, match="knn cannot be written as a graph: choose another detector"):
        to_onnx(guard, path, rows)
    with pytest.raises(WrongUse, match="knn cannot be written as a graph"):
        export_part(guard.detector, {"features": torch.zeros(2, 192)}, path)
    guard = copy.deepcopy(knn.guard)
    guard.detector.needs = frozenset({Perturbed(), "features"})
    with pytest.raises(WrongUse, match=r"knn reads Perturbed\(.*\), which a graph cannot answer"):
        to_onnx(guard, path, rows)
    monkeypatch.setattr(onnx, "LARGEST", 1000)
    with pytest.raises(WrongUse, match=r"pixels:8x8 >> knn\(k=5\) holds 0.0 GB and an ONNX file ends at 2 GB"):
        to_onnx(knn.guard, path, rows)
    with pytest.raises(WrongUse, match="the encoder arrays cannot be exported"):
        unseen.encoders.open_encoder("arrays").graph()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_first(knn, package, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"this needs {package}: pip install 'unseen\[onnx\]'"):
        to_onnx(knn.guard, tmp_path / "g.onnx", "no such rows")


# One part


def test_a_part_alone(tmp_path):
    features = torch.from_numpy(FLAT[KNOWN]).float()
    # So sure that only log1p tells the inputs apart: in float32, 1 less the probability is 0.
    detector = create("ridge(penalty=0.01) >> msp(temperature=0.02)").fit({"features": features}, DATA.target[KNOWN])
    scores = detector.score({"features": FLAT[NEW[:17]]})
    assert (scores < 0).all()
    assert (scores > -1e-9).any()
    run = export_part(detector, {"features": features[:1], "logits": features}, tmp_path / "d.onnx")
    for size in (1, 2, 17):
        batch = FLAT[NEW[:size]]
        np.testing.assert_allclose(run({"features": batch}), scores[:size], rtol=1e-3)
    assert onnxruntime.InferenceSession(tmp_path / "d.onnx").get_inputs()[0].shape == ["batch", 64]
    head = create("ridge").fit({"features": features}, DATA.target[KNOWN])
    found = export_part(head, {"features": features}, tmp_path / "h.onnx")({"features": FLAT[NEW[:3]]})
    expected = head({"features": torch.from_numpy(FLAT[NEW[:3]]).float()})["logits"]
    np.testing.assert_allclose(found["logits"], expected, atol=1e-6)
    assert not {"features", "score"} & set(found)


def test_a_part_alone_is_checked(tmp_path):
    with pytest.raises(NotFitted, match="knn is not fitted"):
        export_part(create("knn"), {"features": torch.zeros(2, 3)}, tmp_path / "d.onnx")
    with pytest.raises(WrongUse, match="msp reads logits: give logits to export it"):
        export_part(create("msp"), {"features": torch.zeros(2, 3)}, tmp_path / "d.onnx")
    assert not list(tmp_path.iterdir())


# The command


@pytest.fixture
def command(monkeypatch, capfd, tmp_path):
    """Run a command as the console script does -> exit code, standard output, standard error of the whole process."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["unseen", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code, *capfd.readouterr()

    return run


def test_the_command(command, knn, digits):
    """A guard from a file and a folder of images, one of them unreadable; the graph is that of the guard itself."""
    saved = knn.guard.save("guard.unseen")
    folder = Path("photos")
    folder.mkdir()
    for path in [*sorted((digits / "new/one").iterdir())[:9], *sorted((digits / "new/six").iterdir())[:9]]:
        (folder / f"{path.parent.name}-{path.name}").write_bytes(path.read_bytes())
    (folder / "bad.png").write_bytes(b"no image")
    code, out, err = command("export", saved, folder, "-o", "made.onnx", "--limit", 19, "--json", "found.json")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert out.splitlines()[-1] == "Saved made.onnx"
    found = json.loads(Path("found.json").read_text())
    assert (found["n"], [one["path"] for one in found["skipped"]]) == (18, ["bad.png"])
    assert "18 inputs in batches of 1, 2, 18, with ONNX Runtime" in out
    assert "Skipped bad.png" in out
    session = onnxruntime.InferenceSession("made.onnx")
    pixels = np.repeat(IMAGES[NEW[:17], :, :, None], 3, axis=3)
    for one, other in zip(session.run(None, {"pixels": pixels}), knn.answer(slice(0, 17)).values(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert json.loads(session.get_modelmeta().custom_metadata_map["description"]) == json.loads(
        knn.session.get_modelmeta().custom_metadata_map["description"]
    )


def test_json_alone(command, knn, digits, monkeypatch):
    content = knn.path.read_bytes()
    monkeypatch.setattr(onnx, "_written", lambda *_: content)
    knn.guard.save("guard.unseen")
    code, out, err = command("export", "guard.unseen", digits / "new", "--limit", 5, "--json", "-")
    assert (code, err) == (0, "")
    assert json.loads(out)["file"] == "guard.onnx"
    assert Path("guard.onnx").is_file()


def test_how_the_command_ends(command, knn, digits, monkeypatch):
    knn.guard.save("guard.unseen")
    Path("text.unseen").write_text("text")
    for words, says, expected in [
        (("guard.unseen", digits / "new", "-o", "g.txt"), "must end in .onnx", 2),
        (("guard.unseen", digits / "new", "--tolerance", 0), "tolerance=0", 2),
        (("guard.unseen", "nowhere"), "no such file", 3),
        (("nothing.unseen", digits / "new"), "there is no such file", 3),
        (("text.unseen", digits / "new"), "not a whole file", 4),
    ]:
        code, out, err = command("export", *words)
        assert (code, out) == (expected, ""), (words, err)
        assert says in err
        assert err.count("\n") == 1
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    code, _, err = command("export", "guard.unseen", digits / "new")
    assert (code, err) == (5, "unseen: this needs onnxscript: pip install 'unseen[onnx]'\n")
    assert not Path("guard.onnx").exists()


def test_help_teaches(command):
    code, out, _ = command("export", "--help")
    assert code == 0
    assert "Example: unseen export guard.unseen photos/ -o guard.onnx" in out
    assert all(option in out for option in ["--json", "--seed", "--limit", "--tolerance", "--encoder"])
