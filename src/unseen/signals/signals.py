"""What an encoder says about N inputs: named columns with one common first axis."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from unseen.errors import BadInput, WrongUse
from unseen.signals.requests import Request

BATCH = 4096  # rows read at a time where a method asks for no other number


class Column(Protocol):
    """An array that is read in pieces: numpy, a memory map, a store's shards. ``(N, ...)``."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(N, ...)``."""
        ...

    def __len__(self) -> int: ...
    def __getitem__(self, rows: Any, /) -> Any: ...


class Transform(Protocol):
    """A fitted step as signals see it: it reads ``needs`` and (re)writes ``writes``."""

    @property
    def writes(self) -> frozenset[str]:
        """Signals that it makes or rewrites."""
        ...

    def reads(self) -> frozenset[str]:
        """Signals that it needs."""
        ...

    def __call__(self, batch: dict[str, Tensor], /) -> Mapping[str, Tensor]:
        """What it writes, for one batch."""
        ...


class Answers(Protocol):
    """Who can say more about the inputs behind signals: an encoder with the inputs at hand."""

    def refusal(self, request: Request, /) -> str | None:
        """Why the request cannot be answered, as the end of a sentence; None where it can."""
        ...

    def __call__(
        self, rows: np.ndarray, wanted: frozenset[Request], progress: Callable[[int, int], None] | None, /
    ) -> Mapping[str, Column]:
        """The answer to each request, by key, for these row numbers of the columns."""
        ...


class Signals:
    """Named columns about the same N inputs, read in batches and never copied as a whole.

    Args:
        columns: name -> ``(N, ...)``: numpy array, memory map, tensor, nested list or store column.
        rows: which rows of the columns these signals are; all by default.
        steps: fitted steps applied to each batch as it is read.
        more: who answers requests that no column answers.

    Raises:
        BadInput: when columns disagree about N, or hold something other than numbers.

    >>> signals = Signals({"features": [[1.0, 0.0], [0.0, 1.0]], "logits": [[3.0], [4.0]]})
    >>> len(signals), signals.names, signals.width("features")
    (2, ('features', 'logits'), 2)
    >>> next(signals.take([1]).batches("logits"))
    {'logits': tensor([[4.]])}
    """

    def __init__(
        self,
        columns: Mapping[str, Any],
        *,
        rows: np.ndarray | None = None,
        steps: tuple[Transform, ...] = (),
        more: Answers | None = None,
    ) -> None:
        if not columns:
            raise BadInput("there are no signals: give at least one array")
        self._columns: dict[str, Any] = {name: _column(name, value) for name, value in columns.items()}
        lengths = {name: len(column) for name, column in self._columns.items()}
        if len(set(lengths.values())) > 1:
            raise BadInput("signals must describe the same inputs, rows are " + _listed(lengths))
        self._rows = rows
        self._steps = steps
        self.more = more
        self._length = len(rows) if rows is not None else next(iter(lengths.values()))

    def __len__(self) -> int:
        return self._length

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __repr__(self) -> str:
        return f"Signals(n={len(self)}, {', '.join(self.names)})"

    @property
    def names(self) -> tuple[str, ...]:
        """Every signal there is, those that steps write included."""
        written = [name for step in self._steps for name in sorted(step.writes)]
        return tuple(dict.fromkeys([*self._columns, *written]))

    @property
    def tensors(self) -> bool:
        """Whether the columns are torch tensors; answers are then given back as such."""
        return all(isinstance(column, Tensor) for column in self._columns.values())

    @property
    def device(self) -> torch.device:
        """Where the tensors live; the CPU for arrays."""
        return next((c.device for c in self._columns.values() if isinstance(c, Tensor)), torch.device("cpu"))

    def in_memory(self, name: str) -> bool:
        """Whether all columns that ``name`` is made of lie in memory: not a memory map, nor shards on disk.

        A column of a kind that nobody can tell of counts as not.
        """
        return all(in_memory(self._columns[source]) for source in self._sources([name]))

    def width(self, name: str) -> int:
        """Length of one row of ``name``: the product of its axes after the first."""
        if name in self._columns and not any(name in step.writes for step in self._steps):
            return math.prod(self._columns[name].shape[1:])
        if not len(self):
            return 0
        return int(next(self.batches(name, size=1))[name][0].numel())

    def take(self, rows: Any) -> Signals:
        """The same signals for some rows (indices or a boolean mask), still unread."""
        index = row_numbers(rows)
        chosen = index if self._rows is None else self._rows[index]
        return type(self)(self._columns, rows=chosen, steps=self._steps, more=self.more)

    def through(self, step: Transform) -> Signals:
        """The same signals after ``step``, which is applied to each batch as it is read."""
        return type(self)(self._columns, rows=self._rows, steps=(*self._steps, step), more=self.more)

    def refusal(self, request: Request) -> str | None:
        """Why these signals can give no answer to a request, as the end of a sentence; None where they can."""
        if request.key in self.names:
            return None
        return "the inputs are not at hand" if self.more is None else self.more.refusal(request)

    def asked(self, wanted: Iterable[str | Request], progress: Callable[[int, int], None] | None = None) -> Signals:
        """The same signals with answers to those requests that no column answers yet, for these rows only.

        Names that are no requests, and requests that nobody can answer, are left as they are.

        Args:
            wanted: signals and requests.
            progress: called with (rows done, rows in all).
        """
        there = self.names
        absent = frozenset(want for want in wanted if isinstance(want, Request) and want.key not in there)
        if self.more is not None:
            absent = frozenset(want for want in absent if self.more.refusal(want) is None)
        if not absent or self.more is None or not len(self):
            return self
        rows = np.arange(len(self)) if self._rows is None else self._rows
        answers = self.more(rows, absent, progress)
        if self._rows is not None:
            answers = {key: _Answered(column, rows, self._whole()) for key, column in answers.items()}
        return type(self)({**self._columns, **answers}, rows=self._rows, steps=self._steps, more=self.more)

    def _whole(self) -> int:
        """Rows of the columns, whether they are among these signals or not."""
        return len(next(iter(self._columns.values())))

    def batches(self, *names: str, size: int = BATCH) -> Iterator[dict[str, Tensor]]:
        """Walk the rows once, in order, as tensors of float32 (half is raised) or float64.

        Raises:
            WrongUse: when a signal is missing; the message says which there are.
            BadInput: at the first NaN or infinity, naming signal and row.
        """
        there = self.names
        missing = [name for name in names if name not in there]
        if missing:
            raise WrongUse(
                f"{', '.join(missing)} missing: there are only {', '.join(there)}; encode with a model that "
                "gives them, put a head before the detector, or choose another detector"
            )
        wanted = self._sources(names)
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            batch = {name: self._read(name, start, stop) for name in wanted}
            for step in self._steps:
                if step.reads() <= batch.keys():
                    batch = {**batch, **step(batch)}
            yield {name: batch[name] for name in names}

    def gather(self, name: str, transform: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """All rows of one signal in one tensor, allocated once; ``transform`` maps batches ``(B, ...)``."""
        whole: Tensor | None = None
        start = 0
        for batch in self.batches(name):
            part = batch[name] if transform is None else transform(batch[name])
            if whole is None:
                whole = part.new_empty((len(self), *part.shape[1:]))
            whole[start : start + len(part)] = part
            start += len(part)
        return torch.empty(0, 0) if whole is None else whole

    def _sources(self, names: Iterable[str]) -> set[str]:
        """The columns to read so that the steps can make ``names``."""
        wanted = set(names)
        for step in reversed(self._steps):
            if step.writes & wanted:
                wanted = (wanted - step.writes) | step.reads()
        return wanted

    def _read(self, name: str, start: int, stop: int) -> Tensor:
        column = self._columns[name]
        rows = slice(start, stop) if self._rows is None else self._rows[start:stop]
        if isinstance(column, Tensor):
            part = column[rows if isinstance(rows, slice) else torch.from_numpy(rows).to(column.device)]
        else:
            # A copy, as a read-only memory map must not reach torch, which may write to it, nor another byte order.
            piece = np.array(column[rows]) if isinstance(rows, slice) else _picked(column, rows)
            part = torch.from_numpy(piece.astype(piece.dtype.newbyteorder("="), copy=False))
        part = part if part.dtype == torch.float64 else part.float()
        _check_finite(name, part, start if self._rows is None else self._rows[start:stop])
        return part


class _Answered:
    """Answers for some rows of the columns, found by the row numbers of the columns."""

    def __init__(self, column: Column, rows: np.ndarray, whole: int) -> None:
        self._column = column
        self._place = np.full(whole, -1, dtype=np.int64)
        self._place[rows] = np.arange(len(rows))
        self.shape = (whole, *column.shape[1:])
        self.dtype = getattr(column, "dtype", np.dtype(np.float32))

    @property
    def in_memory(self) -> bool:
        return in_memory(self._column)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Any:
        return self._column[self._place[rows]]


def row_numbers(rows: Any) -> np.ndarray:
    """Row numbers, int64, from row numbers or a boolean mask."""
    index = np.asarray(rows)
    return np.flatnonzero(index) if index.dtype == bool else index.astype(np.int64)


def in_memory(column: Any) -> bool:
    """Whether a column lies in memory as a whole: a tensor, or an array that is no view of a memory map."""
    if not isinstance(column, np.ndarray):
        return isinstance(column, Tensor) or bool(getattr(column, "in_memory", False))
    while isinstance(column, np.ndarray):
        if getattr(column, "_mmap", None) is not None:
            return False
        column = column.base
    return not isinstance(column, mmap.mmap)


def _picked(column: Any, rows: np.ndarray) -> np.ndarray:
    """A copy of some rows, in the order asked; read in ascending order, so that a disk is swept once."""
    if bool((rows[1:] > rows[:-1]).all()):
        return np.array(column[rows])
    order = np.argsort(rows, kind="stable")
    found = column[rows[order]]
    picked = np.empty(found.shape, found.dtype)
    picked[order] = found
    return picked


def _column(name: str, value: Any) -> Any:
    if isinstance(value, Tensor):
        column: Any = value.detach()
    elif hasattr(value, "shape") and hasattr(value, "__getitem__"):
        column = value
    else:
        try:
            column = np.asarray(value, dtype=np.float64).astype(np.float32)
        except (TypeError, ValueError) as error:
            raise BadInput(f"{name} is not an array of numbers: {error}") from error
    if len(column.shape) == 1:
        raise BadInput(f"{name} has one axis ({column.shape[0]} long); signals are (inputs, values)")
    if not len(column.shape):
        raise BadInput(f"{name} is a single number; signals are (inputs, values)")
    kind = getattr(getattr(column, "dtype", None), "kind", "f")
    if kind not in "fiub":
        raise BadInput(f"{name} holds {column.dtype}, not numbers")
    return column


def _check_finite(name: str, part: Tensor, rows: int | np.ndarray) -> None:
    # One sum tells for nearly every batch; it may overflow on finite values, so only then look closely.
    if part.numel() == 0 or math.isfinite(part.sum().item()):
        return
    bad = ~torch.isfinite(part).flatten(1).all(dim=1)
    if bool(bad.any()):
        first = int(bad.nonzero()[0])
        row = rows + first if isinstance(rows, int) else int(rows[first])
        values = int((~torch.isfinite(part[first])).sum())
        raise BadInput(
            f"{name} row {row}: {values} of {part[first].numel()} values are NaN or infinite "
            f"({int(bad.sum())} such rows in this batch); remove or mend them"
        )


def _listed(values: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in values.items())
