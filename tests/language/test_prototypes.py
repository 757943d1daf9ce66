"""Rows of names: both orders of averaging, and what must change nothing."""

import hashlib
import sys

import numpy as np
import pytest
import torch

from unseen.errors import BadInput, WrongUse
from unseen.language import prototypes
from unseen.language.prototypes import TEXTS

FIVE = ["a {}", "the {}", "my {}", "{} there", "no {}"]
NAMES = ["ant", "bee", "cow"]


def embed(texts):
    """A row of any length for each text, by what it says."""
    seeds = [int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) for text in texts]
    return np.stack([np.random.default_rng(seed).normal(size=16) * (1 + seed % 7) for seed in seeds]).astype("float32")


def longer(texts):
    """As `embed`, with rows of one prompt ten times as long."""
    return embed(texts) * np.array([[10.0] if text.startswith("my ") else [1.0] for text in texts])


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_by_hand():
    """Rows (3, 4) and (10, 0): of length 1 they average to (.8, .4), as they are to (6.5, 2)."""
    rows = {"a ox": [3.0, 4.0], "the ox": [10.0, 0.0]}
    given = {"prompts": ["a {}", "the {}"]}
    first = prototypes(["ox"], lambda texts: [rows[text] for text in texts], **given)
    np.testing.assert_allclose(first, [[2 / 5**0.5, 1 / 5**0.5]], rtol=1e-6)
    second = prototypes(["ox"], lambda texts: [rows[text] for text in texts], order="mean-norm", **given)
    np.testing.assert_allclose(second, unit(np.array([[6.5, 2.0]])), rtol=1e-6)


@pytest.mark.parametrize("order", ["norm-mean-norm", "mean-norm"])
def test_one_prompt_gives_the_row_brought_to_length_1(order):
    found = prototypes(NAMES, embed, ["a {}"], order)
    np.testing.assert_allclose(found, unit(embed([f"a {name}" for name in NAMES])), rtol=1e-5)
    assert found.dtype == torch.float32


@pytest.mark.parametrize("order", ["norm-mean-norm", "mean-norm"])
def test_the_order_of_prompts_changes_nothing(order):
    torch.testing.assert_close(prototypes(NAMES, embed, FIVE, order), prototypes(NAMES, embed, FIVE[::-1], order))


def test_longer_rows_of_one_prompt_count_for_more_only_where_the_mean_comes_first():
    torch.testing.assert_close(prototypes(NAMES, longer, FIVE), prototypes(NAMES, embed, FIVE))
    plain, changed = (prototypes(NAMES, f, FIVE, "mean-norm") for f in (embed, longer))
    assert (plain - changed).abs().max() > 0.05


def test_names_keep_their_rows_in_another_order_and_in_several_calls(monkeypatch):
    whole = prototypes(NAMES, embed, FIVE)
    torch.testing.assert_close(prototypes(NAMES[::-1], embed, FIVE), whole.flip(0))
    calls = []
    # The function of that name hides its module in the package.
    monkeypatch.setattr(sys.modules["unseen.language.prototypes"], "TEXTS", 2 * len(FIVE))
    parts = prototypes(NAMES, lambda texts: calls.append(len(texts)) or embed(texts), FIVE)
    assert calls == [10, 5]
    assert torch.equal(parts, whole)


def test_no_call_has_more_texts_than_said():
    calls, told = [], []

    def small(texts):
        calls.append(len(texts))
        return np.ones((len(texts), 2))

    prototypes([f"name {i}" for i in range(4000)], small, FIVE, progress=lambda *at: told.append(at))
    assert max(calls) <= TEXTS
    assert sum(calls) == 20_000
    assert told[-1] == (20_000, 20_000)
    assert len(told) == len(calls)


def test_a_name_that_comes_twice_is_read_once():
    asked = []
    found = prototypes(["crane", "ox", "crane"], lambda texts: asked.extend(texts) or embed(texts), ["{}"])
    assert asked == ["crane", "ox"]
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])


def test_underscores_stay_unless_asked():
    for clean, text in ((False, "a sea_lion"), (True, "a sea lion")):
        asked = []
        prototypes(["sea_lion"], lambda texts, asked=asked: asked.extend(texts) or embed(texts), ["a {}"], clean=clean)
        assert asked == [text]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda texts: np.ones((1, 4)), r"the model was given 3 texts and gave back shape \(1, 4\)"),
        (lambda texts: np.ones(3), r"was given 3 texts and gave back shape \(3,\)"),
        (lambda texts: [[1.0], [0.0], [1.0]], r"the model's row for 'bee' is zero, NaN or infinite \(1 such rows\)"),
        (lambda texts: [[1.0], [2.0], [float("nan")]], "row for 'cow' is zero, NaN"),
        (lambda texts: ["x"] * 3, "gave no rows of numbers"),
    ],
)
def test_what_a_model_may_not_give(given, message):
    with pytest.raises(BadInput, match=message):
        prototypes(NAMES, given, ["{}"])


def test_texts_that_cancel_out_have_no_direction():
    with pytest.raises(BadInput, match="the texts of 'ox' cancel out"):
        prototypes(["ox"], lambda texts: [[1.0], [-1.0]], ["a {}", "no {}"])


def test_wrong_use():
    with pytest.raises(WrongUse, match='did you mean "mean-norm"'):
        prototypes(NAMES, embed, FIVE, "mean-nrm")
    with pytest.raises(WrongUse, match="there are no names"):
        prototypes([], embed, FIVE)
