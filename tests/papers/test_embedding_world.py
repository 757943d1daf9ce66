"""The made-up world: what it is made of, and the orderings of methods that were seen to hold in it."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from unseen import EmbeddingWorld, create, evaluate
from unseen.errors import WrongUse
from unseen.language import Texts
from unseen.papers._embedding_world import KINDS
from unseen.protocols import Method, availability

SEEDS = range(10)  # worlds differ a lot from each other, and methods that learn from texts alone cost little
PROMPTS = [f"a photo of a {{}}, number {i}" for i in range(8)]
SMALL = {"images": 60, "shots": 3}


def embedding(support):
    return support.gather("embedding").double()


# What it is made of


def test_one_seed_is_one_world():
    first, again, other = EmbeddingWorld(3, **SMALL), EmbeddingWorld(3, **SMALL), EmbeddingWorld(4, **SMALL)
    assert torch.equal(embedding(first.near), embedding(again.near))
    assert not torch.equal(embedding(first.near), embedding(other.near))
    assert first.id == again.id != other.id
    assert torch.equal(first.bank().positive, again.bank().positive)


def test_more_images_are_of_the_same_concepts():
    """Concepts and texts do not depend on how many images are drawn."""
    few, many = EmbeddingWorld(0, images=10, shots=2), EmbeddingWorld(0, images=50, shots=9)
    assert torch.equal(few.bank().positive, many.bank().positive)
    assert len(many.train) == 20 * 9
    assert np.bincount(many.train.labels).tolist() == [9] * 20


def test_rows_have_length_one_and_labels_name_concepts():
    world = EmbeddingWorld(0, **SMALL)
    for side, support in (("known", world.known), ("near", world.near), ("far", world.far)):
        assert torch.allclose(embedding(support).norm(dim=1), torch.ones(60, dtype=torch.float64), atol=1e-6)
        assert support.classes == world.names(side)
        assert support.labels.max() < len(support.classes)


def test_there_is_a_gap_between_images_and_texts():
    """As in CLIP: images are like images, texts like texts, and an image is more like its text than like others."""
    world = EmbeddingWorld(0, images=500, shots=3)
    v, t = embedding(world.known), world.bank().positive.double()
    alike, cosines = (v @ v.T).fill_diagonal_(0), v @ t.T
    own = cosines[torch.arange(500), torch.from_numpy(world.known.labels)]
    assert 0.35 < alike.sum() / (500 * 499) < 0.5
    assert 0.4 < (t @ t.T)[~torch.eye(20, dtype=torch.bool)].mean() < 0.6
    assert own.mean() - cosines.mean() > 0.2
    assert (cosines.argmax(dim=1).numpy() == world.known.labels).mean() > 0.9


def test_without_a_gap_there_is_none():
    v = embedding(EmbeddingWorld(0, images=200, shots=3, gap=0.0).far)
    assert abs((v @ v.T).fill_diagonal_(0).sum() / (200 * 199)) < 0.1


def test_near_concepts_are_like_the_known_ones_and_far_ones_are_not():
    world = EmbeddingWorld(0, **SMALL)
    known, near, far = (normalize(torch.from_numpy(world.embed(world.names(s)))) for s in ("known", "near", "far"))
    assert (known @ near.T).amax(dim=0).mean() > (known @ far.T).amax(dim=0).mean() + 0.05


def test_words_are_of_four_kinds_in_these_shares():
    world = EmbeddingWorld(0, words=200, **SMALL)
    assert {kind: world.kinds.count(kind) for kind in KINDS} == {
        "far": 70,
        "synonym": 20,
        "known super": 20,
        "random": 90,
    }
    known, read = (normalize(torch.from_numpy(world.embed(some))) for some in (world.classes, world.lexicon))
    best = (read @ known.T).amax(dim=1).numpy()
    kinds = np.array(world.kinds)
    assert best[kinds == "synonym"].mean() > best[kinds == "known super"].mean() > best[kinds == "far"].mean()


def test_another_prompt_is_another_draw_of_a_text():
    world = EmbeddingWorld(0, **SMALL)
    one, two, again = world.embed(["a known-03", "the known-03", "a known-03"])
    assert np.array_equal(one, again)
    assert not np.allclose(one, two)
    assert np.isclose(np.linalg.norm(one), 10, rtol=1e-5)  # not of unit length, as a model's are not


def test_a_text_without_a_concept_is_refused():
    with pytest.raises(WrongUse, match="'a photo of a cat' names no concept of this world: known-00"):
        EmbeddingWorld().embed(["a photo of a cat"])
    with pytest.raises(WrongUse, match="'far-30' names no concept"):
        EmbeddingWorld().embed(["far-30"])


def test_a_backbone_in_front_of_the_projection():
    """Features are wider, of other lengths, and times the projection they are the embedding."""
    world = EmbeddingWorld(0, backbone=160, **SMALL)
    features = world.near.gather("features").double()
    assert features.shape == (60, 160)
    assert torch.allclose(normalize(features @ torch.from_numpy(world.projection)), embedding(world.near), atol=1e-5)
    assert features.norm(dim=1).std() > 0.1
    plain = EmbeddingWorld(0, **SMALL)
    assert torch.equal(embedding(plain.near), embedding(world.near))
    assert torch.equal(plain.near.gather("features"), plain.near.gather("embedding"))


def test_patches_make_the_image():
    world = EmbeddingWorld(0, patches=16, **SMALL)
    local = world.near.gather("local").double()
    assert local.shape == (60, 16, 128)
    assert torch.allclose(normalize(local.mean(dim=1)), embedding(world.near), atol=1e-5)


def test_opposite_texts_turn_away_from_their_class():
    bank = EmbeddingWorld(0, **SMALL).bank()
    same = (bank.positive * bank.opposite).sum(dim=1)
    others = (bank.opposite @ bank.positive.T).sum(dim=1) - same
    assert (same < others / 19).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"images": 1}, "images must be at least 2"),
        ({"alike": 1.0}, "alike lies in"),
        ({"backbone": 64}, "must be 128"),
    ],
)
def test_numbers_out_of_range(wrong, message):
    with pytest.raises(WrongUse, match=message):
        EmbeddingWorld(**wrong)


# Orderings, of means over worlds


@pytest.fixture(scope="module")
def worlds():
    return [EmbeddingWorld(seed, shots=2) for seed in SEEDS]


@pytest.fixture(scope="module")
def patched():
    return [EmbeddingWorld(seed, patches=16, images=300, shots=2) for seed in SEEDS[:3]]


def mean_auroc(worlds, expression, texts=None):
    """Mean AUROC over the worlds: ``far``, ``near``."""
    found = []
    for world in worlds:
        bank = world.bank(texts(world) if callable(texts) else texts)
        detector = create(expression).fit(world.train, text=bank)
        known = detector.score(world.known)
        found.append([evaluate(known, detector.score(some)).auroc for some in (world.far, world.near)])
    return dict(zip(("far", "near"), np.mean(found, axis=0).tolist(), strict=True))


def mined(rule, **more):
    return lambda world: Texts(prompts="mcm", negatives=world.lexicon, mine=rule, **more)


NEGLABEL = "neglabel(groups=1)"


def test_mined_words_beat_the_largest_softmax_and_that_the_largest_cosine(worlds):
    neglabel = mean_auroc(worlds, NEGLABEL, mined("neglabel"))["far"]
    mcm = mean_auroc(worlds, "mcm")["far"]
    assert neglabel > mcm + 0.005
    assert mcm > mean_auroc(worlds, "zero_shot >> maxlogit")["far"] + 0.005


def test_mined_words_beat_random_ones_and_these_the_nearest(worlds):
    found = {rule: mean_auroc(worlds, NEGLABEL, mined(rule))["far"] for rule in ("neglabel", "random", "nearest")}
    assert found["neglabel"] > found["random"] + 0.005
    assert found["random"] > found["nearest"] + 0.005
    assert found["nearest"] < 0.85


def test_eight_prompts_beat_one(worlds):
    """Beat them on average: which single prompt is best differs from world to world."""
    singles = [mean_auroc(worlds, "mcm", Texts(prompts=[prompt])) for prompt in PROMPTS]
    eight = mean_auroc(worlds, "mcm", Texts(prompts=PROMPTS))
    for kind in ("far", "near"):
        assert eight[kind] > np.mean([one[kind] for one in singles]) + 0.005


def test_groups_of_words_cost_nothing(worlds):
    whole, grouped = (mean_auroc(worlds, f"neglabel(groups={n})", mined("neglabel")) for n in (1, 10))
    assert grouped["far"] >= whole["far"] - 0.003
    assert grouped["near"] >= whole["near"] - 0.003


def test_a_temperature_of_one_beats_that_of_the_model(worlds):
    one, small = (mean_auroc(worlds, f"mcm(temperature={t})") for t in (1.0, 0.01))
    assert one["far"] > small["far"] + 0.005
    assert one["near"] > small["near"] + 0.005


def test_names_of_near_concepts_help_on_near_ones(worlds):
    texts = lambda world: Texts(prompts="mcm", negatives=world.names("near"), mine="all")  # noqa: E731
    assert mean_auroc(worlds, "eoe", texts)["near"] > mean_auroc(worlds, "mcm")["near"] + 0.005


def test_patches_see_small_objects(patched):
    local, whole = (mean_auroc(patched, name) for name in ("l_mcm", "mcm"))
    assert local["far"] > whole["far"] + 0.1
    assert local["near"] > whole["near"] + 0.1


def test_probes_of_pseudo_labels_lie_between_texts_and_labels():
    """Pseudo-MSP < PLP + Energy < Probing + Energy, and in logits MD < RMD."""
    wanted = [
        Method("texts", "names", "mcm"),
        Method("PLP", "names", "plp >> energy"),
        Method("MD", "names", "plp >> mahalanobis(on='logits')"),
        Method("RMD", "names", "plp >> relative_mahalanobis(on='logits')"),
        Method("labels", "labels", "probe >> energy"),
    ]
    worlds = [EmbeddingWorld(seed) for seed in SEEDS[:3]]
    found = [
        availability(
            w.train, w.known, {"far": w.far, "near": w.near}, text=w.bank(Texts(prompts="plp")), methods=wanted
        )
        for w in worlds
    ]
    mean = {
        one.name: np.mean([[f.row(one.name).sets[of]["auroc"] for of in ("far", "near")] for f in found], axis=0)
        for one in wanted
    }
    assert (mean["PLP"] > mean["texts"] + 0.003).all()
    assert (mean["labels"] > mean["PLP"] + 0.003).all()
    assert (mean["RMD"] > mean["MD"] + 0.005).all()
    assert np.mean([f.pseudo_labels["accuracy"] for f in found]) > 0.95
