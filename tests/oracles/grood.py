import numpy as np


def oracle(known, labels, asked, head, prototype, samples, seed, unknown=None):
    x, rng = known["features"], np.random.default_rng(seed)
    means = np.stack([x[labels == c].mean(axis=0) for c in np.unique(labels)])

    def distances(row):
        return np.linalg.norm(row - means, axis=1)

    if prototype == "mixup":
        drawn = x[rng.permutation(len(x))[:samples]]
        other = np.mean([(row + means[np.argsort(distances(row))[1]]) / 2 for row in drawn], axis=0)
    elif prototype == "unknown":
        other = unknown["features"].mean(axis=0)
    else:
        other = rng.uniform(x.min(axis=0), x.max(axis=0), size=(samples, x.shape[1])).mean(axis=0)

    def gradient(row):
        away = np.linalg.norm(row - other)
        return np.exp(-away) / (np.exp(-distances(row)).sum() + np.exp(-away)) * (row - other) / away

    right = [row for row, label in zip(x, labels, strict=True) if distances(row).argmin() == label]
    bank = np.stack([gradient(row) for row in right])
    return [-np.linalg.norm(bank - gradient(row), axis=1).min() for row in asked["features"]]
