"""KL matching: by hand, against SciPy, classes that are never predicted."""

import math

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

from unseen import KLMatching

RNG = np.random.default_rng(0)
KNOWN, ASKED = 3 * RNG.normal(size=(200, 5)), 3 * RNG.normal(size=(30, 5))


def test_by_hand():
    """Two inputs are called 0, with probabilities 3/4 and 1/2 + a hair: d_0 = (5/8, 3/8); asked with (1/2, 1/2)."""
    known = [[math.log(3.0), 0.0], [1e-9, 0.0]]
    score = KLMatching().fit(np.array(known)).score(np.zeros((1, 2))).item()
    assert score == pytest.approx(-0.5 * math.log(0.25 / (5 / 8 * 3 / 8)))


def test_agrees_with_scipy():
    p, q = softmax(KNOWN, axis=1), softmax(ASKED, axis=1)
    typical = [p[p.argmax(axis=1) == k].mean(axis=0) for k in range(5)]
    expected = [-min(entropy(row, d) for d in typical) for row in q]
    np.testing.assert_allclose(KLMatching().fit(KNOWN).score(ASKED), expected, rtol=1e-9)
    single = KLMatching().fit(KNOWN.astype(np.float32)).score(ASKED.astype(np.float32))
    np.testing.assert_allclose(single, expected, rtol=1e-5, atol=1e-6)


def test_typical_probabilities_score_zero():
    d = np.exp(KLMatching().fit(KNOWN).log_typical.numpy())
    assert KLMatching().fit(KNOWN).score(np.log(d)) == pytest.approx(np.zeros(5), abs=1e-12)


def test_prediction_decides_and_not_the_label():
    labels = (KNOWN.argmax(axis=1) + 1) % 5
    assert np.array_equal(KLMatching().fit(KNOWN, labels).score(ASKED), KLMatching().fit(KNOWN).score(ASKED))


def test_a_class_that_is_never_predicted_is_left_out():
    known = KNOWN - 50 * np.eye(5)[3]
    detector = KLMatching().fit(known)
    assert detector.log_typical.shape == (4, 5)
    sure = detector.score(60 * np.eye(5))  # of the absent class too: far, yet finite
    assert np.isfinite(sure).all()
    assert sure.argmin() == 3
    assert sure[3] == pytest.approx(math.log(1e-12), rel=1e-6)


def test_answers_that_differ_little_keep_their_digits():
    """As of a ridge head: divergences are near 1e-4, and a difference of two sums near 1 would leave three digits."""
    known, asked = 0.02 * KNOWN, 0.02 * ASKED
    exact = KLMatching().fit(known).score(asked)
    assert np.abs(exact).max() < 0.02
    single = KLMatching().fit(known.astype(np.float32)).score(asked.astype(np.float32))
    np.testing.assert_allclose(single, exact, rtol=1e-3)
    assert (single < 0).all()


def test_probabilities_that_float32_cannot_hold():
    """Others underflow to 0 beyond a gap of 104; what they are missed by then counts."""
    rows = np.array([[0.0, 0.0, 30.0, 0.0, 0.0], [0.0, 0.0, 300.0, -300.0, 0.0]])
    exact = KLMatching().fit(KNOWN).score(rows)
    assert exact[1] == pytest.approx(KLMatching().fit(KNOWN).log_typical[2, 2].item(), rel=1e-12)
    single = KLMatching().fit(KNOWN.astype(np.float32)).score(rows.astype(np.float32))
    np.testing.assert_allclose(single, exact, rtol=1e-5)
