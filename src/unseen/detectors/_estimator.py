"""Detectors whose fit is an estimator of another library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unseen.detectors.base import Detector
from unseen.errors import BadInput, WrongUse
from unseen.signals import Support

Rows = NDArray[np.float64]


class EstimatorDetector(Detector):
    """A method gives `estimate`, and `ask` where an answer is not ``score_samples``; tensors go in and come out here.

    What is kept are the known features, ``bank (N, D)``, and the arguments. The estimator is fitted from them: at the
    fit, and again, under the same seed, when a part that was loaded, copied or unpickled is asked for the first time.
    So a file holds tensors and no pickle. It is as large as the known features, and opening it takes as long as the
    fit. Where a new release of the other library fits otherwise, the same file gives other scores.

    Traits: ``"rebuilt_on_load"``, for the above; ``"not_exportable"``. An estimator that draws rows by their number is
    also ``"sampled"``, which a subclass declares: under one seed, other rows are drawn when the order is another.
    """

    needs = frozenset({"features"})
    traits = frozenset({"rebuilt_on_load", "not_exportable"})
    bank: Tensor  # (N, D)

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bank", torch.empty(0, 0))
        self._made: tuple[Tensor, Any] | None = None  # the estimator, with the very tensor that it was fitted on

    def estimate(self, known: Rows) -> Any:
        """An estimator fitted on ``known (N, D)``; the same for the same rows in the same order."""
        raise NotImplementedError

    def ask(self, estimator: Any, asked: Rows) -> Any:
        """What the estimator says of ``asked (B, D)``: ``(B,)`` numbers, higher = more known."""
        return estimator.score_samples(asked)

    def learn(self, support: Support) -> None:
        """Keep the known features and fit the estimator on what is kept."""
        bank = support.gather("features")
        self._made = bank, self.estimate(_rows(bank))
        self.bank = bank

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """The estimator's scores ``(B,)``."""
        x = signals["features"]
        scores = np.asarray(self.ask(self._estimator(), _rows(x)), dtype=np.float64)
        if not np.isfinite(scores).all():
            bad = int((~np.isfinite(scores)).sum())
            raise BadInput(
                f"{self.expression()}: {bad} of {len(scores)} scores are not finite; choose another detector"
            )
        return torch.from_numpy(scores).to(x)

    def _estimator(self) -> Any:
        # Whoever puts another tensor in the bank's place (a load, a change of precision) puts the estimator out of use.
        if self._made is None or self._made[0] is not self.bank:
            self._made = self.bank, self.estimate(_rows(self.bank))
        return self._made[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_made": None}

    def _load_from_state_dict(self, state: Mapping[str, Tensor], prefix: str, *rest: Any) -> None:
        self._made = None  # a bank of the same shape is overwritten in its place
        super()._load_from_state_dict(state, prefix, *rest)


def _rows(x: Tensor) -> Rows:
    """A copy as float64, since estimators keep what they are given and some write to it."""
    return x.detach().cpu().double().numpy().copy()


def check_seed(seed: int, name: str) -> None:
    """Raise `WrongUse` unless ``seed`` is one that numpy's older generator takes."""
    if not isinstance(seed, int) or not 0 <= seed < 1 << 32:
        raise WrongUse(f"{name}(seed={seed!r}): give a whole number from 0, below 2^32")


@contextmanager
def global_draws(seed: int) -> Iterator[None]:
    """Seed numpy's global generator, and put it back as it was: some libraries draw from it and take no other."""
    state = np.random.get_state()  # noqa: NPY002 - what must come out unmoved
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
