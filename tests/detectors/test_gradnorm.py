"""GradNorm: by hand, and against the gradient that autograd takes."""

import numpy as np
import pytest
import torch

from unseen import GradNorm

GENERATOR = torch.Generator().manual_seed(0)


def test_by_hand():
    """Probabilities (3/4, 1/4): each is 1/4 off; features of length 3."""
    asked = {"features": [[1.0, -2.0]], "logits": [[np.log(3.0), 0.0]]}
    assert GradNorm().score(asked).item() == pytest.approx(3 * 0.5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_agrees_with_autograd(temperature):
    x = torch.randn(12, 7, generator=GENERATOR, dtype=torch.float64)
    layer = torch.nn.Linear(7, 5).double()
    with torch.no_grad():
        layer.weight.copy_(torch.randn(5, 7, generator=GENERATOR))
        layer.bias.copy_(torch.randn(5, generator=GENERATOR))
    lengths = []
    for row in x:
        loss = -(layer(row) / temperature).log_softmax(dim=0).mean()
        (gradient,) = torch.autograd.grad(loss, [layer.weight])
        lengths.append(float(gradient.abs().sum()))
    found = GradNorm(temperature).score({"features": x, "logits": layer(x).detach()})
    assert found.tolist() == pytest.approx(lengths, rel=1e-12)


def test_equal_logits_score_zero():
    asked = {"features": np.ones((1, 3)), "logits": np.full((1, 4), 7.0)}
    assert GradNorm().score(asked).item() == pytest.approx(0.0, abs=1e-15)
