"""Pseudo-label probing: whose labels these are, the probe's recipe on them, what later parts are told, rows on disk."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors

from unseen import RelativeMahalanobis, create
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.heads import probe
from unseen.heads.plp import PLP, pseudo_labels
from unseen.heads.probe import Probe
from unseen.signals import Signals, Support, TextBank
from unseen.signals.store import Shards, Stored

N, F, E, K = 120, 10, 6, 4
RNG = np.random.default_rng(0)
LABELS = np.arange(N) % K
X = (2 * RNG.normal(size=(K, F))[LABELS] + RNG.normal(size=(N, F)) + 1).astype(np.float32)
TEXTS = RNG.normal(size=(K, E))
EMBEDDING = (TEXTS[LABELS] + 0.4 * RNG.normal(size=(N, E))).astype(np.float32)
CLASSES = ("a", "b", "c", "d")
SOON = {"epochs": 15, "batch": 32, "lr": 0.02}
EXPRESSION = "plp(epochs=15, batch=32, lr=0.02)"


def bank(texts=TEXTS, classes=CLASSES):
    return TextBank(texts, classes, negative=np.ones((1, texts.shape[1])), words=("word",))


def support(x=X, embedding=EMBEDDING, text=None, **more):
    return Support(Signals({"features": x, "embedding": embedding}), text=text or bank(), **more)


def fit(of=None, **arguments):
    return PLP(**(SOON | arguments)).fit(of or support())


def by_hand(embedding=EMBEDDING, texts=TEXTS):
    """The largest cosine, the first of equals."""
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (embedding.astype(float), texts)]
    return (unit[0] @ unit[1].T).argmax(axis=1)


def same(one, two):
    return torch.equal(one.weight, two.weight) and torch.equal(one.bias, two.bias)


# Pseudo-labels


def test_the_nearest_text_is_the_label():
    found = pseudo_labels(support(), bank())
    np.testing.assert_array_equal(found, by_hand())
    assert found.dtype == np.int64
    assert 0.8 < (found == LABELS).mean() < 1, "else they could not be told from true labels"


def test_no_length_of_an_embedding_or_a_text_matters():
    """Nor when lengths are taken off: the authors' program does so before the projection, and not after it."""
    longer = EMBEDDING * RNG.uniform(0.01, 100, size=(N, 1)).astype(np.float32)
    stretched = bank(TEXTS * 100)
    np.testing.assert_array_equal(pseudo_labels(support(embedding=longer), stretched), by_hand())
    backbone, projection = RNG.normal(size=(N, F)), RNG.normal(size=(F, E))
    before = backbone / np.linalg.norm(backbone, axis=1, keepdims=True) @ projection
    after = backbone @ projection
    after = after / np.linalg.norm(after, axis=1, keepdims=True)
    np.testing.assert_array_equal(
        *(pseudo_labels(support(embedding=rows.astype(np.float64)), bank()) for rows in (before, after))
    )


def test_of_two_equal_texts_the_lower_class_gets_all():
    """Wherever they stand: a product may add up the last columns in another order than the first."""
    for width in (3, 64, 513):
        texts = RNG.normal(size=(2 * 37, width))
        texts[37:] = texts[:37]
        embedding = texts[np.arange(N) % 37] + 0.1 * RNG.normal(size=(N, width))
        names = tuple(map(str, range(74)))
        found = pseudo_labels(support(embedding=embedding), bank(texts, names))
        assert found.max() < 37
        np.testing.assert_array_equal(found, by_hand(embedding, texts[:37]))


def test_classes_without_pseudo_labels_are_counted_and_named():
    texts = np.vstack([TEXTS, TEXTS[1:3], -TEXTS.sum(axis=0)])
    named = support(text=bank(texts, (*CLASSES, "b too", "c too", "nowhere")))
    head = fit(named)
    assert head.counts.tolist() == [*np.bincount(by_hand(), minlength=4), 0, 0, 0]
    assert head.n_active_classes == 4
    assert head.inactive(head.named(named)) == ("b too", "c too", "nowhere")
    assert head.notes == (
        "no known input is nearest to the name of 3 of 7 classes, so that plp never answers them: "
        "b too, c too, nowhere",
    )
    assert head.tells(named).notes[-1:] == head.notes
    said = head.apply_to({"features": torch.from_numpy(X)})["logits"]
    assert said.shape == (N, 7)
    assert torch.isfinite(said).all()
    assert int(said.argmax(dim=1).max()) < 4
    assert fit().notes == ()
    other = PLP(**SOON)
    other.load_state_dict(from_safetensors(to_safetensors({k: v.clone() for k, v in head.state_dict().items()})))
    assert other.n_active_classes == 4
    assert other.inactive(head.named(named)) == ("b too", "c too", "nowhere")


# The recipe


@pytest.mark.parametrize("arguments", [{}, {"solver": "lbfgs"}, {"shots": 5}, {"lr_rule": "paper"}])
def test_is_the_probe_on_these_labels(arguments):
    """To the last bit, with the seed that it has."""
    recipe = {} if arguments.get("solver") == "lbfgs" else SOON
    taught = Support(Signals({"features": X}), labels=by_hand(), classes=CLASSES)
    head = PLP(**(recipe | arguments)).fit(support())
    assert same(head, Probe(**(recipe | arguments)).fit(taught))
    assert not same(head, Probe(**(recipe | arguments)).fit(replace(taught, labels=LABELS)))


def test_takes_the_arguments_of_the_probe():
    assert PLP().arguments() == Probe().arguments()
    assert create("plp(epochs=3)").expression() == "plp(epochs=3)"
    with pytest.raises(WrongUse, match=r"^PLP\(epochs=0\): epochs must be a whole number from 1"):
        fit(epochs=0)


def test_true_labels_change_no_bit():
    """Not even their order: columns are those of the texts."""
    plain = fit()
    for labels, classes in ((LABELS, CLASSES), (LABELS[::-1].copy(), CLASSES), (3 - LABELS, CLASSES[::-1])):
        given = support(labels=labels, classes=classes)
        assert same(fit(given), plain)
        assert PLP().named(given) == CLASSES
    assert PLP().availability == "names"


@pytest.mark.parametrize("detector", ["energy", "msp", "relative_mahalanobis(on='logits')", "mahalanobis"])
def test_a_detector_behind_it_never_sees_the_true_labels(detector):
    scores = []
    for told in ({}, {"labels": LABELS, "classes": CLASSES}, {"labels": LABELS % 2, "classes": ("x", "y")}):
        given = support(**told)
        given.moments("features")  # of the labels that are there, as somebody may have asked for them
        scores.append(create(f"{EXPRESSION} >> {detector}").fit(given).score({"features": X}))
    np.testing.assert_array_equal(scores[1], scores[0])
    np.testing.assert_array_equal(scores[2], scores[0])


def test_relative_mahalanobis_behind_it_learns_the_pseudo_labels_in_logit_space():
    pipeline = create(f"{EXPRESSION} >> relative_mahalanobis(on='logits', floor=0.001)").fit(support())
    assert pipeline.availability == "names"
    assert pipeline.needs == {"features"}
    head = fit()
    said = head.apply_to({"features": torch.from_numpy(X)})["logits"].numpy()
    expected = RelativeMahalanobis(0.001, "logits").fit(said, by_hand()).score(said)
    np.testing.assert_allclose(pipeline.score({"features": X}), expected, rtol=1e-4, atol=1e-4)


def test_a_constant_dimension_and_scales_of_features_do_not_matter():
    scale, offset = np.array([1000, 1e-3, 1, 7, 1e3, 0.1, 2, 3, 4, 5]), np.arange(10.0)
    wide = X.astype(np.float64)
    moved = wide * scale + offset
    one = fit(support(x=wide)).apply_to({"features": torch.from_numpy(wide)})["logits"]
    two = fit(support(x=moved)).apply_to({"features": torch.from_numpy(moved)})["logits"]
    np.testing.assert_allclose(two, one, atol=1e-4)
    still = fit(support(x=np.insert(X, 3, np.float32(2.5), axis=1)))
    assert (still.weight[:, 3] == 0).all()
    assert torch.isfinite(still.bias).all()


def test_features_that_are_the_embedding_need_no_projection():
    rows = EMBEDDING / np.linalg.norm(EMBEDDING, axis=1, keepdims=True)
    scores = create(f"{EXPRESSION} >> energy").fit(support(x=rows, embedding=rows)).score({"features": rows})
    assert np.isfinite(scores).all()


def test_shots_are_drawn_from_the_classes_that_have_any():
    texts = bank(np.vstack([TEXTS, TEXTS[1]]), (*CLASSES, "b too"))
    head = fit(support(text=texts), shots=5)
    assert head.counts.sum() == N, "the labels that it gives are of all inputs"
    five = np.concatenate([np.flatnonzero(by_hand() == code)[:7] for code in range(4)])
    few = support(x=X[five], embedding=EMBEDDING[five], text=texts)
    with pytest.raises(
        NotEnoughKnown, match=r"has 7 inputs and shots=8 .*\(4 of 5 classes have fewer\): lower shots to 7"
    ):
        fit(few, shots=8)


def test_is_solved_once_for_all_detectors_behind_it(monkeypatch):
    calls = []
    for name in ("solve", "_trained"):
        plain = getattr(Probe, name)
        monkeypatch.setattr(Probe, name, lambda self, *a, n=name, p=plain: (calls.append(n), p(self, *a))[1])
    read = []
    batches = Signals.batches
    monkeypatch.setattr(
        Signals, "batches", lambda self, *names, **more: (read.extend(names), batches(self, *names, **more))[1]
    )
    known = support()
    for detector in ("energy", "msp", "relative_mahalanobis(on='logits')"):
        create(f"{EXPRESSION} >> {detector}").fit(known)
    assert calls == ["solve", "_trained"]
    assert read.count("embedding") <= 1 + 2 * 3  # one walk; and for each fit a row to know the width
    calls.clear()
    create(f"{EXPRESSION} >> energy").fit(support())
    assert calls == ["solve", "_trained"]


def test_one_name_is_no_classifier():
    with pytest.raises(NotEnoughKnown, match="plp tells classes apart and needs two classes, got 1"):
        fit(support(text=bank(TEXTS[:1], ("a",))))


# Rows on disk


def on_disk(folder, kind, dtype=np.float32):
    x = X.astype(dtype)
    if kind == "memory map":
        np.save(folder / "x.npy", x)
        return np.load(folder / "x.npy", mmap_mode="r")
    parts = []
    for number, start in enumerate(range(0, N, 32)):
        np.save(folder / f"{number}.npy", x[start : start + 32])
        parts.append(Stored(folder / f"{number}.npy"))
    return Shards(parts)


@pytest.fixture
def gathered(monkeypatch):
    """How many rows at once were copied into memory."""
    rows = []
    plain = Signals.gather
    monkeypatch.setattr(
        Signals, "gather", lambda self, *a, **more: (rows.append(len(self)), plain(self, *a, **more))[1]
    )
    return rows


@pytest.mark.parametrize("kind", ["memory map", "shards"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_rows_on_disk_teach_the_same_bits_and_stay_there(tmp_path, monkeypatch, gathered, kind, solver):
    recipe = SOON if solver == "adam" else {}
    expected = PLP(solver=solver, **recipe).fit(support())
    assert max(gathered) == N
    gathered.clear()
    monkeypatch.setattr(probe, "HELD", 0)
    found = PLP(solver=solver, **recipe).fit(support(x=on_disk(tmp_path, kind)))
    assert same(found, expected)
    assert max(gathered, default=0) <= 32


def test_some_rows_on_disk_teach_the_same_bits(tmp_path, monkeypatch, gathered):
    order = RNG.permutation(N)[:97]
    labelled = Support(Signals({"features": X[order]}), LABELS[order], CLASSES)
    expected = Probe(**SOON).fit(labelled)
    monkeypatch.setattr(probe, "HELD", 0)
    gathered.clear()
    column = on_disk(tmp_path, "memory map", np.dtype(">f4"))
    found = Probe(**SOON).fit(Support(Signals({"features": column}), LABELS, CLASSES).take(order))
    assert same(found, expected)
    assert max(gathered) <= 32


def test_few_numbers_on_disk_and_all_in_memory_are_copied_once(tmp_path, monkeypatch, gathered):
    fit(support(x=on_disk(tmp_path, "shards")))
    assert gathered == [N]
    monkeypatch.setattr(probe, "HELD", 0)
    fit(support(x=torch.from_numpy(X)))
    assert gathered == [N, N]


def test_a_step_before_it_is_applied_to_each_minibatch(tmp_path, monkeypatch):
    expected = create(f"unit >> {EXPRESSION} >> energy").fit(support()).score({"features": X})
    monkeypatch.setattr(probe, "HELD", 0)
    disk = support(x=on_disk(tmp_path, "memory map"))
    np.testing.assert_allclose(
        create(f"unit >> {EXPRESSION} >> energy").fit(disk).score({"features": X}), expected, rtol=1e-5
    )
