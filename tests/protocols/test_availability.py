"""The label-availability protocol: no method learns more than its level has; numbers are those of `evaluate`."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from unseen import EmbeddingWorld, create, evaluate
from unseen.errors import BadInput, WrongUse
from unseen.protocols import Method, availability
from unseen.protocols.availability import methods
from unseen.signals import Signals, Support, TextBank

NONE = Method("1-NN", "none", "knn(k=1)")
NAMES = Method("PLP", "names", "plp(epochs=5) >> energy")
TEXTS = Method("texts", "names", "zero_shot(temperature=1.0) >> msp")
LABELS = Method("MD", "labels", "mahalanobis")


@pytest.fixture(scope="module")
def world():
    return EmbeddingWorld(0, images=80, shots=6)


def run(world, wanted, known=None, **more):
    known = world.train if known is None else known
    return availability(known, world.known, {"far": world.far, "near": world.near}, methods=wanted, **more)


def test_numbers_are_those_of_the_pipeline_by_itself(world):
    found = run(world, [NONE, LABELS])
    knn = create("knn(k=1)").fit(world.train.at_level("none"))
    alone = evaluate(knn.score(world.known), knn.score(world.far)).to_dict()
    numbers = found.row("1-NN").sets["far"]
    assert {name: numbers[name] for name in alone} == alone
    assert numbers["auroc_interval_method"] == "delong"
    assert found.sets == {"far": {"n_known": 80, "n_unknown": 80}, "near": {"n_known": 80, "n_unknown": 80}}
    assert (found.n_fit, found.n_known_test) == (120, 80)


def test_labels_change_nothing_below_their_level(world):
    """Wrong labels of the known inputs are not noticed by methods of ``none`` and ``names``; those of MD are."""
    shuffled = np.random.default_rng(0).permutation(world.train.labels)
    wrong = replace(world.train, labels=shuffled, _moments={})
    wanted = [NONE, NAMES, TEXTS, LABELS]
    right, other = run(world, wanted), run(world, wanted, known=wrong)
    for one in wanted:
        same = right.row(one.name).sets == other.row(one.name).sets
        assert same == (one.level != "labels"), one.name


def test_texts_change_nothing_where_no_names_are_known(world):
    turned = TextBank(world.train.text.positive.flip(0), world.classes)
    right, other = (run(world, [NONE, TEXTS], text=text) for text in (None, turned))
    assert right.row("1-NN").sets == other.row("1-NN").sets
    assert right.row("texts").accuracy != other.row("texts").accuracy


def test_a_method_gets_a_support_without_the_rest(world, monkeypatch):
    seen = {}
    part = type(create("knn"))
    learn = part.learn

    def spy(self, support):
        seen["labels"], seen["classes"], seen["text"] = support.labels, support.classes, support.text
        learn(self, support)

    monkeypatch.setattr(part, "learn", spy)
    run(world, [NONE])
    assert seen == {"labels": None, "classes": (), "text": None}


def test_labels_of_the_test_only_say_how_often_a_head_is_right(world):
    guess = replace(world.known, labels=np.zeros(80, dtype=np.int64), _moments={})
    unknown = {"far": world.far}
    right, other = (availability(world.train, t, unknown, methods=[TEXTS, LABELS]) for t in (world.known, guess))
    for name in ("texts", "MD"):
        mine, theirs = (one.row(name).sets["far"] for one in (right, other))
        assert [mine[key] for key in ("auroc", "auroc_interval", "fpr_at_tpr95")] == [
            theirs[key] for key in ("auroc", "auroc_interval", "fpr_at_tpr95")
        ]
    assert right.row("texts").accuracy > 0.5 > other.row("texts").accuracy


def test_a_method_that_needs_more_than_its_level_is_refused(world):
    with pytest.raises(
        WrongUse, match="RMD: relative_mahalanobis learns from labels and is declared for the level 'names'"
    ):
        run(world, [Method("RMD", "names", "relative_mahalanobis")])
    with pytest.raises(WrongUse, match=r"texts: .* learns from names and is declared for the level 'none'"):
        run(world, [replace(TEXTS, level="none")])


def test_what_is_not_there_is_named_and_the_others_go_on(world):
    bare = replace(world.train, text=None)
    found = run(world, [NONE, TEXTS, LABELS], known=bare)
    assert [row.name for row in found.rows] == ["1-NN", "MD"]
    assert "there are none: give a TextBank" in found.not_run["texts"]
    assert found.pseudo_labels is None
    without = replace(world.train, labels=None, classes=(), text=None)
    with pytest.raises(WrongUse, match=r"no method could be run: MD: MD stands for what labels give, and .* have none"):
        run(world, [LABELS], known=without)


def test_pseudo_labels_by_hand():
    """Four inputs, three classes, of which one is nobody's nearest text and one input is labelled otherwise."""
    bank = TextBank(torch.eye(3), ("a", "b", "c"))
    rows = torch.tensor([[3.0, 1, 0], [2, 1, 0], [0, 1, 0], [0, 5, 1]])
    known = Support(Signals({"features": rows, "embedding": rows}), np.array([0, 1, 1, 1]), ("a", "b", "c"))
    test = replace(known, labels=np.array([0, 0, 1, 1]))
    known = replace(known, labels=np.array([0, 1, 1, 2]))  # so that each class has an input
    unknown = {"far": Support(Signals({"features": -rows, "embedding": -rows}))}
    found = availability(known, test, unknown, text=bank, methods=[TEXTS])
    assert found.pseudo_labels["n_active"] == 2
    assert found.pseudo_labels["inactive"] == ["c"]
    assert found.pseudo_labels["accuracy"] == 0.5
    assert found.row("texts").accuracy == found.pseudo_labels["test_accuracy"] == 1.0
    assert "1 of 3 classes are no known input's nearest text (c)" in found.warnings[0]


def test_methods_of_the_table():
    listed = methods(100, batch=8192)
    assert [one.level for one in listed] == ["none"] * 2 + ["names"] * 4 + ["labels"] * 7
    assert listed[0].expression == "kmeans_mahalanobis(clusters=100)"
    assert {one.name: one.expression for one in listed}["Few-shot p=10 + MSP"] == ("probe(shots=10, batch=8192) >> msp")
    for one in listed:
        # MD takes labels where there are any, so nothing in it says that it stands for them.
        assert create(one.expression).availability == ("none" if one.name == "MD" else one.level), one.name


def test_inputs_of_one_group_count_as_one_draw(world):
    grouped = replace(world.known, groups=np.arange(80) // 8)
    alone, together = (
        availability(world.train, known, {"near": world.near}, methods=[NONE]).row("1-NN").sets["near"]
        for known in (world.known, grouped)
    )
    assert alone["auroc"] == together["auroc"]
    assert together["auroc_interval_method"] == "delong, groups as one draw"
    assert np.diff(together["auroc_interval"]) != np.diff(alone["auroc_interval"])


def test_other_signals_are_refused(world):
    wide = Support(Signals({"features": np.ones((5, 3)), "embedding": np.ones((5, 3))}))
    with pytest.raises(BadInput, match="3 features an input, the known inputs have 128"):
        availability(world.train, world.known, {"wide": wide}, methods=[NONE])


def test_the_result_is_plain_json(world):
    told = json.loads(json.dumps(run(world, [NONE, NAMES]).to_dict()))
    assert [(row["name"], row["level"], row["expression"]) for row in told["rows"]] == [
        ("1-NN", "none", "knn(k=1)"),
        ("PLP", "names", "plp(epochs=5) >> energy"),
    ]
    assert told["pseudo_labels"]["classes"] == 20
    with pytest.raises(WrongUse, match="there is no row 'MD'; there are 1-NN"):
        run(world, [NONE]).row("MD")


def test_progress_is_told(world):
    told = []
    run(world, [NONE, LABELS], progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]
