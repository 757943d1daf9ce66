"""One file to RGB: by-hand pixels for every colour mode, one exact reason for every kind of damage."""

import io
import os
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unseen.data import Unreadable, open_inputs, read_image
from unseen.errors import BadInput

GREY = np.array([[0, 128, 255]], dtype=np.uint8)  # (1, 3)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def reason(path):
    with pytest.raises(Unreadable) as caught:
        read_image(path)
    assert "\n" not in caught.value.reason
    return caught.value.reason


def test_rgb_is_read_as_it_is_and_may_be_written(tmp_path):
    pixels = noise(5, 7)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png")
    assert read.dtype == np.uint8
    assert read.flags.writeable
    np.testing.assert_array_equal(read, pixels)


@pytest.mark.parametrize(("suffix", "dtype"), [("png", np.uint16), ("tif", np.uint16), ("tif", ">u2")])
def test_sixteen_bits_are_scaled_not_cut(tmp_path, suffix, dtype):
    wide = np.array([[0, 257, 128 * 257, 65535, 300]], dtype=dtype)
    path = tmp_path / f"a.{suffix}"
    if dtype == ">u2":
        Image.frombytes("I;16B", (5, 1), wide.tobytes()).save(path)
    else:
        Image.fromarray(wide).save(path)
    assert read_image(path)[0].tolist() == [[v] * 3 for v in (0, 1, 128, 255, 1)]


def test_sixteen_bit_pgm(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 2 1 65535\n" + struct.pack(">2H", 65535, 257))
    assert read_image(tmp_path / "a.pgm")[0, :, 0].tolist() == [255, 1]


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA"])
def test_grey_and_palette(tmp_path, mode):
    expected = [0, 255, 255] if mode == "1" else [0, 128, 255]
    source = np.where(GREY > 127, 255, 0).astype(np.uint8) if mode == "1" else GREY
    Image.fromarray(source).convert(mode).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[0].tolist() == [[v] * 3 for v in expected]


def test_alpha_is_composited_on_white(tmp_path):
    rgba = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 51]]], dtype=np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[0].tolist() == [[255, 0, 0], [255, 255, 255], [204, 204, 204]]


def test_transparent_palette_and_transparent_grey(tmp_path):
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8)).convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "p.png", transparency=b"\x00\xff")
    assert read_image(tmp_path / "p.png")[0].tolist() == [[255, 255, 255], [40, 50, 60]]
    Image.fromarray(GREY).save(tmp_path / "l.png", transparency=128)
    assert read_image(tmp_path / "l.png")[0, :, 0].tolist() == [0, 255, 255]


def test_cmyk(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)  # no cyan: red
    red = read_image(tmp_path / "a.jpg")[4, 4].astype(int)
    assert abs(red - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation, suffix):
    """The stored pixels are what a camera held that way would store of one upright picture."""
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :8] = 255  # white corner, top left
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, **({"quality": 95} if suffix == "jpg" else {}))
    read = read_image(path)
    assert read.shape == (16, 32, 3)
    assert abs(read.astype(int) - upright).max() < 60


def test_damaged_exif_does_not_refuse_good_pixels(tmp_path):
    Image.fromarray(noise(4, 4)).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    assert read_image(tmp_path / "a.jpg").shape == (4, 4, 3)


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (3, 2), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "a.gif")[0, 0].tolist() == [255, 0, 0]


def test_one_pixel_and_a_name_in_other_letters(tmp_path):
    path = tmp_path / "чашка 猫 é.png"
    Image.fromarray(noise(1, 1)).save(path)
    assert read_image(path).shape == (1, 1, 3)
    assert list(open_inputs(tmp_path).keys) == ["чашка 猫 é.png"]


def test_every_suffix_that_pillow_writes_comes_back(tmp_path):
    for suffix in ("bmp", "gif", "ico", "jp2", "jpeg", "png", "ppm", "tiff", "webp"):
        path = tmp_path / f"a.{suffix}"
        Image.fromarray(noise(16, 16)).save(path)
        assert read_image(path).shape == (16, 16, 3), suffix


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_without_a_fixed_range_are_refused(tmp_path, mode):
    Image.fromarray(np.array([[0, 70000]], np.float32 if mode == "F" else np.int32)).save(tmp_path / "a.tif")
    assert "no fixed range" in reason(tmp_path / "a.tif")


def test_reasons(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("hello, I am no image\n" * 20)
    (tmp_path / "head.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "round.jpg").symlink_to(tmp_path / "round.jpg")
    os.mkfifo(tmp_path / "fifo.jpg")
    assert reason(tmp_path / "empty.jpg") == "empty file"
    assert reason(tmp_path / "text.jpg") == "not an image"
    assert reason(tmp_path / "head.png") == "damaged image: its header cannot be read"
    assert reason(tmp_path / "folder.jpg") == "a folder, not a file"
    assert reason(tmp_path / "none.jpg") == "no such file"
    assert reason(tmp_path / "broken.jpg") == "a link to a file that is not there"
    assert "symbolic links" in reason(tmp_path / "round.jpg")
    assert reason(tmp_path / "fifo.jpg") == "not a regular file"
    assert reason("a\0b.jpg") == "not a possible file name"
    assert reason(str(tmp_path / ("x" * 300 + ".jpg"))) == "file name too long"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_forbidden_file(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "a.jpg").chmod(0)
    assert reason(tmp_path / "a.jpg") == "permission denied"


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [
        ("jpg", "truncated after 3,000 bytes"),
        ("png", "truncated after 3,000 bytes"),
        ("bmp", "truncated after 3,000 of 12,342 bytes"),
        ("webp", "truncated after 3,000 of "),
    ],
)
def test_truncated(tmp_path, suffix, expected):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise(64, 64)).save(path, **({"lossless": True} if suffix == "webp" else {}))
    path.write_bytes(path.read_bytes()[:3000])
    assert reason(path).startswith(expected)


def test_the_row_is_named(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.jpg").touch()
    with pytest.raises(BadInput, match=r"^cat/1.jpg: empty file$") as caught:
        open_inputs(tmp_path).read(0)
    assert caught.value.reason == "empty file"
    assert caught.value.key == "cat/1.jpg"


@pytest.mark.parametrize("limit", [50, 80])  # Pillow stops above twice the limit and warns above it
def test_bomb_is_refused_without_a_warning(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    Image.fromarray(noise(11, 11)).save(tmp_path / "a.png")
    assert "too many pixels" in (text := reason(tmp_path / "a.png")) or "121 pixels" in text
    assert f"limit is {limit}" in text
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        reason(tmp_path / "a.png")
    assert not heard


def test_the_filter_of_warnings_is_left_as_it_was(tmp_path):
    Image.fromarray(noise(3, 3)).save(tmp_path / "a.png")
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        shapes = {image.shape for image in pool.map(read_image, [tmp_path / "a.png"] * 200)}
    assert shapes == {(3, 3, 3)}
    assert warnings.filters == before


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_random_damage_is_unreadable_or_pixels(tmp_path_factory, data):
    """Any bytes, and any image with some bytes altered: RGB or Unreadable, nothing else."""
    kind = data.draw(st.sampled_from(["raw", "jpeg", "png", "gif", "webp", "tiff", "bmp", "ppm", "ico"]))
    if kind == "raw":
        content = bytearray(data.draw(st.binary(min_size=1, max_size=200)))
    else:
        file = io.BytesIO()
        Image.fromarray(noise(16, 16)).save(file, kind)
        content = bytearray(file.getvalue())
        for _ in range(data.draw(st.integers(0, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        content = content[: data.draw(st.integers(1, len(content)))]
    path = tmp_path_factory.getbasetemp() / "fuzz.img"
    path.write_bytes(content)
    try:
        pixels = read_image(path)
    except Unreadable:
        return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
