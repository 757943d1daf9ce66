import numpy as np
from scipy.optimize import minimize


def oracle(known, labels, asked, head, unknown, penalty):
    """The loss over one slope, one offset and weights, by a general minimiser from the best line on plain energies."""
    logits = np.concatenate([known["logits"], unknown["logits"]])
    n, m = len(known["logits"]), len(unknown["logits"])
    share, sign = np.repeat([0.5 / n, 0.5 / m], [n, m]), np.repeat([1.0, -1.0], [n, m])

    def energy(rows, u):
        return np.log(np.exp(rows + u).sum(axis=1))

    plain = energy(logits, 0.0)
    mean = share @ plain
    spread = np.sqrt(share @ (plain - mean) ** 2)

    def loss(at, u=None):
        u = at[:-2] if u is None else u
        e = (energy(logits, u) - mean) / spread
        z = sign * (at[-2] * e + at[-1])
        pull = -share * sign / (1 + np.exp(z))
        odds = np.exp(logits + u) / np.exp(logits + u).sum(axis=1, keepdims=True)
        slope = np.concatenate([at[-2] / spread * (pull @ odds), [pull @ e + penalty * at[-2], pull.sum()]])
        slope[:-2] += penalty * u
        return share @ np.log1p(np.exp(-z)) + penalty / 2 * (u @ u + at[-2] ** 2), slope

    def line(at):
        value, slope = loss(np.concatenate([zero, at]))
        return value, slope[-2:]

    zero = np.zeros(logits.shape[1])
    start = minimize(line, [0.0, 0.0], jac=True, method="BFGS", options={"gtol": 1e-10}).x
    found = minimize(loss, np.concatenate([zero, start]), jac=True, method="BFGS", options={"gtol": 1e-11}).x
    return found[-2] * (energy(asked["logits"], found[:-2]) - mean) / spread + found[-1]
