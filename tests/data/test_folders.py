"""Folders, single files, limits, views and digests."""

import hashlib
import os

import numpy as np
import pytest
from PIL import Image

from unseen.data import open_inputs
from unseen.errors import BadInput, WrongUse


def make(root, *names):
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".png":
            Image.new("RGB", (2, 2), (number, 0, 0)).save(path)
        else:
            path.write_text("not an image")


def test_sub_folders_are_classes(tmp_path):
    make(tmp_path, "dog/2.PNG".lower(), "cat/deep/er/1.png", "dog/10.png", "cat/.hidden.png", ".git/x.png")
    inputs = open_inputs(tmp_path)
    assert inputs.kind == "images"
    assert list(inputs.keys) == ["cat/deep/er/1.png", "dog/10.png", "dog/2.png"]
    assert inputs.classes == ("cat", "dog")
    assert inputs.labels.tolist() == [0, 1, 1]
    assert inputs.labels.dtype == np.int64
    assert inputs.groups is None
    assert inputs.notes == ()
    assert dict(inputs.columns) == {}
    assert inputs.read(2).tolist() == [[[0, 0, 0]] * 2] * 2
    assert inputs.source == str(tmp_path)
    assert repr(inputs) == f"<Inputs: 3 images, 2 classes, {tmp_path}>"


def test_integer_classes_are_sorted_by_number(tmp_path):
    make(tmp_path, "10/a.png", "9/a.png", "0/a.png")
    assert open_inputs(tmp_path).classes == ("0", "9", "10")


def test_flat_folder_is_unlabelled(tmp_path):
    make(tmp_path, "b.png", "a.png", "notes.txt")
    inputs = open_inputs(tmp_path)
    assert list(inputs.keys) == ["a.png", "b.png"]
    assert inputs.labels is None
    assert inputs.classes == ()
    assert inputs.notes == ("1 file is not an image by name and was passed over: notes.txt",)


def test_notes_count_other_files_and_empty_folders(tmp_path):
    make(tmp_path, "cat/a.png", "b.txt", "cat/a.txt", "none/c.txt")
    notes = open_inputs(tmp_path).notes
    assert "3 files are not images by name and were passed over, such as b.txt" in notes
    assert "folders without images are no classes: none" in notes


def test_images_beside_class_folders(tmp_path):
    make(tmp_path, "cat/a.png", "b.png")
    with pytest.raises(BadInput, match=r"1 images lie directly in it \(such as b.png\).*class folders \(cat\)"):
        open_inputs(tmp_path)
    assert open_inputs(tmp_path, label_column=None).labels is None


def test_negative_class_folder(tmp_path):
    make(tmp_path, "-1/a.png")
    with pytest.raises(BadInput, match=r"^[^:]*: label -1 is negative"):
        open_inputs(tmp_path)


def test_nothing_found_says_what_was_looked_for(tmp_path):
    make(tmp_path, "labels.csv")
    with pytest.raises(BadInput, match=r"no images in it .*\.jpg.*\.png.*1 other files, such as labels.csv"):
        open_inputs(tmp_path)


def test_nothing_there(tmp_path):
    make(tmp_path, "photos/a.png")
    with pytest.raises(BadInput, match=r'no such file or folder; did you mean ".*photos"'):
        open_inputs(tmp_path / "photo")
    with pytest.raises(BadInput, match="is not there either"):
        open_inputs(tmp_path / "x" / "y")
    with pytest.raises(BadInput, match=r"cannot be opened|no such file"):
        open_inputs("a\0b")
    make(tmp_path, "a.docx")
    with pytest.raises(BadInput, match=r'end in "\.docx" are not read'):
        open_inputs(tmp_path / "a.docx")
    with pytest.raises(WrongUse, match="got int"):
        open_inputs(3)


def test_one_image(tmp_path):
    make(tmp_path, "a.png")
    inputs = open_inputs(str(tmp_path / "a.png"))
    assert list(inputs.keys) == ["a.png"]
    assert inputs.read(0).shape == (2, 2, 3)
    assert inputs.labels is None


def test_links(tmp_path):
    """Loops end, a linked class counts, a folder linked a second time does not, dead links are rows."""
    outside = tmp_path / "outside"
    root = tmp_path / "root"
    make(outside, "a.png")
    make(root, "dog/a.png")
    (root / "cat").symlink_to(outside)
    (root / "dog" / "again").symlink_to(root / "dog")
    (root / "dog" / "up").symlink_to(tmp_path)
    (root / "dog" / "round").symlink_to(root / "dog" / "round")
    (root / "dog" / "dead.png").symlink_to(tmp_path / "nowhere.png")
    (root / "a_dog").symlink_to(root / "dog")  # sorts before the real one, which must win
    inputs = open_inputs(root)
    assert list(inputs.keys) == ["cat/a.png", "dog/a.png", "dog/dead.png"]
    assert any("listed already" in note for note in inputs.notes)
    with pytest.raises(BadInput, match=r"dog/dead.png: a link to a file that is not there"):
        inputs.read(2)


@pytest.mark.skipif(os.name != "posix", reason="names are Unicode here")
def test_a_name_that_is_no_unicode(tmp_path):
    raw = os.fsencode(tmp_path) + b"/caf\xe9.png"
    try:
        with open(raw, "wb") as file:  # noqa: PTH123 - a Path holds no bytes
            Image.new("RGB", (1, 1)).save(file, "png")
    except OSError:
        pytest.skip("this file system refuses such names")
    inputs = open_inputs(tmp_path)
    assert list(inputs.keys) == ["caf\\xe9.png"]
    assert inputs.read(0).shape == (1, 1, 3)


def test_digest_is_of_the_content(tmp_path):
    make(tmp_path, "cat/a.png")
    (tmp_path / "cat" / "b.png").write_bytes((tmp_path / "cat" / "a.png").read_bytes())
    (tmp_path / "cat" / "c.png").touch()
    (tmp_path / "cat" / "d.png").touch()
    inputs = open_inputs(tmp_path)
    (tmp_path / "cat" / "d.png").unlink()
    steps = []
    digests = inputs.digests(progress=lambda done, total: steps.append((done, total)))
    assert digests[0] == digests[1] == hashlib.sha256((tmp_path / "cat" / "a.png").read_bytes()).digest()
    assert len(set(digests)) == 3  # the empty and the missing file are not each other's duplicates
    assert digests == [inputs.digest(i) for i in range(4)]
    assert steps[-1] == (4, 4)


def test_take(tmp_path):
    make(tmp_path, "a/1.png", "b/2.png", "c/3.png")
    inputs = open_inputs(tmp_path)
    view = inputs.take([2, 0])
    assert list(view.keys) == ["c/3.png", "a/1.png"]
    assert view.labels.tolist() == [2, 0]
    assert view.classes == ("a", "b", "c")
    assert view.read(0)[0, 0, 0] == 2
    again = view.take(np.array([False, True]))
    assert list(again.keys) == ["a/1.png"]
    assert again.digest(0) == inputs.digest(0)
    assert len(inputs) == 3
    assert len(inputs.take([])) == 0
    for wrong in ([0, 0], [3], [[0], [1]]):
        with pytest.raises(WrongUse):
            inputs.take(wrong)


def test_inputs_pass_through():
    inputs = open_inputs({"features": np.eye(4), "labels": [0, 0, 1, 1]})
    assert open_inputs(inputs) is inputs
    bare = open_inputs(inputs, label_column=None)
    assert bare.labels is None
    assert inputs.labels is not None


def test_limit_is_stratified_deterministic_and_keeps_the_order():
    labels = np.repeat([0, 1, 2], [80, 18, 2])
    mixed = np.random.default_rng(1).permutation(labels)
    inputs = open_inputs({"features": np.arange(100.0)[:, None], "labels": mixed})
    few = open_inputs(inputs, limit=10)
    assert np.bincount(few.labels).tolist() == [7, 2, 1]  # one each, the other 7 as 79 : 17 : 1
    places = few.columns["features"][:, 0]
    assert (np.diff(places) > 0).all()
    assert few.notes == ("10 of 100 rows were taken (seed 0)",)
    assert list(open_inputs(inputs, limit=10).keys) == list(few.keys)
    assert list(open_inputs(inputs, limit=10, seed=1).keys) != list(few.keys)
    assert open_inputs(inputs, limit=100) is inputs
    assert len(set(open_inputs(inputs, limit=2).labels.tolist())) == 2
    for limit in range(1, 100):
        assert len(open_inputs(inputs, limit=limit)) == limit
    assert len(open_inputs(np.eye(9), limit=4)) == 4
    with pytest.raises(WrongUse, match="at least 1"):
        open_inputs(inputs, limit=0)
