"""PyOD's detectors by name: its scores, its whole list, rows that are asked together, its errors."""

import inspect
import sys
from importlib import import_module

import numpy as np
import pytest

from unseen import create
from unseen.checks import checks_for
from unseen.detectors.pyod import ALONE, DRAW, METHODS, PyOD
from unseen.errors import MissingExtra, NotEnoughKnown, WrongUse
from unseen.metrics import auroc

RNG = np.random.default_rng(0)
KNOWN, NEW, FAR = RNG.normal(size=(120, 5)), RNG.normal(size=(20, 5)), RNG.normal(size=(20, 5)) + 9


def theirs(method):
    return getattr(import_module(f"pyod.models.{method.lower()}"), method)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_works_and_is_asked_row_by_row_or_at_once(method):
    """Higher is more known; the score of a row is that of PyOD for the row alone; the global generator rests."""
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    detector = PyOD(method).fit(KNOWN)
    new, far = detector.score(NEW), detector.score(FAR)
    assert auroc(new, far) > 0.99
    mixed = detector.score(np.concatenate([FAR, NEW]))
    np.testing.assert_allclose(mixed, np.concatenate([far, new]), rtol=1e-9)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    kind = theirs(method)
    seeded = "random_state" in inspect.signature(kind.__init__).parameters
    same = kind(**({"random_state": 0} if seeded else {})).fit(KNOWN)
    np.testing.assert_allclose(new[:3], [-same.decision_function(row[None])[0] for row in NEW[:3]], rtol=1e-6)


def test_why_some_are_asked_alone():
    """In PyOD, far rows that are asked together make each other usual."""
    for method in ALONE:
        same = theirs(method)().fit(KNOWN)
        rows = np.concatenate([FAR[:1]] * 200)
        assert same.decision_function(rows)[0] < 0.9 * same.decision_function(rows[:1])[0]
        scores = PyOD(method).fit(KNOWN).score(rows)
        np.testing.assert_allclose(scores, scores[0])


def test_which_depend_on_a_draw():
    """Only those may learn something else from the same rows in another order."""
    order = RNG.permutation(len(KNOWN))
    for method in METHODS:
        detector = PyOD(method)
        assert ("sampled" in detector.traits) == (method in DRAW)
        if method not in DRAW:
            np.testing.assert_allclose(
                detector.fit(KNOWN[order]).score(NEW), PyOD(method).fit(KNOWN).score(NEW), rtol=1e-9, err_msg=method
            )


def test_options_reach_pyod_and_go_through_an_expression():
    text = "pyod(method='KNN', options={'n_neighbors': 3, 'method': 'mean'})"
    detector = create(text)
    assert detector.expression() == text
    expected = -theirs("KNN")(n_neighbors=3, method="mean").fit(KNOWN).decision_function(NEW)
    np.testing.assert_array_equal(detector.fit(KNOWN).score(NEW), expected)
    assert not np.allclose(expected, PyOD("KNN").fit(KNOWN).score(NEW))


@pytest.mark.parametrize(
    ("text", "apart"),
    [
        # Each feature of the world's far set is not unusual enough for it: AUROC 0.83.
        ("pyod(method='HBOS', options={'n_bins': 6})", {"far_inputs_score_lower"}),
        ("pyod(method='KNN', options={'n_neighbors': 2})", set()),
    ],
)
def test_others_than_the_default_keep_the_contract(text, apart):
    part = create(text)
    for check in checks_for(part):
        # Neither draws, so that a seed has no effect.
        if check.excuse(part) is None and check.name not in apart | {"every_argument_has_an_effect"}:
            check(part)


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"method": "knn"}, WrongUse, "no detector of PyOD is called 'knn': did you mean 'KNN'"),
        ({"method": "COF"}, WrongUse, "no detector of PyOD is called 'COF'"),
        ({"method": "KNN", "options": {"neighbors": 3}}, WrongUse, "KNN has no option 'neighbors'.*'n_neighbors'"),
        ({"options": {"contamination": 0.2}}, WrongUse, "INNE has no option 'contamination' that changes scores"),
        ({"options": [3]}, WrongUse, "options are arguments by name"),
        ({"method": "HBOS", "options": {"alpha": 7}}, WrongUse, "does not take these options: .*alpha"),
        ({"method": "IForest", "options": {"max_features": 7.0}}, WrongUse, "does not take these options"),
        ({"method": "KNN", "options": {"n_neighbors": 500}}, NotEnoughKnown, "cannot learn from these 120 known"),
        ({"seed": -1}, WrongUse, "seed=-1"),
    ],
)
def test_errors(wrong, error, said):
    with pytest.raises(error, match=said) as found:
        PyOD(**wrong).fit(KNOWN)
    assert "\n" not in str(found.value)


def test_scores_of_the_known_that_are_not_finite():
    constant = np.hstack([KNOWN, np.zeros((120, 1))])
    with pytest.raises(NotEnoughKnown, match=r"pyod\(method='PCA'\) gives known inputs scores that are not finite"):
        PyOD("PCA").fit(constant)


def test_without_pyod_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyod.models.knn", None)
    with pytest.raises(MissingExtra, match=r"this needs pyod.models.knn: pip install 'unseen\[pyod\]'"):
        PyOD("KNN").fit(KNOWN)
