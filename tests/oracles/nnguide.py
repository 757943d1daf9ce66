import numpy as np


def oracle(known, labels, asked, head, k):
    def energy(logits):
        return np.log(np.exp(logits).sum(axis=1))

    def unit(x):
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    least = min(energy(known["logits"]).min(), 0.0)
    bank = unit(known["features"]) * (energy(known["logits"]) - least)[:, None]
    scores = []
    for z, e in zip(unit(asked["features"]), energy(asked["logits"]) - least, strict=True):
        guidance = np.sort(bank @ z)[-k:].mean()
        scores.append(-abs(e * guidance) if e < 0 else e * guidance)
    return scores
