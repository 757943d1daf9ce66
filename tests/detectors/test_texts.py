"""Read-outs of a text bank: their invariants, and what the others lose in float32."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from unseen import create
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.signals import TextBank

ALL = ["mcm", "mcm(temperature=0.01)", "neglabel", "neglabel(groups=1)", "eoe", "eoe(temperature=0.01)", "clipn",
       "clipn(rule='ctw')", "l_mcm", "gl_mcm(weight=0.5)", "gl_mcm(weight=0.5, temperature=0.01)",
       "zero_shot >> maxlogit", "zero_shot >> energy"]  # fmt: skip
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
    p = odds[:, :K].max(1) / odds.sum(1)
    assert close(score("eoe(beta=0.0)", texts, images), np.log(p / (1 - p)) + np.log(K + M - 1))
    none = texts | {"negative": torch.empty(0, E)}
    for temperature in (1.0, 0.01):
        eoe, mcm = (f"{name}(temperature={temperature})" for name in ("eoe", "mcm"))
        np.testing.assert_array_equal(score(eoe, none, images), score(mcm, none, images))


@pytest.mark.parametrize("temperature", [0.01, 0.1, 0.4, 0.6, 1.0, 5.0])
@pytest.mark.parametrize("beta", [0.0, 0.25, 1.0, 3.0])
def test_eoe_is_the_papers_score_between_its_ends(world, temperature, beta):
    """Also next to them, where a difference of probabilities in float32 is 1 or minus beta."""
    texts, images = world
    at = torch.cat([texts["positive"], texts["negative"]]).numpy()
    asked = np.concatenate([at, unit(at[:20] + at[-20:]), images["embedding"]])  # sure, torn, anywhere
    logits = (asked @ at.T) / temperature
    logits -= logits.max(axis=1, keepdims=True)
    powers = np.exp(logits.astype(np.longdouble))
    p = powers / powers.sum(axis=1, keepdims=True)
    k, j = p[:, :K].argmax(1), K + p[:, K:].argmax(1)
    rows = np.arange(len(p))
    others = p.copy()
    others[rows, k] = others[rows, j] = 0
    rest = others.sum(1)  # sums of what is positive, so that nothing cancels
    above, below = p[rows, k] * (1 + beta) + beta * rest, p[rows, j] * (1 + beta) + rest
    guess = (1 - beta) / (K + M)
    expected = np.log(above / below) - np.log((guess + beta) / (1 - guess))
    found = score(f"eoe(temperature={temperature}, beta={beta})", texts, {"embedding": asked.astype("float32")})
    np.testing.assert_allclose(found, expected.astype(float), rtol=1e-4, atol=1e-6 / temperature)


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
    for temperature in (1.0, 0.01):
        mcm = score(f"mcm(temperature={temperature})", texts, whole)
        for weight in (0.0, 0.5):  # as (1 + weight) times one probability is (1 + weight) at most
            assert close(score(f"gl_mcm(weight={weight}, temperature={temperature})", texts, whole), mcm)


def test_the_global_part_alone(world):
    texts, images = world
    assert close(score("gl_mcm(weight=0.0)", texts, images), score("mcm", texts, images))
    assert not close(score("gl_mcm(weight=0.5)", texts, images), score("mcm", texts, images))


@pytest.mark.parametrize("temperature", [0.01, 0.1, 0.4, 0.6, 1.0])
@pytest.mark.parametrize("expression", ["mcm", "l_mcm", "gl_mcm"])
def test_sure_answers_are_finite_and_exact_in_float32(world, expression, temperature):
    """Opposite texts, and images that are one of them: exp of the gap is lost beside 1 from a temperature of 0.1 on."""
    texts, _ = world
    rows = texts["positive"].numpy()
    ours = {"positive": torch.tensor(np.concatenate([rows, -rows])), "negative": torch.empty(0, E), "opposite": None}
    whole = {"embedding": rows, "local": np.repeat(rows[:, None], 2, axis=1)}
    single = {name: x.astype("float32") for name, x in whole.items()}
    made = f"{expression}(temperature={temperature})"
    np.testing.assert_allclose(score(made, ours, single), score(made, ours, whole), rtol=1e-5, atol=1e-4)
    two = {name: torch.tensor([[1.0, 0.0], [-1.0, 0.0]]) for name in ("positive", "opposite")}
    sure = {"embedding": np.float32([[1, 0]]), "local": np.float32([[[1, 0]]])}
    assert score(made, two | {"negative": torch.empty(0, 2)}, sure) == pytest.approx(2 / temperature, rel=1e-5)


def test_one_class_against_words(world):
    """One name is enough where words or denials stand against it."""
    texts, images = world
    one = texts | {"positive": texts["positive"][:1], "opposite": texts["opposite"][:1]}
    cosine = images["embedding"] @ texts["positive"][0].numpy()
    for expression in ("neglabel", "eoe", "clipn"):
        assert np.corrcoef(score(expression, one, images), cosine)[0, 1] > 0.3, expression
    assert np.isfinite(score("eoe(temperature=0.01)", one, images)).all()
    alone = one | {"negative": torch.empty(0, E)}
    with pytest.raises(NotEnoughKnown, match="needs two"):
        score("eoe", alone, images)


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


@pytest.mark.parametrize("expression", ["mcm(temperature=0)", "mcm(temperature=1e999)", "neglabel(groups=0)",
                                        "clipn(rule='no')", "eoe(beta=-1.0)", "gl_mcm(weight=-1.0)"])  # fmt: skip
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


def saturating(v, bank):
    """NegLabel's one group, as a float32 softmax; and MCM's probability at both temperatures."""
    t, n = bank.positive, bank.negative
    x = torch.tensor(v)
    joint = (torch.cat([x @ t.T, x @ n.T], dim=1) / 0.01).softmax(dim=1)[:, : len(t)].sum(dim=1)
    return joint.numpy(), *((x @ t.T / tau).softmax(dim=1).amax(dim=1).numpy() for tau in (1.0, 0.001))


def test_real_images_do_not_tie(clip):
    """In float32, and the scores are those of float64. A few pairs coincide by chance, as of any real numbers."""
    v = unit(clip["image"].astype("float32"))
    names = tuple(map(str, clip["coco_name"]))
    texts = TextBank(torch.tensor(clip["coco"].astype("float32")), names, torch.tensor(clip["lvis"].astype("float32")),
                     tuple(f"{i} {w}" for i, w in enumerate(clip["lvis_name"])))  # fmt: skip
    images = {"embedding": v, "local": np.stack([v, unit(v + np.roll(v, 1, axis=0))], axis=1)}
    exact = {name: x.astype("float64") for name, x in images.items()}
    for expression in ("neglabel", "neglabel(groups=1)", "mcm", "mcm(temperature=0.01)", "mcm(temperature=0.001)",
                       "eoe", "eoe(temperature=0.01)", "l_mcm", "gl_mcm", "gl_mcm(temperature=0.01)"):  # fmt: skip
        single = create(expression).fit(images, text=texts).score(images)
        double = create(expression).fit(exact, text=texts).score(exact)
        assert np.abs(single - double).max() < 1e-4 * max(1, np.abs(double).max() / 10), expression
        assert len(single) - len(np.unique(single)) <= 5, expression
    tied = [len(v) - len(np.unique(p)) for p in saturating(v, texts)]
    assert tied[2] > 100  # what a probability does at a temperature at which the log-odds do not tie


def test_a_probability_is_one_where_the_log_odds_still_rank():
    """From log-odds of 17 on a float32 softmax is exactly 1, as for known images next to a text and far from words."""
    rng = np.random.default_rng(0)
    names, words = unit(rng.normal(size=(10, 64))), unit(rng.normal(size=(50, 64)))
    v = unit(names[np.arange(300) % 10] + 0.1 * rng.normal(size=(300, 64))).astype("float32")
    texts = TextBank(names, tuple(map(str, range(10))), words, tuple(f"word {j}" for j in range(50)))
    assert (saturating(v, texts)[0] == 1).mean() > 0.5
    for expression in ("neglabel(groups=1)", "neglabel(groups=5)", "eoe(temperature=0.01)", "mcm(temperature=0.01)"):
        assert len(np.unique(create(expression).fit(v, text=texts).score(v))) >= 299
