"""LTS: by hand, its bounds, and features that are not positive."""

import numpy as np
import pytest
import torch

from unseen import LTS
from unseen.errors import WrongUse


def scaled(quantile, features, logits):
    signals = {"features": torch.tensor(features, dtype=torch.float64), "logits": torch.tensor(logits)}
    return LTS(quantile)(signals)["logits"].numpy()


def test_by_hand():
    """4 and 2 of 4, 1, 2, 1: (8 / 6)^2 on all logits, whatever bias is in them."""
    np.testing.assert_allclose(scaled(0.5, [[4.0, 1.0, 2.0, 1.0]], [[9.0, -18.0]]), [[16.0, -32.0]])


def test_the_factor_lies_between_1_and_its_largest():
    """(D / k)^2 where all units fire alike, and 1 where one does everything."""
    even, single = np.ones((1, 20)), np.eye(20)[:1]
    assert scaled(0.9, even, [[1.0]]).item() == pytest.approx(100.0)
    assert scaled(0.9, single, [[1.0]]).item() == pytest.approx(1.0)


def test_negative_features_count_as_nothing():
    assert scaled(0.5, [[2.0, -1.9]], [[3.0]]).item() == pytest.approx(3.0)
    assert scaled(0.5, [[-2.0, -1.9]], [[3.0]]).item() == pytest.approx(3.0)


def test_a_percentage_is_refused():
    with pytest.raises(WrongUse, match="LTS\\(quantile=95\\)"):
        scaled(95, [[1.0, 2.0]], [[3.0]])
