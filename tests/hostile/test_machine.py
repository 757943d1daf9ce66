"""A machine that gives out: a full disk, a full memory, Ctrl-C. The documented exit code, one line, nothing lost."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from unseen.encoders import encode
from unseen.encoders._encode import SHARD

PIXELS = ("-e", "pixels?size=8")
FULL = "no space left on the disk"
# Above the limit a write fails as on a full disk; without SIG_IGN the process would die.
LIMIT = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A shard and a bit of images, in three classes."""
    root = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for number in range(SHARD + 44):
        folder = root / ("cat", "dog", "emu")[number * 3 // (SHARD + 44)]
        folder.mkdir(exist_ok=True)
        level = 60 * (ord(folder.name[0]) - ord("a"))
        pixels = np.clip(random.normal(level % 200 + 20, 30, (8, 8, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    return root


def one_line(done, code, says):
    assert done[0] == code, done
    assert says in done[2], done[2]
    assert done[2].startswith("unseen: ")
    assert done[2].count("\n") == 1


def no_parts(folder):
    assert not [path for path in folder.rglob("*") if path.name.endswith(".part")]


# Disk


def test_a_disk_that_fills_up_while_encoding(command, photos, tmp_path):
    """The shard that fits stays, the same command goes on from it and comes to the same numbers."""
    names = sorted(path.relative_to(photos) for path in photos.rglob("*.png"))
    few = tmp_path / "few"
    for name in names[:SHARD]:
        (few / name).parent.mkdir(parents=True, exist_ok=True)
        (few / name).symlink_to(photos / name)
    assert command("encode", few, *PIXELS, "--cache", "c")[0] == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "c").rglob("*") if path.is_file()}
    for name in names[SHARD:]:
        (few / name).parent.mkdir(parents=True, exist_ok=True)
        (few / name).symlink_to(photos / name)
    words = ("encode", few, *PIXELS, "--cache", "c", "-o", "f.npz")
    one_line(command(*words, before=LIMIT.format(20_000)), 6, FULL)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "c").rglob("*") if path.is_file()} == before
    no_parts(tmp_path)
    assert not (tmp_path / "f.npz").exists()
    code, _, err = command(*words)
    assert (code, err) == (0, "")
    now = {path: path.stat().st_mtime_ns for path in (tmp_path / "c").rglob("*") if path.is_file()}
    assert before.items() <= now.items()
    with np.load(tmp_path / "f.npz") as held:
        np.testing.assert_array_equal(held["features"], encode(photos, "pixels?size=8", cache=False).gather("features"))


@pytest.mark.parametrize("size", [0, 3000])
def test_a_disk_that_fills_up_while_results_are_saved(command, photos, tmp_path, size):
    """Every file that a command writes; what lay there before is still whole."""
    fit = ("fit", photos, *PIXELS, "-d", "knn(k=1)", "--cache", "c")
    assert command("encode", photos, *PIXELS, "--cache", "c")[0] == 0
    assert command(*fit)[0] == 0
    for name in ("guard.npz", "table.csv", "table.jsonl"):
        (tmp_path / name).write_text("old")
    guard = (tmp_path / "guard.unseen").read_bytes()
    limit = LIMIT.format(size)
    for words in (
        (*fit, "-o", "guard.unseen"),
        ("encode", photos, *PIXELS, "--cache", "c", "-o", "guard.npz"),
        ("score", "guard.unseen", photos, "-o", "table.csv"),
        ("score", "guard.unseen", photos, "-o", "table.jsonl"),
    ):
        # What is said lies in files too, which may not grow either.
        done = command(*words, before="import os; os.dup2(os.open(os.devnull, os.O_RDWR), 1)\n" + limit)
        if size:
            one_line(done, 6, FULL)
        assert done[0] == 6, done
        no_parts(tmp_path)
    assert (tmp_path / "guard.unseen").read_bytes() == guard
    for name in ("guard.npz", "table.csv", "table.jsonl"):
        assert (tmp_path / name).read_text() == "old"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")  # noqa: PTH110
def test_an_output_that_is_full():
    """Found by us and not by the interpreter, which would end with 120 and three lines of its own."""
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "unseen", "--version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 6, done.stderr
    assert done.stderr.splitlines() == ["unseen: no space left on the disk (No space left on device)"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 200 kB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"nothing can be mounted here: {error}")
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_real_small_disk(command, photos, small_disk):
    words = ("encode", photos, *PIXELS, "--cache", small_disk / "c")
    one_line(command(*words), 6, FULL)
    no_parts(small_disk)
    one_line(command("score", "none", photos, "-o", small_disk / "s.csv"), 3, "there is no such file")


# Memory

# The address space ends a little above what is in use.
SCARCE = """
import resource
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + ({0} << 20), used + ({0} << 20)))
"""
needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="there is no /proc here")  # noqa: PTH110


@needs_proc
def test_a_full_memory(command, photos, tmp_path):
    """Features that do not fit in; no guard is written."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(20_000, 512)).astype(np.float32))
    one_line(command("fit", "x.npy", "-d", "knn(k=1)", before=SCARCE.format(16)), 6, "out of memory")
    assert not (tmp_path / "guard.unseen").exists()


@needs_proc
@pytest.mark.parametrize("megabytes", [16, 500])
def test_pictures_larger_than_the_memory(command, photos, megabytes):
    """Threads have no room for their stacks, or have it and read pictures that are too large."""
    words = ("encode", photos, "-e", "pixels?size=20000", "--limit", 2, "--cache", "c")
    one_line(command(*words, before=SCARCE.format(megabytes)), 6, "out of memory")


def test_pictures_larger_than_any_memory(command, photos):
    done = command("encode", photos, "-e", "pixels?size=99999999999", "--cache", "c")
    one_line(done, 2, "size must be a positive integer up to 32,768")


# Ctrl-C

SLOW = """
import time
from unseen.encoders.pixels import Pixels
answer = Pixels.answer
def slow(self, *rest):
    open("working", "a").write("x")
    time.sleep(0.05)
    return answer(self, *rest)
Pixels.answer = slow
"""


@pytest.mark.parametrize("name", ["encode", "audit", "fit", "score"])
def test_ctrl_c(commands, photos, tmp_path, name):
    """In the middle of the second shard: 130, one line, the first shard stays and is not made again."""
    guard = []
    if name == "score":
        commands.start(tmp_path, ["fit", photos, *PIXELS, "-d", "knn(k=1)", "--cache", "other"])
        assert commands.wait(tmp_path)[0] == 0
        guard = ["guard.unseen"]
    options = {
        "encode": PIXELS,
        "audit": (*PIXELS, "--detectors", "knn", "--repeats", 1),
        "fit": (*PIXELS, "-d", "knn(k=1)"),
        "score": (),
    }
    words = [name, *guard, photos, *options[name], "--cache", "c"]
    pid = commands.start(tmp_path, words, SLOW)
    deadline = time.monotonic() + 60
    working = tmp_path / "working"
    while not (working.exists() and working.stat().st_size > SHARD // 32):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(pid, signal.SIGINT)
    code, out, err = commands.wait(tmp_path)
    assert (code, out) == (130, "")
    assert err == "unseen: interrupted; what is encoded stays, the same command goes on from there\n"
    no_parts(tmp_path)
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "c").rglob("*") if path.is_file()}
    assert len(made) == 2  # the first shard: an array and its JSON
    asked = working.stat().st_size
    commands.start(tmp_path, words, SLOW)
    code, _, err = commands.wait(tmp_path)
    assert (code, err) == (0, "")
    assert working.stat().st_size - asked == 2  # 44 images
    assert made.items() <= {p: p.stat().st_mtime_ns for p in (tmp_path / "c").rglob("*") if p.is_file()}.items()


@pytest.mark.parametrize("moment", ["import", "listing", "hashing", "audit", "writing"])
def test_ctrl_c_at_other_moments(command, photos, tmp_path, moment):
    """While code is loaded, names are listed, files are hashed, classes are held out, a file is written."""
    place = {
        "import": ("unseen.cli", "app"),
        "listing": ("unseen.data.listing", "_list_folder"),
        "hashing": ("unseen.data.images", "open_regular"),
        "audit": ("unseen.protocols", "audit"),
        "writing": ("unseen.files", "to_json"),
    }[moment]
    before = f"""
import importlib, os, signal
module = importlib.import_module({place[0]!r})
whole = module.{place[1]}
def interrupted(*rest, **named):
    os.kill(os.getpid(), signal.SIGINT)
    return whole(*rest, **named)
module.{place[1]} = interrupted
if {moment!r} == "hashing":
    import unseen.data.inputs
    unseen.data.inputs.open_regular = interrupted
if {moment!r} == "writing":
    import unseen.cli.screen
    unseen.cli.screen.to_json = interrupted
"""
    code, _, err = command(
        "audit",
        photos,
        *PIXELS,
        "--cache",
        "c",
        "--detectors",
        "knn",
        "--repeats",
        1,
        "--json",
        "a.json",
        before=before,
    )
    assert code == 130
    assert err.startswith("unseen: interrupted")
    assert err.count("\n") == 1
    no_parts(tmp_path)
    assert not (tmp_path / "a.json").exists() or json.loads((tmp_path / "a.json").read_text())
