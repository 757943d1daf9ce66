import numpy as np


def oracle(known, labels, asked, head, temperature):
    """Every entry of the gradient: of the logits, times that of the logits by the weight."""
    scores = []
    for x, row in zip(asked["features"], asked["logits"], strict=True):
        p = np.exp(row / temperature) / np.exp(row / temperature).sum()
        by_logits = np.zeros(len(row))
        for k in range(len(row)):  # d(-log p_k) / dl_c = (p_c - [c = k]) / T
            by_logits += (p - np.eye(len(row))[k]) / temperature / len(row)
        scores.append(np.abs(np.outer(by_logits, x)).sum())
    return scores
