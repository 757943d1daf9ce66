import numpy as np


def oracle(known, labels, asked, head, unknown, penalty):
    """Whole steps of Newton's method on one design of both sides, until no slope is left."""
    x = np.concatenate([known["features"], unknown["features"]])
    n, m = len(known["features"]), len(unknown["features"])
    share = np.repeat([0.5 / n, 0.5 / m], [n, m])
    mean = share @ x
    spread = np.sqrt(share @ (x - mean) ** 2)
    design = np.column_stack([(x - mean) / spread, np.ones(n + m)])
    target = np.repeat([1.0, 0.0], [n, m])
    ridge = np.diag([penalty] * x.shape[1] + [0.0])
    at = np.zeros(design.shape[1])
    for _ in range(60):
        p = 1 / (1 + np.exp(-design @ at))
        slope = design.T @ (share * (p - target)) + ridge @ at
        bend = design.T @ (design * (share * p * (1 - p))[:, None]) + ridge
        at = at - np.linalg.solve(bend, slope)
    assert np.abs(slope).max() < 1e-12
    return (asked["features"] - mean) / spread @ at[:-1] + at[-1]
