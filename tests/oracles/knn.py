import numpy as np


def oracle(known, labels, asked, head, k, index, share, seed):
    bank = known["features"] / np.linalg.norm(known["features"], axis=1, keepdims=True)
    bank = bank[np.random.default_rng(seed).permutation(len(bank))[: int(share * len(bank))]]
    scores = []
    for x in asked["features"]:
        distances = np.linalg.norm(bank - x / np.linalg.norm(x), axis=1)
        scores.append(-np.sort(distances)[k - 1])
    return scores
