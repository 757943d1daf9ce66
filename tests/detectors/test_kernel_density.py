"""Kernel density: by hand, against scikit-learn and SciPy, far inputs, its errors."""

import numpy as np
import pytest
from scipy.stats import gaussian_kde
from sklearn.neighbors import KernelDensity as Density

from unseen import KernelDensity
from unseen.errors import NotEnoughKnown, WrongUse

RNG = np.random.default_rng(0)
KNOWN, ASKED = RNG.normal(size=(200, 4)) * [1, 2, 3, 4] + 100, RNG.normal(size=(40, 4)) * 5 + 100


def test_by_hand():
    """At -1 and 1, s = 1 and h^2 = 2^(-2/5); halfway both kernels are exp(-1 / (2 h^2)) / (h sqrt(2 pi))."""
    h2 = 2 ** (-0.4)
    expected = -0.5 / h2 - 0.5 * np.log(2 * np.pi * h2)
    assert KernelDensity().fit([[-1.0], [1.0]]).score([[0.0]]).item() == pytest.approx(expected)


@pytest.mark.parametrize("bandwidth", [0.1, 1.0])
def test_agrees_with_scikit_learn(bandwidth):
    h = bandwidth * np.sqrt(KNOWN.var(axis=0).mean()) * 200 ** (-1 / 8)
    # In one leaf: with its usual 40 rows a leaf, scikit-learn 1.9 is wrong by hundreds where the densities are small.
    expected = Density(bandwidth=h, leaf_size=1000).fit(KNOWN).score_samples(ASKED)
    np.testing.assert_allclose(KernelDensity(bandwidth).fit(KNOWN).score(ASKED), expected, rtol=1e-9)
    single = KernelDensity(bandwidth).fit(KNOWN.astype(np.float32)).score(ASKED.astype(np.float32))
    np.testing.assert_allclose(single, expected, rtol=2e-4)


def test_the_width_is_that_of_scott_in_scipy():
    """Of one feature; SciPy divides the variance by N - 1."""
    known, asked = KNOWN[:, :1], ASKED[:, :1]
    expected = np.log(gaussian_kde(known.T, "scott")(asked.T))
    ours = KernelDensity(np.sqrt(200 / 199)).fit(known).score(asked)
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_it_is_a_density():
    places = np.linspace(-60, 60, 20_001)[:, None]
    scores = KernelDensity(0.5).fit(RNG.normal(size=(50, 1)) * 3).score(places)
    assert np.exp(scores).sum() * (places[1, 0] - places[0, 0]) == pytest.approx(1.0, rel=1e-6)


def test_far_inputs_keep_their_order():
    """Where every kernel is 0 in float32."""
    scores = KernelDensity().fit(KNOWN.astype(np.float32)).score((KNOWN[:3] * [[1e2], [1e3], [1e4]]).astype(np.float32))
    assert scores[0] > scores[1] > scores[2] > -np.inf


def test_errors():
    with pytest.raises(NotEnoughKnown, match="do not differ"):
        KernelDensity().fit([[1.0, 2.0], [1.0, 2.0]])
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(WrongUse, match="above 0"):
            KernelDensity(wrong).fit(KNOWN)
