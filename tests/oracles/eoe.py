"""The best class name less a share of the best word, in one softmax, as log-odds between its ends."""

import math


def oracle(known, labels, asked, head, *, text, temperature, beta):
    scores = []
    for given in asked["embedding"]:
        image = given / math.sqrt((given**2).sum())
        *names, best = sorted(math.exp(image @ row / temperature) for row in text["positive"])
        *words, word = sorted(math.exp(image @ row / temperature) for row in text["negative"])
        # S is (best - beta word) / whole. Distances from its ends as sums: next to an end 1 - S is 0 in float64 too.
        from_below = best + beta * (sum(names) + sum(words) + best)  # (S + beta) whole
        from_above = sum(names) + sum(words) + word + beta * word  # (1 - S) whole
        equal = (1 - beta) / (len(names) + len(words) + 2)
        scores.append(math.log(from_below / from_above) - math.log((equal + beta) / (1 - equal)))
    return scores
