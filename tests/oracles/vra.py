import numpy as np


def oracle(known, labels, asked, head, lower, upper, below):
    """With the energy of the new logits behind it."""
    weight, bias = head
    low, high = np.quantile(known["features"], lower), np.quantile(known["features"], upper)
    x = np.where(asked["features"] > high, high, asked["features"])
    x = np.where(asked["features"] < low, 0.0 if below == "zero" else low, x)
    return np.logaddexp.reduce(x @ weight.T + bias, axis=1)
