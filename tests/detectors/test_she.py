"""SHE: by hand for each metric, which inputs make a pattern, and what stands in where there are none."""

import math

import numpy as np
import pytest

from unseen import SHE
from unseen.errors import WrongUse
from unseen.signals import Signals, Support

# Called 0, 0, 1, 1; the third is of class 0 and called 1, so that it belongs to no pattern.
KNOWN = {
    "features": np.array([[4.0, 2.0], [4.0, 4.0], [90.0, 90.0], [0.0, 1.0]]),
    "logits": np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]),
}
LABELS = np.array([0, 0, 0, 1])
ASKED = {"features": np.array([[1.0, 0.0], [3.0, 4.0]]), "logits": np.array([[2.0, 0.0, 1.0], [0.0, 2.0, 1.0]])}


def fitted(metric="inner", labels=LABELS):
    return SHE(metric).fit(Support(Signals(KNOWN), labels=labels, classes=("a", "b", "c")))


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("inner", [4.0, 4.0]),
        ("euclidean", [-math.hypot(3, 3), -math.hypot(3, 3)]),
        ("cosine", [4 / 5 - 1, 4 / 5 - 1]),
    ],
)
def test_by_hand(metric, expected):
    """Patterns (4, 3) and (0, 1), by the class that is named, not by the nearer one."""
    assert fitted(metric).score(ASKED) == pytest.approx(expected)


def test_a_class_without_correct_inputs():
    """Class 1 has one input, called 0: its own mean stands in. Class 2 has none: the mean of all does."""
    labels = np.array([1, 0, 0, 0])
    patterns = fitted(labels=labels).patterns.numpy()
    assert patterns.tolist() == [[4.0, 4.0], [4.0, 2.0], KNOWN["features"].mean(axis=0).tolist()]


def test_another_metric():
    with pytest.raises(WrongUse, match="'inner', 'euclidean' or 'cosine'"):
        fitted("manhattan")


def test_a_pattern_is_near_itself():
    """A cosine taken as a product would round to a few values next to 1."""
    x = np.array([[4.0, 3.0], [4.0, 3.0 + 1e-3], [4.0, 3.0 + 2e-3]], dtype=np.float32)
    known = {name: column.astype(np.float32) for name, column in KNOWN.items()}
    detector = SHE("cosine").fit(Support(Signals(known), labels=LABELS, classes=("a", "b", "c")))
    scores = detector.score({"features": x, "logits": np.tile(np.float32([1, 0, 0]), (3, 1))})
    assert scores[0] == pytest.approx(0, abs=1e-13)
    assert scores[1] == pytest.approx(-0.5 * (4e-3 / 25) ** 2, rel=1e-2)
    assert scores[2] < scores[1] < 0
