"""Detectors around other libraries' estimators: what is kept, and when the estimator is made again."""

import copy

import numpy as np
import pytest
import torch

from unseen import OpenSetClassifier, create
from unseen.checks import CheckFailed, checks_for
from unseen.detectors._estimator import EstimatorDetector, global_draws
from unseen.errors import BadInput

RNG = np.random.default_rng(0)
KNOWN, OTHER, ASKED = RNG.normal(size=(60, 4)), RNG.normal(size=(60, 4)) + 3, RNG.normal(size=(10, 4))


class Mean:
    """Closeness to the mean, and how often it was fitted."""

    fits = 0

    def fit(self, rows):
        type(self).fits += 1
        self.mean = rows.mean(axis=0)
        rows[:] = np.nan  # a copy is given: nothing of this may be seen outside
        return self

    def score_samples(self, rows):
        return -np.linalg.norm(rows - self.mean, axis=1)


class Near(EstimatorDetector):
    def estimate(self, known):
        return Mean().fit(known)


class Stale(Near):
    """The defect: an estimator that survives the tensors it was fitted on."""

    def _load_from_state_dict(self, state, prefix, *rest):
        made = self._made
        super()._load_from_state_dict(state, prefix, *rest)
        self._made = made


@pytest.fixture
def fitted():
    Mean.fits = 0
    return Near().fit(KNOWN)


def test_scores_are_those_of_the_estimator(fitted):
    expected = -np.linalg.norm(ASKED - KNOWN.mean(axis=0), axis=1)
    np.testing.assert_allclose(fitted.score(ASKED), expected, rtol=1e-12)
    assert fitted.score(torch.tensor(ASKED)).dtype == torch.float64


def test_it_is_fitted_once(fitted):
    for _ in range(3):
        fitted.score(ASKED)
    assert Mean.fits == 1


def test_a_copy_and_a_loaded_part_fit_once_more_and_agree(fitted):
    expected = fitted.score(ASKED)
    loaded = Near()
    loaded.load_state_dict(fitted.state_dict())
    for other in (copy.deepcopy(fitted), loaded):
        Mean.fits = 0
        np.testing.assert_array_equal(other.score(ASKED), expected)
        np.testing.assert_array_equal(other.score(ASKED), expected)
        assert Mean.fits == 1


@pytest.mark.parametrize("rows", [60, 40], ids=["the same shape", "another shape"])
def test_an_old_estimator_is_not_asked_about_other_tensors(fitted, rows):
    fitted.score(ASKED)
    other = Near().fit(OTHER[:rows])
    fitted.load_state_dict(other.state_dict())
    np.testing.assert_array_equal(fitted.score(ASKED), other.score(ASKED))


def test_another_precision_is_another_bank(fitted):
    expected = Near().fit(KNOWN.astype(np.float32)).score(ASKED.astype(np.float32))
    np.testing.assert_allclose(fitted.float().score(ASKED.astype(np.float32)), expected, rtol=1e-6)
    assert fitted._made[0].dtype == torch.float32


def test_a_fit_that_fails_leaves_the_old_one(fitted):
    expected = fitted.score(ASKED)
    with pytest.raises(BadInput):
        fitted.fit(np.full((5, 4), np.nan))
    np.testing.assert_array_equal(fitted.score(ASKED), expected)


def test_the_checks_notice_a_stale_estimator():
    check = next(c for c in checks_for(Stale()) if c.name == "saved_state_answers_with_the_same_bits")
    check(Near())
    with pytest.raises(CheckFailed, match="loaded over another fit"):
        check(Stale())


def test_scores_that_are_not_finite_are_an_error(fitted, monkeypatch):
    monkeypatch.setattr(Mean, "score_samples", lambda self, rows: np.where(np.arange(len(rows)) < 2, np.inf, 0.0))
    with pytest.raises(BadInput, match="2 of 10 scores are not finite"):
        fitted.score(ASKED)


def test_the_global_generator_is_seeded_inside_and_unmoved_outside():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    drawn = []
    for _ in range(2):
        with global_draws(3):
            drawn.append(np.random.random())  # noqa: NPY002
    with pytest.raises(ZeroDivisionError), global_draws(4):
        drawn.append(1 / 0)
    assert drawn[0] == drawn[1]
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("text", ["isolation_forest(trees=10)", "local_outlier_factor(k=5)", "pyod", "unit >> pyod"])
def test_a_saved_guard_answers_as_before(text, tmp_path):
    guard = OpenSetClassifier("arrays", text, alpha=0.1).fit(KNOWN, np.arange(60) % 2)
    again = OpenSetClassifier.load(guard.save(tmp_path / "guard.unseen"))
    np.testing.assert_array_equal(again.predict(ASKED).familiarity, guard.predict(ASKED).familiarity)
    assert again.detector.expression() == create(text).expression()
