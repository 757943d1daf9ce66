"""Scores on a text bank, and mining one, against the matrix product that each needs.

python benchmarks/texts.py

50,000 random images of 512 numbers, 1,000 class names, 10,000 words in 100 groups. The product alone is taken in the
same batches, each into the same memory: fresh memory for each would be counted as time of the product. *Plain* is the
score as the authors' programs compute it: all cosines of a batch of 4,096, a softmax over classes and words of each
group, and the mean over groups, in a Python loop over groups; for MCM the softmax and its maximum. Mining looks at
70,000 candidates. Memory is the highest anonymous memory of a process of its own beyond what it held before; see
`memory.py`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from timing import agreement, paired, write  # isort: skip  # before NumPy: one thread

import torch
from torch import Tensor
from torch.nn.functional import normalize

from memory import peak_anonymous_mb
from unseen.detectors.mcm import MCM
from unseen.detectors.neglabel import NegLabel
from unseen.language import mine
from unseen.language.mining import BLOCK
from unseen.signals import TextBank

IMAGES, WIDTH, CLASSES, WORDS, GROUPS, CANDIDATES = 50_000, 512, 1_000, 10_000, 100, 70_000
TEMPERATURE = 0.01
PAIRS = 5


def main() -> None:
    random = torch.Generator().manual_seed(0)
    images, names, words = (
        normalize(torch.randn(rows, WIDTH, generator=random), dim=1) for rows in (IMAGES, CLASSES, WORDS)
    )
    bank = TextBank(names, tuple(f"class {i}" for i in range(CLASSES)), words, tuple(f"word {j}" for j in range(WORDS)))
    result: dict[str, Any] = {"images": IMAGES, "width": WIDTH, "classes": CLASSES, "words": WORDS, "groups": GROUPS}
    neglabel = NegLabel(groups=GROUPS).fit({"embedding": images[:2]}, text=bank)
    mcm = MCM().fit({"embedding": images[:2]}, text=bank)
    texts = torch.cat([names, words])
    for name, detector, rows in (("neglabel", neglabel, texts), ("mcm", mcm, names)):
        size = detector.rows_at_once()
        over = paired(
            ours=lambda size=size, rows=rows: product(images, rows, size),
            theirs=lambda detector=detector: detector.score({"embedding": images}),
            pairs=PAIRS,
        )
        result[name] = {"rows_at_once": size, "over_its_product": over}
        print(json.dumps({name: result[name]}), flush=True)
    result["mcm"]["plain_over_ours"] = paired(
        ours=lambda: mcm.score({"embedding": images}), theirs=lambda: plain_mcm(images, names), pairs=PAIRS
    )
    print(json.dumps(result["mcm"]["plain_over_ours"]), flush=True)
    held = neglabel.negative.flatten(0, 1) * TEMPERATURE
    few = images[:8_192]
    result["plain"] = {
        "images": len(few),
        "over_ours": paired(
            ours=lambda: neglabel.score({"embedding": few}), theirs=lambda: plain(few, names, held), pairs=PAIRS
        ),
        "agreement": agreement(
            torch.sigmoid(neglabel.score({"embedding": few}).double()).numpy(), plain(few, names, held).numpy()
        ),
        "exactly_one": {"plain": int((plain(few, names, held) == 1).sum())},
    }
    print(json.dumps(result["plain"]), flush=True)
    candidates = normalize(torch.randn(CANDIDATES, WIDTH, generator=random), dim=1)
    listed = [f"word {j}" for j in range(CANDIDATES)]
    result["mining"] = {
        "candidates": CANDIDATES,
        "over_its_product": paired(
            ours=lambda: product(candidates, names, BLOCK),
            theirs=lambda: mine(listed, candidates, names, rule="neglabel"),
            pairs=PAIRS,
        ),
    }
    print(json.dumps(result["mining"]), flush=True)
    # Twice the images must not take twice the memory.
    result["peak_mb"] = {
        str(rows): round(peak_anonymous_mb(lambda rows=rows: neglabel.score({"embedding": images[:rows]}))[0], 1)
        for rows in (IMAGES // 4, IMAGES // 2, IMAGES)
    }
    print(json.dumps(result["peak_mb"]), flush=True)
    write("texts", result, sys.argv)


def product(rows: Tensor, others: Tensor, size: int) -> None:
    """Rows times others, ``size`` rows at a time; nothing is kept."""
    out = torch.empty(size, len(others))
    for batch in rows.split(size):
        torch.mm(batch, others.T, out=out[: len(batch)])


def plain_mcm(images: Tensor, names: Tensor) -> Tensor:
    """The largest probability at temperature 1."""
    return torch.cat([(batch @ names.T).softmax(dim=1).amax(dim=1) for batch in images.split(4_096)])


def plain(images: Tensor, names: Tensor, words: Tensor) -> Tensor:
    """The averaged probability of the class names."""
    scores = []
    for batch in images.split(4_096):
        known, other = batch @ names.T / TEMPERATURE, batch @ words.T / TEMPERATURE
        mean = torch.zeros(len(batch))
        for group in other.chunk(GROUPS, dim=1):
            mean += torch.cat([known, group], dim=1).softmax(dim=1)[:, : len(names)].sum(dim=1)
        scores.append(mean / GROUPS)
    return torch.cat(scores)


if __name__ == "__main__":
    main()
