"""Encoders by name: what is written in one line, and every way to write it wrongly. Pixels and arrays."""

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from unseen.encoders import encode, open_encoder
from unseen.encoders.arrays import Arrays
from unseen.encoders.pixels import Pixels
from unseen.errors import BadInput, WrongUse


def test_names_arguments_and_options():
    assert open_encoder("pixels").id == "pixels:16x16"
    assert open_encoder("pixels?size=4").id == "pixels:4x4"
    assert open_encoder("pixels:?size=4").id == "pixels:4x4"
    assert open_encoder("arrays:resnet 50").id == "arrays:resnet 50"
    assert open_encoder("arrays?source=a%26b%3Dc").id == "arrays:a&b=c"
    assert open_encoder("arrays?source=1e3").id == "arrays:1e3"  # a name stays a name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not an encoder: write name"),
        ("pixels size=3", "is not an encoder: write name"),
        ("pixel", "did you mean 'pixels'"),
        ("base", "no encoder is called 'base'"),
        ("_module", "no encoder is called '_module'"),
        ("pixels?sise=3", "has no option 'sise'; did you mean 'size'"),
        ("pixels?colour=3", "has no option 'colour'; it takes size"),
        ("packaged?state=3", "has no option 'state'; it takes none"),
        ("packaged:lite1", "takes no argument"),
        ("pixels?size", "write options as name=value, got 'size'"),
        ("pixels?size=3&size=4", "size is given twice"),
        ("torch:a.py:net?path=b.py:net", "path is given twice"),
        ("torch", "torch needs a path: write torch:PATH"),
        ("timm?size=3", "timm needs a model: write timm:MODEL"),
        ("pixels?size=0", "from 1"),
        ("pixels?size=big", "from 1"),
        ("pixels?size=2.5", "from 1"),
        ("pixels?size=True", "from 1"),
    ],
)
def test_wrong_specifications_say_what_is_wrong(text, message):
    with pytest.raises(WrongUse, match=message) as caught:
        open_encoder(text)
    assert "\n" not in str(caught.value)
    assert "__init__" not in str(caught.value)


def test_an_encoder_passes_through_and_stays_where_it_is():
    class Moved(Pixels):
        def to(self, device):
            raise AssertionError("moved unasked")

    encoder = Moved()
    assert open_encoder(encoder) is encoder


def test_pixels_by_hand():
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[:2, :3] = (255, 0, 51)
    picture[2:, 3:] = (0, 102, 0)
    encoder = Pixels(2)
    small = encoder.prepare(picture)
    answer = encoder.answer(small[None], frozenset({"features"}))["features"]
    expected = [[1, 0, 0.2], [0, 0, 0], [0, 0, 0], [0, 0.4, 0]]
    torch.testing.assert_close(answer, torch.tensor(expected).reshape(1, 12))


def test_pixels_average_what_they_shrink():
    checks = (np.indices((8, 8)).sum(0) % 2 * 255).astype(np.uint8)
    support = encode({"images": checks[None]}, "pixels?size=2", cache=False)
    assert support.signals.gather("features") == pytest.approx(128 / 255, abs=1 / 255)


def test_pixels_know_nothing_else():
    with pytest.raises(WrongUse, match="pixels give features only, not logits"):
        Pixels().answer(np.zeros((1, 16, 16, 3), np.uint8), frozenset({"logits"}))
    with pytest.raises(WrongUse, match="pixels has no network"):
        _ = Pixels().module


def test_pixels_and_arrays_come_back_from_their_description():
    for encoder in (Pixels(5), Arrays("mine"), Arrays()):
        assert encoder.state() == {}
        again = type(encoder).restore(encoder.describe(), {})
        assert again.id == encoder.id


@pytest.mark.parametrize("end", ["npy", "npz", "safetensors"])
def test_arrays_pass_through_without_a_copy(tmp_path, end):
    features = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    path = tmp_path / f"stored.{end}"
    if end == "npy":
        np.save(path, features)
    elif end == "npz":
        np.savez(path, features=features, logits=features[:, :2], labels=np.array(list("aabbcc")))
    else:
        save_file({"features": features, "logits": features[:, :2].copy()}, path)
    support = encode(path, "arrays:net")
    assert support.encoder == "arrays:net"
    np.testing.assert_array_equal(support.signals.gather("features"), features)
    assert support.signals.names == (("features",) if end == "npy" else ("features", "logits"))
    assert support.classes == (("a", "b", "c") if end == "npz" else ())
    column = support.signals._columns["features"]
    while column.base is not None and not isinstance(column, np.memmap):
        column = column.base
    assert isinstance(column, np.memmap)  # the file itself, not what was read from it


def test_arrays_in_memory_are_shared():
    features = np.eye(3, dtype=np.float32)
    support = encode({"features": features, "logits": features * 2}, "arrays", wanted={"logits", "features"})
    assert support.signals.names == ("features", "logits")
    assert np.shares_memory(support.signals._columns["features"], features)


def test_arrays_name_what_is_missing():
    with pytest.raises(WrongUse, match="the arrays hold features; there is no embedding, logits"):
        encode({"features": np.eye(3)}, "arrays", {"logits", "embedding"})


def test_arrays_with_nan_name_the_row():
    features = np.eye(3, dtype=np.float32)
    features[1, 2] = np.nan
    with pytest.raises(BadInput, match="features row 1"):
        encode({"features": features}, "arrays").signals.gather("features")
