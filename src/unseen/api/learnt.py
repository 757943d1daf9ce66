"""What a guard learnt from, as its file says it: recorded at the fit, and found again when the guard is extended.

The record has the path, how many inputs there were, and one hash over what they contain, with labels and groups. It
names no single input, so that a guard that is passed on does not tell which ones it learnt from. The store finds
encodings by what the inputs contain, which the source itself says.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unseen.classifier import OpenSetClassifier
from unseen.data import Inputs
from unseen.errors import BadInput, WrongUse
from unseen.files import fingerprint
from unseen.naming import listed as listed_names
from unseen.signals import Support

Open = Callable[[Any, int | None, int], Inputs]


@dataclass(frozen=True)
class Listed:
    """Inputs with what they contain.

    Attributes:
        inputs: N rows.
        digests: what ``inputs.digests()`` returned.
    """

    inputs: Inputs
    digests: Sequence[bytes]

    @classmethod
    def of(cls, inputs: Inputs, workers: int | None) -> Listed:
        """Read every row once; unless ``workers`` are given by more threads than cores, as they wait for the disk."""
        return cls(inputs, inputs.digests() if workers is None else inputs.digests(threads=workers))


def record(source: Any, listed: Listed, support: Support, limit: int | None, seed: int) -> dict[str, Any]:
    """What a guard's file says of one source."""
    path = os.fspath(source) if isinstance(source, (str, os.PathLike)) else None
    return {
        "source": path,
        "inputs": len(support),
        "contents": contents(listed),
        **({} if limit is None else {"limit": limit, "seed": seed}),
    }


def contents(listed: Listed) -> str:
    """One hash over what the rows contain, in their order, with labels and groups."""
    inputs = listed.inputs
    names = [] if inputs.labels is None else [inputs.classes[code] for code in inputs.labels.tolist()]
    groups = b"" if inputs.groups is None else np.unique(inputs.groups, return_inverse=True)[1].astype("<i8").tobytes()
    return fingerprint(fingerprint(*listed.digests), fingerprint(*names), groups)


def known_sources(
    guard: OpenSetClassifier, known: Sequence[Any], open_source: Open, workers: int | None
) -> list[Listed]:
    """The inputs that a guard learnt from, as they were then.

    Args:
        guard: a fitted classifier.
        known: where they lie now; by default where they lay at the fit.
        open_source: opens a source, given its limit and seed.
        workers: threads that read.

    Raises:
        WrongUse: when the guard does not say what it learnt from, or ``known`` are more or fewer sources.
        BadInput: when a source is not there, or no longer what it was.
    """
    learnt = guard.about.get("learnt") or [{}]
    if not known:
        known = [before.get("source") for before in learnt]
        if None in known:
            raise WrongUse(
                "the guard does not say where the inputs lie that it learnt from, as they were arrays in memory or an "
                "earlier version made it: give them, as known=... or --known"
            )
        for source in known:
            if not Path(source).exists():
                raise BadInput(
                    f"{source}: the guard learnt from it and it is not there, and encodings are found by what the "
                    "inputs contain: say where it lies now, as known=... or --known, or fit again"
                )
    if len(known) != len(learnt):
        raise WrongUse(
            f"the guard learnt from {len(learnt)} sources and {len(known)} are given as known: give each, in the order "
            f"in which they came ({', '.join(str(before.get('source')) for before in learnt)})"
        )
    found = []
    for source, before in zip(known, learnt, strict=True):
        inputs = open_source(source, before.get("limit"), before.get("seed", guard.seed))
        listed = Listed.of(inputs, workers)
        if "contents" in before and before["contents"] != contents(listed):
            raise BadInput(
                f"{inputs.source}: not what the guard learnt from: files, labels or groups are others than at the fit "
                f"({before['inputs']:,} inputs then, {len(inputs):,} now): put new inputs into a folder of their own "
                "and leave the old ones as they were, or fit again"
            )
        found.append(listed)
    # What was left out of a source when the guard was extended by it is left out again.
    return [without_known(listed, found[:number])[0] for number, listed in enumerate(found)]


def records_again(
    guard: OpenSetClassifier, known: Sequence[Any], listed: Sequence[Listed], supports: Sequence[Support]
) -> list[dict[str, Any]]:
    """What an extended guard's file says of the sources before: where they lie now, the rest as it was."""
    learnt = guard.about.get("learnt") or [{}]
    now = [
        record(source, one, of, None, 0)
        for source, one, of in zip(known or [None] * len(listed), listed, supports, strict=True)
    ]
    return [
        {**after, **before, **({"source": after["source"]} if known else {})}
        for before, after in zip(learnt, now, strict=True)
    ]


def without_known(new: Listed, known: Sequence[Listed]) -> tuple[Listed, tuple[str, ...]]:
    """The new inputs less exact copies of known ones, and a note where there were any.

    A copy could be set aside while the known input is learnt from, or the other way round.

    Raises:
        BadInput: when all are copies.
    """
    label: dict[bytes, str | None] = {}
    for listed in known:
        label |= dict(zip(listed.digests, _names(listed.inputs), strict=True))
    copies = [row for row, digest in enumerate(new.digests) if digest in label]
    if not copies:
        return new, ()
    if len(copies) == len(new.inputs):
        raise BadInput(
            f"{new.inputs.source}: all {len(copies):,} inputs are exact copies of what the guard learnt from"
        )
    names, keys = _names(new.inputs), new.inputs.keys
    other = [row for row in copies if names[row] != label[new.digests[row]]]
    note = f"{len(copies):,} of the new inputs are exact copies of what the guard learnt from and were left out"
    if other:
        note += f", {len(other):,} of them under another label, such as {keys[other[0]]}"
    kept = np.setdiff1d(np.arange(len(new.inputs)), copies)
    return Listed(new.inputs.take(kept), [new.digests[row] for row in kept.tolist()]), (note,)


def sentence(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What an extension did, from what `OpenSetClassifier.info` says before and after.

    >>> before = {"classes": ["cat"], "n_fit": 80, "n_calibration": 20}
    >>> sentence(before, {"classes": ["cat", "dog"], "n_fit": 120, "n_calibration": 30})
    '50 inputs were added, 10 of them set aside, with the new class dog; the 100 known before stay as they were.'
    """
    fit, aside = (after[name] - before[name] for name in ("n_fit", "n_calibration"))
    new = [name for name in after["classes"] if name not in before["classes"]]
    kinds = f"the new class {new[0]}" if len(new) == 1 else f"{len(new):,} new classes: {listed_names(new, 5)}"
    return (
        f"{fit + aside:,} inputs were added, {aside:,} of them set aside, with {kinds if new else 'no new class'}; the "
        f"{before['n_fit'] + before['n_calibration']:,} known before stay as they were."
    )


def _names(inputs: Inputs) -> list[str | None]:
    """The label of each row."""
    return [None] * len(inputs) if inputs.labels is None else [inputs.classes[code] for code in inputs.labels.tolist()]
