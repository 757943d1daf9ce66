"""Rows with exactly the same content: found, described, kept on one side of a split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unseen.data.inputs import Inputs
from unseen.errors import WrongUse


@dataclass(frozen=True)
class Duplicates:
    """Sets of rows with the same content.

    Attributes:
        groups: row numbers of each set, two or more, ascending.
        conflicting: those of the sets whose rows carry different labels.
    """

    groups: tuple[tuple[int, ...], ...]
    conflicting: tuple[tuple[int, ...], ...]

    @property
    def surplus(self) -> int:
        """How many rows repeat an earlier one."""
        return sum(len(group) - 1 for group in self.groups)

    def describe(self, inputs: Inputs) -> tuple[str, ...]:
        """Nothing, or one line on the repeats, and one on those across classes with an example."""
        lines = []
        if self.groups:
            rows = "1 row repeats an" if self.surplus == 1 else f"{self.surplus:,} rows repeat an"
            lines.append(f"{rows} earlier row exactly")
        if self.conflicting:
            one, *others = self.conflicting[0]
            labels = inputs.labels
            other = next((i for i in others if labels is not None and labels[i] != labels[one]), others[0])
            pictures = (
                "1 exact duplicate" if len(self.conflicting) == 1 else f"{len(self.conflicting):,} exact duplicates"
            )
            lines.append(f"{pictures} across classes, such as {inputs.keys[one]} = {inputs.keys[other]}")
        return tuple(lines)


def duplicates(inputs: Inputs, digests: Sequence[bytes]) -> Duplicates:
    """Rows with equal digests.

    Args:
        inputs: ``N`` rows.
        digests: what ``inputs.digests()`` returned.

    Raises:
        WrongUse: not one digest a row.

    >>> from unseen.data import open_inputs
    >>> rows = open_inputs({"features": np.array([[1.0], [2.0], [1.0]]), "labels": ["a", "a", "b"]})
    >>> duplicates(rows, rows.digests())
    Duplicates(groups=((0, 2),), conflicting=((0, 2),))
    """
    groups = _repeats(inputs, digests)
    labels = inputs.labels
    conflicting = () if labels is None else tuple(g for g in groups if len(set(labels[list(g)].tolist())) > 1)
    return Duplicates(groups, conflicting)


def merge_groups(inputs: Inputs, digests: Sequence[bytes]) -> NDArray[np.int64]:
    """Group codes ``(N,)``, from 0, that unite the given groups with exact duplicates.

    Rows are in one group when a chain of shared groups and equal contents joins them, so no content
    stands on both sides of a ``split`` by these codes.

    Raises:
        WrongUse: not one digest a row.
    """
    repeats = _repeats(inputs, digests)
    own = np.arange(len(inputs)) if inputs.groups is None else np.unique(inputs.groups, return_inverse=True)[1]
    parent = np.arange(own.max(initial=-1) + 1).tolist()

    def root(group: int) -> int:
        while parent[group] != group:
            parent[group] = parent[parent[group]]  # halves the path
            group = parent[group]
        return group

    for rows in repeats:
        first, *others = own[list(rows)].tolist()
        for other in others:
            parent[root(other)] = root(first)
    roots = np.fromiter((root(group) for group in range(len(parent))), np.int64, len(parent))
    return np.unique(roots[own], return_inverse=True)[1].astype(np.int64)


def _repeats(inputs: Inputs, digests: Sequence[bytes]) -> tuple[tuple[int, ...], ...]:
    if len(digests) != len(inputs):
        raise WrongUse(f"{len(digests):,} digests for {len(inputs):,} rows: pass what inputs.digests() returned")
    rows: defaultdict[bytes, list[int]] = defaultdict(list)
    for row, digest in enumerate(digests):
        rows[digest].append(row)
    return tuple(tuple(same) for same in rows.values() if len(same) > 1)
