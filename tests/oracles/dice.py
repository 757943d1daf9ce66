import numpy as np


def oracle(known, labels, asked, head, sparsity):
    """With the energy of the new logits behind it; every contribution of every input by itself, as the paper has it."""
    weight, bias = head
    contribution = known["features"].mean(axis=0) * weight
    mask = contribution > np.quantile(contribution, sparsity)
    scores = []
    for x in asked["features"]:
        logits = (x * weight * mask).sum(axis=1) + bias
        scores.append(np.log(np.exp(logits).sum()))
    return scores
