"""Two parts of the rows: each class in proportion, groups whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unseen.errors import BadInput, WrongUse

Index = NDArray[np.int64]


def split(
    labels: ArrayLike | None,
    groups: ArrayLike | None,
    fraction: float,
    seed: int,
    *,
    rows: int | None = None,
) -> tuple[Index, Index]:
    """Split ``N`` rows in two, the same way for the same arguments.

    Without groups, a class of ``n`` rows gives ``floor(fraction * n + 1/2)`` of them to the first part, but
    from two rows on at least one to each part. With groups, the big ones are dealt out first, each to the
    part that lacks more rows of its classes, and groups of one row make up the difference; a class that
    occurs in two or more groups is met on both sides. (Groups that mix classes can make that impossible:
    three groups holding AB, BC and CA. Then as many classes as were found are.)

    Args:
        labels: ``(N,)`` class of each row, any integers or strings; None: one class.
        groups: ``(N,)`` group of each row; rows of one group stay together. None: each row alone.
        fraction: share of the first part, between 0 and 1.
        seed: of a generator of its own.
        rows: ``N``, needed only when both labels and groups are None.

    Returns: row numbers of the first and of the second part, both sorted, int64.

    Raises:
        WrongUse: a fraction outside (0, 1), no way to know ``N``.
        BadInput: labels and groups of different length.

    >>> first, second = split([0, 0, 0, 0, 1, 1], None, 0.5, seed=0)
    >>> len(first), len(second)
    (3, 3)
    """
    if not 0 < fraction < 1:
        raise WrongUse(f"fraction must lie between 0 and 1, got {fraction}")
    of_class, of_group = _codes(labels, "labels"), _codes(groups, "groups")
    known = [len(codes) for codes in (of_class, of_group) if codes is not None]
    if not known and rows is None:
        raise WrongUse("without labels and groups, split must be told the number of rows")
    total = known[0] if known else rows or 0
    if any(length != total for length in known) or rows not in (None, total):
        raise BadInput(f"labels, groups and rows must agree, got lengths {known} and rows={rows}")
    random = np.random.default_rng(seed)
    if of_class is None:
        of_class = np.zeros(total, np.int64)
    goes_first = np.zeros(total, np.bool_)
    counts = np.bincount(of_class)  # (C,)
    have = np.zeros((2, len(counts)))  # rows of each class dealt to the (first, second) part so far
    single = np.ones(total, np.bool_)
    if of_group is not None:
        sizes = np.bincount(of_group)
        single = sizes[of_group] == 1
        if not single.all():
            side = _deal(of_class, of_group, counts, fraction, random)  # (G,) True: first
            big = np.flatnonzero(~single)
            goes_first[big] = side[of_group[big]]
            for part, chosen in enumerate((goes_first[big], ~goes_first[big])):
                have[part] = np.bincount(of_class[big[chosen]], minlength=len(counts))

    # Groups of one row: a random order within each class, the first few of it to the first part.
    alone = np.flatnonzero(single)
    left = np.bincount(of_class[alone], minlength=len(counts))
    wanted = np.floor(fraction * counts - have[0] + 0.5)
    least = ((have[0] == 0) & (left + have[1] >= 2)).astype(np.int64)
    most = left - ((have[1] == 0) & (left + have[0] >= 2))
    quota = np.clip(wanted, np.minimum(least, left), np.maximum(most, 0))
    order = alone[np.lexsort((random.random(len(alone)), of_class[alone]))]
    starts = np.cumsum(left) - left
    rank = np.arange(len(order)) - starts[of_class[order]]
    goes_first[order] = rank < quota[of_class[order]]
    return np.flatnonzero(goes_first), np.flatnonzero(~goes_first)


def _codes(values: ArrayLike | None, name: str) -> Index | None:
    if values is None:
        return None
    array = np.asarray(values)
    if array.ndim != 1:
        raise BadInput(f"{name} have shape {array.shape}, expected one axis")
    return np.unique(array, return_inverse=True)[1].astype(np.int64)


def _deal(
    of_class: Index, of_group: Index, counts: Index, fraction: float, random: np.random.Generator
) -> NDArray[np.bool_]:
    """Sides ``(G,)`` of the groups with two rows or more; those of one row are left to the caller."""
    classes = len(counts)
    pairs, weights = np.unique(of_group * classes + of_class, return_counts=True)
    holder, held = pairs // classes, pairs % classes  # group and class of each pair
    begins = np.searchsorted(holder, np.arange(holder[-1] + 2)).tolist()
    kinds: list[int] = held.tolist()
    amounts: list[int] = weights.tolist()
    waiting = np.bincount(held, minlength=classes).tolist()  # groups of each class not yet dealt
    in_groups = list(waiting)
    need = [(counts * fraction).tolist(), (counts * (1 - fraction)).tolist()]
    met = [[0] * classes, [0] * classes]  # groups of each class on each side

    sizes = np.bincount(of_group)
    order = random.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    order = order[sizes[order] > 1]
    coins = random.integers(0, 2, len(sizes)).tolist()
    side = np.zeros(len(sizes), np.bool_)
    dealt: list[int] = order.tolist()
    for group in dealt:
        span = range(begins[group], begins[group + 1])
        forced, lean = 0, 0.0
        for at in span:
            kind = kinds[at]
            waiting[kind] -= 1
            if waiting[kind] == 0 and in_groups[kind] > 1:  # the last chance of this class
                forced += (met[0][kind] == 0) - (met[1][kind] == 0)
            lean += amounts[at] * (need[0][kind] - need[1][kind])
        balance = forced or lean
        part = coins[group] if balance == 0 else int(balance < 0)
        side[group] = part == 0
        for at in span:
            need[part][kinds[at]] -= amounts[at]
            met[part][kinds[at]] += 1
    _repair(dealt, side, begins, kinds, in_groups, waiting, met)
    return side


def _repair(
    dealt: Sequence[int],
    side: NDArray[np.bool_],
    begins: Sequence[int],
    kinds: Sequence[int],
    in_groups: Sequence[int],
    waiting: Sequence[int],
    met: list[list[int]],
) -> None:
    """Move groups that mix classes, small ones first, so that classes on one side only get to both."""

    def lacking(part: int, kind: int) -> bool:
        return met[part][kind] == 0 and waiting[kind] == 0 and in_groups[kind] > 1

    if not any(lacking(part, kind) for part in (0, 1) for kind in range(len(in_groups))):
        return
    for group in reversed(dealt):
        here = 0 if side[group] else 1
        inside = [kinds[at] for at in range(begins[group], begins[group + 1])]
        helps = any(lacking(1 - here, kind) for kind in inside)
        if helps and all(met[here][kind] > 1 or in_groups[kind] == 1 for kind in inside):
            side[group] = not side[group]
            for kind in inside:
                met[here][kind] -= 1
                met[1 - here][kind] += 1
