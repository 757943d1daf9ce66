"""One-class SVM: by hand, against scikit-learn, its share, copies, far inputs, its errors."""

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.svm import OneClassSVM as Machine

from unseen import OneClassSVM
from unseen.errors import NotEnoughKnown, WrongUse

RNG = np.random.default_rng(0)
KNOWN, ASKED = RNG.normal(size=(200, 4)) + 20, RNG.normal(size=(40, 4)) * 2 + 20


def test_two_inputs_by_hand():
    """At -1 and 1 both weigh 1/2, and g = 1 / var = 1: halfway the sum is exp(-1)."""
    assert OneClassSVM(nu=0.5).fit([[-1.0], [1.0]]).score([[0.0]]).item() == pytest.approx(-1.0)


@pytest.mark.parametrize(("nu", "gamma"), [(0.5, 1.0), (0.1, 4.0)])
def test_agrees_with_scikit_learn(nu, gamma):
    """Its decision is of the same order, and the exponential of ours, but for one factor."""
    machine = Machine(nu=nu, gamma=gamma / (4 * KNOWN.var()), tol=1e-8).fit(KNOWN)
    ours = np.exp(OneClassSVM(nu, gamma).fit(KNOWN).score(ASKED))
    np.testing.assert_allclose(ours * nu * 200, machine.score_samples(ASKED), rtol=1e-5)


def test_nu_one_is_a_kernel_density():
    g = 1 / (4 * KNOWN.var())
    expected = [logsumexp(-g * ((KNOWN - x) ** 2).sum(axis=1)) - np.log(200) for x in ASKED]
    np.testing.assert_allclose(OneClassSVM(nu=1.0).fit(KNOWN).score(ASKED), expected, rtol=1e-9)


@pytest.mark.parametrize("nu", [0.1, 0.4])
def test_nu_bounds_the_share_outside_and_that_of_support_vectors(nu):
    detector = OneClassSVM(nu).fit(KNOWN)
    assert len(detector.vectors) >= nu * 200
    boundary = detector.score((detector.vectors + detector.mean).numpy()).max()  # support vectors lie on it or outside
    scores = detector.score(KNOWN)
    assert (scores < boundary - 1e-6).sum() <= nu * 200
    assert (scores > boundary + 1e-6).sum() == 200 - len(detector.vectors)


def test_copies_weigh_as_often_as_they_occur():
    """And so in one-half of a doubled set the same region is found."""
    np.testing.assert_allclose(
        OneClassSVM().fit(np.vstack([KNOWN, KNOWN])).score(ASKED), OneClassSVM().fit(KNOWN).score(ASKED), atol=1e-4
    )


def test_far_inputs_keep_their_order():
    """scikit-learn's sum of kernels is 0 for all of them."""
    far = KNOWN[:1] * [[1e2], [1e3], [1e4]]
    assert np.ptp(Machine().fit(KNOWN).score_samples(far)) == 0
    scores = OneClassSVM().fit(KNOWN).score(far)
    assert scores[0] > scores[1] > scores[2] > -np.inf


def test_nothing_is_solved_after_loading():
    """What is kept are the support vectors, and not all known inputs."""
    detector = OneClassSVM(nu=0.05).fit(KNOWN)
    assert len(detector.vectors) < 60
    assert "rebuilt_on_load" not in detector.traits


def test_errors():
    with pytest.raises(NotEnoughKnown, match="do not differ"):
        OneClassSVM().fit([[0.1, 2.0]] * 3)
    for wrong in ({"nu": 0.0}, {"nu": 1.5}, {"gamma": 0.0}, {"gamma": float("inf")}):
        (name,) = wrong
        with pytest.raises(WrongUse, match=rf"OneClassSVM\({name}="):
            OneClassSVM(**wrong).fit(KNOWN)
