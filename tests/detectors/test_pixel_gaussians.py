"""PixelGaussians: an independent density, colours that trade places, few inputs, and what the encoder gives."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from unseen import PixelGaussians, encode
from unseen.errors import NotEnoughKnown, WrongUse

RNG = np.random.default_rng(0)
KNOWN = RNG.uniform(size=(80, 4, 4, 3)) * [0.2, 0.5, 1.0]
ASKED = RNG.uniform(size=(9, 4, 4, 3))


def rows(images):
    return {"pixels": images.reshape(len(images), -1)}


def test_three_independent_densities():
    """The colours are the last axis of the images, as the encoder flattens them."""
    expected = np.zeros(len(ASKED))
    for c in range(3):
        known, asked = KNOWN[..., c].reshape(80, 16), ASKED[..., c].reshape(9, 16)
        noise = np.eye(16) / 12 / 256**2
        expected += multivariate_normal(known.mean(axis=0), np.cov(known.T) + noise).logpdf(asked)
    found = PixelGaussians().fit(rows(KNOWN)).score(rows(ASKED))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_colours_that_trade_places_together_change_nothing():
    one = PixelGaussians().fit(rows(KNOWN)).score(rows(ASKED))
    other = PixelGaussians().fit(rows(KNOWN[..., [2, 0, 1]])).score(rows(ASKED[..., [2, 0, 1]]))
    np.testing.assert_allclose(other, one, rtol=1e-9)


def test_fewer_inputs_than_pixels_have_a_density():
    """What the known never do is unlikely, not impossible: the noise of one level keeps the covariance whole."""
    detector = PixelGaussians().fit(rows(KNOWN[:5]))
    inside, outside = detector.score(rows(np.stack([KNOWN[:5].mean(axis=0), KNOWN[:5].mean(axis=0) + 0.1 * ASKED[0]])))
    assert np.isfinite([inside, outside]).all()
    assert inside > outside


def test_from_images():
    images = RNG.integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    known = encode({"images": images}, "pixels?size=4", ["pixels"], cache=False)
    assert known.signals.width("pixels") == 48
    assert np.isfinite(PixelGaussians().fit(known).score(known)).all()


@pytest.mark.parametrize(
    ("channels", "count", "error", "message"),
    [
        (0, 80, WrongUse, "whole number from 1"),
        (5, 80, WrongUse, "48 values are no whole number of pixels of 5 channels"),
        (3, 1, NotEnoughKnown, "two known inputs"),
    ],
)
def test_what_cannot_be_learnt(channels, count, error, message):
    with pytest.raises(error, match=message):
        PixelGaussians(channels).fit(rows(KNOWN[:count]))
