import numpy as np


def oracle(known, labels, asked, head, quantile):
    """With the energy of the new logits behind it."""
    weight, bias = head
    limit = np.quantile(known["features"], quantile)
    logits = np.minimum(asked["features"], limit) @ weight.T + bias
    return np.log(np.exp(logits).sum(axis=1))
