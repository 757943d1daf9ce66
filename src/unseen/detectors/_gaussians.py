"""Distances under several covariances at once."""

import torch
from torch import Tensor

from unseen.errors import NotEnoughKnown


def factor(covariance: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """A matrix ``W (D, D)`` with ``|g W|^2 = g' S^-1 g``, and the logarithm of the determinant of ``S``, by Cholesky.

    Raises:
        NotEnoughKnown: when the covariance is not of full rank.
    """
    lower, failed = torch.linalg.cholesky_ex(covariance)
    if failed:
        raise NotEnoughKnown(
            f"{name}: the known inputs of one Gaussian vary in fewer than their {len(covariance)} dimensions: give a "
            "floor above 0, or more inputs"
        )
    identity = torch.eye(len(covariance)).to(covariance)
    return torch.linalg.solve_triangular(lower, identity, upper=False).T, 2 * lower.diagonal().log().sum()


def squared_distances(x: Tensor, means: Tensor, factors: Tensor) -> Tensor:
    """``|(x - m_k) W_k|^2`` of each row from each mean, ``(B, K)``; of the differences, which lose no digits.

    Args:
        x: ``(B, D)``.
        means: ``(K, D)``.
        factors: ``(K, D, D)``, or ``(K, 1, D)`` where only variances count.
    """
    gaps = x - means[:, None]  # (K, B, D)
    gaps = gaps * factors if factors.shape[1] == 1 else torch.bmm(gaps, factors)
    return gaps.square().sum(dim=2).T
