"""The winner's probability keeps its digits from flat answers to those where float32 says 1."""

import pytest
import torch

from unseen.detectors._mean import grand_mean
from unseen.detectors._winner import winner
from unseen.signals import Signals, Support


@pytest.mark.parametrize("gap", [0.0, 1e-3, 0.5, 0.6931472, 1.0986123, 1.0987, 3.0, 17.0, 40.0, 80.0])
def test_agrees_with_float64(gap):
    """Three classes, the first ahead by the gap: ``R = 2 e^-gap`` is left to the others, around one half as well."""
    logits = torch.tensor([[gap, 0.0, 0.0]])
    log_p, rest = winner(logits.softmax(dim=1))
    left = 2 * torch.exp(-logits[0, 0].double())
    torch.testing.assert_close(log_p[0].double(), -left.log1p(), rtol=2e-6, atol=0)
    torch.testing.assert_close(rest[0].double(), left / (1 + left), rtol=2e-6, atol=0)


def test_two_winners_share():
    log_p, rest = winner(torch.tensor([[0.5, 0.5, 0.0]]))
    assert log_p.exp().item() == pytest.approx(0.5)
    assert rest.item() == 0.5


def test_the_mean_is_that_of_all_batches():
    """More rows than one batch holds, far from 0, where float32 sums would lose digits."""
    x = 1e4 + torch.arange(9001.0)[:, None] / 9000
    mean = grand_mean(Support(Signals({"features": x})))
    assert mean.dtype == torch.float64
    torch.testing.assert_close(mean, x.double().mean(dim=0), rtol=1e-13, atol=0)
