import numpy as np


def oracle(known, labels, asked, head, components):
    weight, bias = head
    x, q = known["features"], asked["features"]
    u = -np.linalg.pinv(weight) @ bias
    taken = components if components is not None else x.shape[1] // 2
    _, vectors = np.linalg.eigh((x - u).T @ (x - u) / len(x))
    principal = vectors[:, ::-1][:, :taken]

    def residual(rows):
        return np.linalg.norm((rows - u) - (rows - u) @ principal @ principal.T, axis=1)

    alpha = (x @ weight.T + bias).max(axis=1).mean() / residual(x).mean()
    return np.log(np.exp(q @ weight.T + bias).sum(axis=1)) - alpha * residual(q)
