import numpy as np


def oracle(known, labels, asked, head, temperature):
    return temperature * np.log(np.exp(asked["logits"] / temperature).sum(axis=1))
