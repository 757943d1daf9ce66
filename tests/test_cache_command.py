"""What the store holds is shown, and cleared without touching anything else or a shard that is being written."""

import datetime
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import unseen as library
from unseen.errors import BadInput, WrongUse
from unseen.files import fingerprint
from unseen.signals import Store, clear, shelves
from unseen.signals.store import FORMAT, locked

DAY = 86400


def written(folder, encoder, shards=1, rows=4, signals=("features",), days=0.0):
    """Shards as `encode` leaves them, last used so many days ago -> their folders."""
    store = Store(folder, encoder)
    found = []
    for number in range(shards):
        shard = store.shard([bytes([number, row]) * 16 for row in range(rows)])
        for signal in signals:
            store.write(shard, signal, np.full((rows, 5), number, np.float32), {})
        used = time.time() - days * DAY
        os.utime(shard, (used, used))
        found.append(shard)
    return found


def files(folder):
    return {path for path in folder.rglob("*") if path.is_file()}


def test_each_encoder_is_counted(tmp_path):
    written(tmp_path, "old:1", shards=3, rows=4, days=9)
    written(tmp_path, "new:1", shards=2, rows=5, signals=("features", "perturbed(eps=1)"), days=2)
    new, old = shelves(tmp_path)
    assert (old.encoder, old.signals, old.shards, old.inputs) == ("old:1", ("features",), 3, 12)
    assert (new.encoder, new.signals, new.shards, new.inputs) == ("new:1", ("features", "perturbed(eps=1)"), 2, 10)
    assert old.size + new.size == sum(path.stat().st_size for path in files(tmp_path))
    assert time.time() - new.last_used == pytest.approx(2 * DAY, abs=100)
    assert shelves(tmp_path / "not there") == []


def test_reading_counts_as_use_and_writes_to_no_file(tmp_path):
    (shard,) = written(tmp_path, "net:1", days=30)
    before = {path: path.stat().st_mtime_ns for path in files(tmp_path)}
    assert Store(tmp_path, "net:1").read(shard, "features", 4) is not None
    assert time.time() - shelves(tmp_path)[0].last_used < 100
    assert {path: path.stat().st_mtime_ns for path in files(tmp_path)} == before


def test_clearing_leaves_an_empty_folder_and_the_next_run_starts_afresh(tmp_path):
    written(tmp_path, "net:1", shards=3)
    shown = shelves(tmp_path)
    assert clear(tmp_path) == shown
    assert list(tmp_path.iterdir()) == []
    (shard,) = written(tmp_path, "net:1")
    assert Store(tmp_path, "net:1").read(shard, "features", 4) is not None


def test_only_the_encoder_and_the_age_that_are_named_are_cleared(tmp_path):
    written(tmp_path, "timm:small", shards=2, days=40)
    written(tmp_path, "timm:large", shards=2, days=1)
    written(tmp_path, "pixels:8x8", days=50)
    kept = files(tmp_path)
    assert clear(tmp_path, encoder="nobody's") == clear(tmp_path, older_than=60) == []
    assert files(tmp_path) == kept
    assert [shelf.encoder for shelf in clear(tmp_path, encoder="timm", older_than=30)] == ["timm:small"]
    assert {shelf.encoder for shelf in shelves(tmp_path)} == {"timm:large", "pixels:8x8"}
    assert [shelf.encoder for shelf in clear(tmp_path, older_than=30)] == ["pixels:8x8"]
    assert [shelf.encoder for shelf in clear(tmp_path, encoder="large")] == ["timm:large"]
    assert list(tmp_path.iterdir()) == []


def test_age_is_that_of_a_shard_not_of_its_encoder(tmp_path):
    old, new = written(tmp_path, "net:1", shards=2)
    used = time.time() - 40 * DAY
    os.utime(old, (used, used))
    assert clear(tmp_path, older_than=30)[0].shards == 1
    assert not old.exists()
    assert new.exists()


def test_no_other_file_is_touched(tmp_path):
    """Beside the store, in its folders, and under names that look like its own."""
    (shard,) = written(tmp_path, "net:1")
    foreign = {
        tmp_path / "notes.txt": "mine",
        tmp_path / "photos" / "cat.npy": "mine",
        shard.parent / "features.npy": "mine",
        shard / "notes.txt": "mine",
        shard / "own.npy": "an array without its JSON",
        shard / "own.json": json.dumps({"format": FORMAT, "encoder": "net:1", "signal": "other", "rows": 4}),
        shard / "else.json": json.dumps({"format": FORMAT, "encoder": "net:2", "signal": "else", "rows": 4}),
        shard / "list.json": "[]",
        shard / ".features.npy.00000000.17.part": "another program's",
        tmp_path / ("0" * 16) / ("0" * 32) / "features.json": json.dumps(
            {"format": FORMAT, "encoder": "net:1", "signal": "features", "rows": 4}
        ),
        tmp_path / ("f" * 16) / "features.npy": "mine",
    }
    for path, text in foreign.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    elsewhere = tmp_path / "elsewhere"
    (linked,) = written(elsewhere, "far:1")
    (tmp_path / linked.parent.name).symlink_to(linked.parent)
    beyond = files(elsewhere)
    assert [shelf.encoder for shelf in clear(tmp_path)] == ["net:1"]
    assert files(tmp_path) == {*foreign, *beyond}
    assert all(path.read_text() == text for path, text in foreign.items())


def test_what_a_killed_run_left_half_written_is_cleared(tmp_path):
    (shard,) = written(tmp_path, "net:1")
    name = "logits.npy"
    parts = [folder / f".{name}.{fingerprint(name)[:8]}.17.part" for folder in (shard, shard.parent / ("a" * 32))]
    for part in parts:
        part.parent.mkdir(exist_ok=True)
        part.write_bytes(b"half")
    assert [shelf.shards for shelf in shelves(tmp_path)] == [1]  # half a shard is none
    clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_clearing_that_was_killed_goes_on_the_next_time(tmp_path):
    (shard,) = written(tmp_path, "net:1")
    (shard / "features.npy").unlink()
    clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_shard_that_is_being_written_is_waited_for_and_then_left_alone(tmp_path):
    (shard,) = written(tmp_path, "net:1", days=1)
    released, begun, done = [], threading.Event(), threading.Event()

    def clearing():
        begun.set()
        released.append(clear(tmp_path, older_than=0.5))
        done.set()

    with locked(tmp_path):  # as `Store.write` holds it, between the array and its JSON
        thread = threading.Thread(target=clearing)
        thread.start()
        begun.wait(10)
        assert not done.wait(0.3)
        (shard / "logits.npy").write_bytes(b"the array of a second signal")  # which makes the shard young again
    thread.join(10)
    assert released == [[]]
    assert (shard / "features.json").exists()


@pytest.mark.slow
def test_writers_and_a_clearing_at_the_same_time_break_nothing(tmp_path):
    """Whatever the writers wrote is read back or absent, and none of them fails."""
    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        import numpy as np
        from unseen.signals import Store
        store = Store(Path(sys.argv[1]), "net:1")
        for turn in range(80):
            shard = store.shard([bytes([turn % 5]) * 32])
            for signal in ("features", "logits"):
                store.write(shard, signal, np.full((1, 50), turn % 5, np.float32), {})
                held = store.read(shard, signal, 1)
                assert held is None or held[0].shape == (1, 50)
    """)
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.PIPE) for _ in range(2)]
    removed = 0
    while any(writer.poll() is None for writer in writers):
        removed += sum(shelf.shards for shelf in clear(tmp_path))
    assert [writer.communicate()[1] for writer in writers] == [b"", b""]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert removed > 10


def test_the_command_shows_what_the_verb_says(unseen, tmp_path):
    written(tmp_path / "store", "packaged:lite0:abc", shards=2, rows=256, days=3)
    code, out, err = unseen("cache", "--cache", "store", "--json", "cache.json")
    assert (code, err) == (0, "")
    found = json.loads(Path("cache.json").read_text())
    assert found == library.cache("store")
    (shelf,) = found["encoders"]
    assert (found["removed"], found["inputs"], shelf["shards"]) == (False, 512, 2)
    assert shelf["bytes"] == found["bytes"] == sum(path.stat().st_size for path in files(tmp_path / "store"))
    when = datetime.datetime.fromisoformat(shelf["last_used"])
    assert abs((datetime.datetime.now(datetime.UTC) - when).total_seconds() - 3 * DAY) < 100
    assert "packaged:lite0:abc" in out
    assert "512" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "Nothing is kept in elsewhere" in unseen("cache", "--cache", "elsewhere")[1]


def test_the_command_asks_before_it_removes(unseen, tmp_path, monkeypatch):
    written(tmp_path / "store", "net:1")
    kept = files(tmp_path / "store")
    words = ("cache", "--cache", "store", "--clear")
    code, _, err = unseen(*words)
    assert code == 2
    assert "give --yes" in err
    for answer in ("", "\n", "no\n", "perhaps\n"):
        monkeypatch.setattr("sys.stdin", Person(answer))
        code, out, err = unseen(*words)
        assert code == 0
        assert "nothing was removed" in err
        assert out == ""
    assert files(tmp_path / "store") == kept
    monkeypatch.setattr("sys.stdin", Person("y\n"))
    code, out, err = unseen(*words)
    assert code == 0
    assert err.startswith("Remove 407 bytes in store?")
    assert "removed from store" in out
    assert list((tmp_path / "store").iterdir()) == []
    written(tmp_path / "store", "net:1", days=3)
    code, out, _ = unseen(*words, "--yes", "--older-than", 5, "--json", "-")
    assert json.loads(out) == {**library.cache("store", older_than=5, clear=True), "removed": False}
    assert json.loads(unseen(*words, "--yes", "--encoder", "net", "--json", "-")[1])["removed"] is True
    assert library.cache("store")["shards"] == 0


class Person:
    """Standard input with somebody before it."""

    def __init__(self, answer):
        self.answer = answer

    def isatty(self):
        return True

    def readline(self):
        return self.answer


def test_what_cannot_be_a_store_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for work in (shelves, clear):
        with pytest.raises(BadInput, match="the cache must be a folder"):
            work(tmp_path / "file")
    with pytest.raises(WrongUse, match="older_than=-1: give a number of days from 0"):
        library.cache(tmp_path, older_than=-1)
