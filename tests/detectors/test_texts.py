"""Read-outs of a text bank: their invariants, and what the others lose in float32."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from unseen import create
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.signals import TextBank

ALL = ["mcm", "mcm(temperature=0.01)", "neglabel", "neglabel(groups=1)", "eoe", "clipn", "clipn(rule='ctw')", "l_mcm",
       "gl_mcm(weight=0.5)", "zero_shot >> maxlogit", "zero_shot >> energy"]  # fmt: skip
E, K, M, P = 16, 7, 60, 4


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    texts = {
        "positive": rng.normal(size=(K, E)),
        "negative": rng.normal(size=(M, E)),
        "opposite": rng.normal(size=(K, E)),
    }
    images = {"embedding": unit(rng.normal(size=(200, E))), "local": unit(rng.normal(size=(200, P, E)))}
    return {name: torch.tensor(unit(x)) for name, x in texts.items()}, images


def bank(texts, order=None):
    order = list(range(len(texts["positive"]))) if order is None else order
    named = tuple(f"class {i}" for i in order), tuple(f"word {j}" for j in range(len(texts["negative"])))
    opposite = None if texts["opposite"] is None else texts["opposite"][order]
    return TextBank(texts["positive"][order], named[0], texts["negative"], named[1], opposite=opposite)


def score(expression, texts, images, known=None, order=None):
    detector = create(expression).fit(images if known is None else known, text=bank(texts, order))
    return np.asarray(detector.score(images))


def close(a, b):
    return np.allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("expression", ALL)
def test_order_of_classes_and_the_other_images_do_not_matter(world, expression):
    texts, images = world
    plain = score(expression, texts, images)
    assert close(score(expression, texts, images, order=[3, 1, 0, 2, 6, 5, 4]), plain)
    twice = {name: np.concatenate([x, x]) for name, x in images.items()}
    assert close(score(expression, texts, twice, known=images)[200:], plain)


@pytest.mark.parametrize("expression", ALL)
def test_a_common_rotation_changes_nothing(world, expression):
    texts, images = world
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(E, E)))[0]
    turned = {name: x @ torch.tensor(turn) for name, x in texts.items()}, {name: x @ turn for name, x in images.items()}
    assert np.allclose(score(expression, *turned), score(expression, texts, images), rtol=1e-4, atol=1e-4)


def with_constant(texts, images):
    """The same cosines, more by a number of each image's own: one more dimension in which all texts are alike."""
    rng = np.random.default_rng(2)
    more = {name: torch.cat([0.8 * x, torch.full((len(x), 1), 0.6)], dim=1) for name, x in texts.items()}
    share = rng.uniform(0, 0.5, size=(200, 1))
    same = {"embedding": np.concatenate([images["embedding"], share], axis=1)}
    return more, {name: np.asarray(x) for name, x in same.items()}


def test_a_constant_of_each_image(world):
    texts, images = world
    more, raised = with_constant(texts, images)
    length = np.linalg.norm(raised["embedding"], axis=1)
    # An image's cosines are those of before, times 0.8 and over its length, and its own constant.
    for expression, moved in (
        ("mcm(temperature=0.01)", False),
        ("neglabel(groups=1)", False),
        ("zero_shot >> maxlogit", True),
    ):
        without = {
            name: torch.cat([0.8 * x, torch.zeros(len(x), 1), torch.full((len(x), 1), 0.6)], dim=1)
            for name, x in texts.items()
        }
        apart = {
            "embedding": np.concatenate(
                [raised["embedding"][:, :-1], raised["embedding"][:, -1:], np.zeros((200, 1))], axis=1
            )
        }
        a, b = score(expression, more, raised), score(expression, without, apart)
        assert np.allclose(a, b, rtol=1e-3, atol=1e-3) != moved, (expression, length[:2])


def test_negatives_only_lower(world):
    texts, images = world
    few = texts | {"negative": texts["negative"][:30]}
    assert (score("neglabel(groups=1)", few, images) >= score("neglabel(groups=1)", texts, images) - 1e-5).all()
    grouped, whole = score("neglabel(groups=10)", texts, images), score("neglabel(groups=1)", texts, images)
    assert (grouped >= whole - 1e-5).all()  # each group weighs less than all
    assert not np.allclose(grouped, whole)


def test_words_that_are_the_classes_weigh_as_much(world):
    texts, images = world
    assert np.allclose(score("neglabel(groups=1)", texts | {"negative": texts["positive"]}, images), 0, atol=1e-4)


def test_more_groups_than_words_make_a_group_each(world):
    texts, images = world
    assert close(score("neglabel(groups=60)", texts, images), score("neglabel(groups=1000)", texts, images))


def test_eoe_is_the_joint_msp_without_beta_and_mcm_without_words(world):
    texts, images = world
    joint = np.concatenate([texts["positive"], texts["negative"]])
    odds = np.exp(images["embedding"] @ joint.T)
    assert close(score("eoe(beta=0.0)", texts, images), (odds[:, :K].max(1) / odds.sum(1)) * (K + M))
    none = texts | {"negative": torch.empty(0, E)}
    assert (np.argsort(score("eoe", none, images)) == np.argsort(score("mcm", none, images))).all()


def test_clipn_without_a_difference_is_undecided(world):
    texts, images = world
    same = texts | {"opposite": texts["positive"]}
    for rule in ("atd", "ctw"):
        assert np.allclose(score(f"clipn(rule={rule!r})", same, images), 0, atol=1e-4)
    far = texts | {"opposite": -images["embedding"][:1].repeat(K, 0)}
    assert (
        score("clipn", {**far, "opposite": torch.tensor(far["opposite"])}, {"embedding": images["embedding"][:1]}) > 50
    )


def test_one_patch_that_is_the_image(world):
    texts, images = world
    whole = {"embedding": images["embedding"], "local": images["embedding"][:, None]}
    assert close(score("l_mcm", texts, whole), score("mcm", texts, whole))
    once, more = score("gl_mcm(weight=0.0)", texts, whole), score("gl_mcm(weight=0.5)", texts, whole)
    assert close(more, 1.5 * once)


def test_the_probability_can_be_read_back(world):
    texts, images = world
    odds = np.exp(images["embedding"] @ texts["positive"].numpy().T)
    largest = odds.max(1) / odds.sum(1)
    assert close(1 / (1 + (K - 1) * np.exp(-score("mcm", texts, images))), largest)


@pytest.mark.parametrize(
    ("expression", "change", "said"),
    [
        ("neglabel", {"negative": torch.empty(0, E)}, "words that name no class"),
        ("clipn", {"opposite": None}, "deny each class"),
        ("mcm", {"positive": torch.eye(1, E), "opposite": None}, "needs two"),
    ],
)
def test_a_bank_that_does_not_serve(world, expression, change, said):
    texts, images = world
    with pytest.raises((WrongUse, NotEnoughKnown), match=said):
        score(expression, texts | change, images)


@pytest.mark.parametrize("expression", ["mcm(temperature=0)", "neglabel(groups=0)", "clipn(rule='no')"])
def test_arguments_out_of_range(expression):
    with pytest.raises(WrongUse):
        create(expression)


@pytest.fixture(scope="module")
def clip():
    folder = os.environ.get("UNSEEN_TEST_DATA")
    if folder is None:
        pytest.skip("UNSEEN_TEST_DATA is not set")
    with np.load(Path(folder) / "clip_vitb32.npz") as z:
        return {name: z[name] for name in z.files}


def test_real_images_do_not_tie(clip):
    """The probability of the papers is 1 for many images in float32; the log-odds tell them apart."""
    images = {"embedding": clip["image"].astype("float32")}
    names = tuple(map(str, clip["coco_name"]))
    texts = TextBank(torch.tensor(clip["coco"].astype("float32")), names, torch.tensor(clip["lvis"].astype("float32")),
                     tuple(f"{i} {w}" for i, w in enumerate(clip["lvis_name"])))  # fmt: skip
    v, t, n = images["embedding"], texts.positive.numpy(), texts.negative.numpy()
    powers = np.exp(100 * np.concatenate([v @ t.T, v @ n.T], axis=1), dtype=np.float32)
    share = powers[:, : len(t)].sum(1) / powers.sum(1)
    for expression in ("neglabel", "neglabel(groups=1)", "mcm", "mcm(temperature=0.01)"):
        single = create(expression).fit(images, text=texts).score(images)
        double = create(expression).fit({"embedding": v.astype("float64")}, text=texts)
        exact = double.score({"embedding": v.astype("float64")})
        assert np.abs(single - exact).max() < 1e-4
        assert len(np.unique(single)) > len(np.unique(share)) - 2
        assert len(np.unique(single)) >= 0.99 * len(single)
