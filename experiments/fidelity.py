"""How far every detector and step is from its oracle, and from what other libraries answer about the same arrays.

python experiments/fidelity.py

One fixed random world. Our scores, of float64 and of float32 inputs, are compared with the paper's formula, written
naively in float64 NumPy (`tests/oracles`); those of other libraries by their ranks, with settings matched to ours.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from counterparts import LIBRARIES, Counterpart, Given, rank_correlation, support, world
from record import record
from unseen import create, registry
from unseen.checks._world import World, text_rows
from unseen.checks.detectors import Subject
from unseen.errors import MissingExtra
from unseen.signals import LinearHead, Signals, Support

ORACLES = Path(__file__).parent.parent / "tests" / "oracles"
SHAPE = 10, 32, 2000, 400  # classes, width, known inputs, queries
DTYPES = ("float64", "float32")
Row = dict[str, Any]
Oracle = Callable[..., Any]


def against_oracle(name: str, given: Given) -> Row:
    """The largest difference from the oracle as a share of its largest score, and Spearman's correlation.

    A method that reads more than features and logits, or learns from unknown inputs, is asked about the arrays of the
    public checks, which have all.
    """
    part = create(name, **registry.find("detectors", name).small)
    subject = Subject(part)
    # What a query needs may depend on what was learnt.
    simple = {*subject.wanted(), *subject.fit(World()).reads()} <= {"features", "logits"}
    simple = simple and "uses_unknown" not in part.traits
    expected, answers = (_on_these if simple else _on_those_of_the_checks)(subject, _oracle(name), given)
    row: Row = {"name": name, "n": len(expected)}
    for dtype, found in answers.items():
        gap = np.abs(found.astype(np.float64) - expected).max() / np.abs(expected).max()
        row[dtype] = {
            "largest_difference": float(f"{gap:.2g}"),
            "rank_correlation": round(rank_correlation(torch.from_numpy(found), torch.from_numpy(expected)), 8),
        }
    return row


def _on_these(subject: Subject, oracle: Oracle, given: Given) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    weight, bias = given.head.weight.double(), given.head.bias.double()
    known, asked = (
        {"features": x.numpy(), "logits": (x @ weight.T + bias).numpy()}
        for x in (given.known.double(), given.features.double())
    )
    labels, answers = given.labels.numpy(), {}
    pair = weight.numpy(), bias.numpy()
    expected = oracle(dict(known), labels.copy(), dict(asked), pair, **subject.part.arguments())
    for dtype in DTYPES:
        columns = Signals({key: column.astype(dtype) for key, column in known.items()})
        kept = getattr(torch, dtype)
        head = LinearHead(weight.to(kept), bias.to(kept), given.head.classes)
        made = subject.make().fit(Support(columns, labels=labels, classes=given.head.classes, head=head))
        answers[dtype] = made.score({key: asked[key].astype(dtype) for key in made.reads()})
    return np.asarray(expected), answers


def _on_those_of_the_checks(subject: Subject, oracle: Oracle, _: Given) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    known_to = World()
    wanted = {"features", "logits", *subject.wanted()}
    known, asked = (known_to.columns(which, wanted, "float64") for which in ("known", "new"))
    head = known_to.head()
    pair = head.weight.numpy(), head.bias.numpy()
    uses = "uses_unknown" in subject.part.traits
    beside = {"unknown": known_to.columns("unknown", wanted, "float64")} if uses else {}
    beside |= {"text": text_rows(known_to.text())} if "text_bank" in subject.part.traits else {}
    expected = oracle(known, known_to.labels.copy(), asked, pair, **beside, **subject.part.arguments())
    answers = {dtype: subject.score(subject.fit(known_to, dtype), known_to, "new", dtype) for dtype in DTYPES}
    return np.asarray(expected), answers


def _oracle(name: str) -> Oracle:
    spec = importlib.util.spec_from_file_location(f"oracle_{name}", ORACLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Oracle = module.oracle
    return found


def against_library(pair: Counterpart, module: Any, given: Given) -> Row:
    """Spearman's correlation of our scores and theirs; those of theirs that are no numbers are left out."""
    made = create(pair.ours).fit(support(given))
    ours = made.score({name: getattr(given, name) for name in made.reads()})
    theirs = -pair.score(module, given)
    numbers = theirs.isfinite()
    return {
        "ours": pair.ours,
        "theirs": pair.theirs,
        "rank_correlation": round(rank_correlation(ours[numbers], theirs[numbers]), 8),
        "not_numbers": int((~numbers).sum()),
        "default": pair.default,
        "reason": pair.reason,
    }


def main() -> None:
    torch.set_num_threads(1)
    given = world(*SHAPE)
    oracles = []
    for name in registry.names("detectors"):
        oracles.append(against_oracle(name, given))
        print(json.dumps(oracles[-1]), flush=True)
    libraries: dict[str, Any] = {}
    for library in LIBRARIES:
        try:
            module, version = library.load()
        except (ImportError, MissingExtra) as missing:
            print(f"{library.name} is left out: {missing}", file=sys.stderr)
            continue
        rows = [against_library(pair, module, given) for pair in library.pairs]
        libraries[library.name] = {"version": version, "rows": rows}
        for row in rows:
            print(json.dumps({"library": library.name, **row}), flush=True)
    record("fidelity", {"shape": dict(zip("CDNM", SHAPE, strict=True)), "oracles": oracles, "libraries": libraries})


if __name__ == "__main__":
    main()
