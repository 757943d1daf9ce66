import math


def oracle(known, labels, asked, head):
    scores = []
    for row in asked["logits"].tolist():
        total = math.fsum(math.exp(v) for v in row)
        scores.append(math.fsum(math.exp(v) / total * math.log(math.exp(v) / total) for v in row))
    return scores
