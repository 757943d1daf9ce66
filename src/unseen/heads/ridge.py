"""Regularised least squares to one-hot labels, in closed form."""

import torch
from torch import Tensor

from unseen.errors import WrongUse
from unseen.heads.base import Head
from unseen.signals import Support


class Ridge(Head):
    """Least squares from features to one-hot labels, solved from moments alone.

    ``W = (T + r I)^-1 sum_c n_c (m_c - m) e_c'``, ``T`` the scatter of all features around their mean ``m``,
    ``m_c`` and ``n_c`` mean and count of class ``c``, ``r = penalty * trace(T) / D``. The bias lets the mean
    feature answer with the class shares. Logits are therefore near 0 for other classes and near 1 for the
    own one.

    Args:
        penalty: ridge in units of the mean eigenvalue of ``T``, above 0. Features of deep networks have a few large
            eigenvalues and many small ones, so that 10 is mild; of 0.1, 1, 10 and 100 it noticed held-out classes best,
            or within 0.001 of the best, on three sets of images apart from those that other tables report
            (``experiments/ridge_penalty.py``).

    Reads: ``features (N, D)``; labels required.
    Cost: one Cholesky factorisation of ``D x D``; moments add up over machines and a class can be
        subtracted without a second look at the data.
    Source: Hoerl, Kennard, "Ridge Regression", Technometrics 1970, for several targets.

    >>> head = Ridge(penalty=1e-9).fit([[0.0], [1.0]], ["a", "b"])
    >>> head({"features": torch.tensor([[1.0]])})["logits"].round(decimals=3)
    tensor([[0., 1.]])
    """

    def __init__(self, penalty: float = 10.0) -> None:
        super().__init__()
        self.penalty = penalty

    def solve(self, support: Support) -> tuple[Tensor, Tensor]:
        """Normal equations around the mean, by Cholesky."""
        if self.penalty <= 0:
            raise WrongUse(f"Ridge(penalty={self.penalty}): the penalty must be above 0")
        moments = support.moments("features")
        mean = moments.grand_mean()
        total = moments.total()
        dimensions = len(mean)
        scale = (total.trace() / dimensions).clamp_min(torch.finfo(total.dtype).tiny)
        factor = torch.linalg.cholesky(
            total + self.penalty * scale * torch.eye(dimensions, dtype=total.dtype, device=total.device)
        )
        cross = moments.count[:, None] * (moments.mean - mean)  # (C, D)
        weight = torch.cholesky_solve(cross.T, factor).T
        return weight, moments.count / moments.count.sum() - weight @ mean
