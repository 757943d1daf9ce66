import numpy as np


def oracle(known, labels, asked, head):
    return [np.log(np.exp(h / t).sum()) for h, t in zip(asked["logits"], asked["temperature"], strict=True)]
