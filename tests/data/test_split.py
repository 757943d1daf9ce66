"""Splits: a partition, groups whole, classes in proportion, the same again; duplicates on one side."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unseen.data import duplicates, merge_groups, open_inputs, split
from unseen.errors import BadInput, WrongUse

fractions = st.floats(0.05, 0.95)
labels_and_groups = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 12)), min_size=1, max_size=60)


def check_partition(first, second, rows):
    np.testing.assert_array_equal(np.sort(np.concatenate([first, second])), np.arange(rows))
    assert (np.diff(first) > 0).all()
    assert (np.diff(second) > 0).all()
    assert first.dtype == second.dtype == np.int64


def test_by_hand():
    """10, 5, 2 and 1 rows at 60 %: 6, 3, 1 (floor(1.2 + 0.5)) and 1 (floor(0.6 + 0.5))."""
    labels = np.repeat([0, 1, 2, 3], [10, 5, 2, 1])
    first, second = split(labels, None, 0.6, seed=3)
    assert np.bincount(labels[first], minlength=4).tolist() == [6, 3, 1, 1]
    check_partition(first, second, 18)
    names = np.array(["a", "b", "c", "d"])[labels]
    np.testing.assert_array_equal(split(names, None, 0.6, seed=3)[0], first)
    assert split(labels, None, 0.6, seed=4)[0].tolist() != first.tolist()


def test_global_random_state_does_not_matter():
    before = split([0] * 50, None, 0.5, seed=0)[0]
    np.random.seed(1)  # noqa: NPY002
    np.testing.assert_array_equal(split([0] * 50, None, 0.5, seed=0)[0], before)


@given(labels=st.lists(st.integers(0, 5), min_size=1, max_size=80), fraction=fractions, seed=st.integers(0, 99))
def test_without_groups(labels, fraction, seed):
    first, second = split(labels, None, fraction, seed)
    check_partition(first, second, len(labels))
    of_class = np.asarray(labels)
    for one in set(labels):
        rows = (of_class == one).sum()
        expected = np.floor(fraction * rows + 0.5)
        if rows > 1:
            expected = np.clip(expected, 1, rows - 1)
        assert (of_class[first] == one).sum() == expected
    alone = split(labels, np.arange(len(labels)) * 3, fraction, seed)
    np.testing.assert_array_equal(alone[0], first)  # groups of one row change nothing


@given(pairs=labels_and_groups, fraction=fractions, seed=st.integers(0, 99))
def test_groups_of_one_class(pairs, fraction, seed):
    labels = np.array([label for label, _ in pairs])
    groups = np.array([label * 100 + group for label, group in pairs])
    first, second = split(labels, groups, fraction, seed)
    check_partition(first, second, len(pairs))
    assert not set(groups[first]) & set(groups[second])
    for one in set(labels.tolist()):
        inside = groups[labels == one]
        sizes = np.unique(inside, return_counts=True)[1]
        taken = int((labels[first] == one).sum())
        if len(sizes) >= 2:
            assert 0 < taken < len(inside)
        assert abs(taken - fraction * len(inside)) <= sizes.max()
    again = split(labels, groups, fraction, seed)
    np.testing.assert_array_equal(again[0], first)


@given(pairs=labels_and_groups, fraction=fractions, seed=st.integers(0, 99))
def test_groups_that_mix_classes_stay_whole(pairs, fraction, seed):
    labels, groups = np.array(pairs).T
    first, second = split(labels, groups, fraction, seed)
    check_partition(first, second, len(pairs))
    assert not set(groups[first]) & set(groups[second])


def test_mixed_groups_are_moved_so_that_classes_are_on_both_sides():
    """A chain AB, BC, CD, DE can be dealt alternately, and only so."""
    labels, groups = [0, 1, 1, 2, 2, 3, 3, 4], [0, 0, 1, 1, 2, 2, 3, 3]
    for seed in range(20):
        first, second = split(labels, groups, 0.5, seed)
        both = set(np.array(labels)[first]) & set(np.array(labels)[second])
        assert len(both) >= 2


def test_grouped_share_is_close():
    random = np.random.default_rng(0)
    groups = random.integers(0, 300, 5000)
    labels = random.integers(0, 10, 300)[groups]
    first, _ = split(labels, groups, 0.6, seed=0)
    shares = np.bincount(labels[first]) / np.bincount(labels)
    assert abs(shares - 0.6).max() < 0.03


def test_without_labels():
    first, second = split(None, [0, 0, 1, 2], 0.5, seed=0)
    assert sorted([len(first), len(second)]) == [2, 2]
    assert len(split(None, None, 0.25, seed=0, rows=8)[0]) == 2
    assert [len(part) for part in split([], None, 0.5, seed=0)] == [0, 0]


def test_errors():
    with pytest.raises(WrongUse, match="between 0 and 1, got 1"):
        split([0, 1], None, 1.0, seed=0)
    with pytest.raises(WrongUse, match="number of rows"):
        split(None, None, 0.5, seed=0)
    with pytest.raises(BadInput, match="must agree"):
        split([0, 1], [0], 0.5, seed=0)
    with pytest.raises(BadInput, match="one axis"):
        split([[0, 1]], None, 0.5, seed=0)


def inputs_of(contents, labels=None, groups=None):
    arrays = {"features": np.array(contents, dtype=float)[:, None]}
    facts = {"labels": labels, "groups": groups}
    return open_inputs(arrays | {name: values for name, values in facts.items() if values is not None})


def test_duplicates():
    inputs = inputs_of([1, 2, 1, 3, 2, 1], labels=["a", "a", "a", "a", "b", "a"])
    found = duplicates(inputs, inputs.digests())
    assert found.groups == ((0, 2, 5), (1, 4))
    assert found.conflicting == ((1, 4),)
    assert found.surplus == 3
    assert found.describe(inputs) == (
        "3 rows repeat an earlier row exactly",
        "1 exact duplicate across classes, such as array[1] = array[4]",
    )
    lone = inputs_of([1, 2])
    assert duplicates(lone, lone.digests()).describe(lone) == ()
    bare = inputs_of([1, 1])
    assert duplicates(bare, bare.digests()).conflicting == ()
    with pytest.raises(WrongUse, match="1 digests for 2 rows"):
        duplicates(bare, [b""])


def test_merge_groups_follows_chains():
    """Groups 0 and 1 share content 5, groups 1 and 2 share content 7, group 3 shares nothing."""
    inputs = inputs_of([5, 1, 5, 7, 7, 2, 9], groups=[0, 0, 1, 1, 2, 2, 3])
    assert merge_groups(inputs, inputs.digests()).tolist() == [0, 0, 0, 0, 0, 0, 1]
    free = inputs_of([1, 2, 1])
    codes = merge_groups(free, free.digests())
    assert codes[0] == codes[2] != codes[1]
    assert codes.dtype == np.int64


@given(
    rows=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), min_size=1, max_size=40),
    seed=st.integers(0, 9),
)
def test_duplicates_never_straddle_a_split(rows, seed):
    contents, labels = (list(column) for column in zip(*rows, strict=True))
    inputs = inputs_of(contents, labels=labels)
    first, second = split(inputs.labels, merge_groups(inputs, inputs.digests()), 0.5, seed)
    assert not {contents[i] for i in first} & {contents[i] for i in second}
