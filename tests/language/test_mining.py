"""Mining: cases by hand, NumPy's quantile, and what must not depend on order, blocks or scale."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from unseen.errors import BadInput, WrongUse
from unseen.language import mine, statistic


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def angle(degrees):
    return [math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]


@pytest.fixture(scope="module")
def world():
    """300 words, of which 60 are adjectives, and 40 names, in 32 dimensions with something in common."""
    rng = np.random.default_rng(0)
    rows, known = (rng.normal(size=(n, 32)) + 0.5 for n in (300, 40))
    words = [f"word {i:03d}" for i in rng.permutation(300)]
    return words, rows.astype("float32"), known.astype("float32"), ["adjective"] * 60 + ["noun"] * 240


def kept(found, words):
    return [words[i] for i in found.index.tolist()]


def test_by_hand():
    """Names at 0 and 90 degrees, words at 30, 100 and 200: with q=1 the statistic is the larger cosine."""
    known, rows = [angle(0), angle(90)], [angle(30), angle(100), angle(200)]
    found = mine(["near", "close", "far"], rows, known, quantile=1.0, count=2)
    expected = [math.cos(math.radians(a)) for a in (30, 10, 110)]
    np.testing.assert_allclose(found.statistic, expected, atol=1e-6)
    assert found.index.tolist() == [2, 0]  # far at -.34, near at .87; close at .98 is left


def test_a_quantile_overlooks_a_few_names():
    """One word is one of 20 names and unlike the others; with q=1 it is the worst candidate, with .9 not."""
    known = [angle(0)] + [angle(180 + i) for i in range(19)]
    rows = [angle(0), angle(120)]
    assert mine(["name", "other"], rows, known, quantile=1.0, count=1).index.tolist() == [1]
    assert mine(["name", "other"], rows, known, quantile=0.9, count=1).index.tolist() == [0]


@pytest.mark.parametrize("quantile", [0.0, 0.3, 0.95, 0.97, 1.0])
def test_the_linear_quantile_is_numpys(world, quantile):
    _, rows, known, _ = world
    expected = np.quantile(unit(rows.astype(float)) @ unit(known.astype(float)).T, quantile, axis=1)
    np.testing.assert_allclose(statistic(rows, known, quantile), expected, atol=1e-6)


@pytest.mark.parametrize(("quantile", "place"), [(0.0, 0), (0.5, 20), (0.95, 38), (0.99, 39), (1.0, 39)])
def test_the_other_rule_takes_the_sorted_cosine_at_the_floor(world, quantile, place):
    _, rows, known, _ = world
    expected = np.sort(unit(rows.astype(float)) @ unit(known.astype(float)).T, axis=1)[:, place]
    np.testing.assert_allclose(statistic(rows, known, quantile, "floor"), expected, atol=1e-6)


def test_rules_of_quantiles_agree_where_all_cosines_are_equal():
    rows, known = [[1.0, 0.0]], [[0.6, 0.8]] * 7
    assert statistic(rows, known).item() == statistic(rows, known, interpolation="floor").item()


def test_lengths_and_blocks_change_nothing(world):
    _, rows, known, _ = world
    whole = statistic(rows, known)
    for block in (1, 7, 299, 1000):
        np.testing.assert_allclose(statistic(rows, known, block=block), whole, atol=1e-6)
    scale = np.random.default_rng(1).uniform(0.1, 50, (300, 1)).astype("float32")
    np.testing.assert_allclose(statistic(rows * scale, 3 * known), whole, atol=1e-6)
    np.testing.assert_allclose(statistic(rows.astype("float16"), known), whole, atol=1e-3)
    np.testing.assert_allclose(statistic(torch.tensor(rows), torch.tensor(known).double()), whole, atol=1e-6)


@pytest.mark.parametrize("rule", ["neglabel", "csp", "all", "random", "nearest"])
def test_the_order_of_candidates_and_names_changes_nothing(world, rule):
    words, rows, known, kinds = world
    before = mine(words, rows, known, rule=rule, kinds=kinds)
    at = np.random.default_rng(2).permutation(len(words))
    after = mine([words[i] for i in at], rows[at], known, rule=rule, kinds=[kinds[i] for i in at])
    assert kept(before, words) == kept(after, [words[i] for i in at])
    assert torch.equal(before.statistic[at], after.statistic)
    turned = mine(words, rows, known[::-1].copy(), rule=rule, kinds=kinds)
    assert kept(before, words) == kept(turned, words)


def test_ties_go_to_the_earlier_letter():
    rows, known = [[1.0, 0.0]] * 4, [[0.0, 1.0]]
    for words in (["d", "a", "c", "b"], ["a", "b", "c", "d"]):
        assert sorted(kept(mine(words, rows, known, count=2), words)) == ["a", "b"]


@pytest.mark.parametrize("rule", ["neglabel", "csp", "random", "nearest"])
def test_a_larger_share_keeps_what_a_smaller_one_keeps(world, rule):
    words, rows, known, kinds = world
    for shares in ([{"fraction": f} for f in (0.05, 0.15, 0.4, 1.0)], [{"count": n} for n in (1, 2, 30, 31, 200, 300)]):
        sets = [set(mine(words, rows, known, rule=rule, kinds=kinds, **share).index.tolist()) for share in shares]
        assert all(a < b for a, b in pairwise(sets))
    assert len(sets[-1]) == 300


def test_a_share_of_each_kind(world):
    words, rows, known, kinds = world
    found = mine(words, rows, known, kinds=kinds)
    assert [sum(kinds[i] == kind for i in found.index.tolist()) for kind in ("noun", "adjective")] == [36, 9]
    counted = mine(words, rows, known, kinds=kinds, count=101)  # 80.8 and 20.2
    assert [sum(kinds[i] == kind for i in counted.index.tolist()) for kind in ("noun", "adjective")] == [81, 20]
    # 0.29 * 100 is 28.999999999999996 as a float
    assert len(mine(words[:100], rows[:100], known, fraction=0.29).index) == 29


def test_what_is_kept_is_lowest_or_highest_or_neither(world):
    words, rows, known, _ = world
    low, high, drawn = (
        mine(words, rows, known, rule=rule, fraction=0.2) for rule in ("neglabel", "nearest", "random")
    )  # fmt: skip
    inside = {name: found.statistic[found.index] for name, found in {"low": low, "high": high, "drawn": drawn}.items()}
    order = low.statistic.sort().values
    assert torch.equal(inside["low"], order[:60])
    assert torch.equal(inside["high"], order[-60:])
    assert inside["low"].mean() < inside["drawn"].mean() < inside["high"].mean()
    assert torch.equal(inside["drawn"], inside["drawn"].sort().values)
    other = mine(words, rows, known, rule="random", fraction=0.2, seed=1)
    assert set(other.index.tolist()) != set(drawn.index.tolist())


def test_csp_keeps_no_word_that_is_a_class_name(world):
    """Even where all is kept; the other rule keeps it, though it is a name to the last bit."""
    words, rows, known, _ = world
    words, rows = [*words, "a name"], np.concatenate([rows, known[7:8]])
    for fraction in (0.15, 1.0):
        found = mine(words, rows, known, rule="csp", fraction=fraction)
        assert "a name" not in kept(found, words)
        assert found.near == 1
    assert "a name" in kept(mine(words, rows, known, fraction=1.0), words)
    assert len(mine(words, rows, known, rule="csp", near=0.5).index) == math.floor(0.15 * 301)
    barred = mine(words, rows, known, rule="all", near=0.5)
    assert barred.near == int((statistic(rows, known, 1.0) > 0.5).sum()) > 1
    assert len(barred.index) == 301 - barred.near


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rule": "neglable"}, 'did you mean "neglabel"'),
        ({"fraction": 0.0}, "fraction=0.0: the share of the words lies above 0"),
        ({"fraction": 0.2, "count": 3}, "not both"),
        ({"count": 0}, "keep at least 1 word"),
        ({"rule": "all", "fraction": 0.3}, "leave out the fraction"),
        ({"quantile": 1.1}, "a quantile lies from 0 to 1"),
        ({"interpolation": "nearest"}, "choose one of linear, floor"),
        ({"block": 0}, "block=0"),
        ({"kinds": ["verb"] * 300}, "'noun' or 'adjective', got 'verb'"),
    ],
)
def test_wrong_use(world, changed, message):
    words, rows, known, _ = world
    with pytest.raises(WrongUse, match=message):
        mine(words, rows, known, **changed)


def test_bad_input(world):
    words, rows, known, _ = world
    with pytest.raises(BadInput, match="301 words are wanted and there are 300 candidates"):
        mine(words, rows, known, count=301)
    with pytest.raises(BadInput, match="the word 'word 001' comes twice"):
        mine(["word 001", *words[1:], "word 001"], np.concatenate([rows, rows[:1]]), known)
    with pytest.raises(BadInput, match="none of 5 words is kept: the fraction of so few is less than one word"):
        mine(words[:5], rows[:5], known)
    with pytest.raises(BadInput, match="all are too like a class name"):
        mine(["x"], known[:1], known, rule="csp", count=1)
    with pytest.raises(BadInput, match="299 words came with 300 rows"):
        mine(words[1:], rows, known)
    with pytest.raises(BadInput, match="rows of one width"):
        statistic(rows, known[:, :5])
    broken = rows.copy()
    broken[8] = 0
    with pytest.raises(BadInput, match="the row of candidate 8 is zero, NaN or infinite"):
        statistic(broken, known, block=4)
    broken[8] = np.nan
    with pytest.raises(BadInput, match="the row of candidate 8 is zero"):
        statistic(broken, known)
