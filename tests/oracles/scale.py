import numpy as np


def oracle(known, labels, asked, head, quantile):
    """With the energy of the new logits behind it."""
    weight, bias = head
    scores = []
    for x in asked["features"]:
        k = len(x) - int(np.round(len(x) * quantile))
        larger = x * np.exp(x.sum() / np.sort(x)[-k:].sum())
        scores.append(np.logaddexp.reduce(weight @ larger + bias))
    return scores
