import numpy as np


def oracle(known, labels, asked, head, epsilon, temperature, units):
    """The lead by the largest probability p, T log(p (C - 1) / (1 - p)); 1 - p is summed without the winner."""
    (key,) = (key for key in asked if key.startswith("Perturbed("))
    scores = []
    for logits in asked[key]:
        p = np.exp((logits - logits.max()) / temperature)
        p /= p.sum()
        winner = p.argmax()
        scores.append(temperature * np.log(p[winner] * (len(p) - 1) / np.delete(p, winner).sum()))
    return scores
