"""Detectors that read texts, in the made-up world of embeddings: python experiments/embedding_world.py

Every read-out on ten worlds, those with a probe on five: means and spreads over worlds of the AUROC on far and near
unknown images, and the orderings that hold, with how often they do. Some orderings that one might expect do not hold
here, and stand beside the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from record import environment, record
from unseen import EmbeddingWorld, create, evaluate
from unseen.language import Texts
from unseen.protocols import availability
from unseen.protocols.availability import Method, methods

SEEDS = range(10)
SEEDS_PROBES = SEEDS[:5]  # their fits take longest
EIGHT = tuple(f"a photo of a {{}}, number {i}" for i in range(8))
SIDES = ("far", "near")

Ask = Callable[[EmbeddingWorld], Texts]


def main() -> None:
    rows = [*texts(), *patches(), *probes()]
    by_name = {row["name"]: row for row in rows}
    for row in rows:
        print(f"{row['name']:44s}", {side: (row[side]["mean"], row[side]["spread"]) for side in SIDES}, flush=True)
    record(
        "embedding_world",
        {
            "environment": {**environment(), "threads": torch.get_num_threads()},
            "seeds": {"texts": list(SEEDS), "probes": list(SEEDS_PROBES)},
            "world": repr(EmbeddingWorld()),
            "about": statistics(),
            "rows": rows,
            "holds": [compared(by_name, *pair) for pair in HOLDS],
            "does_not": [compared(by_name, *pair) for pair in DOES_NOT],
        },
    )


def statistics() -> dict[str, float]:
    """Mean cosines and zero-shot accuracy, over worlds."""
    told = []
    for seed in SEEDS:
        world = EmbeddingWorld(seed, shots=2)
        v, t = world.known.gather("embedding").double(), world.bank().positive.double()
        cosines, n = v @ t.T, len(v)
        own = cosines[torch.arange(n), torch.from_numpy(world.known.labels)]
        between = [((x @ x.T).sum() - len(x)) / (len(x) * (len(x) - 1)) for x in (v, t)]
        others = (cosines.sum() - own.sum()) / (n * (len(t) - 1))
        right = (cosines.argmax(dim=1).numpy() == world.known.labels).mean()
        told.append([*map(float, between), float(own.mean()), float(others), float(right)])
    names = ("image_image", "text_text", "image_own_text", "image_other_text", "accuracy")
    return {name: round(value, 4) for name, value in zip(names, np.mean(told, axis=0).tolist(), strict=True)}


def mined(rule: str, prompts: Any = "mcm", **more: Any) -> Ask:
    return lambda world: Texts(prompts=prompts, word_prompts="mcm", negatives=world.lexicon, mine=rule, **more)


def one(prompts: Any = "mcm") -> Ask:
    return lambda _: Texts(prompts=prompts)


def near_names(world: EmbeddingWorld) -> Texts:
    """What a language model that knows the field might propose: names of near concepts."""
    return Texts(prompts="mcm", negatives=world.names("near"), mine="all")


READ_OUTS: tuple[tuple[str, str, Ask], ...] = (
    ("MCM", "mcm", one()),
    ("MCM, temperature 0.01", "mcm(temperature=0.01)", one()),
    ("MCM, 8 prompts", "mcm", one(EIGHT)),
    ("largest cosine", "zero_shot >> maxlogit", one()),
    ("Energy, temperature 0.01", "zero_shot >> energy", one()),
    ("Energy, temperature 1", "zero_shot(temperature=1.0) >> energy", one()),
    ("NegLabel, mined words", "neglabel(groups=1)", mined("neglabel")),
    ("NegLabel, mined words, 8 prompts", "neglabel(groups=1)", mined("neglabel", EIGHT)),
    ("NegLabel, mined words, 10 groups", "neglabel(groups=10)", mined("neglabel")),
    ("NegLabel, random words", "neglabel(groups=1)", mined("random")),
    ("NegLabel, all words", "neglabel(groups=1)", mined("all")),
    ("NegLabel, nearest words", "neglabel(groups=1)", mined("nearest")),
    ("NegLabel, temperature 1", "neglabel(groups=1, temperature=1.0)", mined("neglabel")),
    ("NegLabel, names of near concepts", "neglabel(groups=1)", near_names),
    ("EOE, names of near concepts", "eoe", near_names),
    ("CLIPN, ATD", "clipn", one()),
    ("CLIPN, CTW", "clipn(rule='ctw')", one()),
)
IN_PATCHES = (("MCM", "mcm"), ("L-MCM", "l_mcm"), ("GL-MCM", "gl_mcm"))

# better, worse, on which side
HOLDS = (
    ("NegLabel, mined words", "MCM", "far"),
    ("MCM", "largest cosine", "far"),
    ("NegLabel, mined words", "NegLabel, random words", "far"),
    ("NegLabel, random words", "NegLabel, nearest words", "far"),
    ("MCM, 8 prompts", "MCM", "far"),
    ("MCM, 8 prompts", "MCM", "near"),
    ("NegLabel, mined words, 10 groups", "NegLabel, mined words", "far"),
    ("MCM", "MCM, temperature 0.01", "far"),
    ("EOE, names of near concepts", "MCM", "near"),
    ("small objects: L-MCM", "small objects: MCM", "far"),
    ("PLP + Energy", "Pseudo-MSP", "near"),
    ("Probing + Energy", "PLP + Energy", "near"),
    ("PLP + RMD", "PLP + MD", "near"),
)
DOES_NOT = (
    ("NegLabel, mined words", "MCM", "near"),
    ("small objects: GL-MCM", "small objects: L-MCM", "far"),
    ("RMD", "MD", "far"),
    ("1-NN", "k-means MD", "near"),
)


def texts() -> list[dict[str, Any]]:
    worlds = [EmbeddingWorld(seed, shots=2) for seed in SEEDS]
    return [
        summed(name, expression, [asked(w, expression, ask(w)) for w in worlds]) for name, expression, ask in READ_OUTS
    ]


def patches() -> list[dict[str, Any]]:
    worlds = [EmbeddingWorld(seed, patches=16, shots=2) for seed in SEEDS]
    return [
        summed(f"small objects: {name}", expression, [asked(w, expression, one()(w)) for w in worlds])
        for name, expression in IN_PATCHES
    ]


def probes() -> list[dict[str, Any]]:
    """The label-availability table."""
    found: dict[str, list[list[float]]] = {}
    expressions: dict[str, str] = {}
    for seed in SEEDS_PROBES:
        world = EmbeddingWorld(seed)
        every = methods(len(world.classes))
        plp_md = [Method("PLP + MD", "names", "plp >> mahalanobis(on='logits')")]
        bank = world.bank(Texts(prompts="plp"))
        told = availability(
            world.train, world.known, {"far": world.far, "near": world.near}, text=bank, methods=[*every, *plp_md]
        )
        for row in told.rows:
            found.setdefault(row.name, []).append([row.sets[side]["auroc"] for side in SIDES])
            expressions[row.name] = row.expression
    return [summed(name, expressions[name], values) for name, values in found.items()]


def asked(world: EmbeddingWorld, expression: str, texts: Texts) -> list[float]:
    detector = create(expression).fit(world.train, text=world.bank(texts))
    known = detector.score(world.known)
    return [evaluate(known, detector.score(getattr(world, side))).auroc for side in SIDES]


def summed(name: str, expression: str, values: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Mean and standard deviation over worlds."""
    x = np.array(values)
    told = {
        side: {
            "mean": round(float(x[:, i].mean()), 4),
            "spread": round(float(x[:, i].std(ddof=1)), 4),
            "each": x[:, i].round(4).tolist(),
        }
        for i, side in enumerate(SIDES)
    }
    return {"name": name, "expression": expression, "worlds": len(x), **told}


def compared(rows: dict[str, dict[str, Any]], better: str, worse: str, side: str) -> dict[str, Any]:
    """The mean difference over worlds that both were asked in, and in how many it is positive."""
    a, b = (np.array(rows[name][side]["each"]) for name in (better, worse))
    gap = a[: min(len(a), len(b))] - b[: min(len(a), len(b))]
    return {
        "better": better,
        "worse": worse,
        "side": side,
        "difference": round(float(gap.mean()), 4),
        "in": int((gap > 0).sum()),
        "worlds": len(gap),
    }


if __name__ == "__main__":
    main()
