import numpy as np


def oracle(known, labels, asked, head):
    weight, bias = head

    def unit(x):
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    h = np.hstack([np.ones((len(known["features"]), 1)), unit(known["features"])])
    inverse = np.linalg.pinv(h.T @ h, rcond=1e-10)
    outside = np.eye(h.shape[1]) - np.linalg.pinv(h, rcond=1e-5) @ h
    scores = []
    for z in unit(asked["features"]):
        one = np.concatenate([[1.0], z])
        t = max(one @ inverse @ one, one @ outside @ one)
        k = t / (1 + t)
        p = np.exp(weight @ z + bias) / np.exp(weight @ z + bias).sum()
        scores.append(-np.log((p / (p + (1 - p) * p**k)).sum()) / np.log(len(p)))
    return scores
