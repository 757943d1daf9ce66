"""A folder with every oddity goes through every command: each file is scored or listed, nothing ends in a traceback."""

import csv
import io
import json
import os
import shutil
import time
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from unseen.data import images, near_duplicates, open_inputs, thumbnail
from unseen.encoders import encode
from unseen.encoders.pixels import Pixels

PIXELS = ("-e", "pixels?size=8")


def counted(odd, keys, skipped):
    """Every image file is either among the rows or listed with its reason."""
    assert set(keys) == odd.readable
    assert {one["path"] for one in skipped} == set(odd.unreadable)
    for one in skipped:
        assert odd.unreadable[one["path"]] in one["reason"]
        assert "\n" not in one["reason"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


def test_encode(odd, command, cache, tmp_path):
    words = ("encode", odd.path, *PIXELS, "--cache", cache, "-o", "f.npz")
    code, out, err = command(*words, "--json", "e.json")
    assert (code, err) == (0, "")
    found = json.loads((tmp_path / "e.json").read_text())
    with np.load(tmp_path / "f.npz") as held:
        counted(odd, held["keys"].tolist(), found["skipped"])
    notes = " | ".join(found["notes"])
    assert f"{odd.others} file is not an image by name and was passed over: emu/notes.txt" in notes
    assert "links to folders that are listed already were passed over, such as dog/loop" in notes
    assert "folders without images are no classes: none" in notes
    assert "2 rows repeat an earlier row exactly" in notes
    assert "1 near-duplicate, such as dog/02.png and dog/near.jpg: splits may part them" in notes
    assert f"{len(odd.unreadable)} inputs were skipped" in out
    code, _, err = command(*words, "--strict")
    assert code == 3
    assert err == f"unseen: {len(odd.unreadable)} inputs were skipped and --strict was given\n"


def test_audit(odd, command, cache, tmp_path):
    words = ("audit", odd.path, *PIXELS, "--cache", cache, "--repeats", 1, "--detectors", "knn", "--json", "a.json")
    code, out, err = command(*words, "--strict")
    assert code == 3
    assert err.count("\n") == 1
    assert "\x1b" not in out
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["n"] == len(odd.readable)
    assert {one["class"] for one in found["held_out"]} == {"cat", "dog", "emu", "fox"}
    counted(odd, odd.readable, found["skipped"])


def test_fit_and_score(odd, command, cache, tmp_path):
    code, _, err = command(
        "fit", odd.path, *PIXELS, "-d", "knn(k=1)", "--alpha", 0.1, "--cache", cache, "--json", "fit.json"
    )
    assert (code, err) == (0, "")
    counted(odd, odd.readable, json.loads((tmp_path / "fit.json").read_text())["skipped"])
    words = ("score", "guard.unseen", odd.path, "--alpha", 0.9, "--json", "-", "--copy-unseen", "review")
    code, out, err = command(*words, "--strict")
    assert code == 3
    assert err.count("\n") == 1
    found = json.loads(out)
    counted(odd, [record["path"] for record in found["records"]], found["skipped"])
    with (tmp_path / "scores.csv").open(newline="") as file:
        assert {row["path"] for row in csv.DictReader(file)} == odd.readable
    unseen = [record["path"] for record in found["records"] if record["verdict"] == "unseen"]
    copies = [path for path in (tmp_path / "review").rglob("*") if path.is_file()]
    assert len(copies) == len(unseen) >= 5
    content = {path.read_bytes() for path in odd.path.rglob("*.*") if path.is_file()}
    assert {path.read_bytes() for path in copies} <= content


def test_the_contents_are_read_as_people_see_them(odd):
    inputs = open_inputs(odd.path)
    row = {key: i for i, key in enumerate(inputs.keys)}

    def pixels(name):
        return inputs.read(row[f"cat/{name}"]).astype(int)

    def frame(name, number=0):
        with Image.open(odd.path / "cat" / name) as image:
            image.seek(number)
            return np.array(image.convert("RGB"))

    assert pixels("rotated.jpg").shape == (64, 32, 3)
    np.testing.assert_array_equal(pixels("rotated.jpg"), np.rot90(frame("rotated.jpg"), -1))
    for name in ("moving.gif", "moving.webp"):
        np.testing.assert_array_equal(pixels(name), frame(name))
        assert abs(pixels(name) - frame(name, 1)).max() > 100  # not the second


def test_an_unreadable_file_is_skipped(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    (tmp_path / "a.png").chmod(0)
    assert encode(tmp_path, "pixels", cache=False).skipped == (("a.png", "permission denied"),)


@pytest.mark.parametrize("when", ["listed", "hashed", "opened"])
def test_a_file_that_vanishes_is_skipped(tmp_path, monkeypatch, when):
    """After it was listed; after its content was hashed; between the look at its size and its opening."""
    for name in "abc":
        Image.fromarray(np.full((8, 8, 3), ord(name), np.uint8)).save(tmp_path / f"{name}.png")
    inputs = open_inputs(tmp_path)
    if when == "listed":
        (tmp_path / "b.png").unlink()
    elif when == "hashed":
        digests = inputs.digests()
        monkeypatch.setattr(inputs, "digests", lambda *_, **__: digests)
        (tmp_path / "b.png").unlink()
    else:
        stat = os.stat

        def look(path, *rest, **named):
            found = stat(path, *rest, **named)
            if str(path).endswith("b.png"):
                (tmp_path / "b.png").unlink(missing_ok=True)
            return found

        monkeypatch.setattr(os, "stat", look)
    support = encode(inputs, "pixels?size=2", cache=tmp_path / "cache")
    assert support.skipped == (("b.png", "no such file"),)
    assert list(support.keys) == ["a.png", "c.png"]
    np.testing.assert_array_equal(support.gather("features")[:, 0] * 255, [ord("a"), ord("c")])


def test_a_file_that_vanishes_before_it_is_copied_loses_no_verdict(odd, command, tmp_path):
    """`--copy-unseen` comes last; the table is written all the same."""
    photos = tmp_path / "photos"
    shutil.copytree(odd.path / "fox", photos)
    shutil.copytree(odd.path / "emu", tmp_path / "known")
    code, _, err = command("fit", "known", *PIXELS, "-d", "knn(k=1)", "--alpha", 0.3, "--cache", "c")
    assert (code, err) == (0, "")
    gone = (
        "import unseen.classifier as c, pathlib\n"
        "predict = c.OpenSetClassifier.predict\n"
        "def then_lose(*a, **k):\n"
        "    found = predict(*a, **k)\n"
        "    for key, unseen in zip(found.keys, found.unseen):\n"
        "        if unseen: pathlib.Path('photos', key).unlink(); break\n"
        "    return found\n"
        "c.OpenSetClassifier.predict = then_lose\n"
    )
    words = ("score", "guard.unseen", "photos", "--copy-unseen", "review", "--json", "s.json")
    code, _, err = command(*words, before=gone)
    assert (code, err) == (0, "")
    found = json.loads((tmp_path / "s.json").read_text())
    assert found["unseen"] > 1
    assert len([path for path in (tmp_path / "review").rglob("*") if path.is_file()]) == found["unseen"] - 1
    assert any("1 unseen file could not be copied, such as" in note for note in found["notes"])
    assert (tmp_path / "scores.csv").exists()


def test_a_damaged_disk_is_not_a_damaged_picture(tmp_path, monkeypatch):
    """An error of the disk while reading: skipped with its reason, whatever the decoder makes of it."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    Image.new("RGB", (9, 9)).save(tmp_path / "b.png")

    class Bad:
        def __init__(self, file):
            self._file = file

        def __getattr__(self, name):
            return getattr(self._file, name)

        def read(self, *_):
            raise OSError(5, "Input/output error")

    whole = images.open_regular

    @contextmanager
    def opened(path):
        with whole(path) as (file, size):
            yield (Bad(file) if str(path).endswith("b.png") else file), size

    monkeypatch.setattr(images, "open_regular", opened)
    support = encode(tmp_path, "pixels?size=2", cache=False)
    assert support.skipped == (("b.png", "cannot be read: input/output error"),)


# Near-duplicates


def smooth(rng, side=64):
    """A picture as cameras make them: large shapes first."""
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))


def recoded(image, side, quality):
    file = io.BytesIO()
    Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC).save(file, "jpeg", quality=quality)
    return np.asarray(Image.open(file))


def test_near_duplicates_are_copies_in_another_size_or_encoding():
    rng = np.random.default_rng(0)
    pictures = [smooth(rng) for _ in range(300)]
    copies = [recoded(pictures[i], side=(48, 64, 128)[i % 3], quality=(60, 80, 95)[i // 4]) for i in range(12)]
    others = [np.fliplr(pictures[20]), pictures[21][6:-6, 6:-6], 255 - pictures[22]]
    found = near_duplicates([thumbnail(one) for one in [*pictures, *copies, *others]])
    assert found == tuple((i, 300 + i) for i in range(12))


def test_flat_pictures_are_nobodys_copies():
    grey = [np.full((20, 20, 3), 100 + i, np.uint8) for i in range(3)]
    faint = [np.clip(100 + np.random.default_rng(i).normal(0, 3, (8, 8, 1)), 0, 255) for i in range(20)]
    faint = [np.repeat(one, 3, axis=2).astype(np.uint8) for one in faint]
    assert near_duplicates([thumbnail(one) for one in [*grey, *grey, *faint]]) == ()
    assert near_duplicates(np.zeros((0, 64), np.uint8)) == ()
    assert near_duplicates([np.arange(64)]) == ()


def test_a_chain_of_frames_is_one_set():
    first = smooth(np.random.default_rng(1)).astype(np.float64)
    frames = [np.clip(first + 0.8 * i, 0, 255).astype(np.uint8) for i in range(9)]
    thumbnails = [thumbnail(frame) for frame in frames]
    assert near_duplicates([thumbnails[0], thumbnails[-1]]) == ()
    assert near_duplicates(thumbnails) == (tuple(range(9)),)


def test_near_duplicates_are_named_and_not_grouped_and_the_store_remembers(tmp_path):
    rng = np.random.default_rng(2)
    photos, cache = tmp_path / "photos", tmp_path / "cache"
    photos.mkdir()
    pictures = [smooth(rng) for _ in range(20)]
    for number, one in enumerate(pictures):
        Image.fromarray(one).save(photos / f"{number:02}.png")
    Image.fromarray(recoded(pictures[3], 48, 90)).save(photos / "again.png")
    (photos / "copy.png").write_bytes((photos / "03.png").read_bytes())
    notes = set()
    for where in (False, cache, cache):
        support = encode(photos, Pixels(8), cache=where)
        notes.add(tuple(note for note in support.notes if "near" in note))
        group = dict(zip(support.keys, support.groups.tolist(), strict=True))
        assert group["03.png"] == group["copy.png"] != group["again.png"]
    assert len(notes) == 1
    ((note,),) = notes
    assert note.startswith("1 near-duplicate, such as 03.png and again.png: splits may part them")
    limited = encode(open_inputs(photos).take([0, 1, 2]), Pixels(8), cache=cache)
    assert limited.notes == ()


@pytest.mark.slow
def test_ten_thousand_thumbnails_take_no_time():
    rng = np.random.default_rng(3)
    thumbnails = np.stack([thumbnail(smooth(rng, 16)) for _ in range(10_000)])
    start = time.perf_counter()
    found = near_duplicates(np.concatenate([thumbnails, thumbnails[:10] + 1]))
    assert time.perf_counter() - start < 10
    assert [near[0] for near in found] == list(range(10))


@pytest.mark.parametrize("text", ['"AAAA"', '"!"', "null", "3", "[1]"])
def test_damaged_thumbnails_cost_a_note_and_nothing_else(tmp_path, text):
    """They lie in the shard's JSON, under no hash: without them near-duplicates are not looked for."""
    photos, cache = tmp_path / "photos", tmp_path / "cache"
    photos.mkdir()
    one = smooth(np.random.default_rng(4))
    Image.fromarray(one).save(photos / "a.png")
    Image.fromarray(recoded(one, 48, 90)).save(photos / "b.png")
    whole = encode(photos, Pixels(8), cache=cache)
    assert any("near-duplicate" in note for note in whole.notes)
    (marker,) = cache.rglob("*/features.json")
    about = json.loads(marker.read_text())
    marker.write_text(json.dumps(about | {"thumbnails": json.loads(text)}))
    again = encode(photos, Pixels(8), cache=cache)
    assert again.notes == ()
    np.testing.assert_array_equal(again.gather("features"), whole.gather("features"))


def test_a_damaged_list_of_what_is_unreadable_makes_the_shard_anew(tmp_path):
    for name in "ab":
        Image.fromarray(smooth(np.random.default_rng(ord(name)))).save(tmp_path / f"{name}.png")
    encode(tmp_path, Pixels(8), cache=tmp_path / ".cache")
    (marker,) = (tmp_path / ".cache").rglob("*/features.json")
    sound = json.loads(marker.read_text())
    for unreadable in ({"7": "empty file"}, {"-1": "empty file"}, {"x": "y"}, [1], {"1": "empty file"}):
        marker.write_text(json.dumps(sound | {"unreadable": unreadable}))
        support = encode(tmp_path, Pixels(8), cache=tmp_path / ".cache")
        assert (len(support), support.skipped) == (2, ())
        assert json.loads(marker.read_text()) == sound
