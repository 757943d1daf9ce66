"""The contract of a detector: signals in, one score an input out, higher = more known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from unseen.errors import WrongUse
from unseen.heads._implied import Implied, head_behind
from unseen.parts import Part, Step, Steps
from unseen.signals import BATCH, Climbed, Request, Support, as_signals, key_of

QUERY_NUMBERS = 1 << 26  # numbers that one batch of queries may need: 256 MB of float32
LOGITS = 1 << 18  # numbers in a batch of logits alone: what is made of them on the way stays in the cache


class Detector(Part):
    """A method gives `learn` and `forward`; `fit` and `score` are the base's.

    ``forward`` takes a plain dict with exactly the signals in ``needs`` and returns ``(B,)``. It checks
    nothing and branches on no data, so that it can be exported.
    """

    room = "detectors"

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Scores ``(B,)``, higher = more known."""
        raise NotImplementedError

    def score(self, signals: Any) -> Any:
        """One score an input, higher = more known; what was fitted does not change.

        Args:
            signals: `Signals`, a `Support`, a mapping of arrays, or one array ``(N, D)`` where one signal is
                needed.

        Returns:
            ``(N,)`` in the order of the rows: a torch tensor where tensors came in, else numpy.

        Raises:
            NotFitted: before `fit`.
            WrongUse: a signal is missing.
            BadInput: NaN or infinity (signal and row named), or another width than at `fit`.
        """
        needs = sorted(self.reads())
        queries = as_signals(signals, needs)
        if self.fitted:  # what is asked for may depend on what was learnt
            queries = queries.asked(self.needs)
        self.check_ready(queries)
        size = max(1, min(self.rows_at_once(), QUERY_NUMBERS // max(1, self.numbers_per_query())))
        if needs == ["logits"]:
            size = min(size, max(256, LOGITS // max(1, queries.width("logits"))))
        like = self.like()
        with torch.inference_mode():
            parts = [
                self(batch if like is None else {name: x.to(like) for name, x in batch.items()})
                for batch in queries.batches(*needs, size=size)
            ]
        # Outside, so that the caller gets an ordinary tensor.
        scores = torch.cat(parts) if parts else torch.empty(0)
        if queries.tensors:
            return scores.to(queries.device)
        return scores.cpu().numpy()

    def numbers_per_query(self) -> int:
        """Numbers that one query needs beside its own signals; bounds how many are scored at once."""
        return 1

    def rows_at_once(self) -> int:
        """How many queries are best scored at once, where memory allows."""
        return BATCH

    def __rrshift__(self, before: Step | Steps) -> Pipeline:
        return Pipeline(_listed(before), self)


class Shaper(Step):
    """A step that rewrites features, such as `ReAct`; it writes `forward`, and `learn` where it learns anything."""

    room = "detectors"
    needs = frozenset({"features"})
    writes = frozenset({"features"})


class Pipeline(Detector):
    """Steps before a detector: ``Ridge() >> Energy()``. Fitting fits the steps in order, then the detector.

    A head that is fitted becomes the support's head, which later parts read. A step that rewrites features makes the
    logits stale: where a later part reads logits, the head behind them is applied to the new features first. So
    ``ridge >> react >> energy`` fits the head on the features as they are and applies it to the clipped ones, as the
    paper of `ReAct` does, while ``react >> ridge >> energy`` fits it on the clipped ones.

    >>> from unseen.registry import create
    >>> pipeline = create("ridge >> energy").fit({"features": [[0.0, 1.0], [1.0, 0.0]]}, ["a", "b"])
    >>> pipeline.score({"features": [[0.0, 1.0]]}).shape
    (1,)
    """

    def __init__(self, steps: tuple[Step, ...], detector: Detector) -> None:
        super().__init__()
        self.given = steps, detector  # what was asked for; `steps` below also has the heads that renew stale logits
        self.steps = nn.ModuleList(_with_fresh_logits(steps, detector))
        self.detector: Detector = detector
        _check_heard(self._steps(), detector)
        self._live: list[bool] = []  # whether anything after a step reads what it writes
        wanted = detector.needs
        for step in reversed(self._steps()):
            self._live.insert(0, bool(step.writes & {key_of(need) for need in wanted}))
            wanted = _before(step, wanted) if self._live[0] else wanted
        order = ("ignored", "optional", "required", "aligned")
        whole = (*self._steps(), detector)
        given = next((i for i, part in enumerate(whole) if isinstance(part, Step) and part.gives_labels), len(whole))
        self.labels = max((part.labels for part in whole[: given + 1]), key=order.index)
        every = frozenset.intersection(*(part.traits for part in whole))
        self.traits = frozenset.union(*(part.traits for part in whole)) - ({"stateless"} - every)
        self.texts = frozenset.union(*(part.texts for part in whole))
        self.grid = detector.grid
        self.paper = detector.paper

    @property
    def needs(self) -> frozenset[str | Request]:  # type: ignore[override] # of the parts, which a fit may change
        """What the detector reads and no step before it writes, and what those steps read."""
        wanted = self.detector.needs
        for step, live in zip(reversed(self._steps()), reversed(self._live), strict=True):
            wanted = _before(step, wanted) if live else wanted
        return wanted

    def at_fit(self) -> frozenset[str | Request]:
        """The same for a fit: every step learns, also one that nothing reads at a query."""
        wanted = self.detector.at_fit()
        for step in reversed(self._steps()):
            wanted = _before(step, wanted) | step.at_fit()
        return wanted

    @property
    def name(self) -> str:
        """The registered names, as an expression."""
        return " >> ".join(part.name for part in self.parts())

    def parts(self) -> list[Any]:
        """Steps and detector as they were given, in order."""
        return [*self.given[0], self.given[1]]

    def _steps(self) -> list[Any]:
        return list(self.steps)

    def arguments(self) -> dict[str, Any]:
        """Arguments of the detector, which is what a grid varies."""
        return self.detector.arguments()

    def with_arguments(self, **arguments: Any) -> Self:
        """The same steps before the detector with other arguments, unfitted."""
        steps = tuple(step.with_arguments() for step in self.given[0])
        return type(self)(steps, self.detector.with_arguments(**arguments))

    def describe(self) -> Any:
        """A list of the parts' descriptions."""
        return [part.describe() for part in self.parts()]

    def expression(self) -> str:
        """The parts' expressions joined by ``>>``."""
        return " >> ".join(part.expression() for part in self.parts())

    def __repr__(self) -> str:
        return " >> ".join(repr(part) for part in self.parts())

    def _learns(self) -> bool:
        return any(part._learns() for part in (*self._steps(), self.detector))

    def _check_aligned(self, support: Support) -> None:
        """Each part checks for itself, as a head in between may make the logits that labels must agree with."""

    def learn(self, support: Support) -> None:
        """Fit each step on what the steps before it made, then the detector."""
        reads_head = any("linear_head" in part.traits for part in (*self._steps(), self.detector))
        for step in self._steps():
            if reads_head and support.head is None and "features" in step.writes:
                # While the logits are still those of the features.
                support = replace(support, head=head_behind(support, self.name))
            step.fit(support)
            support = step.tells(support).through(_Applied(step))
        self.detector.fit(support)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Scores ``(B,)`` of the last part."""
        batch = dict(signals)
        for step, live in zip(self._steps(), self._live, strict=True):
            if live:
                batch.update(step({name: batch[name] for name in step.reads()}))
        scores: Tensor = self.detector({name: batch[name] for name in self.detector.reads()})
        return scores

    def numbers_per_query(self) -> int:
        """That of the detector."""
        return self.detector.numbers_per_query()

    def rows_at_once(self) -> int:
        """That of the detector."""
        return self.detector.rows_at_once()

    def __rrshift__(self, before: Step | Steps) -> Pipeline:
        return Pipeline((*_listed(before), *self.given[0]), self.given[1])


def _check_heard(steps: Sequence[Step], detector: Detector) -> None:
    """Raise where a part asks the encoder for a version of a signal that a step before it rewrites."""
    written: dict[str, str] = {}
    for part in (*steps, detector):
        for need in part.needs | part.at_fit():
            if isinstance(need, Request):
                of = need.signal if isinstance(need, Climbed) else need.version_of
                if isinstance(of, str) and of in written:
                    raise WrongUse(
                        f"{part.name} asks the encoder for {type(need).__name__}, which is made of the network's own "
                        f"{of} and not of those that {written[of]} writes: leave {written[of]} out"
                    )
        if isinstance(part, Step):
            written |= dict.fromkeys(part.writes, part.name)


def _before(step: Step, wanted: frozenset[str | Request]) -> frozenset[str | Request]:
    """What must be there before a step so that ``wanted`` is there after it."""
    return frozenset(want for want in wanted if want not in step.writes) | step.needs


def _listed(before: Step | Steps) -> tuple[Step, ...]:
    return before.steps if isinstance(before, Steps) else (before,)


def _with_fresh_logits(steps: tuple[Step, ...], detector: Detector) -> list[Step]:
    """``steps`` with the head behind the logits put in wherever logits are read after features were rewritten."""
    found: list[Step] = []
    stale = False
    for part in (*steps, detector):
        if stale and "logits" in part.reads():
            found.append(Implied())
            stale = False
        if isinstance(part, Step):
            found.append(part)
            stale = "logits" not in part.writes and (stale or "features" in part.writes)
    return found


class _Applied:
    """A fitted step as signals see it."""

    def __init__(self, step: Any) -> None:
        self.step: Step = step
        self.writes = self.step.writes

    def reads(self) -> frozenset[str]:
        return self.step.reads()

    def __call__(self, batch: dict[str, Tensor]) -> Mapping[str, Tensor]:
        return self.step.apply_to(batch)
