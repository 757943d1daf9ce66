import numpy as np


def oracle(known, labels, asked, head, origin):
    weight, bias = head
    center = known["features"].mean(axis=0) if origin == "mean" else 0.0
    scores = []
    for x, row in zip(asked["features"], asked["features"] @ weight.T + bias, strict=True):
        y = int(row.argmax())
        others = [c for c in range(len(row)) if c != y]
        distances = [abs(row[y] - row[c]) / np.linalg.norm(weight[y] - weight[c]) for c in others]
        scores.append(np.mean(distances) / np.linalg.norm(x - center))
    return scores
