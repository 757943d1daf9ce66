"""GradUncertainty: by hand, and against the gradients that autograd takes."""

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy

from unseen import GradUncertainty

GENERATOR = torch.Generator().manual_seed(0)


def test_by_hand():
    """Probabilities (3/4, 1/4): C p - 1 is (1/2, -1/2); features of squared length 5, and the bias."""
    asked = {"features": [[1.0, -2.0]], "logits": [[np.log(3.0), 0.0]]}
    assert GradUncertainty().score(asked).item() == pytest.approx((5 + 1) * 0.5)


def test_agrees_with_autograd():
    x = torch.randn(12, 7, generator=GENERATOR, dtype=torch.float64)
    weight = torch.randn(5, 7, generator=GENERATOR, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(5, generator=GENERATOR, dtype=torch.float64, requires_grad=True)
    lengths = []
    for row in x:
        p = (weight @ row + bias).softmax(dim=0)
        loss = binary_cross_entropy(p, torch.ones_like(p), reduction="sum")
        lengths.append(sum(float(g.square().sum()) for g in torch.autograd.grad(loss, [weight, bias])))
    logits = (x @ weight.T + bias).detach()
    assert GradUncertainty().score({"features": x, "logits": logits}).tolist() == pytest.approx(lengths, rel=1e-10)


def test_equal_logits_score_zero():
    asked = {"features": np.ones((1, 3)), "logits": np.full((1, 4), 7.0)}
    assert GradUncertainty().score(asked).item() == pytest.approx(0.0, abs=1e-15)
