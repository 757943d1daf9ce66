"""Weighted sums of Gaussian kernels."""

from torch import Tensor, logsumexp


def log_kernel_sum(x: Tensor, rows: Tensor, squares: Tensor, log_weights: Tensor, gamma: Tensor) -> Tensor:
    """``log sum_i w_i exp(-gamma |x - r_i|^2)`` of each row of ``x``, ``(B,)``.

    In logarithms, so that far inputs, whose kernels are all 0 even in float64, keep their order.

    Args:
        x: ``(B, D)``, best around 0: ``|x - r|^2`` is taken as ``|x|^2 - 2 x'r + |r|^2``, which loses the digits of a
            common offset.
        rows: ``(N, D)``.
        squares: ``(N,)``, ``|r_i|^2``.
        log_weights: ``(N,)``.
        gamma: ``()``.
    """
    distances = x.square().sum(dim=1, keepdim=True) - 2 * x @ rows.T + squares  # (B, N)
    return logsumexp(log_weights - gamma * distances.clamp_min(0), dim=1)
