import numpy as np


def oracle(known, labels, asked, head, floor):
    x, n, d = known["features"], *known["features"].shape
    means = [x[labels == c].mean(axis=0) for c in np.unique(labels)]
    spread = np.zeros((d, d))
    for row, label in zip(x, labels, strict=True):
        gap = row - means[label]
        spread += np.outer(gap, gap) / n
    inverse = np.linalg.inv(spread + floor * np.trace(spread) / d * np.eye(d))
    return [-min((q - m) @ inverse @ (q - m) for m in means) for q in asked["features"]]
