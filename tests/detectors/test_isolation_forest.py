"""Isolation forest: scikit-learn's scores, what its cuts cannot see, its errors."""

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest as Forest

from unseen import IsolationForest
from unseen.errors import NotEnoughKnown, WrongUse

RNG = np.random.default_rng(0)
KNOWN, ASKED = RNG.normal(size=(300, 5)), 2 * RNG.normal(size=(40, 5))


@pytest.mark.parametrize(("trees", "subsample", "seed"), [(10, 64, 0), (30, 1000, 7)])
def test_agrees_with_scikit_learn(trees, subsample, seed):
    forest = Forest(n_estimators=trees, max_samples=min(subsample, 300), random_state=seed).fit(KNOWN)
    ours = IsolationForest(trees, subsample, seed).fit(KNOWN)
    np.testing.assert_array_equal(ours.score(ASKED), forest.score_samples(ASKED))


def test_two_inputs_by_hand():
    """Each tree cuts once between 0 and 1, so that every input arrives at depth 1, which is c(2)."""
    assert IsolationForest(trees=5).fit([[0.0], [1.0]]).score([[-5.0], [0.5], [9.0]]).tolist() == [-0.5] * 3


def test_scales_of_features_do_not_matter():
    """Powers of two, which change no bit of a ratio."""
    scales = 2.0 ** np.array([-3, 0, 4, 9, -6])
    plain, scaled = IsolationForest(20).fit(KNOWN), IsolationForest(20).fit(KNOWN * scales)
    np.testing.assert_array_equal(scaled.score(ASKED * scales), plain.score(ASKED))


def test_a_feature_that_never_varied_is_not_looked_at():
    known, asked = (np.hstack([x, np.zeros((len(x), 1))]) for x in (KNOWN, ASKED))
    forest = IsolationForest(20).fit(known)
    np.testing.assert_array_equal(forest.score(asked + 1e6 * np.eye(6)[5]), forest.score(asked))


def test_errors():
    with pytest.raises(NotEnoughKnown, match="at least two"):
        IsolationForest().fit([[1.0, 2.0]])
    for wrong in ({"trees": 0}, {"subsample": 1}, {"seed": -1}, {"seed": 2**32}):
        (name,) = wrong
        with pytest.raises(WrongUse, match=rf"IsolationForest\({name}="):
            IsolationForest(**wrong).fit(KNOWN)
