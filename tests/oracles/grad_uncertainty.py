import numpy as np


def oracle(known, labels, asked, head):
    """Every entry of the gradient: of the loss by p, of p by the logits, of these by weight and bias."""
    scores = []
    for x, row in zip(asked["features"], asked["logits"], strict=True):
        p = np.exp(row) / np.exp(row).sum()
        by_logits = (np.diag(p) - np.outer(p, p)) @ (-1 / p)
        scores.append((np.outer(by_logits, x) ** 2).sum() + (by_logits**2).sum())
    return scores
