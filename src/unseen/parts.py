"""What every fitted part shares: arguments as given, tensors as state, checks on the way in, ``>>``.

A part is built from plain arguments and learns tensors. Both go to a file and back without any code in
the file: the registered name says which class, JSON holds the arguments, safetensors the state.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from unseen.errors import BadInput, NotEnoughKnown, NotFitted, WrongUse
from unseen.registry import create, find
from unseen.signals import Climbed, Level, Request, Signals, Support, TextBank, as_signals, key_of

Labels = Literal["ignored", "optional", "required", "aligned"]


@dataclass(frozen=True)
class Paper:
    """Where a method comes from; the tables of the docs are made from these records."""

    title: str
    authors: str
    venue: str
    year: int


class Part(nn.Module):
    """A detector, head or shaper: constructor arguments stored as given, and tensors.

    A method declares what it reads and learns from; the public methods are the base's, so that no check is
    forgotten.

    Attributes:
        needs: signals and requests that ``forward`` reads (of the instance where options change it).
        learns: signals and requests that ``learn`` reads, where they are others; see `at_fit`.
        labels: ``"ignored"``; ``"optional"``; ``"required"``; ``"aligned"`` (label ``i`` is column ``i`` of
            the logits).
        traits: declared exceptions to the contract, which checks, docs and protocols read: ``"stateless"`` (learns
            nothing), ``"linear_head"`` (reads the linear layer behind the logits at the fit), ``"two_pass"`` (walks
            the support twice), ``"sampled"`` (what is learnt depends on a draw under a seed, and with it on the order
            of the rows), ``"uses_unknown"`` (learns from unknown inputs too, which `fit` must be given),
            ``"not_exportable"``, ``"rebuilt_on_load"`` (fitted again, under the same seed, from the known features
            that a file holds), ``"costly_fit"`` (a fit takes minutes for some ten thousand inputs), ``"saturates"``
            (the published score itself has a limit, at which sure inputs tie), ``"jumps"`` (the published score jumps
            where an input passes a known one, so that rounding can move a few inputs far), ``"blind_to_flat_logits"``
            (the published score calls an input known whose logits are all small), ``"text_bank"`` (reads class names
            as texts, which `fit` must be given).
        small: arguments that suit a few hundred inputs, where the defaults do not; the checks take them.
        grid: short lists of settings that an audit may try on held-out known classes.
        texts: what it needs of a text bank beside the classes: ``"negative"`` (words that name no class),
            ``"opposite"`` (texts that deny a class).
        paper: the source.
    """

    room: str
    needs: frozenset[str | Request] = frozenset()
    learns: frozenset[str | Request] | None = None
    labels: Labels = "ignored"
    traits: frozenset[str] = frozenset()
    small: Mapping[str, Any] = {}
    grid: Mapping[str, tuple[Any, ...]] = {}
    texts: frozenset[str] = frozenset()
    paper: Paper | None = None
    widths: (
        Tensor  # (len(needs),) row length of each signal, in sorted order, -1 where the fit had none; empty until then
    )

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("widths", torch.empty(0, dtype=torch.int64))
        self.eval()

    @property
    def name(self) -> str:
        """The registered name: that of the file."""
        return type(self).__module__.rsplit(".", 1)[-1]

    def arguments(self) -> dict[str, Any]:
        """Constructor arguments, as given."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Constructor arguments where none are given."""
        return {name: p.default for name, p in inspect.signature(cls).parameters.items()}

    def with_arguments(self, **arguments: Any) -> Self:
        """The same part with some arguments changed, unfitted."""
        return type(self)(**{**self.arguments(), **arguments})

    def describe(self) -> Any:
        """Plain JSON from which `rebuild` makes the same part, unfitted."""
        return {"room": self.room, "name": self.name, "arguments": self.arguments()}

    def expression(self) -> str:
        """The shortest text from which `unseen.create` makes the same part: defaults are left out."""
        defaults = self.defaults()
        given = ", ".join(f"{n}={v!r}" for n, v in self.arguments().items() if v != defaults[n])
        return f"{self.name}({given})" if given else self.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in self.arguments().items())})"

    def reads(self) -> frozenset[str]:
        """Names under which ``forward`` finds what it needs."""
        return frozenset(key_of(need) for need in self.needs)

    def at_fit(self) -> frozenset[str | Request]:
        """Signals and requests that a fit reads: other than `needs` where a query asks for passes of its own."""
        return self.needs if self.learns is None else self.learns

    @property
    def fitted(self) -> bool:
        """Whether the part can answer; a part that learns nothing always can."""
        return len(self.widths) > 0 or not self._learns()

    def _learns(self) -> bool:
        return type(self).learn is not Part.learn

    def learn(self, support: Support) -> None:
        """What a method writes: walk ``support.batches(...)`` and register buffers. Nothing by default."""

    @property
    def availability(self) -> Level:
        """The least that must be known of the inputs for a fit: nothing, the names of the classes, or labels."""
        if self.labels in ("required", "aligned"):
            return "labels"
        return "names" if "text_bank" in self.traits else "none"

    def fit(
        self, known: Any, labels: Any = None, *, head: Any = None, unknown: Any = None, text: TextBank | None = None
    ) -> Self:
        """Learn from known inputs.

        Args:
            known: a `Support`, `Signals`, a mapping of arrays, or one array ``(N, D)`` where one signal is
                needed; numpy, memory map or torch.
            labels: N class names or non-negative integers; a `Support` brings its own.
            head: the model's linear head (`LinearHead`), for methods that read it.
            unknown: unknown inputs, in any form of ``known``, for methods that learn from some; others pass over them.
            text: the class names as texts, for methods that read them; others pass over them.

        Raises:
            WrongUse: a signal, the labels, the texts or the unknown inputs are missing.
            NotEnoughKnown: fewer inputs or classes than the method needs.
            BadInput: NaN or infinity, naming signal and row.
        """
        wanted = self.at_fit()
        needs = sorted(map(key_of, wanted))
        support = Support.of(known, labels, head=head, text=text, needs=needs).asked(wanted)
        if not len(support):
            raise NotEnoughKnown(f"{self.expression()} cannot be fitted: there are no known inputs")
        absent = [need for need in needs if need not in support.signals]
        if absent:
            raise WrongUse(self._missing(absent, support.signals, needs))
        if self.labels in ("required", "aligned") and support.labels is None:
            raise WrongUse(f"{self.name} learns from labels and none were given; choose a detector that ignores them")
        if self.labels == "aligned":
            self._check_aligned(support)
        if "text_bank" in self.traits:
            self._check_texts(support)
        if unknown is not None:
            support = replace(support, unknown=as_signals(unknown, needs))
        if "uses_unknown" in self.traits:
            support = self._with_unknown(support, needs)
        with torch.no_grad():
            self.learn(support)
        found = [key_of(w.signal if isinstance(w, Climbed) else w) for w in sorted(self.needs, key=key_of)]
        widths = [support.signals.width(name) if name in support.signals else -1 for name in found]
        self.widths = torch.tensor(widths, dtype=torch.int64)
        return self

    def _with_unknown(self, support: Support, needs: list[str]) -> Support:
        """The support with all that is read of its unknown inputs; raises where that is not there."""
        if support.unknown is None or not len(support.unknown):
            raise WrongUse(f"{self.name} learns from unknown inputs too and none were given: give some, as unknown=")
        unknown = support.unknown.asked(self.at_fit())
        absent = [need for need in needs if need not in unknown]
        if absent:
            raise WrongUse(f"unknown inputs: {self._missing(absent, unknown, needs)}")
        for need in needs:
            here, there = unknown.width(need), support.signals.width(need)
            if here != there:
                raise BadInput(f"known inputs have {there} {need} and unknown ones {here}: of one model?")
        return replace(support, unknown=unknown)

    def refuses(self, bank: TextBank) -> str | None:
        """Why a text bank does not serve, as the end of a sentence; None where it does."""
        if "negative" in self.texts and not len(bank.negative):
            return "compares with words that name no class and the texts have none: give some as negatives"
        if "opposite" in self.texts and bank.opposite is None:
            return "compares with texts that deny each class and there are none: give prompts for them as opposite"
        return None

    def _check_texts(self, support: Support) -> None:
        bank = support.bank(self.name)
        if (why := self.refuses(bank)) is not None:
            raise WrongUse(f"{self.name} {why}")
        for signal in ("embedding", "local"):
            if signal not in support.signals:
                continue
            width = next(support.signals.batches(signal, size=1))[signal].shape[-1] if len(support) else bank.width
            if width != bank.width:
                raise BadInput(f"texts have {bank.width} numbers and {signal} {width}: of one model?")

    def _check_aligned(self, support: Support) -> None:
        columns, named = support.signals.width("logits"), None if support.head is None else support.head.classes
        if columns != len(support.classes) or (named is not None and tuple(named) != support.classes):
            raise WrongUse(
                f"{self.name} needs logits of the {len(support.classes)} classes that the labels name, in their order; "
                f"these have {columns} columns of other classes: put a head before it, such as own or ridge"
            )

    def prepared(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``batch`` with exactly the signals needed, in the working precision and on the part's device."""
        like = self.like()
        return {name: batch[name] if like is None else batch[name].to(like) for name in self.reads()}

    def like(self) -> Tensor | None:
        """A tensor of the part's precision and device; None where it holds none."""
        return next((b for b in self.buffers() if b.is_floating_point()), None)

    def check_ready(self, signals: Signals) -> None:
        """Raise unless the part is fitted and ``signals`` have the names and widths it was fitted on."""
        if not self.fitted:
            raise NotFitted(f"{self.name} is not fitted: call fit(known) first")
        needs = sorted(self.reads())
        absent = [need for need in needs if need not in signals]
        if absent:
            raise WrongUse(self._missing(absent, signals, needs))
        for need, width in zip(needs, self.widths.tolist(), strict=False):
            got = signals.width(need)
            if len(signals) and got != width and width >= 0:
                raise BadInput(
                    f"{self.name} was fitted on {width} {need}, these inputs have {got}: "
                    "were they encoded with another model?"
                )

    def _missing(self, absent: list[str], signals: Signals, needs: list[str]) -> str:
        also = "; encode with a model that has a classifier, or put a head before it: ridge >> " + self.name
        requests = {key_of(want): want for want in self.needs | self.at_fit() if isinstance(want, Request)}
        there = signals.names
        if any(need in requests for need in absent):
            asked = [need for need in absent if need in requests]
            plain = [need for need in absent if need not in requests]
            why = signals.refusal(requests[asked[0]])
            reads = f" and reads {' and '.join(plain)}" if plain else ""
            asks = f"{self.name} asks the encoder for {' and '.join(asked)}{reads}"
            return f"{asks}, there is only {', '.join(there)}: {why}"
        return (
            f"{self.name} reads {' and '.join(needs)}, there {'are' if len(there) > 1 else 'is'} only "
            f"{', '.join(there)}" + (also if "logits" in absent else f": {', '.join(absent)} missing")
        )

    def size(self) -> int:
        """Numbers held after fitting: what a file costs, and for linear methods what a query costs."""
        return sum(b.numel() for b in self.buffers())

    def __getstate__(self) -> dict[str, Any]:
        # joblib, by which scikit-learn tells whether an estimator's argument was changed, hashes a tensor by where it
        # lies and an array by what it holds. numpy has no bfloat16.
        held = {
            name: b if b is None or b.dtype == torch.bfloat16 else (b.detach().cpu().numpy(), str(b.device))
            for name, b in self._buffers.items()
        }
        return {**self.__dict__, "_buffers": held}

    def __setstate__(self, state: dict[str, Any]) -> None:
        held = {
            name: torch.tensor(b[0], device=b[1]) if isinstance(b, tuple) else b
            for name, b in state["_buffers"].items()
        }
        super().__setstate__({**state, "_buffers": held})  # type: ignore[no-untyped-call]

    def _load_from_state_dict(self, state: Mapping[str, Tensor], prefix: str, *rest: Any) -> None:
        # Buffers are empty until fitted and load_state_dict refuses another shape: adopt the file's.
        for name, held in self._buffers.items():
            new = state.get(prefix + name)
            if held is not None and new is not None and (held.shape != new.shape or held.dtype != new.dtype):
                self._buffers[name] = torch.empty_like(new, device=held.device)
        super()._load_from_state_dict(state, prefix, *rest)


class Step(Part):
    """A part that maps signals to signals: a head, a shaper, a temperature.

    Attributes:
        writes: names of the signals that it makes or rewrites.
        partner: the detector that its source puts behind it, as an expression; protocols and checks do the same.
        gives_labels: whether `tells` gives the parts after it labels, so that they need no others.
    """

    writes: frozenset[str] = frozenset()
    partner: str = "energy"
    gives_labels: bool = False

    def tells(self, support: Support) -> Support:
        """What the fitted step tells the parts after it beside signals: a head, labels of its own; nothing here."""
        return support

    def forward(self, signals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Signals written, each ``(B, ...)``, from those read."""
        raise NotImplementedError

    def apply_to(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What `forward` writes, from a batch that may hold more and be of another precision."""
        written: dict[str, Tensor] = self(self.prepared(batch))
        return written

    def __rshift__(self, after: Any) -> Any:
        """``step >> step`` is a chain that waits for its detector; ``step >> detector`` is the detector's to make."""
        return Steps((self, after)) if isinstance(after, Step) else NotImplemented


@dataclass(frozen=True)
class Steps:
    """Steps in order, before a detector ends them: ``ReAct() >> Ridge()``."""

    steps: tuple[Step, ...]

    def __rshift__(self, after: Any) -> Any:
        return Steps((*self.steps, after)) if isinstance(after, Step) else NotImplemented


def rebuild(description: Any) -> Any:
    """The unfitted part that `Part.describe` described; only registered names are ever looked up.

    Raises:
        WrongUse: for a name that is not registered or arguments that it does not take.
    """
    if isinstance(description, list):
        *steps, whole = [rebuild(item) for item in description]
        for step in reversed(steps):  # a step is put before a detector, so the detector comes first
            whole = step >> whole
        return whole
    find(description["room"], description["name"])
    return create(description["name"], **description["arguments"])
