"""The contract of a detector: signals in, one score an input out, higher = more known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unseen.parts import Part, Step
from unseen.signals import BATCH, Request, Support, as_signals

QUERY_NUMBERS = 1 << 26  # numbers that one batch of queries may need: 256 MB of float32


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
        self.check_ready(queries)
        size = max(1, min(BATCH, QUERY_NUMBERS // max(1, self.numbers_per_query())))
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

    def __rrshift__(self, step: Step) -> Pipeline:
        return Pipeline((step,), self)


class Pipeline(Detector):
    """Steps before a detector: ``Ridge() >> Energy()``. Fitting fits the steps in order, then the detector.

    >>> from unseen.registry import create
    >>> pipeline = create("ridge >> energy").fit({"features": [[0.0, 1.0], [1.0, 0.0]]}, ["a", "b"])
    >>> pipeline.score({"features": [[0.0, 1.0]]}).shape
    (1,)
    """

    def __init__(self, steps: tuple[Step, ...], detector: Detector) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)
        self.detector: Detector = detector
        wanted: frozenset[str | Request] = detector.needs
        for step in reversed(steps):
            wanted = frozenset(need for need in wanted if need not in step.writes) | step.needs
        self.needs = wanted
        order = ("ignored", "optional", "required", "aligned")
        self.labels = max((part.labels for part in (*steps, detector)), key=order.index)
        self.traits = frozenset().union(*(part.traits for part in (*steps, detector)))
        self.grid = detector.grid
        self.paper = detector.paper

    @property
    def name(self) -> str:
        """The registered names, as an expression."""
        return " >> ".join(part.name for part in self.parts())

    def parts(self) -> list[Any]:
        """Steps and detector, in order."""
        return [*self.steps, self.detector]

    def _steps(self) -> list[Any]:
        return list(self.steps)

    def arguments(self) -> dict[str, Any]:
        """Arguments of the detector, which is what a grid varies."""
        return self.detector.arguments()

    def describe(self) -> Any:
        """A list of the parts' descriptions."""
        return [part.describe() for part in self.parts()]

    def expression(self) -> str:
        """The parts' expressions joined by ``>>``."""
        return " >> ".join(part.expression() for part in self.parts())

    def __repr__(self) -> str:
        return " >> ".join(repr(part) for part in self.parts())

    def _learns(self) -> bool:
        return any(part._learns() for part in self.parts())

    def learn(self, support: Support) -> None:
        """Fit each step on what the steps before it made, then the detector."""
        for step in self._steps():
            step.fit(support)
            support = support.through(_Applied(step))
        self.detector.fit(support)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Scores ``(B,)`` of the last part."""
        batch = dict(signals)
        for step in self._steps():
            batch.update(step({name: batch[name] for name in step.reads()}))
        scores: Tensor = self.detector({name: batch[name] for name in self.detector.reads()})
        return scores

    def numbers_per_query(self) -> int:
        """That of the detector."""
        return self.detector.numbers_per_query()

    def __rrshift__(self, step: Step) -> Pipeline:
        return Pipeline((step, *self.steps), self.detector)


class _Applied:
    """A fitted step as signals see it."""

    def __init__(self, step: Any) -> None:
        self.step: Step = step
        self.writes = self.step.writes

    def reads(self) -> frozenset[str]:
        return self.step.reads()

    def __call__(self, batch: dict[str, Tensor]) -> Mapping[str, Tensor]:
        return self.step.apply_to(batch)
