"""Pairs of inputs of one class and of two, by arithmetic on their number: a generation is never listed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unseen.data.batch import Rows
from unseen.errors import NotEnoughKnown

Numbers = NDArray[np.int64]
_ANCHOR, _PARTNER, _OTHER_CLASS, _SHUFFLE = range(4)  # what a draw decides
_ROUNDS = 6


class Classes:
    """Rows sorted by class, so that "the third of class 5" is a sum.

    Args:
        labels: ``(N,)`` codes from 0; some may have no row.

    Raises:
        NotEnoughKnown: fewer than two classes.
    """

    def __init__(self, labels: NDArray[Any]) -> None:
        self.code = np.unique(labels, return_inverse=True)[1].astype(np.int64)  # (N,), without gaps
        self.sizes = np.bincount(self.code)  # (C,)
        if len(self.sizes) < 2:
            raise NotEnoughKnown(f"pairs of different classes need two classes, got {len(self.sizes)}")
        self.members = np.argsort(self.code, kind="stable").astype(np.int64)
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.rank = np.empty_like(self.members)  # (N,) which of its class a row is
        self.rank[self.members] = np.arange(len(labels)) - self.starts[self.code[self.members]]

    def __len__(self) -> int:
        return len(self.sizes)

    def row(self, code: Numbers, rank: Numbers) -> Numbers:
        """The row that is number ``rank`` of its class."""
        rows: Numbers = self.members[self.starts[code] + rank]
        return rows

    def check_partners(self) -> None:
        """Raise where a class has one row, which then has no partner but itself."""
        if int(self.sizes.min()) < 2:
            alone = int(self.members[self.starts[int(self.sizes.argmin())]])
            raise NotEnoughKnown(
                f"row {alone} is the only one of its class and cannot be paired: add one, leave it out, or set "
                "exclude_self=False"
            )


class SampledPairs:
    """The pairs of one generation, in random order, ``batch`` a step.

    Every row is an anchor once: with one row of its class, and with ``ratio`` rows of other classes, first the class
    drawn and then the row. With ``balance`` each class smaller than the largest has further anchors, drawn from it, up
    to the size of the largest. A pair is a function of (seed, generation, its number); the order is one to one.

    Args:
        labels: ``(N,)``.
        batch: pairs a step; the rest of a generation is left out, and a generation of fewer pairs is one step.
        ratio: pairs of different classes for one of the same.
        balance: as many anchors of each class.
        exclude_self: never pair an anchor with itself.
        seed: of all draws.
        generation: from 0.

    Raises:
        NotEnoughKnown: fewer than two classes; with ``exclude_self`` a class of one row.
    """

    def __init__(
        self,
        labels: NDArray[Any],
        batch: int,
        *,
        ratio: int,
        balance: bool,
        exclude_self: bool,
        seed: int,
        generation: int,
    ) -> None:
        self.classes = Classes(labels)
        if exclude_self:
            self.classes.check_partners()
        self.ratio, self.exclude_self, self._key = ratio, exclude_self, (seed, generation)
        lacking = self.classes.sizes.max() - self.classes.sizes if balance else np.zeros_like(self.classes.sizes)
        self._extra = np.cumsum(lacking)  # further anchors up to and with each class
        self.anchors = len(labels) + int(self._extra[-1])
        self.pairs = self.anchors * (1 + ratio)
        self.batch = min(batch, self.pairs)

    def __len__(self) -> int:
        return self.pairs // self.batch

    def __getitem__(self, step: int) -> Rows:
        if not 0 <= step < len(self):
            raise IndexError(step)
        at = np.arange(step * self.batch, (step + 1) * self.batch, dtype=np.int64)
        number = scattered(at, self.pairs, (*self._key, _SHUFFLE))
        first, second = self.pair(number)
        places = np.arange(self.batch, dtype=np.int64)
        return Rows(
            np.concatenate([first, second]),
            draw=np.concatenate([2 * number, 2 * number + 1]),
            pairs=np.stack([places, places + self.batch], axis=1),
        )

    def pair(self, number: Numbers) -> tuple[Numbers, Numbers]:
        """Rows of the anchors and of their partners, by the number of the pair; number 0 of each anchor is the same."""
        anchor, slot = np.divmod(number, 1 + self.ratio)
        first = self._anchor(anchor)
        code = self.classes.code[first]
        return first, np.where(slot == 0, self._same(first, code, number), self._different(code, number))

    def _anchor(self, anchor: Numbers) -> Numbers:
        rows = len(self.classes.code)
        beyond = np.maximum(anchor - rows, 0)
        code = np.minimum(np.searchsorted(self._extra, beyond, side="right"), len(self.classes) - 1)
        further = self.classes.row(code, self._below(self.classes.sizes[code], _ANCHOR, anchor))
        return np.where(anchor < rows, np.minimum(anchor, rows - 1), further)

    def _same(self, first: Numbers, code: Numbers, number: Numbers) -> Numbers:
        drawn = self._below(self.classes.sizes[code] - self.exclude_self, _PARTNER, number)
        if self.exclude_self:
            drawn += drawn >= self.classes.rank[first]
        return self.classes.row(code, drawn)

    def _different(self, code: Numbers, number: Numbers) -> Numbers:
        other = self._below(np.full_like(code, len(self.classes) - 1), _OTHER_CLASS, number)
        other += other >= code
        return self.classes.row(other, self._below(self.classes.sizes[other], _PARTNER, number))

    def _below(self, most: Numbers, what: int, number: Numbers) -> Numbers:
        """A draw from ``0 ... most - 1`` for each number."""
        return (hashed(number, (*self._key, what)) % most.astype(np.uint64)).astype(np.int64)


class PairsInBatch:
    """Batches of ``C`` classes with ``m`` rows each, whose pairs are formed among themselves.

    All pairs of one class, and ``ratio`` times as many of different ones, drawn from all that there are (all, where
    there are fewer). A network reads each row once for many pairs.

    Args:
        labels: ``(N,)``.
        batch: rows a step: ``C = batch // m`` classes, at most all.
        each: ``m``, rows a class, from 2; of a smaller class all.
        ratio: as for `SampledPairs`.
        balance: classes are drawn alike; else in proportion to their rows.
        seed: of all draws.
        generation: from 0.

    Raises:
        NotEnoughKnown: fewer than two classes, a class of one row, or a batch of fewer than two classes.
    """

    def __init__(
        self, labels: NDArray[Any], batch: int, *, each: int, ratio: int, balance: bool, seed: int, generation: int
    ) -> None:
        self.classes = Classes(labels)
        self.classes.check_partners()
        self.each, self.ratio, self._key = each, ratio, (seed, generation)
        self.taken = min(batch // each, len(self.classes))
        if self.taken < 2:
            raise NotEnoughKnown(f"a batch of {batch} inputs, {each} a class, has no pair of two classes: raise batch")
        sizes = self.classes.sizes
        self._weight = np.full(len(sizes), 1 / len(sizes)) if balance else sizes / sizes.sum()

    def __len__(self) -> int:
        return max(1, len(self.classes.code) // (self.taken * self.each))

    def __getitem__(self, step: int) -> Rows:
        if not 0 <= step < len(self):
            raise IndexError(step)
        random = np.random.default_rng((*self._key, step))
        chosen = random.choice(len(self.classes), self.taken, replace=False, p=self._weight)
        ranks = [random.permutation(int(self.classes.sizes[code]))[: self.each] for code in chosen.tolist()]
        code = np.repeat(chosen, [len(rank) for rank in ranks])
        index = self.classes.row(code, np.concatenate(ranks))
        first, second = np.triu_indices(len(index), k=1)
        same = code[first] == code[second]
        different = np.flatnonzero(~same)
        wanted = min(len(different), self.ratio * int(same.sum()))
        kept = np.concatenate([np.flatnonzero(same), random.choice(different, wanted, replace=False)])
        # An epoch may read a row in several steps.
        draw = np.full(len(index), step, dtype=np.int64)
        return Rows(index, draw=draw, pairs=np.stack([first[kept], second[kept]], axis=1).astype(np.int64))


def hashed(number: Numbers, key: tuple[int, ...]) -> NDArray[np.uint64]:
    """64 bits for each number under a key, as good as drawn.

    Source: the finaliser of splitmix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
    """
    start = np.random.SeedSequence(key).generate_state(1, np.uint64)
    z = start + (number.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed


def scattered(number: Numbers, count: int, key: tuple[int, ...]) -> Numbers:
    """Each of ``0 ... count - 1`` put elsewhere, one to one, without a list of all.

    A Feistel network on the next larger square of a power of two; what falls outside goes round again.

    >>> sorted(scattered(np.arange(10), 10, (0, 1)).tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    half = np.int64(1 << max(1, math.ceil(math.log2(max(count, 2)) / 2)))
    placed = number.copy()
    going = np.arange(len(placed))
    while len(going):
        left, right = np.divmod(placed[going], half)
        for turn in range(_ROUNDS):
            drawn = (hashed(right, (*key, turn)) % np.uint64(half)).astype(np.int64)
            left, right = right, (left + drawn) % half
        placed[going] = left * half + right
        going = going[placed[going] >= count]
    return placed
