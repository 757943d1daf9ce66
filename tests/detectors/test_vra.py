"""VRA: by hand, both ends, what it becomes at its bounds, and wrong arguments."""

import numpy as np
import pytest
import torch

from unseen import VRA, ReAct
from unseen.errors import WrongUse

KNOWN = np.random.default_rng(0).normal(size=(100, 5))


def shaped(step, rows):
    return step({"features": torch.tensor(rows, dtype=torch.float64)})["features"].numpy()


@pytest.mark.parametrize(("below", "low"), [("zero", 0.0), ("clip", 2.0)])
def test_by_hand(below, low):
    """Known activations 0 to 10: the quantiles 0.2 and 0.7 are 2 and 7."""
    step = VRA(0.2, 0.7, below).fit(np.arange(11.0)[:, None])
    np.testing.assert_allclose(shaped(step, [[1.9, 2.0, 5.0, 7.5, -3.0]]), [[low, 2.0, 5.0, 7.0, low]])


def test_without_a_lower_end_known_inputs_see_react():
    cut = ReAct(0.8).fit(KNOWN)
    for below in ("zero", "clip"):
        np.testing.assert_allclose(shaped(VRA(0.0, 0.8, below).fit(KNOWN), KNOWN), shaped(cut, KNOWN))


def test_twice_is_once():
    step = VRA(0.3, 0.9).fit(KNOWN)
    once = shaped(step, KNOWN)
    np.testing.assert_array_equal(shaped(step, once)[once != 0], once[once != 0])


def test_the_limits_are_single_numbers():
    """Not one pair a feature: a weak feature is silenced altogether."""
    weak = np.c_[KNOWN + 10, 0.1 * KNOWN]
    assert (shaped(VRA(0.5, 0.9).fit(weak), weak)[:, 5:] == 0).all()


def test_wrong_arguments():
    for lower, upper in ((0.9, 0.6), (-0.1, 0.5), (60, 95)):
        with pytest.raises(WrongUse, match="0 <= lower <= upper <= 1"):
            VRA(lower, upper).fit(KNOWN)
    with pytest.raises(WrongUse, match="below='none'"):
        VRA(below="none").fit(KNOWN)
