"""Arrays from .npy, .npz, .safetensors and memory; mapped, never unpickled, errors by name and row."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from unseen.data import open_inputs
from unseen.errors import BadInput, UnseenError

X = np.arange(12, dtype=np.float32).reshape(4, 3)


def is_mapped(array):
    while array is not None and not isinstance(array, np.memmap):
        array = array.base
    return array is not None


def test_npy_features(tmp_path):
    np.save(tmp_path / "f.npy", X)
    inputs = open_inputs(tmp_path / "f.npy")
    assert inputs.kind == "arrays"
    assert list(inputs.keys) == ["f.npy[0]", "f.npy[1]", "f.npy[2]", "f.npy[3]"]
    assert inputs.keys[-1] == "f.npy[3]"
    assert list(inputs.keys[1:3]) == ["f.npy[1]", "f.npy[2]"]
    assert inputs.read(1).tolist() == [3, 4, 5]
    assert inputs.labels is None
    assert is_mapped(inputs.columns["features"])
    assert inputs.columns["features"].shape == (4, 3)
    assert inputs.read(0).flags.writeable


def test_columns_of_a_view(tmp_path):
    np.save(tmp_path / "f.npy", X)
    inputs = open_inputs(tmp_path / "f.npy")
    piece, scattered = inputs.take([1, 2]), inputs.take([3, 0])
    assert is_mapped(piece.columns["features"])
    np.testing.assert_array_equal(piece.columns["features"], X[1:3])
    np.testing.assert_array_equal(scattered.columns["features"], X[[3, 0]])
    np.testing.assert_array_equal(scattered.block(1, 2)["features"], X[:1])
    assert list(scattered.keys) == ["f.npy[3]", "f.npy[0]"]
    assert inputs.take([]).columns["features"].shape == (0, 3)
    assert "logits" not in inputs.columns


@pytest.mark.parametrize("shape", [(2, 5, 6), (2, 5, 6, 1), (2, 5, 6, 3)])
def test_npy_images(tmp_path, shape):
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.save(tmp_path / "i.npy", images)
    inputs = open_inputs(tmp_path / "i.npy")
    assert inputs.kind == "images"
    read = inputs.read(1)
    assert read.shape == (5, 6, 3)
    assert read.flags.writeable
    np.testing.assert_array_equal(read, np.broadcast_to(images[1].reshape(5, 6, -1), (5, 6, 3)))
    assert inputs.digest(0) != inputs.digest(1)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, save):
    save(
        tmp_path / "f.npz",
        features=X,
        logits=np.asfortranarray(X[:, :2]),
        labels=np.array(["dog", "cat", "dog", "dog"]),
        groups=np.array([7, 7, 2, 2]),
        keys=np.array(["w", "x", "y", "z"]),
        extra=np.zeros(3),
    )
    inputs = open_inputs(tmp_path / "f.npz")
    assert inputs.classes == ("cat", "dog")
    assert inputs.labels.tolist() == [1, 0, 1, 1]
    assert inputs.groups.tolist() == [0, 0, 1, 1]
    assert list(inputs.keys) == ["w", "x", "y", "z"]
    assert sorted(inputs.columns) == ["features", "logits"]
    np.testing.assert_array_equal(inputs.columns["logits"], X[:, :2])
    assert is_mapped(inputs.columns["features"]) == (save is np.savez)
    assert inputs.notes == ("arrays that are not read: extra",)


def test_safetensors(tmp_path):
    path = tmp_path / "f.safetensors"
    save_file({"features": X, "labels": np.array([0, 1, 1, 0])}, path, metadata={"classes": '["zebra", "ant"]'})
    inputs = open_inputs(path)
    assert inputs.classes == ("zebra", "ant")  # the order given is the order of the codes
    assert inputs.labels.tolist() == [0, 1, 1, 0]
    np.testing.assert_array_equal(inputs.columns["features"], X)
    assert is_mapped(inputs.columns["features"])


def test_bfloat16(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    save_torch({"features": torch.tensor([[1.5, -2.0], [0.0, 3.0]]).bfloat16()}, tmp_path / "f.safetensors")
    inputs = open_inputs(tmp_path / "f.safetensors")
    assert inputs.columns["features"].tolist() == [[1.5, -2.0], [0.0, 3.0]]


def test_in_memory():
    assert open_inputs(X).read(2).tolist() == [6, 7, 8]
    inputs = open_inputs({"features": X.astype(np.float16), "labels": ["b", "a", "b", "b"], "keys": list("wxyz")})
    assert inputs.classes == ("a", "b")
    assert inputs.read(0).dtype == np.float32
    assert inputs.keys == tuple("wxyz")
    assert open_inputs({"logits": X}).read(0).tolist() == [0, 1, 2]
    assert open_inputs({"features": X.astype(np.float64)}).read(0).dtype == np.float64
    assert open_inputs({"features": X, "labels": np.array([b"b", b"a", b"b", b"b"])}).classes == ("a", "b")
    assert sorted(open_inputs({"features": X, "local": np.zeros((4, 5, 2))}).columns) == ["features", "local"]


def test_integer_labels_are_the_columns_of_the_logits():
    inputs = open_inputs({"logits": np.zeros((3, 4)), "labels": [3, 1, 1]})
    assert inputs.classes == ("0", "1", "2", "3")
    assert inputs.labels.tolist() == [3, 1, 1]
    beyond = open_inputs({"logits": np.zeros((3, 2)), "labels": [3, 1, 1]})
    assert beyond.classes == ("1", "3")
    assert "labels reach 3, the logits have 2 columns" in beyond.notes[0]
    alone = open_inputs({"features": X, "labels": np.array([10, 9, 9, 10], np.uint8)})
    assert alone.classes == ("9", "10")
    assert alone.labels.tolist() == [1, 0, 0, 1]


def test_digest_is_of_all_columns_and_of_the_type():
    same = open_inputs({"features": X[[0, 0, 1]]}).digests()
    assert same[0] == same[1] != same[2]
    assert len(same[0]) == 32
    assert len(set(open_inputs({"features": X[[0, 0]], "logits": X[:2]}).digests())) == 2
    assert open_inputs(X[:1]).digest(0) == open_inputs(X[:1].astype(">f4")).digest(0)
    assert open_inputs(X[:1]).digest(0) != open_inputs(X[:1].astype("f8")).digest(0)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "no features; it holds nothing, names that are read are features"),
        ({"feature": X}, r'it holds feature, .*; did you mean "features"'),
        ({"features": X[:0]}, r"no rows, features has shape \(0, 3\)"),
        ({"features": X[0]}, r"features has shape \(3,\), expected \(N, D\)"),
        ({"features": X.astype(complex)}, "features is of type complex64|complex128"),
        ({"features": X, "logits": X[:2]}, "features has 4 rows, logits has 2"),
        ({"features": X, "labels": [1, 2]}, "features has 4 rows, labels has 2"),
        ({"features": X, "labels": [0, 1, -1, 0]}, r"array\[2\]: label -1 is negative"),
        ({"features": X, "labels": ["a", "", "b", "b"]}, r"array\[1\]: empty label"),
        (
            {"features": X, "labels": [0.0, 1, 1, 0]},
            "labels are of type float64, expected integers or strings",
        ),
        ({"features": X, "labels": [[0, 1]]}, "expected one axis"),
        (
            {"features": X, "labels": [0, 1, 2, 0], "classes": ["a", "b"]},
            r"array\[2\]: label 2, .* 2 classes",
        ),
        (
            {"features": X, "labels": ["Siamese"] * 4, "classes": ["siamese", "persian"]},
            r'label "Siamese" is not among the 2 classes; did you mean "siamese"',
        ),
        ({"features": X, "labels": [0] * 4, "classes": ["a", "a"]}, 'class "a" stands in classes twice'),
        ({"features": X, "labels": np.array([{}, 1, 2, 3], object)}, "labels holds Python objects"),
        ({"features": X, "labels": np.array([b"\xff"] * 4)}, "not UTF-8"),
        ({"features": X, "keys": ["a", "b", "b", "c"]}, 'two rows have the key "b"'),
        ({"features": X, "images": np.zeros((4, 2, 2), np.uint8)}, "holds images and features"),
        ({"images": np.zeros((4, 3, 8, 8), np.uint8)}, "put the channels last"),
        ({"images": np.zeros((4, 8, 8, 3), np.float32)}, "images are of type float32, expected uint8"),
        ({"images": np.zeros((4, 8, 8, 2), np.uint8)}, "neither features"),
    ],
)
def test_errors(arrays, message):
    with pytest.raises(BadInput, match=message) as caught:
        open_inputs(arrays)
    assert "\n" not in str(caught.value)


def test_pickles_are_never_loaded(tmp_path):
    objects = np.array([{"a": 1}], dtype=object)
    np.save(tmp_path / "f.npy", objects)
    np.savez(tmp_path / "f.npz", features=objects)
    np.savez_compressed(tmp_path / "g.npz", features=objects)
    for name in ("f.npy", "f.npz", "g.npz"):
        with pytest.raises(BadInput, match="pickle"):
            open_inputs(tmp_path / name)


def test_truncated(tmp_path):
    np.save(tmp_path / "f.npy", np.zeros((100, 10)))
    save_file({"features": np.zeros((100, 10))}, tmp_path / "f.safetensors")
    np.savez(tmp_path / "f.npz", features=X)
    for name, message in [
        ("f.npy", "truncated after 4,000 of 8,128 bytes"),
        ("f.safetensors", "truncated after 4,000 of 8,080 bytes"),
        ("f.npz", "damaged .npz file"),
    ]:
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[: 4000 if name != "f.npz" else 200])
        with pytest.raises(BadInput, match=message):
            open_inputs(path)


@pytest.mark.parametrize("suffix", ["npy", "npz", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello", b"\x93NUMPY\x01\x00", b"\xff" * 100])
def test_foreign_files(tmp_path, suffix, content):
    (tmp_path / f"f.{suffix}").write_bytes(content)
    with pytest.raises(BadInput, match=rf"f.{suffix}: (empty file|not an|not a|damaged)"):
        open_inputs(tmp_path / f"f.{suffix}")


def test_safetensors_metadata(tmp_path):
    path = tmp_path / "f.safetensors"
    save_file({"features": X}, path, metadata={"classes": '["a", 3]'})
    with pytest.raises(BadInput, match="metadata classes is not a JSON list of strings"):
        open_inputs(path)


@settings(deadline=None, max_examples=200)
@given(data=st.data(), kind=st.sampled_from(["npy", "npz", "z.npz", "safetensors"]))
def test_random_damage_never_crashes(tmp_path_factory, data, kind):
    path = tmp_path_factory.getbasetemp() / f"fuzz.{kind}"
    buffer = io.BytesIO()
    if kind == "npy":
        np.save(buffer, X)
    elif kind == "safetensors":
        save_file({"features": X, "labels": np.arange(4)}, path, metadata={"classes": '["a","b","c","d"]'})
        buffer.write(path.read_bytes())
    else:
        (np.savez if kind == "npz" else np.savez_compressed)(buffer, features=X, labels=np.arange(4))
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        inputs = open_inputs(path)
    except UnseenError:
        return
    assert len(inputs.digests()) == len(inputs)
    assert inputs.read(0).ndim in (1, 3)


def test_real_photographs_in_one_array(tmp_path):
    """Encoded bytes of real images, written out as files, come back as the pixels of the archive."""
    folder = os.environ.get("UNSEEN_TEST_DATA")
    if not folder or not (Path(folder) / "far_ood.npz").exists():
        pytest.skip("UNSEEN_TEST_DATA does not name the folder with far_ood.npz")
    with np.load(Path(folder) / "far_ood.npz") as archive:
        data, offset = archive["dtd_webp"], archive["dtd_offset"]
        mnist = archive["mnist"][:50]
    for i in range(20):
        (tmp_path / f"{i:02}.webp").write_bytes(data[offset[i] : offset[i + 1]].tobytes())
    textures = open_inputs(tmp_path)
    assert len(textures) == 20
    assert all(textures.read(i).shape == (64, 64, 3) for i in range(20))
    assert len(set(textures.digests())) == 20
    digits = open_inputs(mnist)
    np.testing.assert_array_equal(digits.read(7)[:, :, 1], mnist[7])
