import numpy as np


def oracle(known, labels, asked, head, temperature):
    z = asked["logits"] / temperature
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return np.log(p.max(axis=1))
