import numpy as np


def oracle(known, labels, asked, head, covariance, shrinkage, floor):
    x, n, d = known["features"], *known["features"].shape
    own = {c: np.cov(x[labels == c].T, bias=True) for c in np.unique(labels)}
    pooled = sum((labels == c).sum() * s for c, s in own.items()) / n
    densities = []
    for c in np.unique(labels):
        s = pooled if covariance == "shared" else (1 - shrinkage) * own[c] + shrinkage * pooled
        s = np.diag(np.diag(s)) if covariance == "diagonal" else s
        s = s + floor * np.trace(pooled) / d * np.eye(d)
        gap = asked["features"] - x[labels == c].mean(axis=0)
        squares = np.array([g @ np.linalg.solve(s, g) for g in gap])
        log_det = np.linalg.slogdet(s)[1]
        densities.append(np.log((labels == c).mean()) - (squares + log_det + d * np.log(2 * np.pi)) / 2)
    return np.logaddexp.reduce(densities, axis=0)
