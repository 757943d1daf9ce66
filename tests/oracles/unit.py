import numpy as np


def oracle(known, labels, asked, head):
    """With Mahalanobis of the unit vectors behind it, at its usual floor of 1e-6 mean eigenvalues."""
    x, q = (s["features"] / np.linalg.norm(s["features"], axis=1, keepdims=True) for s in (known, asked))
    means = np.stack([x[labels == c].mean(axis=0) for c in np.unique(labels)])
    spread = (x - means[labels]).T @ (x - means[labels]) / len(x)
    inverse = np.linalg.inv(spread + 1e-6 * np.trace(spread) / len(spread) * np.eye(len(spread)))
    return [-min((row - m) @ inverse @ (row - m) for m in means) for row in q]
