"""What every registered detector must do; a new file in the folder is tested unasked.

Each detector runs as it is where it reads features, and behind each head where it reads logits.
"""

import copy
import inspect

import numpy as np
import pytest
import torch

from unseen import create
from unseen.errors import BadInput, NotEnoughKnown, NotFitted, WrongUse
from unseen.metrics import auroc
from unseen.parts import rebuild
from unseen.registry import find, names
from unseen.signals import Signals, Support

C, D, N = 6, 24, 240

# Small arguments, so that two hundred rows are enough, and another value that must change the score.
SMALL = {"knn": "knn(k=7)"}
OTHER = {("knn", "k"): 9, ("mahalanobis", "floor"): 0.5, ("energy", "temperature"): 3.0, ("msp", "temperature"): 3.0}


def world(seed: int = 0, dtype: str = "float32") -> dict[str, np.ndarray]:
    """Known clusters with non-negative features in some coordinates, a far set of the same length in the others."""
    rng = np.random.default_rng(seed)
    used = D - D // 4
    means = np.zeros((C, D))
    means[:, :used] = np.abs(rng.normal(size=(C, used))) * 3
    labels = np.arange(N) % C

    def known() -> np.ndarray:
        x = np.zeros((N, D))
        x[:, :used] = np.abs(means[labels][:, :used] + 0.5 * rng.normal(size=(N, used)))
        return x

    x, new = known(), known()
    far = np.zeros((N, D))
    far[:, used:] = np.abs(rng.normal(size=(N, D - used))) + 0.1
    far *= (np.linalg.norm(new, axis=1) / np.linalg.norm(far, axis=1))[:, None]
    return {"x": x.astype(dtype), "new": new.astype(dtype), "far": far.astype(dtype), "labels": labels}


def pipelines() -> list[str]:
    found = []
    for name in names("detectors"):
        text = SMALL.get(name, name)
        if create(text).reads() == {"logits"}:
            found += [f"ridge >> {text}", f"prototypes >> {text}"]
        else:
            found.append(text)
    return found


every_pipeline = pytest.mark.parametrize("expression", pipelines())
every_detector = pytest.mark.parametrize("name", names("detectors"))


def fitted(expression: str, data=None):
    data = data or world()
    return create(expression).fit({"features": data["x"]}, data["labels"]), data


@every_detector
def test_an_easy_far_set_scores_lower(name):
    """Far features share no coordinate with the known and have their length; far logits are flat."""
    data = world()
    rng = np.random.default_rng(2)
    own = 6.0 * np.eye(C)[data["labels"]]
    known = {"features": data["x"], "logits": own + rng.normal(size=(N, C))}
    new = {"features": data["new"], "logits": own + rng.normal(size=(N, C))}
    far = {"features": data["far"], "logits": 0.3 * rng.normal(size=(N, C))}
    detector = create(SMALL.get(name, name)).fit(known, data["labels"])
    assert auroc(detector.score(new), detector.score(far)) > 0.99


@every_pipeline
def test_scores_vary_and_are_finite(expression):
    detector, data = fitted(expression)
    scores = detector.score({"features": data["new"]})
    assert scores.shape == (N,)
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) > N / 2


@every_pipeline
def test_one_row_order_and_batches_do_not_matter(expression, monkeypatch):
    detector, data = fitted(expression)
    whole = detector.score({"features": data["new"]})
    order = np.random.default_rng(1).permutation(N)
    scale = np.abs(whole).max()
    np.testing.assert_allclose(detector.score({"features": data["new"][order]}), whole[order], atol=2e-6 * scale)
    alone = [detector.score({"features": data["new"][i : i + 1]})[0] for i in range(7)]
    np.testing.assert_allclose(alone, whole[:7], atol=2e-6 * scale)
    monkeypatch.setattr("unseen.detectors.base.QUERY_NUMBERS", 7 * N)
    np.testing.assert_allclose(detector.score({"features": data["new"]}), whole, atol=2e-6 * scale)


@every_pipeline
def test_fitting_again_gives_the_same_bits(expression):
    one, data = fitted(expression)
    two, _ = fitted(expression)
    np.testing.assert_array_equal(one.score({"features": data["new"]}), two.score({"features": data["new"]}))


@every_pipeline
def test_inputs_and_state_are_not_written(expression):
    data = world()
    before = {key: value.copy() for key, value in data.items()}
    for value in data.values():
        value.setflags(write=False)
    detector = create(expression).fit({"features": data["x"]}, data["labels"])
    state = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    detector.score({"features": data["new"]})
    assert all(np.array_equal(data[key], before[key]) for key in data)
    assert all(torch.equal(tensor, state[name]) for name, tensor in detector.state_dict().items())


@every_pipeline
def test_a_read_only_memory_map_serves(expression, tmp_path):
    data = world()
    np.save(tmp_path / "x.npy", data["x"])
    held = np.load(tmp_path / "x.npy", mmap_mode="r")
    detector = create(expression).fit({"features": held}, data["labels"])
    expected = create(expression).fit({"features": data["x"]}, data["labels"])
    np.testing.assert_array_equal(detector.score({"features": held}), expected.score({"features": data["x"]}))


@every_pipeline
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_precisions(expression, dtype):
    exact, data = fitted(expression, world(dtype="float64"))
    expected = exact.score({"features": data["new"]})
    assert expected.dtype == np.float64
    cast = {key: value.astype(dtype) if value.dtype.kind == "f" else value for key, value in data.items()}
    detector, _ = fitted(expression, cast)
    scores = detector.score({"features": cast["new"]})
    assert scores.dtype == (np.float64 if dtype == "float64" else np.float32)
    tolerance = {"float16": 3e-2, "float32": 1e-4, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(scores, expected, atol=tolerance * np.abs(expected).max())


@every_pipeline
def test_tensors_in_tensors_out(expression):
    detector, data = fitted(expression)
    expected = detector.score({"features": data["new"]})
    scores = detector.score({"features": torch.from_numpy(data["new"])})
    assert isinstance(scores, torch.Tensor)
    np.testing.assert_array_equal(scores.numpy(), expected)
    half = detector.score({"features": torch.from_numpy(data["new"]).bfloat16()})
    assert half.dtype == torch.float32


@every_pipeline
def test_saved_state_answers_with_the_same_bits(expression):
    detector, data = fitted(expression)
    other = rebuild(detector.describe())
    other.load_state_dict({name: tensor.clone() for name, tensor in detector.state_dict().items()})
    expected = detector.score({"features": data["new"]})
    np.testing.assert_array_equal(other.score({"features": data["new"]}), expected)
    np.testing.assert_array_equal(copy.deepcopy(detector).score({"features": data["new"]}), expected)
    assert create(detector.expression()).describe() == detector.describe()


@every_pipeline
def test_fitting_in_small_batches_equals_one_pass(expression, monkeypatch):
    whole, data = fitted(expression)
    monkeypatch.setattr(Signals, "batches", _in_small_batches(Signals.batches))
    streamed, _ = fitted(expression)
    expected = whole.score({"features": data["new"]})
    np.testing.assert_allclose(streamed.score({"features": data["new"]}), expected, atol=2e-5 * np.abs(expected).max())


def _in_small_batches(batches):
    def small(self, *wanted, size=None):
        return batches(self, *wanted, size=17)

    return small


@every_pipeline
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_a_number_is_named_with_its_row(expression, bad):
    detector, data = fitted(expression)
    broken = data["x"].copy()
    broken[17, 3] = bad
    with pytest.raises(BadInput, match="features row 17: 1 of 24 values"):
        create(expression).fit({"features": broken}, data["labels"])
    with pytest.raises(BadInput, match="features row 17: 1 of 24 values"):
        detector.score({"features": broken})


@every_pipeline
def test_another_width_names_both(expression):
    detector, data = fitted(expression)
    with pytest.raises(BadInput, match=r"fitted on 24 features, these inputs have 23"):
        detector.score({"features": data["new"][:, 1:]})


@every_pipeline
def test_no_rows_no_scores(expression):
    detector, data = fitted(expression)
    assert detector.score({"features": data["new"][:0]}).shape == (0,)
    with pytest.raises(NotEnoughKnown, match="no known inputs"):
        create(expression).fit({"features": data["x"][:0]}, data["labels"][:0])


@every_pipeline
def test_fitting_has_an_effect(expression):
    detector, data = fitted(expression)
    shifted = create(expression).fit({"features": data["far"]}, data["labels"])
    assert not np.allclose(detector.score({"features": data["new"]}), shifted.score({"features": data["new"]}))


@every_pipeline
def test_asked_before_fit_says_so(expression):
    with pytest.raises(NotFitted, match="call fit"):
        create(expression).score({"features": world()["new"]})


@every_detector
def test_a_missing_signal_is_named_with_what_to_do(name):
    detector = create(SMALL.get(name, name))
    wrong = "embedding" if "logits" not in detector.reads() else "features"
    values = {wrong: world()["x"]}
    with pytest.raises(WrongUse, match=f"{name} reads .*there is only {wrong}"):
        detector.fit(values, world()["labels"])


@every_detector
def test_labels_as_declared(name):
    detector = create(SMALL.get(name, name))
    data = world()
    signals = dict.fromkeys(detector.reads(), data["x"])
    if detector.labels in ("required", "aligned"):
        with pytest.raises(WrongUse, match="labels"):
            detector.fit(signals)
        return
    alone = detector.fit(signals).score(signals)
    labelled = create(SMALL.get(name, name)).fit(signals, data["labels"]).score(signals)
    assert np.array_equal(alone, labelled) == (detector.labels == "ignored")
    words = create(SMALL.get(name, name)).fit(signals, [f"class {i}" for i in data["labels"]]).score(signals)
    np.testing.assert_array_equal(words, labelled)
    with pytest.raises(BadInput, match="names or integers from 0"):
        create(SMALL.get(name, name)).fit(signals, data["labels"] - 1)


@every_detector
def test_every_argument_matters(name):
    kind = find("detectors", name)
    data = world()
    for argument in inspect.signature(kind).parameters:
        assert (name, argument) in OTHER, f"say another value of {name}({argument}=...) in this test"
        base, other = create(SMALL.get(name, name)), create(name, **{argument: OTHER[name, argument]})
        signals = dict.fromkeys(base.reads(), data["x"])
        asked = dict.fromkeys(base.reads(), data["new"])
        one = base.fit(signals, data["labels"]).score(asked)
        two = other.fit(signals, data["labels"]).score(asked)
        assert not np.allclose(one, two, rtol=1e-6), argument


@every_detector
def test_says_where_it_comes_from(name):
    kind = find("detectors", name)
    assert kind.paper is not None
    assert kind.paper.year > 1900
    doc = kind.__doc__
    assert all(word in doc for word in ("Reads:", "Returns:", "Source:", ">>>")), name
    assert all(f"{argument}:" in doc for argument in inspect.signature(kind).parameters)


@every_pipeline
def test_exports_with_any_batch(expression):
    detector, data = fitted(expression)
    x = torch.from_numpy(data["new"])
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.export.export(detector, ({"features": x[:4]},), dynamic_shapes=({"features": {0: batch}},))
    for rows in (1, 5, N):
        expected = detector({"features": x[:rows]})
        torch.testing.assert_close(program.module()({"features": x[:rows]}), expected, rtol=1e-5, atol=1e-5)


def test_support_passes_as_it_is():
    data = world()
    support = Support.of({"features": data["x"]}, data["labels"])
    np.testing.assert_array_equal(
        create("mahalanobis").fit(support).score(support),
        create("mahalanobis").fit(data["x"], data["labels"]).score(data["x"]),
    )
