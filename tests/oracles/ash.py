import numpy as np


def oracle(known, labels, asked, head, variant, quantile):
    """With the energy of the new logits behind it."""
    weight, bias = head
    scores = []
    for x in asked["features"]:
        k = len(x) - int(np.round(len(x) * quantile))
        top = np.argsort(x)[-k:]
        shaped = np.zeros_like(x)
        if variant == "P":
            shaped[top] = x[top]
        elif variant == "B":
            shaped[top] = x.sum() / k
        else:
            shaped[top] = x[top] * np.exp(x.sum() / x[top].sum())
        scores.append(np.logaddexp.reduce(weight @ shaped + bias))
    return scores
