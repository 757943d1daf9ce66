import numpy as np


def oracle(known, labels, asked, head, metric):
    x = known["features"]
    means = [x[labels == c].mean(axis=0) for c in np.unique(labels)]
    scores = []
    for q in asked["features"]:
        if metric == "euclidean":
            scores.append(-min(np.sqrt(((q - m) ** 2).sum()) for m in means))
        else:
            scores.append(max(q @ m / np.sqrt(q @ q) / np.sqrt(m @ m) for m in means) - 1)
    return scores
