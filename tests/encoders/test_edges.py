"""Edges: by an independent filter, and what must change nothing."""

import numpy as np
import pytest
import torch
from scipy.ndimage import sobel

from unseen.encoders import encode
from unseen.encoders.edges import Edges
from unseen.errors import WrongUse

FEATURES = frozenset({"features"})


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 200, (3, 12, 12, 3), dtype=np.uint8)


def strengths(batch):
    return Edges(12).answer(batch, FEATURES)["features"]


def test_agrees_with_scipy(pictures):
    grey = pictures / 255 @ np.array([0.299, 0.587, 0.114])
    expected = [[np.sqrt((sobel(one, axis)[1:-1, 1:-1] ** 2).mean()) for axis in (1, 0)] for one in grey]
    np.testing.assert_allclose(strengths(pictures), expected, rtol=1e-5)


def test_directions_are_told_apart(pictures):
    """A picture on its side has its two numbers changed over."""
    torch.testing.assert_close(strengths(pictures.transpose(0, 2, 1, 3)), strengths(pictures).flip(1))


def test_light_added_everywhere_changes_nothing(pictures):
    assert torch.equal(strengths(pictures + np.uint8(55)), strengths(pictures))


def test_a_uniform_picture_has_no_edges():
    assert encode({"images": np.full((2, 30, 40), 77, np.uint8)}, "edges", cache=False).gather("features").sum() == 0


def test_the_graph_says_what_the_encoder_says(pictures):
    assert torch.equal(Edges(12).graph()(torch.tensor(pictures))["features"], strengths(pictures))


def test_the_size_is_in_the_id_and_checked():
    assert Edges().id == "edges:64x64"
    assert Edges(12).prepare(np.zeros((5, 90, 3), np.uint8)).shape == (12, 12, 3)
    for size in (2, 0, True, 6.5, "big"):
        with pytest.raises(WrongUse, match="from 3"):
            Edges(size)


def test_edges_know_nothing_else(pictures):
    with pytest.raises(WrongUse, match="edges give features only, not logits"):
        Edges(12).answer(pictures, frozenset({"logits"}))
