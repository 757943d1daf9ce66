"""Resizing and cropping: against Pillow step by step, and by hand."""

import json

import numpy as np
import pytest
from PIL import Image

from unseen.data import Preprocess
from unseen.errors import BadInput, WrongUse


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def step_by_step(image, size, fraction, method):
    """Short side to round(size / fraction), then the middle: two calls of Pillow."""
    height, width = image.shape[:2]
    short = round(size / fraction)
    wide = height < width
    scaled = (int(short * width / height), short) if wide else (short, int(short * height / width))
    whole = np.asarray(Image.fromarray(image).resize(scaled, method))
    top, left = round((scaled[1] - size) / 2), round((scaled[0] - size) / 2)
    return whole[top : top + size, left : left + size]


@pytest.mark.parametrize("shape", [(50, 80), (80, 50), (33, 33), (300, 210), (10, 25)])
@pytest.mark.parametrize(("size", "fraction"), [(32, 0.875), (31, 1.0), (24, 0.9)])
@pytest.mark.parametrize("method", ["bicubic", "bilinear", "lanczos"])
def test_crop_is_resize_then_crop(shape, size, fraction, method):
    image = noise(*shape)
    ours = Preprocess(size, "crop", fraction, method)(image)
    theirs = step_by_step(image, size, fraction, Image.Resampling[method.upper()])
    assert ours.shape == (size, size, 3)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("shape", [(4, 2000), (2000, 4)])
def test_of_elongated_pictures_the_middle_is_scaled(shape):
    """The other way of computing it agrees; only where 8 bits overflow may the order of passes show."""
    image = noise(*shape) // 4 + 96  # no overshoot beyond 0..255
    ours = Preprocess(12, crop_fraction=1.0)(image)
    theirs = step_by_step(image, 12, 1.0, Image.Resampling.BICUBIC)
    assert abs(ours.astype(int) - theirs).max() <= 1


def test_by_hand():
    """The middle third of three stripes, nothing scaled."""
    stripes = np.zeros((4, 12, 3), np.uint8)
    stripes[:, 4:8] = [0, 200, 0]
    assert (Preprocess(4, crop_fraction=1.0)(stripes) == [0, 200, 0]).all()
    squashed = Preprocess((4, 3), "squash", interpolation="box")(stripes)
    assert squashed[0].tolist() == [[0, 0, 0], [0, 200, 0], [0, 0, 0]]


def test_a_colour_stays_itself_and_the_input_too():
    image = np.full((37, 91, 3), [10, 200, 255], np.uint8)
    before = image.copy()
    for recipe in (Preprocess(20), Preprocess((20, 30)), Preprocess((30, 20), "squash")):
        out = recipe(image)
        assert out.shape == (*recipe.shape, 3)
        assert out.dtype == np.uint8
        assert (out == [10, 200, 255]).all()
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("shape", [(1, 1), (1, 200_000), (200_000, 1), (3, 2)])
def test_extreme_shapes_need_no_more_memory(shape):
    assert Preprocess(224)(np.full((*shape, 3), 7, np.uint8)).shape == (224, 224, 3)
    assert Preprocess((32, 64), crop_fraction=0.5)(np.full((*shape, 3), 7, np.uint8)).shape == (32, 64, 3)


def test_describe_comes_back_through_json():
    for recipe in (Preprocess(224), Preprocess((32, 48), "crop", 0.9, "bilinear"), Preprocess(8, "squash")):
        described = json.loads(json.dumps(recipe.describe()))
        again = Preprocess(**described)
        assert again.describe() == recipe.describe()
        np.testing.assert_array_equal(again(noise(40, 60)), recipe(noise(40, 60)))
    assert Preprocess(224).describe() == {
        "size": [224, 224],
        "resize": "crop",
        "crop_fraction": 0.875,
        "interpolation": "bicubic",
    }
    assert "crop_fraction" not in Preprocess(8, "squash").describe()
    assert len({Preprocess([3, 4]), Preprocess((3, 4))}) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size must be a positive integer"),
        ({"size": (1, 2, 3)}, "size must be"),
        ({"size": 2.5}, "size must be"),
        ({"size": 8, "resize": "pad"}, 'resize must be "crop" or "squash"'),
        ({"size": 8, "crop_fraction": 0.0}, "crop_fraction"),
        ({"size": 8, "interpolation": "cubic"}, "interpolation must be one of nearest, .*'cubic'"),
    ],
)
def test_wrong_use(arguments, message):
    with pytest.raises(WrongUse, match=message):
        Preprocess(**arguments)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1), (0, 4, 3)])
def test_bad_input(shape):
    with pytest.raises(BadInput, match=r"expected uint8 \(H, W, 3\)"):
        Preprocess(8)(np.zeros(shape, np.uint8))
    with pytest.raises(BadInput, match="float64"):
        Preprocess(8)(np.zeros((4, 4, 3)))
