"""The store on disk: whole or absent, mapped only while it is read, and honest about a full disk."""

import json
import os
import resource
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from unseen.errors import BadInput
from unseen.signals import LayerStatistics, Perturbed, Shards, Store

DIGESTS = [bytes([i]) * 32 for i in range(4)]


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)


def _written(folder, values, unreadable=()):
    store = Store(folder, "net:1")
    shard = store.shard(DIGESTS)
    store.write(shard, "features", values, dict(unreadable))
    return store, shard


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64, np.uint8, np.bool_])
@pytest.mark.parametrize("shape", [(4, 5), (4, 3, 2), (4, 0)])
def test_what_is_written_is_read(tmp_path, dtype, shape):
    values = (np.arange(np.prod(shape)).reshape(shape) % 3).astype(dtype)
    store, shard = _written(tmp_path, values, {2: "empty file"})
    held, unreadable = store.read(shard, "features", 4)
    assert unreadable == {2: "empty file"}
    assert held.shape == shape
    assert held.dtype == dtype
    np.testing.assert_array_equal(held[:], values)
    np.testing.assert_array_equal(np.load(shard / "features.npy"), values)  # an ordinary .npy for other programs


def test_strided_values_are_written_in_order(tmp_path, values):
    store, shard = _written(tmp_path, values.T[:4].T[:, ::-1])
    np.testing.assert_array_equal(store.read(shard, "features", 4)[0][:], values[:, :4][:, ::-1])


def test_what_is_read_is_a_copy_that_may_be_written_to(tmp_path, values):
    store, shard = _written(tmp_path, values)
    store.read(shard, "features", 4)[0][:2][:] = 7
    np.testing.assert_array_equal(store.read(shard, "features", 4)[0][:], values)


def _truncate(shard):
    array = shard / "features.npy"
    array.write_bytes(array.read_bytes()[:-1])


def _flip(shard):
    array = shard / "features.npy"
    content = bytearray(array.read_bytes())
    content[-3] ^= 1
    array.write_bytes(bytes(content))


def _lose_array(shard):
    (shard / "features.npy").unlink()


def _lose_json(shard):
    (shard / "features.json").unlink()


def _cut_json(shard):
    marker = shard / "features.json"
    marker.write_bytes(marker.read_bytes()[:20])


def _foreign_json(shard):
    (shard / "features.json").write_text("[1, 2]")


def _newer_format(shard):
    marker = shard / "features.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "format": 99}))


@pytest.mark.parametrize("harm", [_truncate, _flip, _lose_array, _lose_json, _cut_json, _foreign_json, _newer_format])
def test_a_harmed_shard_is_absent(tmp_path, values, harm):
    store, shard = _written(tmp_path, values)
    assert store.read(shard, "features", 4) is not None
    harm(shard)
    assert store.read(shard, "features", 4) is None
    store.write(shard, "features", values, {})
    np.testing.assert_array_equal(store.read(shard, "features", 4)[0][:], values)


def test_other_rows_signals_and_encoders_are_absent(tmp_path, values):
    store, shard = _written(tmp_path, values)
    assert store.read(shard, "features", 3) is None
    assert store.read(shard, "logits", 4) is None
    assert store.shard(DIGESTS[::-1]) != shard
    assert Store(tmp_path, "net:2").shard(DIGESTS) != shard
    assert Store(tmp_path, "net:1").shard(DIGESTS) == shard


def test_the_cache_must_be_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="the cache must be a folder"):
        Store(tmp_path / "file", "net")


def test_a_shard_that_vanishes_while_it_is_read_is_named(tmp_path, values):
    store, shard = _written(tmp_path, values)
    held, _ = store.read(shard, "features", 4)
    _lose_array(shard)
    with pytest.raises(BadInput, match=r"features\.npy: went away or changed.*run the same command again"):
        held[0:1]


def test_requests_are_stored_under_names_of_their_own(tmp_path, values):
    store = Store(tmp_path, "net")
    shard = store.shard(DIGESTS)
    requests = [LayerStatistics("a/b"), LayerStatistics("../a"), Perturbed(), Perturbed(0.1)]
    for number, request in enumerate(requests):
        store.write(shard, request.key, values + number, {})
    for number, request in enumerate(requests):
        np.testing.assert_array_equal(store.read(shard, request.key, 4)[0][:], values + number)
    assert {path.parent for path in tmp_path.rglob("*.npy")} == {shard}


def test_many_shards_need_no_open_files(tmp_path):
    """A map keeps its file open, and a process may open some hundred: 300,000 images would not have been readable."""
    store = Store(tmp_path, "net")
    shards = [store.shard([bytes([i, j])]) for i in range(4) for j in range(50)]
    for number, shard in enumerate(shards):
        store.write(shard, "features", np.full((2, 3), number, np.float32), {})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    already = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 64  # noqa: PTH112, PTH208
    resource.setrlimit(resource.RLIMIT_NOFILE, (already + 20, hard))
    try:
        found = [store.read(shard, "features", 2) for shard in shards]
        assert all(found)
        column = Shards([held for held, _ in found])
        rows = np.random.default_rng(0).permutation(len(column))
        read = column[rows]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    np.testing.assert_array_equal(read[:, 0], rows // 2)


def test_shards_index_like_one_array():
    whole = np.arange(21).reshape(7, 3)
    column = Shards([whole[:3], whole[3:4], whole[4:]])
    assert len(column) == 7
    assert column.shape == (7, 3)
    mask = np.array([True, False, False, True, False, False, True])
    for rows in (slice(None), slice(2, 5), slice(6, 0, -2), slice(9, 12), [6, 0, 3, 3], [-1, -7], mask, [], 4, -2):
        index = np.asarray(rows, dtype=np.int64) if isinstance(rows, list) else rows
        np.testing.assert_array_equal(column[rows], whole[index])
    for rows in ([7], [-8], [True, False]):
        with pytest.raises(IndexError, match="7 rows"):
            column[rows]


class _Counted:
    """A part of a column that counts how often it is read, and refuses to seek back."""

    def __init__(self, values):
        self.values, self.reads, self.shape, self.dtype = values, 0, values.shape, values.dtype

    def __len__(self):
        return len(self.values)

    def __getitem__(self, rows):
        self.reads += 1
        assert (np.diff(rows) >= 0).all()
        return self.values[rows]


def test_mixed_rows_read_each_shard_once_and_in_order():
    whole = np.arange(60).reshape(20, 3)
    parts = [_Counted(whole[start : start + 4]) for start in range(0, 20, 4)]
    rows = np.array([18, 1, 19, 0, 1, 9, 16])
    np.testing.assert_array_equal(Shards(parts)[rows], whole[rows])
    assert [part.reads for part in parts] == [1, 0, 1, 0, 1]


def test_a_full_disk_says_so_and_leaves_what_is_finished(tmp_path, values):
    script = """
        import resource, sys
        import numpy as np
        from pathlib import Path
        from unseen.errors import NoRoom
        from unseen.signals import Store
        store = Store(Path(sys.argv[1]), "net")
        shard = store.shard([b"a"])
        store.write(shard, "features", np.ones((4, 5), np.float32), {})
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            store.write(shard, "logits", np.ones((4, 5000), np.float32), {})
        except NoRoom as error:
            print(error)
        assert store.read(shard, "features", 4) is not None
        assert store.read(shard, "logits", 4) is None
        print(sorted(p.name for p in shard.iterdir()))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], capture_output=True, text=True, check=True
    )
    first, second = done.stdout.splitlines()
    assert "no space left on the disk" in first
    assert second == "['features.json', 'features.npy']"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Perturbed(temperature=10), Perturbed(temperature=10.0)),
        (Perturbed(epsilon=np.float64(0.5)), Perturbed(epsilon=0.5)),
    ],
)
def test_equal_requests_have_one_key(one, other):
    assert one == other
    assert one.key == other.key


@pytest.mark.parametrize("argument", [{"epsilon": "much"}, {"epsilon": float("nan")}, {"temperature": 0}])
def test_requests_that_cannot_be_answered_are_refused(argument):
    with pytest.raises(ValueError, match=next(iter(argument))):
        Perturbed(**argument)
    with pytest.raises(ValueError, match="dotted name"):
        LayerStatistics(3)
