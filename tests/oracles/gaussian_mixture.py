import numpy as np
from sklearn.cluster import KMeans


def oracle(known, labels, asked, head, clusters, components, seed, floor):
    """The rounds of expectation and maximisation written out, until little is gained."""
    x, n = known["features"], len(known["features"])
    _, _, across = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    basis = across[:components].T
    z, q = ((s["features"] - x.mean(axis=0)) @ basis for s in (known, asked))
    d = z.shape[1]
    ridge = floor * np.trace(z.T @ z) / n / d * np.eye(d)
    codes = KMeans(clusters, n_init=1, random_state=seed).fit_predict(z)
    shares = np.eye(clusters)[codes]

    def densities(rows):
        log = [np.log(w) - d / 2 * np.log(2 * np.pi) - np.linalg.slogdet(s)[1] / 2 for w in weights]
        gaps = [rows - m for m in means]
        return np.stack(
            [c - (g @ np.linalg.inv(s) * g).sum(axis=1) / 2 for c, g in zip(log, gaps, strict=True)], axis=1
        )

    reached, gain = -np.inf, np.inf
    while True:
        weights = shares.mean(axis=0)
        means = [(shares[:, [k]] * z).sum(axis=0) / shares[:, k].sum() for k in range(clusters)]
        s = sum((shares[:, [k]] * (z - m)).T @ (z - m) for k, m in enumerate(means)) / n + ridge
        if gain < 1e-3:
            return np.logaddexp.reduce(densities(q), axis=1)
        log = densities(z)
        level = np.logaddexp.reduce(log, axis=1)
        shares = np.exp(log - level[:, None])
        reached, gain = level.mean(), level.mean() - reached
