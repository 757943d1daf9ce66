import numpy as np


def oracle(known, labels, asked, head):
    """With the energy of the divided logits behind it; the temperature by golden-section search over its logarithm."""

    def loss(u):
        z = known["logits"] / np.exp(u)
        return np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels])

    low, high, ratio = -3.0, 3.0, (np.sqrt(5) - 1) / 2
    for _ in range(80):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if loss(a) < loss(b) else (a, high)
    return np.log(np.exp(asked["logits"] / np.exp((low + high) / 2)).sum(axis=1))
