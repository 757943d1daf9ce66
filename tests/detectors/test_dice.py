"""DICE: by hand, its share of zeros, the head that it takes, its errors."""

import numpy as np
import pytest
import torch

from unseen import DICE, create
from unseen.errors import WrongUse
from unseen.signals import LinearHead, Signals, Support

GENERATOR = torch.Generator().manual_seed(0)
HEAD = LinearHead(torch.randn(5, 8, generator=GENERATOR), torch.randn(5, generator=GENERATOR))
KNOWN = torch.randn(40, 8, generator=GENERATOR).abs()
ASKED = torch.randn(10, 8, generator=GENERATOR)


def test_by_hand():
    """Means (1, 2): contributions 3, 2, -1, 8. Above their median, 2.5, are the weights 3 and 4."""
    head = LinearHead(torch.tensor([[3.0, 1.0], [-1.0, 4.0]]), torch.tensor([0.5, 0.0]))
    step = DICE(sparsity=0.5).fit([[0.0, 1.0], [2.0, 3.0]], head=head)
    assert step.weight.tolist() == [[3.0, 0.0], [0.0, 4.0]]
    assert step({"features": torch.tensor([[1.0, 1.0]])})["logits"].tolist() == [[3.5, 4.0]]


@pytest.mark.parametrize(("sparsity", "kept"), [(0.0, 39), (0.5, 20), (0.9, 4)])
def test_how_many_weights_are_left(sparsity, kept):
    """With 0 only the least goes."""
    step = DICE(sparsity).fit(KNOWN, head=HEAD)
    assert int((step.weight != 0).sum()) == kept
    left = step.weight[step.weight != 0]
    assert torch.equal(left, HEAD.weight[step.weight != 0])


def test_behind_react_the_known_are_clipped_first():
    """The contributions are those of the clipped features, and the head is the one that was given."""
    known = Support(Signals({"features": KNOWN}), head=HEAD)
    whole = create("react(quantile=0.5) >> dice(sparsity=0.6) >> energy").fit(known)
    limit = np.quantile(KNOWN.numpy(), 0.5)
    contribution = HEAD.weight.numpy() * np.minimum(KNOWN.numpy(), limit).mean(axis=0)
    weight = np.where(contribution > np.quantile(contribution, 0.6), HEAD.weight.numpy(), 0)
    logits = np.minimum(ASKED.numpy(), limit) @ weight.T + HEAD.bias.numpy()
    expected = np.log(np.exp(logits).sum(axis=1))
    assert whole.score({"features": ASKED.numpy()}) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("sparsity", [-0.1, 1.0])
def test_errors(sparsity):
    with pytest.raises(WrongUse, match=r"DICE\(sparsity=.*from 0 and below 1"):
        DICE(sparsity).fit(KNOWN, head=HEAD)
