"""Unit: by hand, lengths forgotten by what stands behind it."""

import numpy as np
import torch

from unseen import Mahalanobis, Unit, create


def test_by_hand():
    found = Unit()({"features": torch.tensor([[3.0, -4.0], [0.0, 0.0]])})["features"]
    torch.testing.assert_close(found, torch.tensor([[0.6, -0.8], [0.0, 0.0]]))


def test_mahalanobis_sees_directions_alone():
    """Mahalanobis++ is Mahalanobis of unit vectors, and neither known nor asked lengths count."""
    rng = np.random.default_rng(0)
    known, labels = rng.normal(size=(90, 6)) + 3 * np.eye(6)[np.arange(90) % 3], np.arange(90) % 3
    asked = rng.normal(size=(20, 6))
    units = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (known, asked)]
    expected = Mahalanobis().fit(units[0], labels).score(units[1])
    longer = known * rng.uniform(0.1, 10, size=(90, 1))
    np.testing.assert_allclose(create("unit >> mahalanobis").fit(longer, labels).score(7 * asked), expected, rtol=1e-9)
