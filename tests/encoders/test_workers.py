"""Threads that read ahead change no bit, and long work says beforehand how long it will take."""

import os
import re
import threading

import numpy as np
import pytest
from PIL import Image

import unseen
from unseen.cli import screen
from unseen.encoders import encode
from unseen.encoders._encode import SHARD, usable_cores
from unseen.encoders.pixels import Pixels
from unseen.errors import WrongUse


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A shard and a half of JPEGs of several sizes, some of them damaged."""
    random = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("photos")
    for number in range(SHARD + SHARD // 2):
        size = (12 + number % 7, 12 + number % 5, 3)
        name = root / ("cat" if number % 2 else "dog") / f"{number:04}.jpg"
        name.parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, size, dtype=np.uint8)).save(name)
        if number % 50 == 7:
            name.write_bytes(name.read_bytes()[:60])
    return root


class Watched(Pixels):
    """An encoder that says which threads prepared its images, and how many did at once."""

    name = "pixels"

    def __init__(self):
        super().__init__(size=8)
        self.threads, self.lock, self.now, self.most = set(), threading.Lock(), 0, 0

    def prepare(self, image):
        with self.lock:
            self.threads.add(threading.get_ident())
            self.now += 1
            self.most = max(self.most, self.now)
        prepared = super().prepare(image)
        with self.lock:
            self.now -= 1
        return prepared


def test_every_number_of_workers_gives_the_same_bits(folder):
    found = [encode(folder, "pixels?size=8", cache=False, workers=workers) for workers in (None, 1, 2, 5, 64)]
    for other in found[1:]:
        np.testing.assert_array_equal(other.gather("features"), found[0].gather("features"))
        assert (other.keys, other.skipped, other.notes) == (found[0].keys, found[0].skipped, found[0].notes)
        np.testing.assert_array_equal(other.groups, found[0].groups)
    assert len(found[0].skipped) == 8


@pytest.mark.parametrize("workers", [1, 3])
def test_so_many_threads_prepare_and_no_more(folder, workers):
    encoder = Watched()
    encode(folder, encoder, cache=False, workers=workers)
    own = encoder.threads - {threading.get_ident()}  # which prepares the blank that fills a batch
    assert 1 <= len(own) <= workers
    assert encoder.most <= workers + 1


def test_the_default_is_a_thread_for_each_core_and_at_most_sixteen(folder, monkeypatch):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert usable_cores() == cores
    asked = []

    class Pool:
        def __init__(self, max_workers):
            asked.append(max_workers)
            raise KeyboardInterrupt

    monkeypatch.setattr("unseen.encoders._encode.ThreadPoolExecutor", Pool)
    for there in (3, 100):
        monkeypatch.setattr("unseen.encoders._encode.usable_cores", lambda there=there: there)
        with pytest.raises(KeyboardInterrupt):
            encode(folder, Pixels(size=8), cache=False)
    assert asked == [3, 16]


def test_no_workers_are_refused(folder):
    with pytest.raises(WrongUse, match="workers=0: give the number of threads"):
        unseen.encode(folder, "pixels?size=8", cache=False, workers=0)


def test_every_verb_that_encodes_passes_its_workers_on(folder, monkeypatch, tmp_path):
    """By a pool that notes how many it was asked for."""
    from concurrent.futures import ThreadPoolExecutor

    asked = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, max_workers):
            asked.append(max_workers)
            super().__init__(max_workers)

    monkeypatch.setattr("unseen.encoders._encode.ThreadPoolExecutor", Pool)
    pixels = {"encoder": "pixels?size=8", "cache": False, "workers": 3}
    guard = unseen.fit(folder, detector="knn(k=2)", **pixels).classifier
    more = tmp_path / "more" / "bird"
    more.mkdir(parents=True)
    for number in range(20):
        Image.new("RGB", (9, 9), (number, 90, 200)).save(more / f"{number}.png")
    verbs = {
        "fit": lambda: unseen.fit(folder, detector="knn(k=2)", **pixels),
        "encode": lambda: unseen.encode(folder, **pixels),
        "score": lambda: unseen.score(guard, folder, cache=False, workers=3),
        "extend": lambda: unseen.extend(guard, more.parent, cache=False, workers=3),
        "audit": lambda: unseen.audit(
            {"images": np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8), "labels": np.arange(60) % 3},
            detectors=["knn(k=1)"],
            repeats=1,
            **pixels,
        ),
        "bench": lambda: unseen.bench(folder, near={"bird": more.parent}, detectors=["knn(k=1)"], **pixels),
    }
    for name, call in verbs.items():
        asked.clear()
        call()
        assert asked, name
        assert set(asked) == {3}, name


# How long it will take


@pytest.fixture
def log(monkeypatch, capsys):
    """Drive the command line's progress by a clock of its own -> what stands in the log."""
    clock = [0.0]
    monkeypatch.setattr(screen.time, "monotonic", lambda: clock[0])

    def drive(*told):
        """``(seconds later, what, done, total)`` each."""
        with screen.progress() as report:
            for seconds, *said in told:
                clock[0] += seconds
                report(*said)
        return capsys.readouterr().err.splitlines()

    return drive


def test_a_log_says_after_the_first_shard_how_long_it_will_take(log):
    lines = log((1, "encoding", 0, 40_000), (4.6, "encoding", 256, 40_000), (4.6, "encoding", 512, 40_000))
    assert lines == ["encoding: about 12 minutes for 40,000 inputs on this machine"]


def test_what_is_held_already_does_not_count(log):
    lines = log((1, "encoding", 30_000, 40_000), (30, "encoding", 30_256, 40_000))
    assert lines == ["encoding: about 20 minutes for 10,000 inputs on this machine"]


def test_short_work_says_nothing(log):
    assert log((1, "encoding", 0, 1000), (4, "encoding", 256, 1000), (4, "encoding", 512, 1000)) == []


def test_lines_go_on_every_ten_seconds_and_the_estimate_stands_once(log):
    lines = log((0, "encoding", 0, 4000), *[(5, "encoding", done, 4000) for done in range(100, 800, 100)])
    assert lines[0] == "encoding: about 3 minutes for 4,000 inputs on this machine"
    assert lines[1:] == [f"encoding: {done} of 4,000, {(4000 - done) // 20} s left" for done in (300, 500, 700)]


def test_each_part_of_the_work_is_judged_by_itself(log):
    lines = log(
        (3, "encoding", 0, 100), (5, "encoding", 100, 100),
        (0, "holding out classes", 0, 60), (300, "holding out classes", 2, 60),
    )  # fmt: skip
    assert lines == ["holding out classes: about 2.5 hours on this machine"]


def test_a_bar_shows_the_time_left_in_place_of_the_line(log, monkeypatch):
    from rich.console import Console

    monkeypatch.setattr(screen, "err", Console(force_terminal=True, width=80, stderr=True))
    text = " ".join(log((1, "encoding", 0, 40_000), (5, "encoding", 256, 40_000)))
    assert "about" not in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
