"""ResidualGEN: by hand, the product of its two parts, sure inputs, its errors."""

import numpy as np
import pytest
import torch

from unseen import ResidualGEN, create
from unseen.errors import WrongUse
from unseen.signals import LinearHead, Signals, Support

GENERATOR = torch.Generator().manual_seed(0)
HEAD = LinearHead(torch.randn(4, 10, generator=GENERATOR), torch.randn(4, generator=GENERATOR))
KNOWN = torch.randn(60, 10, generator=GENERATOR) * torch.linspace(0.1, 2, 10)
ASKED = torch.randn(20, 10, generator=GENERATOR)


def test_by_hand():
    """Logits 1 and 0 are p = 0.731 and 0.269, for both p (1 - p) = 0.1966. The head is 0 at (-1, 0); asked 2 up."""
    head = LinearHead(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([1.0, 0.0]))
    known = [[3.0, 0.1], [-5.0, 0.1]]
    score = ResidualGEN(gamma=0.5, components=1).fit(known, head=head).score([[0.0, 2.0]]).item()
    assert score == pytest.approx(-2 * 2 * 0.19661193**0.5)


def test_is_the_product_of_its_parts():
    known = Support(Signals({"features": KNOWN, "logits": KNOWN @ HEAD.weight.T + HEAD.bias}), head=HEAD)
    asked = {"features": ASKED, "logits": ASKED @ HEAD.weight.T + HEAD.bias}
    one, other = (create(text).fit(known).score(asked) for text in ("gen(M=3)", "residual(components=6)"))
    found = ResidualGEN(M=3, components=6).fit(known).score(asked)
    torch.testing.assert_close(found, -one * other, rtol=1e-4, atol=1e-6)


def test_sure_inputs_do_not_tie():
    """In float32 the winner's probability is 1.0 beyond a gap of 17."""
    head = LinearHead(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.zeros(2))
    asked = np.stack([np.linspace(18, 80, 300), np.ones(300)], axis=1).astype(np.float32)
    scores = ResidualGEN(components=1).fit([[4.0, 0.1], [-4.0, 0.1]], head=head).score(asked)
    assert (np.diff(scores) > 0).all()


def test_errors():
    with pytest.raises(WrongUse, match="residual_gen needs the linear layer"):
        ResidualGEN().fit(KNOWN)
    with pytest.raises(WrongUse, match=r"residual_gen\(components=10\): give a number from 0 to 9"):
        ResidualGEN(components=10).fit(KNOWN, head=HEAD)
