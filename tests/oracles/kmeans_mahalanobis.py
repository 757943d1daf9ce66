import numpy as np
from sklearn.cluster import KMeans


def oracle(known, labels, asked, head, clusters, seed, floor):
    x, (n, d) = known["features"], known["features"].shape
    codes = KMeans(clusters, init="k-means++", n_init=1, max_iter=100, random_state=seed).fit_predict(x)
    means = [x[codes == k].mean(axis=0) for k in range(clusters)]
    spread = sum(np.outer(row - means[k], row - means[k]) for row, k in zip(x, codes, strict=True)) / n
    inverse = np.linalg.inv(spread + floor * np.trace(spread) / d * np.eye(d))
    return [-min((q - m) @ inverse @ (q - m) for m in means) for q in asked["features"]]
