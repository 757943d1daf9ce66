import numpy as np


def oracle(known, labels, asked, head, alpha):
    weight, bias = head
    center = known["features"].mean(axis=0)
    scores = []
    for x in asked["features"]:
        w = weight[np.argmax(weight @ x + bias)]
        scores.append(w @ (x - center) / np.linalg.norm(x - center) + alpha * np.abs(x).sum())
    return scores
