"""The image's and the best patch's probability over the most that they can be, as log-odds, less those of a guess."""

import math


def oracle(known, labels, asked, head, *, text, weight, temperature):
    classes = len(text["positive"])

    def probability(x):
        powers = [math.exp(x @ row / math.sqrt((x**2).sum()) / temperature) for row in text["positive"]]
        return max(powers) / sum(powers)

    scores = []
    for image, patches in zip(asked["embedding"], asked["local"], strict=True):
        mean = (probability(image) + weight * max(probability(patch) for patch in patches)) / (1 + weight)
        scores.append(math.log(mean / (1 - mean)) + math.log(classes - 1))
    return scores
