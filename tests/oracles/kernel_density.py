import numpy as np
from scipy.special import logsumexp


def oracle(known, labels, asked, head, bandwidth):
    x = known["features"]
    n, d = x.shape
    h = bandwidth * np.sqrt(x.var(axis=0).mean()) * n ** (-1 / (d + 4))
    constant = -np.log(n) - d * np.log(h) - d / 2 * np.log(2 * np.pi)
    return [constant + logsumexp(-((x - q) ** 2).sum(axis=1) / (2 * h**2)) for q in asked["features"]]
