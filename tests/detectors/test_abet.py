"""AbeT: by hand, its limits, overflow, and a file that holds a temperature."""

import math

import numpy as np
import pytest
import torch

import unseen
from unseen import AbeT, create

RNG = np.random.default_rng(0)
COSINES = RNG.uniform(-1, 1, size=(30, 5))


def test_by_hand():
    asked = {"logits": [[0.5, 0.0]], "temperature": [[0.25]]}
    assert AbeT().score(asked).item() == pytest.approx(math.log(math.exp(2) + 1))


def test_at_one_it_is_energy():
    found = AbeT().score({"logits": COSINES, "temperature": np.ones((30, 1))})
    np.testing.assert_allclose(found, create("energy").score(COSINES))


def test_known_where_the_temperature_is_small():
    """As long as some cosine is above 0; an energy, with the temperature in front, would fall towards that cosine."""
    steps = np.linspace(0.9, 0.05, 60)
    scores = AbeT().score({"logits": np.tile([0.7, -0.2, 0.1], (60, 1)), "temperature": steps[:, None]})
    assert (np.diff(scores) > 0).all()
    assert (np.diff(steps * scores) < 0).all()


def test_nothing_overflows():
    """A temperature that half precision made 0 counts as the least that the authors' networks give."""
    temperature = torch.tensor([[1e-3], [1e-9], [1e-12], [0.0]])
    scores = AbeT().score({"logits": torch.tensor([[0.8, 0.3]]).repeat(4, 1), "temperature": temperature})
    assert scores.tolist() == pytest.approx([800, 8e8, 8e11, 8e11])


def test_a_file_may_hold_it(tmp_path):
    temperature = RNG.uniform(0.1, 1, size=(30, 1))
    np.savez(tmp_path / "signals.npz", logits=COSINES, temperature=temperature)
    support = unseen.encode(tmp_path / "signals.npz", "arrays", cache=False)
    expected = AbeT().score({"logits": COSINES, "temperature": temperature})
    np.testing.assert_allclose(AbeT().score(support), expected, rtol=1e-6)
