import numpy as np


def oracle(known, labels, asked, head, passes, reduce, seed):
    scores = []
    for samples in asked[f"Samples(draws={passes},seed={seed})"]:
        logits = samples.mean(axis=0, keepdims=True) if reduce == "logits" else samples
        p = np.exp(logits - np.logaddexp.reduce(logits, axis=1)[:, None])
        scores.append(-p.var(axis=0, ddof=1).mean() if reduce == "variance" else np.log(p.mean(axis=0).max()))
    return scores
