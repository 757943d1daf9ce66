import numpy as np

STD = 0.25  # of the world's inputs, which are the features themselves


def oracle(known, labels, asked, head, epsilon, units, floor):
    x, n, d = known["features"], *known["features"].shape
    means = [x[labels == c].mean(axis=0) for c in np.unique(labels)]
    spread = np.zeros((d, d))
    for row, label in zip(x, labels, strict=True):
        spread += np.outer(row - means[label], row - means[label]) / n
    inverse = np.linalg.inv(spread + floor * np.trace(spread) / d * np.eye(d))
    scores = []
    for q in asked["features"]:
        gap = min((q - m for m in means), key=lambda gap: gap @ inverse @ gap)
        moved = q - epsilon * np.sign(inverse @ gap) / (STD if units == "pixels" else 1)
        scores.append(-min((moved - m) @ inverse @ (moved - m) for m in means))
    return scores
