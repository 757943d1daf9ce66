import numpy as np


def oracle(known, labels, asked, head, components, factor, floor):
    x = known["features"]
    spread = np.sqrt(x.var(axis=0) + floor * x.var(axis=0).mean())
    _, values, across = np.linalg.svd((x - x.mean(axis=0)) / spread, full_matrices=False)
    if components is None:
        components = next(d for d in range(1, len(values) + 1) if (values[:d] ** 2).sum() >= 0.9 * (values**2).sum())
    scores = []
    for row, logits in zip((asked["features"] - x.mean(axis=0)) / spread, asked["logits"], strict=True):
        share = np.linalg.norm(across[:components] @ row) / np.linalg.norm(row)
        largest = 1.0 if factor == "none" else logits.max()
        scores.append(largest * share if largest > 0 else largest * (2 - share))
    return scores
