"""Folders, manifests and array files that cannot be used: one line, exit code 3, and nothing else."""

import json
import os
import struct
import warnings
import zipfile

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from unseen.data import arrays, open_inputs
from unseen.encoders import encode
from unseen.errors import BadInput
from unseen.signals import Signals
from unseen.signals.support import coded

X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
FIT = ("-d", "knn(k=1)", "--alpha", 0.2)


def images(*names):
    for number, path in enumerate(names):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(path)


def fails(done, code, says):
    """Nothing on standard output, one line on standard error."""
    assert done[:2] == (code, ""), done
    assert says in done[2], done[2]
    assert done[2].startswith("unseen: ")
    assert done[2].count("\n") == 1


# Folders


def test_folders(command, tmp_path):
    (tmp_path / "empty").mkdir()
    images(tmp_path / "mixed" / "cat" / "a.png", tmp_path / "mixed" / "b.png")
    images(*(tmp_path / "one" / "cat" / f"{i}.png" for i in range(30)))
    images(*(tmp_path / "flat" / f"{i}.png" for i in range(30)))
    fails(command("audit", "empty"), 3, "empty: no images in it or its sub-folders")
    fails(command("encode", "mixed", "-e", "pixels"), 3, "1 images lie directly in it (such as b.png), beside class")
    fails(command("audit", "one", "-e", "pixels"), 2, "one has 1 classes and an audit needs 3")
    fails(command("audit", "flat", "-e", "pixels"), 2, "flat has no labels and an audit holds out classes")
    for folder in ("one", "flat"):
        code, _, err = command("fit", folder, "-e", "pixels?size=4", "--alpha", 0.2, "--cache", "c")
        assert (code, err) == (0, "")
        assert command("score", "guard.unseen", folder)[0] == 0


def test_a_folder_whose_own_name_is_odd(command, tmp_path):
    """Its name gets into messages, JSON and the saved guard."""
    try:
        root = tmp_path / os.fsdecode(b"caf\xe9\nodd")
        images(*(root / "cat" / f"{i}.png" for i in range(30)))
    except OSError:
        pytest.skip("this file system refuses such names")
    code, _, err = command("fit", root.name, "-e", "pixels?size=4", *FIT, "--cache", "c")
    assert (code, err) == (0, "")
    code, out, err = command("score", "guard.unseen", root.name, "--json", "-")
    assert (code, err) == (0, "")
    assert json.loads(out)["n"] == 30
    assert "caf\\xe9\\nodd" in json.loads(command("info", "guard.unseen", "--json", "-")[1])["source"]
    for path in root.rglob("*.png"):
        path.unlink()
    fails(command("score", "guard.unseen", root.name), 3, "caf\\udce9\\nodd: no images")


# Manifests


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("m.csv", b"", "no header, expected column names such as path,label in row 1"),
        ("m.csv", b"path,label\n", "no rows below the header"),
        ("m.csv", b"file,label\na.png,cat\n", 'no column "path" with paths; the columns are file, label'),
        ("m.csv", b"path,label,path\na.png,cat,b.png\n", 'column "path" stands there twice'),
        ("m.csv", b"path,label\na.png,cat\nb.png,\n", 'row 3: no label in column "label", other rows have one'),
        ("m.csv", b"path,label\na.png,-1\n", "row 2: label -1 is negative"),
        ("m.csv", b"path,label\n,cat\n", 'row 2: no path in column "path"'),
        ("m.csv", b"path,label\na.png,cat,dog\n", "row 2: 3 fields, the header has 2"),
        ("m.csv", b"path,label\na.png,cat\na.png,dog\n", "row 3: a.png stands in row 2 too, with another label"),
        ("m.csv", "path,label\na.png,cat\n".encode("utf-16"), "not UTF-8 text (byte 0)"),
        ("m.csv", b'path,label\n"a.png,cat\n', "none of the 1 inputs of m.csv can be read"),
        ("m.csv", b"path,label\nnone.png,cat\n", "none of the 1 inputs of m.csv can be read; none.png: no such file"),
        ("m.csv", b"path,label\npath,label\na.png,cat\n", ""),
        ("m.jsonl", b'{"path": "a.png", "label": 1.5}\n', "row 1: label 1.5 is neither a name nor an integer"),
        ("m.jsonl", b'{"path": 3}\n', 'row 1: no path in column "path"'),
        ("m.jsonl", b'["a.png"]\n', "row 1: not an object like"),
        ("m.jsonl", b'{"path": "a.png"\n', "row 1: not JSON"),
        ("m.jsonl", b"[" * 100_000, "row 1: not JSON"),
        ("m.jsonl", b"\n\n", "no rows"),
        ("m.jsonl", b'{"path": "a.png", "label": {}}\n', "row 1: label {} is neither"),
    ],
)
def test_manifests(commands, tmp_path, name, content, says):
    images(tmp_path / "a.png")
    (tmp_path / name).write_bytes(content)
    commands.start(tmp_path, ["encode", name, "-e", "pixels?size=2", "--cache", "c"])
    done = commands.wait(tmp_path)
    if says:
        fails(done, 3, says)
    else:  # a header that stands there twice is a row whose file is not there
        assert done[0] == 0
        assert "Skipped path: no such file" in done[1]


def test_manifests_of_other_programs_are_read(tmp_path):
    """A byte-order mark, three kinds of line ends, empty rows and spaces around names."""
    images(*(tmp_path / f"{name}.png" for name in "abcd"))
    text = "\ufeffpath, label ,group\r\na.png,cat,1\n\nb.png,dog,1\r,,\r\nc.png, cat,\nd.png,dog,2"
    (tmp_path / "m.csv").write_bytes(text.encode())
    inputs = open_inputs(tmp_path / "m.csv")
    assert list(inputs.keys) == ["a.png", "b.png", "c.png", "d.png"]
    assert [inputs.classes[code] for code in inputs.labels] == ["cat", "dog", "cat", "dog"]
    assert inputs.groups.tolist() == [0, 0, 1, 2]


def test_missing_files_of_a_manifest_are_skipped_one_by_one(command, tmp_path):
    images(tmp_path / "a.png", tmp_path / "b.png")
    rows = ["a.png", "none.png", "b.png", "a\\u0000b.png", "x" * 300 + ".png", "..", "/dev/zero"]
    (tmp_path / "m.jsonl").write_text("".join(f'{{"path": "{row}"}}\n' for row in rows))
    code, _, err = command("encode", "m.jsonl", "-e", "pixels?size=2", "--cache", "c", "--json", "e.json", "--strict")
    assert (code, err) == (3, "unseen: 5 inputs were skipped and --strict was given\n")
    reasons = [one["reason"] for one in json.loads((tmp_path / "e.json").read_text())["skipped"]]
    assert reasons == [
        "no such file", "not a possible file name", "file name too long", "a folder, not a file", "not a regular file"
    ]  # fmt: skip


# Arrays


def test_arrays(command, tmp_path):
    np.save(tmp_path / "x.npy", X)
    assert command("fit", "x.npy", *FIT)[0] == 0
    bad = X.copy()
    bad[17, 2] = np.nan
    np.save(tmp_path / "nan.npy", bad)
    np.save(tmp_path / "wide.npy", np.ones((3, 9), np.float32))
    np.save(tmp_path / "none.npy", X[:0])
    np.save(tmp_path / "line.npy", X[0])
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object))
    np.savez(tmp_path / "objects.npz", features=np.array([[None]], dtype=object))
    np.savez(tmp_path / "short.npz", features=X, labels=[0, 1])
    np.savez(tmp_path / "missing.npz", features=X, labels=np.where(np.arange(60) == 7, np.nan, 0))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:300])
    np.savez(tmp_path / "whole.npz", features=X)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:300])
    save_file({"features": X}, tmp_path / "whole.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:300])
    (tmp_path / "text.npy").write_text("hello")
    for name, says in {
        "nan.npy": "features row 17: 1 of 4 values are NaN or infinite",
        "wide.npy": "knn was fitted on 4 features, these inputs have 9",
        "none.npy": "no rows, features has shape (0, 4)",
        "line.npy": "shape (4,) is neither features (N, D) nor images",
        "objects.npy": "holds Python objects (pickle), which are never loaded: save plain arrays",
        "objects.npz": "holds Python objects (pickle), which are never loaded: save plain arrays",
        "short.npz": "features has 60 rows, labels has 2",
        "missing.npz": "labels are of type float64, expected integers or strings",
        "cut.npy": "truncated after 300 of 1,088 bytes",
        "cut.npz": "damaged .npz file",
        "cut.safetensors": "truncated after 300 of",
        "text.npy": "not an .npy array",
    }.items():
        fails(command("score", "guard.unseen", name), 3, says)


def bomb(path, size, *, claimed=None):
    """A compressed .npz of ``size`` zero bytes in an array of float32."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("features.npy", "w") as member:
        rows = (size if claimed is None else claimed) // 4
        np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": (rows, 1)})
        for start in range(0, size, 1 << 16):
            member.write(bytes(min(1 << 16, size - start)))


def test_a_bomb_in_an_npz_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "_UNPACKED", 1 << 20)
    bomb(tmp_path / "bomb.npz", 4 << 20)
    assert (tmp_path / "bomb.npz").stat().st_size < 10_000
    monkeypatch.setattr(np, "empty", lambda *_: pytest.fail("nothing may be unpacked"))
    with pytest.raises(BadInput, match=r"bytes packed into .* more than 100 times smaller: if you trust"):
        open_inputs(tmp_path / "bomb.npz")


def test_what_shrinks_as_features_do_is_read_at_any_size(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "_UNPACKED", 1 << 10)
    sparse = np.where(np.random.default_rng(0).random((500, 40)) < 0.9, 0, 1).astype(np.float32)  # after a ReLU
    np.savez_compressed(tmp_path / "f.npz", features=sparse)
    np.testing.assert_array_equal(open_inputs(tmp_path / "f.npz").columns["features"], sparse)


def test_an_array_that_claims_to_be_larger_than_its_file_is_truncated(tmp_path):
    bomb(tmp_path / "f.npz", 1000, claimed=1 << 40)
    with pytest.raises(BadInput, match="truncated after 1,128 of 1,099,511,627,904 bytes"):
        open_inputs(tmp_path / "f.npz")


def test_a_safetensors_header_is_not_read_at_any_length(tmp_path):
    path = tmp_path / "f.safetensors"
    path.write_bytes(struct.pack("<Q", 200_000_000) + b"{}")
    with path.open("r+b") as file:
        file.truncate(300_000_000)  # a sparse file
    with pytest.raises(BadInput, match="not a safetensors file"):
        open_inputs(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_flipped_byte_in_a_compressed_member_is_found(tmp_path, method):
    """The checksum is compared although only as much as the header asks for is read."""
    with zipfile.ZipFile(tmp_path / "f.npz", "w", method) as archive, archive.open("features.npy", "w") as member:
        np.lib.format.write_array(member, X)
    whole = (tmp_path / "f.npz").read_bytes()
    for at in range(60, len(whole) - 120, 37):
        (tmp_path / "g.npz").write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(BadInput):
            open_inputs(tmp_path / "g.npz")


def test_a_name_twice_in_one_npz(tmp_path):
    with zipfile.ZipFile(tmp_path / "f.npz", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zipfile, on the name
        for _ in range(2):
            with archive.open("features.npy", "w") as member:
                np.lib.format.write_array(member, X)
    with pytest.raises(BadInput, match="holds features twice"):
        open_inputs(tmp_path / "f.npz")


def test_letters_that_are_none(tmp_path):
    """Numbers above the last letter of Unicode in an array of text: Python itself would stop with a SystemError."""
    for order in "<>":
        letters = np.zeros(60, f"{order}U2")
        letters.view(f"{order}u4")[:] = 0x41
        fine = {"features": X, "labels": letters.copy()}
        assert open_inputs(fine).classes == ("AA",)
        letters.view(f"{order}u4")[7] = 0x110000
        np.savez(tmp_path / "f.npz", features=X, labels=letters)
        with pytest.raises(BadInput, match="labels hold text that is not Unicode"):
            open_inputs(tmp_path / "f.npz")


def test_numbers_of_another_byte_order_and_longer_ones():
    swapped = encode({"features": X.astype(">f8")}, "arrays")
    np.testing.assert_array_equal(swapped.gather("features").numpy(), X.astype(np.float64))
    np.testing.assert_array_equal(Signals({"features": X.astype(">f4")}).gather("features").numpy(), X)
    if np.dtype(np.longdouble).itemsize > 8:
        with pytest.raises(BadInput, match="expected real numbers of at most 64 bits"):
            open_inputs({"features": X.astype(np.longdouble)})


@pytest.mark.parametrize("value", [[[1.0], [1.0, 2.0]], [[1, 2], "a"]])
def test_rows_of_different_length(value):
    with pytest.raises(BadInput, match=r"features is not an array|features is of type"):
        open_inputs({"features": value})


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (["cat", float("nan")], "label of row 1 is missing"),
        (["cat", None], "label of row 1 is missing"),
        (["cat", " "], "label of row 1 is missing"),
        (np.array(["cat", np.nan], dtype=object), "label of row 1 is missing"),
        ([0, float("nan")], "label of row 1 is nan"),
        ([0, 1e300], "label of row 1 is 1e.300"),
        ([0.5, 1], "label of row 0 is 0.5"),
        ([[0], [1, 2]], "labels must be one a row"),
        ([-1, 0], "label of row 0 is -1"),
        (["-1", "a"], "label -1 is negative"),
    ],
)
def test_labels(labels, says):
    with pytest.raises(BadInput, match=says):
        coded(labels)


def test_labels_beyond_what_a_signed_number_holds():
    assert coded(np.array([2**63 + 5, 1], np.uint64))["classes"] == ("1", str(2**63 + 5))
    assert coded([b"cat", b"dog"])["classes"] == ("cat", "dog")
    assert coded([2, "b"])["classes"] == ("2", "b")
