"""fDBD: by hand, geometry, classes with one weight, its errors."""

import numpy as np
import pytest
import torch

from unseen import FDBD
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.signals import LinearHead

GENERATOR = torch.Generator().manual_seed(0)
WEIGHT, BIAS = torch.randn(4, 6, generator=GENERATOR).double(), torch.randn(4, generator=GENERATOR).double()
HEAD = LinearHead(WEIGHT, BIAS)
KNOWN = torch.randn(50, 6, generator=GENERATOR).double()


def test_by_hand():
    """Boundaries of class 0 at x = 0 and y = x, both through the mean; from (3, 1) it is 3 and sqrt(2) to them."""
    head = LinearHead(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]), torch.zeros(3))
    expected = (3 + np.sqrt(2)) / 2 / np.sqrt(10)
    assert FDBD().fit([[1.0, 1.0], [-1.0, -1.0]], head=head).score([[3.0, 1.0]]).item() == pytest.approx(expected)


def test_it_is_the_distance_at_which_the_answer_changes():
    """With two classes: the step along the weights' difference that makes both logits equal."""
    head = LinearHead(WEIGHT[:2], BIAS[:2])
    x = torch.randn(8, 6, generator=GENERATOR).double()
    apart = WEIGHT[0] - WEIGHT[1]
    scores = FDBD(origin="zero").fit(x, head=head).score(x)
    gap = x @ apart + BIAS[0] - BIAS[1]
    moved = x - (gap.sign() * scores * x.norm(dim=1))[:, None] * apart / apart.norm()
    there = moved @ WEIGHT[:2].T + BIAS[:2]
    torch.testing.assert_close(there[:, 0], there[:, 1])


def test_a_class_with_the_same_weight_adds_nothing():
    head = LinearHead(torch.cat([WEIGHT, WEIGHT[:1]]), torch.cat([BIAS, BIAS[:1]]))
    scores = FDBD().fit(KNOWN, head=head).score(KNOWN)
    assert torch.isfinite(scores).all()
    zero = (KNOWN @ WEIGHT.T + BIAS).argmax(dim=1) == 0
    torch.testing.assert_close(4 * scores[zero], 3 * FDBD().fit(KNOWN, head=HEAD).score(KNOWN)[zero])


def test_the_head_is_found_from_features_and_logits():
    both = {"features": KNOWN, "logits": KNOWN @ WEIGHT.T + BIAS}
    torch.testing.assert_close(FDBD().fit(both).score(KNOWN), FDBD().fit(KNOWN, head=HEAD).score(KNOWN))


def test_an_input_on_the_mean_is_finite():
    detector = FDBD().fit(KNOWN, head=HEAD)
    scores = detector.score(KNOWN.mean(dim=0, keepdim=True))
    assert torch.isfinite(scores).all()
    assert scores.item() > 1e3


def test_errors():
    with pytest.raises(WrongUse, match="'mean' or 'zero'"):
        FDBD(origin="median").fit(KNOWN, head=HEAD)
    with pytest.raises(NotEnoughKnown, match="two classes, got 1"):
        FDBD().fit(KNOWN, head=LinearHead(WEIGHT[:1], BIAS[:1]))
    with pytest.raises(NotEnoughKnown, match="do not differ"):
        FDBD().fit(KNOWN[:1].repeat(3, 1), head=HEAD)
