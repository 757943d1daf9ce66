"""What an earlier version saved is loaded by this one and answers as it did; `fixtures/make.py` made the files."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from unseen import OpenSetClassifier

SAVED = sorted((Path(__file__).parent / "fixtures").glob("*.unseen"))


def test_there_are_files_of_the_first_version():
    assert {path.name for path in SAVED} >= {f"{name}-0.1.0.unseen" for name in ("guard", "pipeline", "by_class")}
    assert all(path.stat().st_size < 300_000 for path in SAVED)


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_an_earlier_file_answers_as_it_did(path):
    expected = json.loads(path.with_suffix(".json").read_text())
    guard = OpenSetClassifier.load(path)
    assert list(guard.classes) == expected["classes"]
    np.testing.assert_allclose(guard.thresholds(), expected["thresholds"], rtol=1e-6)
    images = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
    verdicts = guard.predict(images[expected["rows"]])
    spread = np.std(expected["score"])
    np.testing.assert_allclose(verdicts.familiarity, expected["score"], atol=1e-4 * spread, rtol=0)
    # No score lies within rounding of a calibration score, so these must not move at all.
    np.testing.assert_array_equal(verdicts.p_value, expected["p_value"])
    assert verdicts.unseen.tolist() == expected["unseen"]
    assert verdicts.nearest == expected["nearest"]
    assert 0 < sum(expected["unseen"]) < len(expected["rows"])
