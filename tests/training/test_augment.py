import numpy as np
import pytest
from PIL import Image

from unseen.data import open_inputs
from unseen.data.batch import Rows
from unseen.errors import BadInput, WrongUse
from unseen.training import Augment, ImageRows

PLAIN = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0, "jitter": 0.0, "grey": 0.0}


def picture(height=40, width=40, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_nothing_is_changed_where_nothing_may_be():
    image = picture()
    np.testing.assert_array_equal(Augment((40, 40), **PLAIN)(image, np.random.default_rng(0)), image)


def test_flip_and_grey_by_hand():
    image = picture()
    mirrored = Augment((40, 40), **{**PLAIN, "flip": 1.0})(image, np.random.default_rng(0))
    np.testing.assert_array_equal(mirrored, image[:, ::-1])
    grey = Augment((40, 40), **{**PLAIN, "grey": 1.0})(image, np.random.default_rng(0))
    assert (grey == grey[..., :1]).all()
    np.testing.assert_allclose(grey[..., 0], image @ np.array([0.299, 0.587, 0.114]), atol=1)


def test_probabilities_and_shares_are_as_declared():
    augment, random = Augment((8, 8), jitter=0.0), np.random.default_rng(1)
    ramp = np.repeat(np.arange(60, dtype=np.uint8)[None, :, None] * 4, 60, axis=0).repeat(3, axis=2).copy()
    ramp[..., 0] = 0  # a picture with colours
    seen = [augment(ramp, random) for _ in range(600)]
    grey = np.mean([(one == one[..., :1]).all() for one in seen])
    flipped = np.mean([one[0, 0, 1] > one[0, -1, 1] for one in seen])
    assert grey == pytest.approx(0.1, abs=0.04)
    assert flipped == pytest.approx(0.5, abs=0.07)


def test_the_part_has_the_area_and_the_shape_that_are_asked_for():
    augment, random = Augment((8, 8), scale=(0.2, 0.6)), np.random.default_rng(2)
    boxes = np.array([augment._box(100, 150, random) for _ in range(400)])
    across, down = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2] <= 150).all()
    assert (boxes[:, 3] <= 100).all()
    area, shape = across * down / 15_000, across / down
    assert area.min() == pytest.approx(0.2, abs=0.02)
    assert area.max() == pytest.approx(0.6, abs=0.03)
    assert shape.min() == pytest.approx(3 / 4, abs=0.03)
    assert shape.max() == pytest.approx(4 / 3, abs=0.05)
    assert len(np.unique(boxes[:, 0])) > 50


def test_a_very_long_picture_gives_its_middle():
    """No box of a shape up to 4:3 holds 80 % of 10 x 1000: the middle 13 columns (10 * 4/3)."""
    assert Augment((8, 8))._box(10, 1000, np.random.default_rng(0)) == (493, 0, 506, 10)
    assert Augment((8, 8))._box(1000, 10, np.random.default_rng(0)) == (0, 493, 10, 506)


def test_hue_turns_around_the_circle():
    """A third of the circle makes red green; the factors of the other changes are 1."""
    still = {**PLAIN, "jitter": 1.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0}

    class Third:
        def random(self):
            return 0.0

        def permutation(self, n):
            return np.arange(n)

        def uniform(self, low, high):
            return 1 / 3 if low < 0 else low

        def integers(self, low, high):
            return low

    red = np.array(Image.new("RGB", (4, 4), (255, 0, 0)))
    turned = Augment((4, 4), **{**still, "hue": 0.5, "flip": 0.0})(red, Third())
    np.testing.assert_allclose(turned[0, 0], [0, 255, 0], atol=4)


def test_jitter_changes_what_it_names():
    image = picture()
    for name in ("brightness", "contrast", "saturation", "hue"):
        others = {other: 0.0 for other in ("brightness", "contrast", "saturation", "hue") if other != name}
        most = {"hue": 0.5} if name == "hue" else {}
        changed = Augment((40, 40), **{**PLAIN, "jitter": 1.0, **others, **most})(image, np.random.default_rng(3))
        none = Augment((40, 40), **{**PLAIN, "jitter": 1.0, **others, name: 0.0})(image, np.random.default_rng(3))
        assert np.abs(changed.astype(int) - image).mean() > 2, name
        assert np.abs(none.astype(int) - image).mean() < 2, name  # hues are rounded on their way


@pytest.mark.parametrize(
    "options",
    [
        {"scale": (0.0, 1.0)},
        {"scale": (0.9, 0.8)},
        {"ratio": (2.0, 1.0)},
        {"flip": 1.5},
        {"hue": 0.6},
        {"contrast": -1},
    ],
)
def test_what_cannot_work_is_named(options):
    with pytest.raises(WrongUse, match=next(iter(options))):
        Augment((8, 8), **options)


@pytest.fixture
def images():
    return open_inputs({"images": np.stack([picture(20, 24, seed) for seed in range(6)]), "labels": np.arange(6) % 2})


def test_a_row_looks_alike_in_any_batch_and_another_time_otherwise(images):
    augment = Augment((16, 16))
    rows = ImageRows(images, augment, lambda image: image[:16, :16], workers=3)
    whole = rows.read(Rows(np.arange(6)), (0, 0, 0))
    assert whole.shape == (6, 3, 16, 16)
    assert 0 <= float(whole.min()) <= float(whole.max()) <= 1
    order = np.array([4, 1, 5])
    again = ImageRows(images, augment, lambda image: image, workers=1).read(Rows(order), (0, 0, 0))
    assert again.equal(whole[order])
    assert not rows.read(Rows(np.arange(6)), (0, 1, 0))[2].equal(whole[2])  # another epoch
    assert not rows.read(Rows(np.arange(6)), (0, 0, 1))[2].equal(whole[2])  # another view
    assert not rows.read(Rows(np.arange(6)), (1, 0, 0))[2].equal(whole[2])  # another seed
    twice = rows.read(Rows(np.array([2, 2]), draw=np.array([0, 1])), (0, 0, 0))
    assert twice[0].equal(whole[2])
    assert not twice[1].equal(twice[0])


def test_plain_images_are_prepared_only(images):
    rows = ImageRows(images, Augment((16, 16)), lambda image: image[:16, :16])
    got = rows.plain(np.array([3]))[0].permute(1, 2, 0) * 255
    np.testing.assert_allclose(got, images.read(3)[:16, :16], atol=1e-3)
    bare = ImageRows(images, None, lambda image: image[:16, :16])
    assert bare.read(Rows(np.array([3])), (0, 0, 0)).equal(rows.plain(np.array([3])))


def test_arrays_are_no_images():
    with pytest.raises(BadInput, match="holds arrays"):
        ImageRows(open_inputs({"features": np.eye(3)}), None, lambda image: image)
