import numpy as np


def oracle(known, labels, asked, head, gamma, M):
    p = np.exp(asked["logits"]) / np.exp(asked["logits"]).sum(axis=1, keepdims=True)
    largest = np.sort(p, axis=1)[:, ::-1][:, :M]
    return -(largest**gamma * (1 - largest) ** gamma).sum(axis=1)
