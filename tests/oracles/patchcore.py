import numpy as np


def oracle(known, labels, asked, head, share, neighbours, projection, seed):
    rng, patches = np.random.default_rng(seed), np.concatenate(list(known["local"]))
    chosen = [int(rng.random() * len(patches))]
    seen = patches @ rng.normal(size=(patches.shape[1], projection)) if projection < patches.shape[1] else patches
    apart = np.linalg.norm(seen - seen[chosen[0]], axis=1)
    while len(chosen) < int(share * len(patches)):
        chosen.append(int(apart.argmax()))
        apart = np.minimum(apart, np.linalg.norm(seen - seen[chosen[-1]], axis=1))
    bank = patches[chosen]
    scores = []
    for image in asked["local"]:
        distances = np.linalg.norm(image[:, None] - bank, axis=2)  # (P, M)
        star = distances.min(axis=1).argmax()
        nearest_row = distances[star].argmin()
        around = np.argsort(np.linalg.norm(bank - bank[nearest_row], axis=1), kind="stable")[:neighbours]
        own, others = distances[star].min(), distances[star][around]
        weight = 1 - np.exp(own) / np.exp(others).sum() if neighbours > 1 else 1.0
        scores.append(-weight * own)
    return scores
