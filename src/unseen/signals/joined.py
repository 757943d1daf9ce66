"""Several supports as one: the rows of each after those of the one before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unseen.errors import BadInput, WrongUse
from unseen.naming import sort_classes
from unseen.signals.requests import Request
from unseen.signals.signals import Signals
from unseen.signals.store import Shards
from unseen.signals.support import Support


def joined(supports: Sequence[Support]) -> Support:
    """The rows of all supports as one support; nothing is read before it is asked for.

    Classes of one name are one class. Those of the first support keep their numbers and new ones come after them,
    sorted. Groups stay apart, as a group number means nothing outside its support.

    Args:
        supports: one or more, all with labels or all without, of one encoder. Signals that some lack are left out.

    Raises:
        WrongUse: when some have labels and others none, encoders differ, or there is no common signal.
        BadInput: when a signal has another width in one of them.

    >>> one, other = Support.of([[0.0], [1.0]], ["b", "a"]), Support.of([[2.0]], ["c"])
    >>> both = joined([one, other])
    >>> both.classes, both.labels, both.gather("features").flatten()
    (('a', 'b', 'c'), array([1, 0, 2]), tensor([0., 1., 2.]))
    """
    encoders = sorted({one.encoder for one in supports} - {""})
    if len(encoders) > 1:
        raise WrongUse(f"signals of several encoders cannot be joined: {', '.join(encoders)}")
    if len({one.labels is None for one in supports}) > 1:
        raise WrongUse("some of the inputs have labels and others have none: give labels for all, or for none")
    names = [name for name in supports[0].signals.names if all(name in one.signals for one in supports)]
    if not names:
        raise WrongUse("the signals have no name in common")
    first = supports[0]
    classes = first.classes + sort_classes({name for one in supports for name in one.classes} - set(first.classes))
    number = {name: code for code, name in enumerate(classes)}
    codes = [
        np.array([number[name] for name in one.classes], dtype=np.int64)[one.labels]
        for one in supports
        if one.labels is not None
    ]
    parts = [one.signals for one in supports]
    at_hand = all(signals.more is not None for signals in parts)
    return Support(
        Signals({name: _column(parts, name) for name in names}, more=_More(parts) if at_hand else None),
        labels=np.concatenate(codes) if codes else None,
        classes=classes,
        keys=[key for one in supports for key in one.keys] if all(one.keys for one in supports) else (),
        groups=_groups(supports),
        head=first.head,
        encoder=encoders[0] if encoders else "",
        skipped=tuple(pair for one in supports for pair in one.skipped),
        notes=tuple(dict.fromkeys(note for one in supports for note in one.notes)),
    )


def _groups(supports: Sequence[Support]) -> np.ndarray | None:
    """Group numbers ``(N,)``; rows of a support without groups stand alone."""
    if all(one.groups is None for one in supports):
        return None
    parts, start = [], 0
    for one in supports:
        own = np.arange(len(one)) if one.groups is None else one.groups
        parts.append(own + start)
        start += int(own.max(initial=-1)) + 1
    return np.concatenate(parts)


def _column(parts: Sequence[Signals], name: str) -> Shards:
    columns = [_Read(signals, name) for signals in parts if len(signals)]
    if len({column.shape[1:] for column in columns}) > 1:
        shapes = ", ".join(str(column.shape[1:]) for column in columns)
        raise BadInput(f"{name} are of several shapes ({shapes}): were the inputs encoded with one model?")
    return Shards(columns)


class _More:
    """Requests about joined signals, put to each part about its own rows."""

    def __init__(self, parts: Sequence[Signals]) -> None:
        self._parts = parts

    def refusal(self, request: Request) -> str | None:
        return next((why for part in self._parts if (why := part.refusal(request)) is not None), None)

    def __call__(
        self, rows: np.ndarray, wanted: frozenset[Request], progress: Callable[[int, int], None] | None
    ) -> dict[str, np.ndarray]:
        starts = np.cumsum([0, *map(len, self._parts)])
        part_of = np.searchsorted(starts, rows, side="right") - 1
        found: dict[str, np.ndarray] = {}
        for number in np.unique(part_of).tolist():
            here = part_of == number
            answered = self._parts[number].take(rows[here] - starts[number]).asked(wanted, progress)
            for request in wanted:
                values = answered.gather(request.key).numpy(force=True)
                whole = found.setdefault(request.key, np.empty((len(rows), *values.shape[1:]), values.dtype))
                whole[here] = values
        return found


class _Read:
    """One signal of some signals as a column: ``(N, ...)``."""

    def __init__(self, signals: Signals, name: str) -> None:
        self._signals, self._name = signals, name
        first = signals.take([0]).gather(name).numpy(force=True)
        self.shape: tuple[int, ...] = (len(signals), *first.shape[1:])
        self.dtype: np.dtype[Any] = first.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        values: np.ndarray = self._signals.take(rows).gather(self._name).numpy(force=True)
        return values
