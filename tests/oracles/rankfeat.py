import numpy as np


def oracle(known, labels, asked, head, layers):
    reduced = [asked[f"RankReduced(layer={layer!r})"] for layer in layers.split(",")]
    return [np.log(np.exp(np.mean(rows, axis=0)).sum()) for rows in zip(*reduced, strict=True)]
