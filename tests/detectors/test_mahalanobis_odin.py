"""Mahalanobis at a moved input: from the image by autograd, beside Mahalanobis, after a file, its errors."""

import numpy as np
import pytest
import torch
from torch import nn

from unseen import Mahalanobis, MahalanobisODIN, OpenSetClassifier, encode, load
from unseen.encoders.torch import Torch
from unseen.errors import WrongUse
from unseen.signals import Climbed

RNG = np.random.default_rng(0)
KNOWN, NEW = RNG.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8), RNG.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(40) % 2
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 5, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2)
        ).eval()


@pytest.fixture(scope="module")
def encoded(net):
    encoder = Torch(net, size=8)
    known = encode({"images": KNOWN, "labels": LABELS}, encoder, ["features"], cache=False)
    return known, encode({"images": NEW}, encoder, ["features"], cache=False)


@pytest.mark.parametrize("units", ["pixels", "normalised"])
def test_from_the_image(net, encoded, units):
    """Means and inverse covariance by NumPy, the step by autograd through both, each image alone."""
    known, new = encoded
    found = MahalanobisODIN(epsilon=0.01, units=units, floor=0.0).fit(known).score(new)
    x = known.gather("features").double()
    means = torch.stack([x[c == LABELS].mean(dim=0) for c in (0, 1)])
    gaps = x - means[LABELS]
    inverse = torch.linalg.inv(gaps.T @ gaps / len(x))

    def distance(image):
        features = net[:4](image)[0].double()
        return min((features - m) @ inverse @ (features - m) for m in means)

    for image, score in zip(NEW, found, strict=True):
        start = ((torch.from_numpy(image).float() / 255 - MEAN) / STD).permute(2, 0, 1)[None].requires_grad_(True)
        (slope,) = torch.autograd.grad(distance(start), start)
        step = 0.01 * slope.sign() / (STD[:, None, None] if units == "pixels" else 1)
        assert score == pytest.approx(-distance(start - step).item(), rel=1e-3)


def test_moving_brings_nearer_and_not_moving_is_mahalanobis(encoded):
    known, new = encoded
    plain = Mahalanobis().fit(known).score(new)
    np.testing.assert_allclose(MahalanobisODIN(epsilon=0.0).fit(known).score(new), plain, rtol=1e-5)
    assert (MahalanobisODIN(epsilon=0.002).fit(known).score(new) > plain).all()


def test_what_is_asked_depends_on_what_was_learnt(encoded):
    """Another fit must not find the answers of this one, and known inputs are never moved."""
    known, new = encoded
    one, other = MahalanobisODIN().fit(known), MahalanobisODIN().fit(new)
    assert one.reads() != other.reads()
    assert one.reads() == MahalanobisODIN().fit(known).reads()
    assert one.at_fit() == {"features"}
    (request,) = one.needs
    assert isinstance(request, Climbed)
    assert request.passes == (2, 1)


def test_a_saved_guard_asks_for_the_same(net, tmp_path):
    encoder = Torch(net, size=8)
    guard = OpenSetClassifier(encoder, "mahalanobis_odin", alpha=0.2)
    guard.fit({"images": KNOWN, "labels": LABELS}, cache=False)
    again = load(guard.save(tmp_path / "guard.unseen"), encoder=encoder)
    assert again.detector.reads() == guard.detector.reads()
    expected = guard.predict({"images": NEW}, cache=False).familiarity
    assert np.array_equal(again.predict({"images": NEW}, cache=False).familiarity, expected)


def test_stored_arrays_cannot_answer(encoded):
    detector = MahalanobisODIN().fit(encoded[0])
    with pytest.raises(WrongUse, match=r"mahalanobis_odin asks the encoder for Climbed.*the inputs are not at hand"):
        detector.score({"features": np.zeros((2, 5))})


def test_errors():
    with pytest.raises(WrongUse, match="epsilon=nan\\) is not a finite number"):
        MahalanobisODIN(epsilon=float("nan"))
    with pytest.raises(WrongUse, match="'pixels' or 'normalised'"):
        MahalanobisODIN(units="bytes")
