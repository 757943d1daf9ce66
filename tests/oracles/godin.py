import numpy as np


def oracle(known, labels, asked, head, epsilon, units, readout):
    (key,) = (key for key in asked if key.startswith("Perturbed("))
    if readout == "logit":
        return [max(logits) for logits in asked[key]]
    scores = []
    for logits in asked[key]:
        others = np.delete(logits, logits.argmax())
        scores.append(max(logits) - np.logaddexp.reduce(others) + np.log(len(others)))
    return scores
