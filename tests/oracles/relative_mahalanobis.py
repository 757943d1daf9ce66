import numpy as np


def oracle(known, labels, asked, head, floor):
    """Two inverses, two distances: as the paper has it."""
    x, n, d = known["features"], *known["features"].shape
    means = [x[labels == c].mean(axis=0) for c in np.unique(labels)]
    centre = x.mean(axis=0)
    within = sum((x[labels == c] - m).T @ (x[labels == c] - m) for c, m in enumerate(means)) / n
    ridge = floor * np.trace(within) / d * np.eye(d)
    one = np.linalg.inv(within + ridge)
    whole = np.linalg.inv((x - centre).T @ (x - centre) / n + ridge)
    return [
        -min((q - m) @ one @ (q - m) - (q - centre) @ whole @ (q - centre) for m in means) for q in asked["features"]
    ]
