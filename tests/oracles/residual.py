import numpy as np


def oracle(known, labels, asked, head, components, origin):
    weight, bias = head
    x = known["features"]
    width = x.shape[1]
    u = -np.linalg.pinv(weight) @ bias if origin == "head" else x.mean(axis=0)
    taken = components if components is not None else width // 2  # these worlds have fewer than 768 features
    _, vectors = np.linalg.eigh((x - u).T @ (x - u) / len(x))
    principal = vectors[:, ::-1][:, :taken]
    left = (asked["features"] - u) - (asked["features"] - u) @ principal @ principal.T
    return -np.linalg.norm(left, axis=1)
