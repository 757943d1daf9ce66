import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unseen.errors import NotEnoughKnown
from unseen.objectives._pairs import PairsInBatch, SampledPairs, scattered

LABELS = np.array([7, 2, 2, 7, 7, 2, 4, 4, 7, 7])  # sizes: 2 -> 3, 4 -> 2, 7 -> 5
OPTIONS = {"ratio": 3, "balance": True, "exclude_self": True, "seed": 0, "generation": 0}


def pairs_of(order, labels=LABELS):
    """All pairs of a generation: rows of the anchors, rows of their partners."""
    first, second = [], []
    for rows in order:
        first.append(rows.index[rows.pairs[:, 0]])
        second.append(rows.index[rows.pairs[:, 1]])
    return np.concatenate(first), np.concatenate(second)


def sampled(batch=4, **options):
    return SampledPairs(LABELS, batch, **{**OPTIONS, **options})


def test_counts_are_exact():
    """5 anchors of each of 3 classes, each with 1 + 3 pairs: 60 pairs; without balance 10 anchors, 40 pairs."""
    for balance, anchors in ((True, 15), (False, 10)):
        order = sampled(balance=balance)
        assert (order.anchors, order.pairs, len(order)) == (anchors, 4 * anchors, anchors)
        first, second = pairs_of(order)
        same = LABELS[first] == LABELS[second]
        assert same.sum() == anchors
        assert (~same).sum() == 3 * anchors
        got = {code: int((LABELS[first] == code).sum()) for code in (2, 4, 7)}
        assert got == ({2: 20, 4: 20, 7: 20} if balance else {2: 12, 4: 8, 7: 20})
        # Every row is an anchor once at least, and exactly once where nothing is balanced.
        positives = np.bincount(first[same], minlength=10)
        assert positives.min() == 1
        assert (positives == 1).all() != balance


@pytest.mark.parametrize("generation", range(6))
def test_an_anchor_is_never_its_own_partner_where_that_is_excluded(generation):
    first, second = pairs_of(sampled(generation=generation))
    assert (first != second).all()
    every = [pairs_of(sampled(generation=g, exclude_self=False)) for g in range(20)]
    assert 0 < np.mean(np.concatenate([one == two for one, two in every])) < 0.25


def test_partners_are_drawn_alike():
    """Row 0 (class 7) with each of the 4 others of its class; of other classes each alike, then its rows."""
    same, different = np.zeros(10), np.zeros(10)
    for generation in range(300):
        first, second = pairs_of(sampled(generation=generation, balance=False))
        mine = second[first == 0]
        same += np.bincount(mine[LABELS[mine] == 7], minlength=10)
        different += np.bincount(mine[LABELS[mine] != 7], minlength=10)
    np.testing.assert_allclose(same[[3, 4, 8, 9]] / 300, 0.25, atol=0.08)
    np.testing.assert_allclose(different[[1, 2, 5]] / 900, 1 / 6, atol=0.04)
    np.testing.assert_allclose(different[[6, 7]] / 900, 1 / 4, atol=0.05)


def test_a_pair_depends_on_seed_and_generation_and_not_on_the_size_of_a_batch():
    small, large = pairs_of(sampled(batch=4)), pairs_of(sampled(batch=60))
    np.testing.assert_array_equal(small, large)
    rows = sampled(batch=4)[7]
    again = sampled(batch=4)[7]
    np.testing.assert_array_equal(rows.index, again.index)
    np.testing.assert_array_equal(rows.draw, again.draw)
    for other in ({"seed": 1}, {"generation": 1}):
        assert (pairs_of(sampled(**other))[0] != small[0]).any()


def test_every_reading_of_a_row_is_another_draw():
    draws = np.concatenate([rows.draw for rows in sampled()])
    assert sorted(draws.tolist()) == list(range(120))


def test_the_rest_of_a_generation_is_left_out_and_a_small_one_is_one_step():
    assert len(sampled(batch=7)) == 8  # 60 pairs
    assert len(sampled(batch=7)[7].pairs) == 7
    assert len(sampled(batch=4096)) == 1
    assert len(sampled(batch=4096)[0].pairs) == 60
    with pytest.raises(IndexError):
        sampled(batch=7)[8]


def test_too_little_to_pair_is_named():
    with pytest.raises(NotEnoughKnown, match="two classes, got 1"):
        SampledPairs(np.zeros(4, int), 2, **OPTIONS)
    with pytest.raises(NotEnoughKnown, match="row 2 is the only one of its class"):
        SampledPairs(np.array([0, 0, 1]), 2, **OPTIONS)
    alone = SampledPairs(np.array([0, 0, 1]), 2, **{**OPTIONS, "exclude_self": False})
    assert (2, 2) in set(zip(*map(np.ndarray.tolist, pairs_of(alone)), strict=True))


@settings(deadline=None, max_examples=60)
@given(count=st.integers(1, 300), seed=st.integers(0, 2**32))
def test_scattering_is_one_to_one(count, seed):
    assert sorted(scattered(np.arange(count), count, (seed,)).tolist()) == list(range(count))


def test_scattering_mixes():
    """A random order of 1,000 has half of its neighbours rising, one number on its place, and no trend."""
    order = scattered(np.arange(1000), 1000, (3, 1))
    assert 430 < (np.diff(order) > 0).sum() < 570
    assert (order == np.arange(1000)).sum() < 8
    assert abs(np.corrcoef(order, np.arange(1000))[0, 1]) < 0.1


def in_batch(batch=6, **options):
    return PairsInBatch(
        LABELS, batch, **{"each": 3, "ratio": 1, "balance": True, "seed": 0, "generation": 0, **options}
    )


def test_pairs_in_a_batch_are_all_of_one_class_and_the_ratio_of_others():
    for generation in range(5):
        (rows,) = list(in_batch(generation=generation))  # 2 classes of 3 rows at most, of 10 rows
        codes = LABELS[rows.index]
        assert len(set(rows.index.tolist())) == len(rows.index)
        sizes = [int((codes == code).sum()) for code in np.unique(codes)]
        assert len(sizes) == 2
        assert set(sizes) <= {2, 3}
        first, second = rows.pairs.T
        assert (first < second).all()
        assert len({tuple(pair) for pair in rows.pairs.tolist()}) == len(rows.pairs)
        same = codes[first] == codes[second]
        assert same.sum() == sum(size * (size - 1) // 2 for size in sizes)
        assert (~same).sum() == min(same.sum(), sizes[0] * sizes[1])


def test_a_ratio_beyond_the_batch_takes_all_pairs():
    (rows,) = list(in_batch(ratio=50))
    assert len(rows.pairs) == len(rows.index) * (len(rows.index) - 1) // 2


def test_classes_are_drawn_alike_or_by_size():
    labels = np.repeat([0, 1, 2], [2, 2, 60])
    share = {}
    for balance in (True, False):
        options = {"each": 2, "ratio": 1, "balance": balance, "seed": 0}
        drawn = [PairsInBatch(labels, 4, generation=g, **options)[0] for g in range(200)]
        share[balance] = np.mean([(labels[rows.index] == 0).any() for rows in drawn])
    assert share[True] == pytest.approx(2 / 3, abs=0.1)
    assert share[False] == pytest.approx(1 / 2, abs=0.1)  # the large class is nearly always one of the two


def test_batches_differ_by_seed_generation_and_step():
    labels = np.arange(60) % 6
    options = {"each": 3, "ratio": 1, "balance": True, "seed": 0, "generation": 0}
    order = PairsInBatch(labels, 9, **options)
    assert len(order) == 60 // 9
    again = PairsInBatch(labels, 9, **options)[2]
    np.testing.assert_array_equal(again.index, order[2].index)
    assert again.draw.tolist() == [2] * len(again.index)
    for other in (order[3], *(PairsInBatch(labels, 9, **{**options, name: 1})[2] for name in ("seed", "generation"))):
        assert other.index.tolist() != again.index.tolist()


def test_a_batch_too_small_for_two_classes_is_named():
    with pytest.raises(NotEnoughKnown, match="a batch of 5 inputs, 3 a class"):
        in_batch(batch=5)
