"""The largest of the class probabilities, however near to 1 it is."""

import torch
from torch import Tensor, log1p
from torch.nn.functional import threshold


def winner(p: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithm of the largest probability of each row, and what it leaves to the others; two of ``(B,)``.

    A probability next to 1 has steps of 6e-8 in float32, while those of the other classes keep their digits: above one
    half, where the winner is the only one, both are taken from the sum of the others.

    Args:
        p: ``(B, C)``, a softmax.

    >>> winner(torch.tensor([[30.0, 0.0], [0.0, 0.0]]).softmax(dim=1))
    (tensor([-9.3576e-14, -6.9315e-01]), tensor([9.3576e-14, 5.0000e-01]))
    """
    top = p.amax(dim=1)
    # Threshold keeps what is above -0.5, so all but the winner; it is several times as fast as a comparison.
    others = -threshold(-p, -0.5, 0.0).sum(dim=1)
    sure = top > 0.5
    return torch.where(sure, log1p(-others), top.log()), torch.where(sure, others, 1 - top)
