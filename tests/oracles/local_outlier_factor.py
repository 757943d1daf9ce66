import numpy as np


def oracle(known, labels, asked, head, k):
    rows = np.unique(known["features"], axis=0)
    reach, density = [], []
    for i in range(len(rows)):
        others = np.delete(np.linalg.norm(rows - rows[i], axis=1), i)
        reach.append(np.sort(others)[k - 1])  # definition 3: the distance to the k-th nearest other row
    for i in range(len(rows)):
        distances = np.linalg.norm(rows - rows[i], axis=1)
        distances[i] = np.inf
        nearest = np.argsort(distances)[:k]
        density.append(1 / np.mean([max(distances[o], reach[o]) for o in nearest]))
    scores = []
    for x in asked["features"]:
        distances = np.linalg.norm(rows - x, axis=1)
        nearest = np.argsort(distances)[:k]
        own = 1 / np.mean([max(distances[o], reach[o]) for o in nearest])
        scores.append(-np.mean([density[o] for o in nearest]) / own)
    return scores
