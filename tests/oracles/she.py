import numpy as np


def oracle(known, labels, asked, head, metric):
    x, called = known["features"], known["logits"].argmax(axis=1)
    scores = []
    for q, row in zip(asked["features"], asked["logits"], strict=True):
        y = row.argmax()
        pattern = x[(labels == y) & (called == y)].mean(axis=0)
        if metric == "inner":
            scores.append(q @ pattern)
        elif metric == "euclidean":
            scores.append(-np.sqrt(((q - pattern) ** 2).sum()))
        else:
            scores.append(q @ pattern / np.sqrt(q @ q) / np.sqrt(pattern @ pattern) - 1)
    return scores
