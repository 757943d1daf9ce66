"""Published numbers beside ours: OpenOOD's leaderboard, post-hoc detectors on networks of plain training.

The files in ``published/`` are facts with their source: all rows of plain cross-entropy training. A row is matched with
a detector of ours by name, and only where that reads the network's own outputs or features, as a head of ours makes
another classifier.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

# OpenOOD's postprocessor -> our parts without arguments.
OURS: dict[str, tuple[str, ...]] = {
    "MSP": ("msp",),
    "MLS": ("maxlogit",),
    "EBO": ("energy",),
    "GEN": ("gen",),
    "TempScale": ("temperature", "msp"),
    "KLM": ("kl_matching",),
    "OpenMax": ("openmax",),
    "ReAct": ("react", "energy"),
    "ASH": ("ash", "energy"),
    "SCALE": ("scale", "energy"),
    "DICE": ("dice", "energy"),
    "SHE": ("she",),
    "GradNorm": ("gradnorm",),
    "fDBD": ("fdbd",),
    "VIM": ("vim",),
    "MDS": ("mahalanobis",),
    "RMDS": ("relative_mahalanobis",),
    "KNN": ("knn",),
    "NNGuide": ("nnguide",),
    "ODIN": ("odin",),
    "Gram": ("gram",),
    "RankFeat": ("rankfeat",),
    "NAC": ("nac",),
    "MDSEns": ("mds_ensemble",),
    "Relation": ("relation",),
}
# Those whose configuration has a sweep, so that the setting was chosen on unknown inputs for validation.
TUNED = frozenset({"EBO", "GEN", "ReAct", "ASH", "SCALE", "fDBD", "VIM", "KNN", "Relation", "ODIN"})
# Where our default is another variant of the method.
DIFFERS = {
    "ASH": "theirs is variant B, our default S",
    "MDSEns": "theirs weighs layers by unknown inputs, ours not",
}


def published(file: str) -> dict[str, Any]:
    """One table; AUROCs as fractions.

    Args:
        file: name of a file in ``published/``, as `Protocol.published` has it.

    Returns:
        ``benchmark``, ``known``, ``full_spectrum``, ``near``, ``far`` and ``shifted`` (titles of the sets), ``metric``,
        ``runs``, ``training``, ``caveat``, ``source``, ``architecture`` (that of most rows, which stands beside ours)
        and ``rows``: ``postprocessor``, ``architecture``, ``near``, ``near_std``, ``far``, ``far_std``, ``accuracy``,
        ``tuned_on_unknown`` and ``differs`` (how ours differs beyond the network, or None).

    >>> table = published("openood_cifar10.json")
    >>> next(row["near"] for row in table["rows"] if row["postprocessor"] == "MSP")
    0.8803
    """
    text = files("unseen.protocols").joinpath("published", file).read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    names: list[str] = table.pop("columns")
    rows = []
    for values in table["rows"]:
        row = dict(zip(names, values, strict=True))
        for key in ("near", "near_std", "far", "far_std", "accuracy"):
            row[key] = None if row[key] is None else round(row[key] / 100, 6)
        row |= {
            "tuned_on_unknown": row["postprocessor"] in TUNED,
            "differs": DIFFERS.get(row["postprocessor"]),
        }
        rows.append(row)
    table["rows"] = rows
    table["metric"] = "AUROC, unweighted mean over the sets of a group"
    table["architecture"] = Counter(row["architecture"] for row in rows).most_common(1)[0][0]
    return table


def counterpart(name: str) -> str | None:
    """OpenOOD's name of the detector in this row; None where it has none, or reads another head than the network's.

    Args:
        name: the expression of a row; arguments do not count.

    >>> counterpart("own >> react >> energy"), counterpart("knn(k=5)"), counterpart("ridge >> msp")
    ('ReAct', 'KNN', None)
    """
    parts = tuple(part.split("(")[0].strip() for part in name.split(">>"))
    if parts[0] == "own":
        parts = parts[1:]
    return next((theirs for theirs, ours in OURS.items() if ours == parts), None)


def beside(names: Sequence[str], table: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Row name of ours -> the published row of the same detector on the table's architecture, where there is one."""
    theirs = {row["postprocessor"]: row for row in table["rows"] if row["architecture"] == table["architecture"]}
    return {name: theirs[other] for name in names if (other := counterpart(name)) in theirs and other is not None}
