"""NCI: by hand, which vector is centred and which is not, features on the mean."""

import pytest
import torch

from unseen import NCI
from unseen.signals import LinearHead

# The second class is the likelier one at the mean, which only the bias says.
HEAD = LinearHead(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([0.0, 5.0]))
KNOWN = [[0.0, 1.0], [2.0, 1.0]]  # mean (1, 1)


def test_by_hand():
    """(4, 5) is class 0, logits 12 and 10; from the mean it is (3, 4), of length 5; its size is 9."""
    score = NCI(alpha=0.5).fit(KNOWN, head=HEAD).score([[4.0, 5.0]]).item()
    assert score == pytest.approx(3 * 3 / 5 + 0.5 * 9)


def test_the_bias_decides_the_class():
    """At (2, 3) the logits are 6 and 8: class 1, whose weight is (0, 1); from the mean it is (1, 2)."""
    assert NCI(alpha=0.0).fit(KNOWN, head=HEAD).score([[2.0, 3.0]]).item() == pytest.approx(2 / 5**0.5)


def test_without_the_size_only_the_direction_from_the_mean_counts():
    detector = NCI(alpha=0.0).fit(KNOWN, head=LinearHead(HEAD.weight, torch.zeros(2)))
    one, ten = detector.score([[1.0 + 2.0, 1.0 + 1.0], [1.0 + 20.0, 1.0 + 10.0]]).tolist()
    assert one == pytest.approx(ten)


def test_features_on_the_mean_have_no_direction():
    assert NCI(alpha=1.0).fit(KNOWN, head=HEAD).score([[1.0, 1.0]]).item() == pytest.approx(2.0)
