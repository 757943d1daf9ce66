from itertools import pairwise

import numpy as np

# A network is a list of layers, each a dict of what it learns; "g" and "s" where batches are normalised.


def network(rng, sizes, first):
    layers = [{"w": rng.normal(0, 0.02, (high, low))} for low, high in pairwise(sizes)]
    for layer in layers[0 if first else 1 : -1]:
        width = len(layer["w"])
        layer.update(g=rng.normal(1, 0.02, width), s=np.zeros(width), mean=np.zeros(width), var=np.ones(width))
    if first:
        layers[-1]["b"] = np.zeros(sizes[-1])
    return layers


def forward(layers, x, leak):
    """Outputs, and what the way back needs; running statistics move a tenth of the way to those of the batch."""
    kept = []
    for i, layer in enumerate(layers):
        z, unit, root = x @ layer["w"].T + layer.get("b", 0.0), None, None
        if "g" in layer:
            centre, variance = z.mean(axis=0), z.var(axis=0)
            layer["mean"] = 0.9 * layer["mean"] + 0.1 * centre
            layer["var"] = 0.9 * layer["var"] + 0.1 * variance * len(z) / (len(z) - 1)
            root = np.sqrt(variance + 1e-5)
            unit = (z - centre) / root
            z = layer["g"] * unit + layer["s"]
        slope = np.where(z > 0, 1.0, leak) if i < len(layers) - 1 else np.ones_like(z)
        kept.append((x, unit, root, slope))
        x = z * slope
    return x, kept


def backward(layers, kept, d):
    """Slopes by what each layer learns, and by the input, of a loss with slopes ``d`` by the output."""
    found = []
    for layer, (x, unit, root, slope) in zip(reversed(layers), reversed(kept), strict=True):
        d, own = d * slope, {}
        if "g" in layer:
            own.update(g=(d * unit).sum(axis=0), s=d.sum(axis=0))
            d = d * layer["g"]
            d = (d - d.mean(axis=0) - unit * (d * unit).mean(axis=0)) / root
        if "b" in layer:
            own["b"] = d.sum(axis=0)
        found.insert(0, own | {"w": d.T @ x})
        d = d @ layer["w"]
    return found, d


def adam(layers, slopes, state, lr):
    for i, own in enumerate(slopes):
        for name, slope in own.items():
            m, v, t = state.get((i, name), (0.0, 0.0, 0))
            m, v, t = 0.5 * m + 0.5 * slope, 0.999 * v + 0.001 * slope**2, t + 1
            state[i, name] = m, v, t
            layers[i][name] = layers[i][name] - lr * m / (1 - 0.5**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)


def answer(layers, x):
    for layer in layers[:-1]:
        x = x @ layer["w"].T
        if "g" in layer:
            x = layer["g"] * (x - layer["mean"]) / np.sqrt(layer["var"] + 1e-5) + layer["s"]
        x = np.where(x > 0, x, 0.2 * x)
    return (x @ layers[-1]["w"].T)[:, 0]


def oracle(known, labels, asked, head, unknown, epochs, batch, lr, generated, width, held_out, seed):
    rng = np.random.default_rng(seed)
    sides = known["features"], unknown["features"]
    mean = (sides[0].mean(axis=0) + sides[1].mean(axis=0)) / 2
    spread = np.sqrt(sum(((x - mean) ** 2).mean(axis=0) for x in sides) / 2)
    mixed = [((x - mean) / spread)[rng.permutation(len(x))] for x in sides]
    (here, known), (there, unknown) = (np.split(x, [round(held_out * len(x))]) for x in mixed)
    d = network(rng, [known.shape[1], *(width * np.array([8, 4, 2, 1])), 1], first=False)
    g = network(rng, [100, *(width * np.array([8, 4, 2, 4])), known.shape[1]], first=True)
    of_d, of_g, best = {}, {}, -1.0
    for _ in range(epochs):
        for rows in np.array_split(rng.permutation(len(known)), len(known) // batch):
            others = unknown[rng.integers(len(unknown), size=len(rows))]
            made, way = forward(g, rng.standard_normal((len(rows), 100)), 0.0)
            real = np.concatenate([known[rows], others])
            out, kept = forward(d, np.concatenate([real, made]), 0.2)
            sign, weight = (np.repeat(values, len(rows))[:, None] for values in ([-1, 1, 1], [1.0, 1.0, generated]))
            adam(d, backward(d, kept, weight * sign / (1 + np.exp(-sign * out)) / len(rows))[0], of_d, lr / 1.5)
            out, kept = forward(d, np.concatenate([real, made]), 0.2)
            pull = -1 / (1 + np.exp(out)) / len(rows)
            pull[: len(real)] = 0
            back = backward(d, kept, pull)[1][len(real) :]
            adam(g, backward(g, way, back)[0], of_g, lr)
        gaps = answer(d, here)[:, None] - answer(d, there)
        auroc = ((gaps > 0) + 0.5 * (gaps == 0)).mean()
        if auroc >= best:
            best, scores = auroc, answer(d, (asked["features"] - mean) / spread)
    return scores
