"""Signals and supports: what is refused, what is read, what stays lazy."""

import numpy as np
import pytest
import torch

from unseen import create
from unseen.errors import BadInput, WrongUse
from unseen.signals import LinearHead, Shards, Signals, Support, coded
from unseen.signals.store import Stored

X = np.arange(24.0).reshape(8, 3)


def test_columns_must_describe_the_same_inputs():
    with pytest.raises(BadInput, match="features 8, logits 7"):
        Signals({"features": X, "logits": X[:7]})
    with pytest.raises(BadInput, match="at least one array"):
        Signals({})
    with pytest.raises(BadInput, match="one axis"):
        Signals({"features": np.ones(3)})
    with pytest.raises(BadInput, match="not numbers"):
        Signals({"features": np.array([["a"]])})
    with pytest.raises(BadInput, match="not an array of numbers"):
        Signals({"features": [[1.0], ["x"]]})


def test_take_composes_and_masks():
    signals = Signals({"features": X}).take([5, 3, 1, 0]).take(np.array([True, False, True, False]))
    np.testing.assert_array_equal(signals.gather("features"), X[[5, 1]])


def test_missing_signals_are_named():
    with pytest.raises(WrongUse, match="logits missing: there are only features"):
        next(Signals({"features": X}).batches("logits"))


def test_rows_of_bad_values_are_those_of_the_source():
    broken = X.copy()
    broken[6, 1] = np.nan
    with pytest.raises(BadInput, match="features row 6: 1 of 3 values"):
        Signals({"features": broken}).take([0, 6]).gather("features")


def test_a_sum_that_overflows_is_not_an_error():
    big = np.full((2, 3), 3e38, dtype=np.float32)
    np.testing.assert_array_equal(Signals({"features": big}).gather("features"), big)


def test_shards_read_like_one_array():
    column = Shards([X[:3], X[3:4], X[4:]])
    np.testing.assert_array_equal(column[2:6], X[2:6])
    np.testing.assert_array_equal(column[[7, 0, 3]], X[[7, 0, 3]])
    np.testing.assert_array_equal(Signals({"features": column}).take([6, 2]).gather("features"), X[[6, 2]])


class _Swept:
    """A column on a disk that can only be swept: rows must come in ascending order."""

    shape, dtype = X.shape, X.dtype

    def __len__(self):
        return len(X)

    def __getitem__(self, rows):
        if not isinstance(rows, slice):
            assert (np.diff(rows) >= 0).all(), "the disk would seek back and forth"
        return X[rows]


def test_rows_in_any_order_are_read_in_ascending_order():
    signals = Signals({"features": _Swept()})
    for rows in ([6, 2, 7, 0], [3, 3, 1, 3], [2, 5], [7], []):
        index = np.array(rows, dtype=np.int64)
        taken = signals.take(index)
        np.testing.assert_array_equal(
            np.concatenate([b["features"] for b in taken.batches("features")] or [X[:0]]), X[index]
        )


def test_rows_of_another_byte_order_are_read():
    column = X.astype(">f8")
    np.testing.assert_array_equal(Signals({"features": column}).take([5, 1]).gather("features"), X[[5, 1]])


def test_what_lies_in_memory(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    stored = Stored(tmp_path / "x.npy")
    held = [X, torch.from_numpy(X), X[2:], mapped[[0, 1, 2]], np.array(mapped), X.tolist(), Shards([X, X[:2]])]
    for column in held:
        assert Signals({"features": column}).in_memory("features"), type(column)
    for column in (mapped, mapped[2:], np.asarray(mapped), np.asarray(mapped)[:, :2], _Swept(), Shards([X, stored])):
        assert not Signals({"features": column}).in_memory("features"), type(column)


def test_what_a_step_makes_lies_where_its_sources_lie(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    head = create("ridge").fit(X, list("aabbaabb"))
    both = Signals({"features": mapped, "other": X}).through(_Step(head)).take([2, 1])
    assert [both.in_memory(name) for name in ("features", "logits", "other")] == [False, False, True]


def test_a_step_is_applied_while_reading():
    support = Support.of({"features": X}, list("aabbaabb"))
    head = create("ridge").fit(support)
    logits = (create("ridge") >> create("energy")).fit(support)
    through = support.through(_Step(head))
    assert through.signals.names == ("features", "logits")
    assert through.signals.width("logits") == 2
    np.testing.assert_array_equal(create("energy").score(through), logits.score(support))
    assert through.moments("features") is support.moments("features")


class _Step:
    def __init__(self, head):
        self.head, self.writes = head, head.writes

    def reads(self):
        return self.head.reads()

    def __call__(self, batch):
        return self.head.apply_to(batch)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, -1], "label of row 1 is -1"),
        ([0.5, 1.0], "label of row 0 is 0.5"),
        ([float("nan"), 1.0], "label of row 0"),
        (["a", ""], "label of row 1 is missing"),
        (["a", None], "label of row 1 is missing"),
        ([[1], [2]], "one a row"),
    ],
)
def test_labels_refused(labels, message):
    with pytest.raises(BadInput, match=message):
        coded(labels)


def test_labels_of_any_kind():
    assert coded([3, 10, 3])["classes"] == ("3", "10")
    assert coded(torch.tensor([1, 0]))["labels"].tolist() == [1, 0]
    assert coded([True, False])["classes"] == ("0", "1")


def test_support_lengths_must_agree():
    with pytest.raises(BadInput, match="8 inputs came with 7 labels"):
        Support(Signals({"features": X}), labels=np.zeros(7, dtype=int), classes=("a",))
    with pytest.raises(BadInput, match="8 inputs came with 2 keys"):
        Support(Signals({"features": X}), keys=["a", "b"])


def test_without_renumbers_codes_and_drops_the_column():
    head = LinearHead(torch.eye(3), torch.zeros(3), ("a", "b", "c"))
    support = Support(
        Signals({"features": X}), np.array([0, 1, 2, 0, 1, 2, 0, 1]), ("a", "b", "c"), keys=list("01234567"), head=head
    )
    left = support.without("b")
    assert left.classes == ("a", "c")
    assert left.labels.tolist() == [0, 1, 0, 1, 0]
    assert left.keys == ["0", "2", "3", "5", "6"]
    assert left.head.classes == ("a", "c")
    with pytest.raises(WrongUse, match="no class 'z'"):
        support.without("z")
    assert left.without("a").classes == ("c",)


def test_moments_survive_two_classes_left_out():
    rng = np.random.default_rng(0)
    support = Support.of({"features": rng.normal(size=(60, 3))}, np.arange(60) % 4)
    support.moments("features")
    twice = support.without("1").without("3").moments("features")
    fresh = Support.of({"features": support.gather("features")[::2]}, (np.arange(60) % 4)[::2]).moments("features")
    np.testing.assert_allclose(twice.within, fresh.within)
    np.testing.assert_allclose(twice.mean, fresh.mean)
