import numpy as np
from scipy.special import logsumexp


def oracle(known, labels, asked, head, nu, gamma):
    x = known["features"]
    n = len(x)
    g = gamma / (x.shape[1] * x.var())
    kernel = np.array([[np.exp(-g * ((a - b) ** 2).sum()) for b in x] for a in x])
    weights = solve(kernel, 1 / (nu * n))
    held = weights > 1e-12
    exponents = [-g * ((x[held] - q) ** 2).sum(axis=1) for q in asked["features"]]
    return [logsumexp(exponent, b=weights[held]) for exponent in exponents]


def solve(kernel, most):
    """Minimise a'Ka with 0 <= a <= most and sum 1: weight goes from the steepest slope to the least."""
    a = np.full(len(kernel), 1 / len(kernel))
    slope = kernel @ a
    for _ in range(1_000_000):
        i = np.where(a < most, slope, np.inf).argmin()
        j = np.where(a > 0, slope, -np.inf).argmax()
        if slope[j] - slope[i] < 1e-11:
            return a
        step = min((slope[j] - slope[i]) / (kernel[i, i] + kernel[j, j] - 2 * kernel[i, j]), most - a[i], a[j])
        a[i], a[j] = (most if step == most - a[i] else a[i] + step), (0.0 if step == a[j] else a[j] - step)
        slope = slope + step * (kernel[i] - kernel[j])
    raise AssertionError("not solved")
