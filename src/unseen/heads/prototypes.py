"""One mean direction a class."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from unseen.errors import NotEnoughKnown
from unseen.heads.base import Head
from unseen.signals import Support


class Prototypes(Head):
    """Logits by the direction of each class mean, seen from the mean of all classes.

    ``logit_c(x) = (f - m)' (m_c - m) / (||m_c - m|| s)``, with class means ``m_c``, their average ``m`` and
    ``s`` the root mean square of ``||m_c - m||``: near 1 at the own mean where classes are about equally far
    from the centre. No inverse and no penalty: it works with one input a class.

    Reads: ``features (N, D)``; labels required.
    Raises: NotEnoughKnown, when a class has no input (its mean would be not-a-number).
    Source: nearest class mean, Mensink et al., "Distance-Based Image Classification", TPAMI 2013, with
    directions in place of distances.
    """

    def solve(self, support: Support) -> tuple[Tensor, Tensor]:
        """Unit directions of the centred class means."""
        moments = support.moments("features")
        empty = [name for name, n in zip(support.classes, moments.count.tolist(), strict=True) if n == 0]
        if empty:
            raise NotEnoughKnown(f"class {empty[0]!r} has no input to make a prototype of")
        centre = moments.mean.mean(dim=0)
        gaps = moments.mean - centre
        spread = gaps.square().sum(dim=1).mean().sqrt().clamp_min(torch.finfo(gaps.dtype).tiny)
        weight = normalize(gaps) / spread
        return weight, -(weight @ centre)
