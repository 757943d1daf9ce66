import numpy as np


def oracle(known, labels, asked, head, power, least):
    def softmax(row):
        return np.exp(row - row.max()) / np.exp(row - row.max()).sum()

    scores = []
    for x, logits in zip(asked["features"], asked["logits"], strict=True):
        total = 0.0
        for other, said in zip(known["features"], known["logits"], strict=True):
            cosine = x @ other / np.linalg.norm(x) / np.linalg.norm(other)
            tie = max(0.0, cosine) * (softmax(logits) @ softmax(said))
            total += tie**power if tie > least else 0.0
        scores.append(total / len(known["features"]))
    return scores
