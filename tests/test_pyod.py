"""The PyOD adapter: PyOD's own methods work on it, and its threshold is about rows that were not learnt from."""

import copy
import importlib.util
import sys

import numpy as np
import pytest
from pyod.models import knn as theirs
from pyod.models.base import BaseDetector
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from unseen import KNN, Mahalanobis
from unseen import pyod as ours
from unseen.errors import MissingExtra, NotEnoughKnown, WrongUse
from unseen.pyod import Outlier

RNG = np.random.default_rng(0)
ROWS, NEW, FAR = RNG.normal(size=(300, 5)), RNG.normal(size=(2000, 5)), RNG.normal(size=(40, 5)) + 8


@pytest.fixture(scope="module")
def outlier():
    return Outlier("knn(k=5)", contamination=0.1).fit(ROWS)


def test_it_is_one_of_pyods(outlier):
    assert isinstance(outlier, BaseDetector)
    assert outlier.decision_scores_.shape == outlier.labels_.shape == (300,)
    assert outlier.labels_.sum() == 30
    assert outlier.threshold_ == np.percentile(outlier.decision_scores_, 90)
    assert outlier.n_features_in_ == 5


def test_scores_are_those_of_the_detector_turned(outlier):
    np.testing.assert_array_equal(outlier.decision_function(FAR), -KNN(k=5).fit(ROWS).score(FAR))
    mahalanobis = Outlier("mahalanobis").fit(ROWS)
    assert mahalanobis.predict(FAR).all()
    assert (mahalanobis.predict_proba(FAR)[:, 1] > 0.99).all()
    assert (mahalanobis.predict_proba(FAR, method="unify")[:, 1] > 0.99).all()
    assert (mahalanobis.predict_confidence(FAR) > 0.99).all()
    probability = mahalanobis.predict_proba(NEW)
    assert probability.shape == (2000, 2)
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    assert set(mahalanobis.predict_with_rejection(FAR, c_r=0.1)) <= {-2, 1}


@pytest.mark.parametrize("text", ["knn(k=1)", "mahalanobis", "kernel_density(bandwidth=0.3)"])
def test_the_threshold_is_about_new_rows(text):
    """About a tenth of new rows like these are above it. From its own scores of the rows, `knn` would call all."""
    outlier = Outlier(text, contamination=0.1).fit(ROWS)
    assert 0.04 < outlier.predict(NEW).mean() < 0.16
    own = np.percentile(outlier.decision_function(ROWS), 90)
    if text == "knn(k=1)":
        assert own == 0
        assert (outlier.decision_function(NEW) > own).mean() == 1


def test_each_row_is_scored_by_a_detector_that_has_not_met_it_or_its_copies():
    copies = np.vstack([ROWS, ROWS[:150], ROWS[:150]])
    scores = Outlier("knn(k=1)").fit(copies).decision_scores_
    assert scores.min() > 0
    np.testing.assert_array_equal(scores[300:450], scores[:150])


def test_which_rows_are_in_which_fold_is_the_seeds_alone():
    a, b, c = (Outlier("knn(k=5)", random_state=seed).fit(ROWS).decision_scores_ for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    order = RNG.permutation(300)
    np.testing.assert_allclose(Outlier("knn(k=5)").fit(ROWS[order]).decision_scores_, a[order], rtol=1e-12)


def test_labels_are_not_looked_at(outlier):
    again = Outlier("knn(k=5)", contamination=0.1).fit(ROWS, np.arange(300))
    np.testing.assert_array_equal(again.decision_scores_, outlier.decision_scores_)
    assert again.predict_proba(FAR).shape == (40, 2)


def test_a_detector_is_copied_and_the_estimator_clones(outlier):
    given = Mahalanobis()
    fitted = Outlier(given).fit(ROWS)
    assert not given.fitted
    np.testing.assert_array_equal(clone(fitted).fit(ROWS).decision_scores_, fitted.decision_scores_)
    assert outlier.get_params() == {"contamination": 0.1, "detector": "knn(k=5)", "folds": 5, "random_state": 0}
    assert "knn(k=5)" in repr(outlier)
    np.testing.assert_array_equal(copy.deepcopy(outlier).decision_function(FAR), outlier.decision_function(FAR))


def test_agrees_with_pyods_own_neighbours():
    """Its detector of the largest distance, on rows of one length, where ours measures the same."""
    rows, far = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (ROWS, FAR))
    expected = theirs.KNN(n_neighbors=5).fit(rows).decision_function(far)
    np.testing.assert_allclose(Outlier("knn(k=5)").fit(rows).decision_function(far), expected, rtol=1e-9)


def test_errors():
    for wrong, said in (
        ({"detector": "no_such"}, "no_such"),
        ({"detector": 3}, "is not a detector"),
        ({"detector": "ridge >> energy"}, "learns from labels of classes"),
        ({"folds": 1}, "folds=1"),
        ({"random_state": -1}, "random_state=-1"),
    ):
        with pytest.raises(WrongUse, match=said):
            Outlier(**wrong).fit(ROWS)
    with pytest.raises(NotEnoughKnown, match="5 folds need at least 5 different rows, got 2"):
        Outlier().fit(np.repeat(ROWS[:2], 10, axis=0))
    with pytest.raises(NotFittedError):
        Outlier().decision_function(ROWS)
    with pytest.raises(NotFittedError):
        Outlier().predict(ROWS)
    with pytest.raises(ValueError, match="contamination must be in"):
        Outlier(contamination=0.7)
    with pytest.raises(ValueError, match="NaN"):
        Outlier().fit(np.where(ROWS > 2, np.nan, ROWS))


def test_without_pyod_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyod.models.base", None)
    spec = importlib.util.spec_from_file_location("without_pyod", ours.__file__)
    with pytest.raises(MissingExtra, match=r"pip install 'unseen\[pyod\]'"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
