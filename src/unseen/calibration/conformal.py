"""Split conformal calibration: one set of held-out known inputs for all."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unseen.calibration._numbers import as_calibration, as_tensor, like, refuse
from unseen.calibration._ranks import count_interval, rank, rate_interval, too_few
from unseen.errors import NotFitted, WrongUse


class SplitConformal(nn.Module):
    """Calibrated p-values: how often a known input would score this low.

    ``p(s) = (1 + #{i: c_i <= s}) / (N + 1)`` with calibration scores ``c_1..c_N``. Calling an input unseen
    when ``p <= alpha`` raises a false alarm on at most a share ``alpha`` of known inputs, for every score and
    every ``N``, when calibration and new known inputs are exchangeable.

    **The calibration inputs must not have been used to fit the detector or the model.** Scores of inputs that
    the detector has seen are too high (a neighbour search finds the input itself), and false alarms come out
    several times as often as promised; nothing here can notice that.

    Attributes:
        scores: ``(N,)`` calibration scores, ascending, float32 or float64 as they were given.

    Source: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005; for unknown inputs:
    Bates, Candes, Lei, Romano, Sesia, "Testing for Outliers with Conformal p-values", Annals of Statistics
    2023.

    >>> conformal = SplitConformal().fit([0.1, 0.4, 0.6, 0.9])
    >>> conformal.p_value([0.05, 0.5, 1.0])
    [0.2, 0.6, 1.0]
    >>> conformal.threshold(alpha=0.4)
    0.4
    """

    scores: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scores", torch.empty(0))

    def fit(self, scores: Any) -> SplitConformal:
        """Keep the calibration scores.

        Args:
            scores: ``(N,)`` scores of known inputs that fitted nothing, higher = more known; numbers, an
                array or a tensor. One is enough, but promises need ``1 / alpha - 1``.

        Returns:
            The calibrator itself.

        Raises:
            BadInput: when there are none, they are not ``(N,)``, or one is NaN or infinite.

        >>> SplitConformal().fit([0.3, 0.1]).scores
        tensor([0.1000, 0.3000], dtype=torch.float64)
        """
        self.scores = as_calibration(scores).sort().values.to(self.scores.device)
        return self

    def forward(self, scores: Tensor) -> Tensor:
        """p-values of scores of any shape; can be exported. NaN stays NaN, `p_value` refuses it.

        Args:
            scores: floating-point tensor, higher = more known.

        Returns:
            p-values in ``[1 / (N + 1), 1]``, of the same shape, at least float32.

        Raises:
            NotFitted: before `fit`.

        >>> SplitConformal().fit([0.1, 0.4, 0.6])(torch.tensor([0.5]))
        tensor([0.7500], dtype=torch.float64)
        """
        ranks = self._rank(scores)
        dtype = torch.promote_types(scores.dtype, self.scores.dtype)
        # bucketize takes NaN for the largest score, which would pass it as known.
        return torch.where(scores.isnan(), torch.nan, ranks.to(dtype) / (len(self.scores) + 1))

    def p_value(self, scores: Any) -> Any:
        """p-values, in the kind of container that came in.

        Args:
            scores: a number, list, array or tensor of any shape, higher = more known. Infinities are allowed.

        Returns:
            float64 p-values of the same shape: a list for a list, a tensor for a tensor, else NumPy.

        Raises:
            BadInput: when a score is NaN.
            NotFitted: before `fit`.

        >>> SplitConformal().fit([0.1, 0.4, 0.6]).p_value([0.0, 0.1])
        [0.25, 0.5]
        """
        return like(scores, self._checked_rank(scores).double() / (len(self.scores) + 1))

    def rejects(self, scores: Any, alpha: float, confidence: float | None = None) -> Any:
        """Whether each input is called unseen: its p-value is at most ``alpha``.

        Decided by the integer rank, so that it agrees with `threshold` to the last bit.

        Args:
            scores: a number, list, array or tensor of any shape, higher = more known.
            alpha: accepted share of false alarms, in ``(0, 1)``.
            confidence: as in `threshold`.

        Returns:
            Booleans of the same shape, in the kind of container that came in.

        Raises:
            BadInput: when a score is NaN.
            NotEnoughKnown, NotFitted, WrongUse: as `threshold`.

        >>> SplitConformal().fit([0.1, 0.4, 0.6]).rejects([0.05, 0.1], alpha=0.25)
        [True, False]
        """
        return like(scores, self._checked_rank(scores) <= self._order(alpha, confidence))

    def threshold(self, alpha: float, confidence: float | None = None) -> float:
        """The score below which an input is called unseen.

        It is the k-th smallest calibration score, ``k = floor(alpha (N + 1))``: the false-alarm rate is then
        at most ``alpha`` on average over calibration sets. With ``confidence`` it is the largest ``k`` for
        which the rate is at most ``alpha`` for a share ``confidence`` of calibration sets, this being one.

        Args:
            alpha: accepted share of false alarms, in ``(0, 1)``.
            confidence: in ``(0, 1)``; None promises the average.

        Returns:
            A calibration score; inputs that score strictly below it are unseen.

        Raises:
            NotEnoughKnown: when no threshold keeps the promise; the message says how many scores do.
            NotFitted: before `fit`.
            WrongUse: when ``alpha`` or ``confidence`` is not within ``(0, 1)``.

        >>> conformal = SplitConformal().fit(range(1, 1001))
        >>> conformal.threshold(0.05), conformal.threshold(0.05, confidence=0.95)
        (50.0, 39.0)
        """
        return float(self.scores[self._order(alpha, confidence) - 1])

    @property
    def smallest_alpha(self) -> float:
        """The smallest share of false alarms that can be asked for: ``1 / (N + 1)``.

        >>> SplitConformal().fit([0.1, 0.4, 0.6]).smallest_alpha
        0.25
        """
        return 1 / (self._fitted() + 1)

    def false_alarm_interval(self, alpha: float, confidence: float = 0.95) -> tuple[float, float]:
        """Where the false-alarm rate of this one calibration set lies.

        Over calibration sets the rate at ``threshold(alpha)`` is ``Beta(k, N + 1 - k)``; its equal-tailed
        quantiles are returned. Tied scores only lower the rate.

        Args:
            alpha: accepted share of false alarms, in ``(0, 1)``.
            confidence: in ``(0, 1)``.

        Returns:
            ``(low, high)``, fractions.

        Raises:
            NotEnoughKnown, NotFitted, WrongUse: as `threshold`.

        >>> low, high = SplitConformal().fit(range(1000)).false_alarm_interval(0.05)
        >>> round(low, 3), round(high, 3)
        (0.037, 0.064)
        """
        low, high = rate_interval(self._order(alpha), len(self.scores), confidence)
        return float(low), float(high)

    def expected_alarms(self, alpha: float, inputs: int, confidence: float = 0.95) -> tuple[int, int]:
        """How many of ``inputs`` known inputs will be called unseen.

        The count is beta-binomial: the rate is spread as in `false_alarm_interval`, the draw adds its own.
        More alarms than ``high`` mean that something has changed.

        Args:
            alpha: accepted share of false alarms, in ``(0, 1)``.
            inputs: how many known inputs, from 0; time and memory grow with it.
            confidence: in ``(0, 1)``.

        Returns:
            ``(low, high)`` counts, both included.

        Raises:
            NotEnoughKnown, NotFitted, WrongUse: as `threshold`; WrongUse also for negative ``inputs``.

        >>> SplitConformal().fit(range(1000)).expected_alarms(0.05, inputs=200)
        (4, 17)
        """
        from scipy.stats import betabinom

        if inputs < 0:
            raise WrongUse(f"inputs must be at least 0, got {inputs}")
        k, n = self._order(alpha), len(self.scores)
        return count_interval(betabinom.pmf(np.arange(inputs + 1), inputs, k, n + 1 - k), confidence)

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return f"n={len(self.scores)}"

    def _fitted(self) -> int:
        if not len(self.scores):
            raise NotFitted("SplitConformal has no calibration scores: call fit with held-out known inputs")
        return len(self.scores)

    def _rank(self, scores: Tensor) -> Tensor:
        """``1 + #{i: c_i <= s}``, compared in the wider of the two types, which is exact."""
        self._fitted()
        dtype = torch.promote_types(scores.dtype, self.scores.dtype)
        return 1 + torch.bucketize(scores.to(dtype), self.scores.to(dtype), right=True)

    def _checked_rank(self, scores: Any) -> Tensor:
        self._fitted()
        values = as_tensor(scores, "scores")
        refuse(values.isnan(), "scores", "NaN")
        return self._rank(values.to(self.scores.device))

    def _order(self, alpha: float, confidence: float | None = None) -> int:
        """Which smallest calibration score is the threshold, from 1."""
        n = self._fitted()
        k = int(rank(n, alpha, confidence))
        if not k:
            raise too_few(n, alpha, confidence)
        return k

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        new = state_dict.get(f"{prefix}scores")
        if isinstance(new, Tensor):
            # Adopt the saved length and type: torch would refuse another length and round to the held type.
            self.scores = torch.empty_like(new, device=self.scores.device)
        super()._load_from_state_dict(state_dict, prefix, *rest)
