"""KNN: by hand, against scikit-learn, duplicates, too few."""

import math

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from unseen import KNN
from unseen.errors import NotEnoughKnown, WrongUse

RNG = np.random.default_rng(0)
BANK, ASKED = RNG.normal(size=(300, 16)), RNG.normal(size=(40, 16))


def test_by_hand():
    """Known at 0, 90 and 180 degrees; asked at 0: the second nearest is at 90, sqrt(2) away."""
    known = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]
    asked = [[5.0, 0.0]]  # its length must not matter
    assert KNN(k=2).fit(known).score(asked).item() == pytest.approx(-math.sqrt(2))


@pytest.mark.parametrize("k", [1, 5, 300])
def test_agrees_with_scikit_learn(k):
    brute = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(normalize(BANK))
    expected = -brute.kneighbors(normalize(ASKED))[0][:, -1]
    np.testing.assert_allclose(KNN(k=k).fit(BANK).score(ASKED), expected, rtol=1e-9)
    single = KNN(k=k).fit(BANK.astype(np.float32)).score(ASKED.astype(np.float32))
    np.testing.assert_allclose(single, expected, rtol=1e-4)


@pytest.mark.parametrize("k", [1, 20])
def test_a_large_bank_sorted_towards_the_queries(k):
    """The neighbours of the last class come last, in every row of similarities."""
    bank = RNG.normal(size=(3000, 8)) + np.linspace(0, 9, 3000)[:, None]
    asked = RNG.normal(size=(20, 8)) + 9
    brute = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(normalize(bank))
    expected = -brute.kneighbors(normalize(asked))[0][:, -1]
    np.testing.assert_allclose(KNN(k=k).fit(bank).score(asked), expected, rtol=1e-9)


def test_a_known_point_of_a_large_bank_is_at_distance_zero():
    bank = RNG.normal(size=(3000, 8)).astype(np.float32)
    assert np.abs(KNN(k=1).fit(bank).score(bank[::50])).max() == 0.0


def test_a_known_point_is_at_distance_zero():
    """sqrt(2 - 2 cos) would say 3e-4 in float32."""
    bank = BANK.astype(np.float32)
    assert np.abs(KNN(k=1).fit(bank).score(bank)).max() == 0.0


def test_copies_in_the_bank_count():
    bank = np.repeat(BANK[:1], 3, axis=0)
    assert KNN(k=3).fit(bank).score(bank[:1]).item() == pytest.approx(0.0, abs=1e-12)


def test_too_few_known_inputs_says_what_to_do():
    with pytest.raises(NotEnoughKnown, match="at least 50 known inputs, got 3: lower k"):
        KNN().fit(np.eye(3))
    with pytest.raises(WrongUse, match="from 1"):
        KNN(k=0).fit(np.eye(3))
