import numpy as np


def oracle(known, labels, asked, head, quantile):
    """With the energy of the new logits behind it."""
    scores = []
    for x, logits in zip(np.maximum(asked["features"], 0), asked["logits"], strict=True):
        k = max(1, len(x) - int(np.round(len(x) * quantile)))
        factor = (x.sum() / np.sort(x)[-k:].sum()) ** 2
        scores.append(np.logaddexp.reduce(factor * logits))
    return scores
