import numpy as np


def oracle(known, labels, asked, head):
    def softmax(z):
        p = np.exp(z - z.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    p = softmax(known["logits"])
    typical = [p[p.argmax(axis=1) == k].mean(axis=0) for k in np.unique(p.argmax(axis=1))]
    return [-min((q * np.log(q / np.maximum(d, 1e-12))).sum() for d in typical) for q in softmax(asked["logits"])]
