"""All that is known: signals with labels, class names, keys, groups and the model's own head."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from unseen.errors import BadInput, WrongUse
from unseen.naming import check_label, encode_labels
from unseen.signals.requests import Request
from unseen.signals.signals import BATCH, Signals, Transform, row_numbers
from unseen.signals.texts import TextBank
from unseen.statistics import Moments

Level = Literal["none", "names", "labels"]
"""What is known about the inputs beside themselves: nothing, the names of the classes, or the label of each."""


@dataclass(frozen=True)
class LinearHead:
    """The last linear layer of a classifier: ``logits = features @ weight.T + bias``.

    Attributes:
        weight: ``(C, D)``.
        bias: ``(C,)``.
        classes: names of the ``C`` outputs in order, where the model tells.
    """

    weight: Tensor
    bias: Tensor
    classes: tuple[str, ...] | None = None

    def select(self, classes: Sequence[str]) -> LinearHead:
        """The same head with the outputs of ``classes`` only, in that order.

        Raises:
            WrongUse: when the head does not say what its outputs mean, or has no output for a class.
        """
        if self.classes is None:
            raise WrongUse("the model's head does not name its classes; fit another head, such as ridge")
        column = {name: i for i, name in enumerate(self.classes)}
        absent = [name for name in classes if name not in column]
        if absent:
            raise WrongUse(
                f"the model's head knows no class {absent[0]!r} ({len(absent)} of {len(classes)} are missing): "
                "fit another head, such as ridge"
            )
        index = torch.tensor([column[name] for name in classes], dtype=torch.long)
        return LinearHead(self.weight[index], self.bias[index], tuple(classes))


@dataclass(frozen=True)
class Support:
    """Known inputs as detectors learn from them.

    Attributes:
        signals: their signals, N rows.
        labels: ``(N,)`` int64 codes into ``classes``, or None.
        classes: class names in the order of the codes.
        keys: N names (paths, row names) for messages and tables; empty where there are none.
        groups: ``(N,)`` int64; rows of one group (one video, one patient, exact copies) stay together.
        head: the model's own linear head, where it has one.
        encoder: id of the encoder that made the signals.
        skipped: ``(key, reason)`` of inputs that could not be read and are not among the rows.
        notes: what was noticed about the inputs, a sentence each.
        unknown: signals of unknown inputs, for the few methods that learn from some.
        text: what the class names look like to a text encoder, for methods that read them; see `bank`.
    """

    signals: Signals
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    keys: Sequence[str] = ()
    groups: np.ndarray | None = None
    head: LinearHead | None = None
    encoder: str = ""
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    unknown: Signals | None = None
    text: TextBank | None = None
    _moments: dict[str, Moments | Callable[[], Moments]] = field(default_factory=dict, repr=False, compare=False)
    _kept: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        n = len(self.signals)
        for name, column in (("labels", self.labels), ("groups", self.groups), ("keys", self.keys or None)):
            if column is not None and len(column) != n:
                raise BadInput(f"{n:,} inputs came with {len(column):,} {name}")
        if self.labels is not None and len(self.labels) and int(self.labels.min()) < 0:
            raise BadInput(f"label of row {int(self.labels.argmin())} is negative: labels are names or integers from 0")

    @classmethod
    def of(
        cls,
        known: Any,
        labels: Any = None,
        *,
        head: LinearHead | None = None,
        text: TextBank | None = None,
        needs: Sequence[str] = ("features",),
    ) -> Support:
        """A support from whatever a caller has: a support, signals, a mapping of arrays, or one array.

        Args:
            known: one bare array ``(N, D)`` stands for the only signal in ``needs``.
            labels: N class names or non-negative integers.
            head: the model's linear head.
            text: the class names as texts.
            needs: what the caller will read.

        Raises:
            WrongUse: one bare array where several signals are needed.
            BadInput: for labels that are missing, negative or not N.
        """
        if isinstance(known, Support):
            held: Support = known if text is None else replace(known, text=text)
            if labels is None and head is None:
                return held
            told = {} if labels is None else coded(labels)
            return replace(held, head=head or held.head, **told, _moments={})
        return cls(as_signals(known, needs), head=head, text=text, **({} if labels is None else coded(labels)))

    def __len__(self) -> int:
        return len(self.signals)

    def batches(self, *names: str, size: int = BATCH) -> Iterator[dict[str, Tensor]]:
        """Walk the rows once; each batch has ``names``, and ``labels (B,)`` where there are labels."""
        start = 0
        for batch in self.signals.batches(*names, size=size):
            stop = start + (len(batch[names[0]]) if names else 0)
            if self.labels is not None:
                batch["labels"] = torch.from_numpy(self.labels[start:stop])
            start = stop
            yield batch

    def dtype(self, name: str) -> torch.dtype:
        """The precision in which a signal is read, and in which what is learnt from it is kept."""
        return next(self.signals.batches(name, size=1))[name].dtype

    def gather(self, name: str, transform: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """All rows of one signal, ``(N, ...)``; see `Signals.gather`."""
        return self.signals.gather(name, transform)

    def moments(self, name: str) -> Moments:
        """Class moments of one signal (all inputs are one class where there are no labels); kept once made."""
        held = self._moments.get(name)
        if held is None:
            held = Moments.of(self._coded_batches(name), max(1, len(self.classes)))
        elif not isinstance(held, Moments):
            held = held()
        self._moments[name] = held
        return held

    def _coded_batches(self, name: str) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self.batches(name):
            x = batch[name].flatten(1)
            y = batch["labels"] if self.labels is not None else torch.zeros(len(x), dtype=torch.long)
            yield x, y.to(x.device)

    def asked(self, wanted: Iterable[str | Request], progress: Callable[[int, int], None] | None = None) -> Support:
        """The support with answers to those requests that its signals lack; see `Signals.asked`."""
        signals = self.signals.asked(wanted, progress)
        return self if signals is self.signals else replace(self, signals=signals)

    @property
    def level(self) -> Level:
        """What is known about the inputs beside themselves."""
        return "labels" if self.labels is not None else "none" if self.text is None else "names"

    def bank(self, name: str) -> TextBank:
        """The text bank: where it names all classes of the labels, these first, in their order.

        Args:
            name: who asks, for the message.

        Raises:
            WrongUse: when there is none.
        """
        if self.text is None:
            raise WrongUse(
                f"{name} reads class names as texts and there are none: give a TextBank as text=, or name the classes "
                "and take an encoder that reads texts, such as clip"
            )
        if self.labels is None or self.text.classes == self.classes or not set(self.classes) <= set(self.text.classes):
            return self.text
        return self.text.select([*self.classes, *(c for c in self.text.classes if c not in self.classes)])

    def at_level(self, level: Level) -> Support:
        """The support with what a level of label availability allows, whatever else is known.

        Args:
            level: ``"labels"`` leaves all; ``"names"`` takes the labels of the inputs away and leaves the class names
                as texts; ``"none"`` takes both.

        Source: the protocol of Adaloglou et al. 2023, section 4.
        """
        if level == "labels":
            return self
        text = self.text if level == "names" else None
        return replace(self, labels=None, classes=(), text=text, _moments={})

    def take(self, rows: Any) -> Support:
        """Some rows (indices or a boolean mask), all classes kept."""
        index = row_numbers(rows)
        return replace(
            self,
            signals=self.signals.take(index),
            labels=None if self.labels is None else self.labels[index],
            keys=[self.keys[i] for i in index.tolist()] if self.keys else (),
            groups=None if self.groups is None else self.groups[index],
            _moments={},
        )

    def without(self, name: str) -> Support:
        """The support that never met the class ``name``: no rows, no code, no column in the head.

        Moments already made are not made again: those of the class's rows are taken away.
        """
        if self.labels is None or name not in self.classes:
            raise WrongUse(f"there is no class {name!r} to leave out")
        code = self.classes.index(name)
        left = self.take(self.labels != code)
        labels = left.labels
        assert labels is not None
        classes = tuple(c for c in self.classes if c != name)
        head = self.head
        if head is not None and head.classes is not None and name in head.classes:
            head = head.select([c for c in head.classes if c != name])
        derived: dict[str, Moments | Callable[[], Moments]] = {
            signal: _subtraction(self, signal, code) for signal, held in self._moments.items() if held is not None
        }
        text = None if self.text is None else self.text.without(name)
        return replace(left, labels=labels - (labels > code), classes=classes, head=head, text=text, _moments=derived)

    def through(self, step: Transform) -> Support:
        """The support after a fitted step; moments of untouched signals are kept."""
        kept = {name: held for name, held in self._moments.items() if name not in step.writes}
        unknown = None if self.unknown is None else self.unknown.through(step)
        return replace(self, signals=self.signals.through(step), unknown=unknown, _moments=kept)

    def once(self, what: str, make: Callable[[], Any]) -> Any:
        """What ``make`` gives, made once for this support: several parts behind one head solve it only once.

        Args:
            what: names it, with everything that it depends on beside the support.
            make: called where it is not kept yet.
        """
        made_of = (self.signals, self.labels, self.classes, self.head, self.text)
        held = self._kept.get(what)  # a support made by `replace` shares the dict, but not what things were made of
        if held is None or any(now is not then for now, then in zip(made_of, held[0], strict=True)):
            held = self._kept[what] = (made_of, make())
        return held[1]


def _subtraction(whole: Support, signal: str, code: int) -> Callable[[], Moments]:
    def moments() -> Moments:
        assert whole.labels is not None
        part = whole.take(whole.labels == code)
        keep = torch.tensor([c for c in range(len(whole.classes)) if c != code], dtype=torch.long)
        rest = whole.moments(signal)
        return (rest - part.moments(signal) if len(part) else rest).keep(keep)

    return moments


def as_signals(value: Any, needs: Sequence[str]) -> Signals:
    """Signals from signals, a mapping of arrays, or one array that is the only signal needed.

    Raises:
        WrongUse: one bare array where none or several signals are needed.
    """
    if isinstance(value, Signals):
        return value
    if isinstance(value, Support):
        return value.signals
    if isinstance(value, Mapping):
        return Signals(value)
    if len(needs) != 1:
        raise WrongUse(
            f"one array was given where {' and '.join(sorted(needs)) or 'no signal'} are needed: "
            "give a dict of arrays by name"
        )
    return Signals({needs[0]: value})


def coded(labels: Any) -> dict[str, Any]:
    """``labels`` (N names or non-negative integers) as int64 codes and the class names in order.

    Integers, written as numbers or as text, are in the order of numbers, names in that of text.

    Raises:
        BadInput: for a missing, negative or fractional label, naming its row.

    >>> coded(["cat", "dog", "cat"])
    {'labels': array([0, 1, 0]), 'classes': ('cat', 'dog')}
    """
    try:
        values = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
        if values.dtype.kind in "US" and not isinstance(labels, np.ndarray):
            values = np.asarray(labels, dtype=object)  # as they are: numpy writes a missing one among names as "nan"
    except (TypeError, ValueError, OverflowError) as error:
        raise BadInput(f"labels must be one a row: {' '.join(str(error).split())}") from error
    if values.ndim != 1:
        raise BadInput(f"labels must be one a row, got an array of shape {values.shape}")
    if values.dtype.kind == "f":
        values = values.astype(np.float64)
        bad = np.flatnonzero(~((abs(values) < 2.0**63) & (values == np.floor(values))))
        if len(bad):
            raise BadInput(f"label of row {bad[0]} is {values[bad[0]]}: labels are names or integers from 0")
        values = values.astype(np.int64)
    if values.dtype.kind in "iub":
        if len(values) and values.min() < 0:
            row = int(values.argmin())
            raise BadInput(f"label of row {row} is {values[row]}: labels are names or integers from 0")
        names, codes = np.unique(values.astype(np.int64) if values.dtype.kind == "b" else values, return_inverse=True)
        return {"labels": codes.astype(np.int64), "classes": tuple(str(name) for name in names)}
    texts: list[str] = []
    for row, value in enumerate(values.tolist()):
        text = _text(value, row)
        if not text:
            raise BadInput(f"label of row {row} is missing: labels are names or integers from 0")
        texts.append(text)
    classes, text_codes = encode_labels(texts)
    return {"labels": text_codes, "classes": classes}


def _text(label: Any, row: int) -> str:
    """A label that stands among others of any kind; empty where it is missing."""
    if label is None or (isinstance(label, float) and label != label):  # noqa: PLR0124 - that is what not-a-number is
        return ""
    if isinstance(label, bytes):
        label = label.decode(errors="backslashreplace")
    try:
        return check_label(str(label), f"row {row}")
    except ValueError as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"label of row {row} is too long a number") from error
