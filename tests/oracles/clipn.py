"""Both rules, as log-odds of the probability."""

import math


def oracle(known, labels, asked, head, *, text, rule, temperature):
    scores = []
    for given in asked["embedding"]:
        image = given / math.sqrt((given**2).sum())
        yes = [image @ row / temperature for row in text["positive"]]
        no = [image @ row / temperature for row in text["opposite"]]
        if rule == "ctw":
            best = max(range(len(yes)), key=yes.__getitem__)
            scores.append(yes[best] - no[best])
            continue
        whole = sum(math.exp(s - max(yes)) for s in yes)
        share = [math.exp(s - max(yes)) / whole for s in yes]
        agree = sum(w / (1 + math.exp(n - s)) for w, s, n in zip(share, yes, no, strict=True))
        differ = sum(w / (1 + math.exp(s - n)) for w, s, n in zip(share, yes, no, strict=True))
        scores.append(math.log(agree) - math.log(differ))
    return scores
