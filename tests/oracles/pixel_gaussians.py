import numpy as np
from scipy.stats import multivariate_normal


def oracle(known, labels, asked, head, channels):
    total = np.zeros(len(asked["pixels"]))
    for c in range(channels):
        x, q = (s["pixels"][:, c::channels] for s in (known, asked))
        covariance = np.cov(x.T) + np.eye(x.shape[1]) / (12 * 256**2)
        total += multivariate_normal(x.mean(axis=0), covariance).logpdf(q)
    return total
