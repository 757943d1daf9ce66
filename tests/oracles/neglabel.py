"""The averaged score of groups of words, as log-odds."""

import math

import numpy as np


def oracle(known, labels, asked, head, *, text, temperature, groups, seed):
    words = text["negative"]
    groups = min(groups, len(words))
    each = len(words) // groups
    drawn = np.random.default_rng(seed).permutation(groups * each)
    scores = []
    for given in asked["embedding"]:
        image = given / math.sqrt((given**2).sum())
        known_mass = sum(math.exp(image @ row / temperature) for row in text["positive"])
        share, rest = 0.0, 0.0
        for g in range(groups):
            other = sum(math.exp(image @ words[j] / temperature) for j in drawn[g * each : (g + 1) * each])
            share += known_mass / (known_mass + other) / groups
            rest += other / (known_mass + other) / groups
        scores.append(math.log(share / rest))
    return scores
