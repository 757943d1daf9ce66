"""Split conformal calibration for each predicted class on its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unseen.calibration._numbers import as_calibration, as_codes, as_tensor, like, refuse
from unseen.calibration._ranks import count_interval, rank, rate_interval, too_few
from unseen.errors import BadInput, NotFitted, WrongUse


class ClassConditional(nn.Module):
    """p-values that compare an input with the known inputs of the class that it was taken for.

    ``p(s, c) = (1 + #{i: y_i = c, c_i <= s}) / (N_c + 1)``, where ``y_i`` is the class **predicted** for
    calibration input ``i``, not its true one. Among the known inputs that are predicted as ``c``, a share of at
    most ``alpha`` is called unseen, for every class ``c`` and not only on average over the classes: `SplitConformal`
    keeps its promise as well when it rejects 30 % of one class and nothing of the others.

    Classes of fewer than ``minimum`` calibration inputs are **pooled**: they are compared with all the calibration
    scores. Nothing is promised for a pooled class by itself; that all known inputs together are called unseen at
    a rate of at most ``2 alpha`` holds still, and at most ``alpha`` where nothing is pooled.

    As for `SplitConformal`, calibration inputs must have fitted neither the detector nor the model, and the
    classes of calibration and new inputs must come from the same fitted classifier.

    Args:
        minimum: calibration inputs that a class needs to be on its own. ``1 / alpha - 1`` of them can promise
            ``alpha``: 19 for 0.05, 99 for 0.01. Chosen before the scores are looked at.

    Attributes:
        scores: ``(N,)`` calibration scores of all classes, ascending, float32 or float64 as they were given.
        keys: ``(N,)`` int64, ascending: ``class * (N + 1) + row in scores`` of each calibration input.
        counts: ``(C,)`` int64 calibration inputs a class, of pooled classes too.
        pooled: ``(C,)`` bool, the classes that are compared with all scores.

    Cost: 16 bytes a calibration input and 9 a class, whatever ``N`` and ``C``; a query is two binary searches.
    Source: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005 (Mondrian conformal
    predictors), with the predicted class as category.

    >>> conformal = ClassConditional(minimum=3).fit([1.0, 2.0, 3.0, 10.0, 20.0, 30.0, 5.0], [0, 0, 0, 1, 1, 1, 2])
    >>> conformal
    ClassConditional(n=7, classes=3, pooled=[2])
    >>> conformal.p_value([2.5, 2.5, 2.5], [0, 1, 2])
    [0.75, 0.25, 0.375]
    """

    traits = frozenset({"by_class"})  # takes classes beside scores
    scores: Tensor
    keys: Tensor
    counts: Tensor
    pooled: Tensor

    def __init__(self, minimum: int = 19) -> None:
        super().__init__()
        if minimum < 1:
            raise WrongUse(f"minimum={minimum}: a class needs at least one calibration input to be on its own")
        self.minimum = minimum
        self.register_buffer("scores", torch.empty(0))
        self.register_buffer("keys", torch.empty(0, dtype=torch.int64))
        self.register_buffer("counts", torch.empty(0, dtype=torch.int64))
        self.register_buffer("pooled", torch.empty(0, dtype=torch.bool))

    def fit(self, scores: Any, classes: Any, n_classes: int | None = None) -> ClassConditional:
        """Keep the calibration scores with the classes predicted for them.

        Args:
            scores: ``(N,)`` scores of known inputs that fitted nothing, higher = more known.
            classes: ``(N,)`` predicted classes of the same inputs, as integer codes from 0.
            n_classes: ``C``; the largest code and one where it is not given. A class that no calibration input
                is predicted as is pooled.

        Returns:
            The calibrator itself.

        Raises:
            BadInput: when there are none, shapes differ, a score is NaN or infinite, or a code is not an integer
                from 0.
            WrongUse: when ``n_classes`` is too small for the codes.

        >>> ClassConditional(minimum=2).fit([0.3, 0.1, 0.2], [1, 1, 0], n_classes=3).counts
        tensor([1, 2, 0])
        """
        values = as_calibration(scores)
        codes = as_codes(classes, "calibration classes").to(values.device)
        _same_shape(codes, values, "calibration classes")
        largest = int(codes.max())
        size = largest + 1 if n_classes is None else n_classes
        if largest >= size:
            raise WrongUse(f"n_classes={size}, but a calibration input was predicted as class {largest}")
        ascending, order = values.sort()
        n = len(values)
        rows = torch.arange(n, device=values.device)
        counts = torch.bincount(codes, minlength=size)
        device = self.scores.device
        self.scores = ascending.to(device)
        self.keys = (codes[order] * (n + 1) + rows).sort().values.to(device)
        self.counts = counts.to(device)
        self.pooled = (counts < self.minimum).to(device)
        return self

    def forward(self, scores: Tensor, classes: Tensor) -> Tensor:
        """p-values of scores of any shape; can be exported. NaN stays NaN, `p_value` refuses it.

        Args:
            scores: floating-point tensor, higher = more known.
            classes: int64 predicted classes of the same shape, from 0 to ``C - 1``.

        Returns:
            p-values in ``[1 / (N_c + 1), 1]``, of the same shape, at least float32.

        Raises:
            NotFitted: before `fit`.

        >>> conformal = ClassConditional(minimum=2).fit([0.1, 0.4, 0.6, 0.8], [0, 1, 0, 1])
        >>> conformal(torch.tensor([0.5, 0.5]), torch.tensor([0, 1]))
        tensor([0.6667, 0.6667], dtype=torch.float64)
        """
        ranks = self._rank(scores, classes)
        dtype = torch.promote_types(scores.dtype, self.scores.dtype)
        p_values = ranks.to(dtype) / (self._sizes()[classes] + 1).to(dtype)
        # bucketize takes NaN for the largest score, which would pass it as known.
        return torch.where(scores.isnan(), torch.nan, p_values)

    def p_value(self, scores: Any, classes: Any) -> Any:
        """p-values, in the kind of container that the scores came in.

        Args:
            scores: a number, list, array or tensor of any shape, higher = more known. Infinities are allowed.
            classes: predicted classes of the same shape, integer codes of the fit.

        Returns:
            float64 p-values of the same shape: a list for a list, a tensor for a tensor, else NumPy.

        Raises:
            BadInput: when a score is NaN, shapes differ, or a class is not one of the fit.
            NotFitted: before `fit`.

        >>> ClassConditional(minimum=1).fit([0.1, 0.4, 0.6], [0, 0, 1]).p_value([0.2, 0.2], [0, 1])
        [0.6666666666666666, 0.5]
        """
        ranks, codes = self._checked(scores, classes)
        return like(scores, ranks.double() / (self._sizes()[codes] + 1))

    def rejects(self, scores: Any, classes: Any, alpha: float, confidence: float | None = None) -> Any:
        """Whether each input is called unseen: its p-value is at most ``alpha``.

        Decided by the integer rank, so that it agrees with `thresholds` to the last bit.

        Args:
            scores: a number, list, array or tensor of any shape, higher = more known.
            classes: predicted classes of the same shape.
            alpha: accepted share of false alarms in every class, in ``(0, 1)``.
            confidence: as in `thresholds`.

        Returns:
            Booleans of the same shape, in the kind of container that the scores came in.

        Raises:
            BadInput: as `p_value`.
            NotEnoughKnown, NotFitted, WrongUse: as `thresholds`, whichever classes the inputs are of.

        >>> conformal = ClassConditional(minimum=3).fit([1, 2, 3, 10, 20, 30], [0, 0, 0, 1, 1, 1])
        >>> conformal.rejects([2.0, 2.0], [0, 1], alpha=0.25)
        [False, True]
        """
        ranks, codes = self._checked(scores, classes)
        orders = torch.from_numpy(self._orders(alpha, confidence)).to(ranks.device)
        return like(scores, ranks <= orders[codes])

    def thresholds(self, alpha: float, confidence: float | None = None) -> np.ndarray:
        """The score of each class below which an input that is predicted as it is called unseen.

        It is the k-th smallest calibration score of the class (of all where the class is pooled),
        ``k = floor(alpha (N_c + 1))``; with ``confidence`` as in `SplitConformal.threshold`, for each class.

        Args:
            alpha: accepted share of false alarms in every class, in ``(0, 1)``.
            confidence: in ``(0, 1)``, for each class by itself; None promises the average.

        Returns:
            ``(C,)`` float64 calibration scores.

        Raises:
            NotEnoughKnown: when no threshold keeps the promise for some class; the message names the class of the
                fewest scores and says how many do.
            NotFitted: before `fit`.
            WrongUse: when ``alpha`` or ``confidence`` is not within ``(0, 1)``.

        >>> scores = [*range(1, 20), *range(101, 120)]
        >>> ClassConditional().fit(scores, [0] * 19 + [1] * 19).thresholds(0.1)
        array([  2., 102.])
        """
        orders = torch.from_numpy(self._orders(alpha, confidence)).to(self.scores.device)
        own = self.keys[(self._starts() + orders - 1).clamp(max=len(self.keys) - 1)] % (len(self.scores) + 1)
        rows = torch.where(self.pooled, orders - 1, own)
        found: np.ndarray = self.scores[rows].double().cpu().numpy()
        return found

    @property
    def smallest_alpha(self) -> np.ndarray:
        """``(C,)`` the smallest share of false alarms that each class allows: ``1 / (N_c + 1)``, ``N`` if pooled.

        The largest of them can be asked for.

        >>> ClassConditional(minimum=2).fit([0.1, 0.4, 0.6, 0.8], [0, 0, 0, 1]).smallest_alpha
        array([0.25, 0.2 ])
        """
        self._fitted()
        return 1 / (self._sizes().cpu().numpy() + 1)

    def false_alarm_interval(self, alpha: float, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Where the false-alarm rate of each class lies with these calibration inputs.

        As `SplitConformal.false_alarm_interval`, with the scores of the class. For a pooled class nothing is known:
        from 0 to 1.

        Args:
            alpha: accepted share of false alarms in every class, in ``(0, 1)``.
            confidence: in ``(0, 1)``, for each class by itself.

        Returns:
            ``(low, high)``, fractions, each ``(C,)``.

        Raises:
            NotEnoughKnown, NotFitted, WrongUse: as `thresholds`.

        >>> conformal = ClassConditional().fit(range(1005), [0] * 1000 + [1] * 5)
        >>> low, high = conformal.false_alarm_interval(0.05)
        >>> low.round(3), high.round(3)
        (array([0.037, 0.   ]), array([0.064, 1.   ]))
        """
        orders, pooled = self._orders(alpha), self.pooled.cpu().numpy()
        low, high = rate_interval(orders, self._sizes().cpu().numpy(), confidence)
        return np.where(pooled, 0.0, low), np.where(pooled, 1.0, high)

    def expected_alarms(self, alpha: float, classes: Any, confidence: float = 0.95) -> tuple[int, int]:
        """How many of a batch of known inputs will be called unseen.

        The classes are calibrated on inputs of their own, so the count is a sum of independent beta-binomials
        (see `SplitConformal.expected_alarms`), one a class. Of inputs of pooled classes none or all may be called.

        Args:
            alpha: accepted share of false alarms in every class, in ``(0, 1)``.
            classes: predicted classes of the inputs, ``(inputs,)``; time and memory grow with their number.
            confidence: in ``(0, 1)``.

        Returns:
            ``(low, high)`` counts, both included.

        Raises:
            BadInput: when a class is not one of the fit.
            NotEnoughKnown, NotFitted, WrongUse: as `thresholds`.

        >>> ClassConditional().fit(range(2000), [0, 1] * 1000).expected_alarms(0.05, [0] * 100 + [1] * 100)
        (4, 17)
        """
        from scipy.signal import fftconvolve
        from scipy.stats import betabinom

        orders, sizes = self._orders(alpha), self._sizes().cpu().numpy()
        codes = self._codes(classes).cpu().flatten()
        inputs = torch.bincount(codes, minlength=len(sizes)).numpy()
        pooled = self.pooled.cpu().numpy()
        free = int(inputs[pooled].sum())
        found = ~pooled & (inputs > 0)
        of_class = [
            betabinom.pmf(np.arange(m + 1), m, k, n + 1 - k)
            for m, k, n in zip(inputs[found], orders[found], sizes[found], strict=True)
        ]
        # Counts that add up are convolved, two and two, so that a hundred classes cost seven passes and not a hundred.
        while len(of_class) > 1:
            pairs = zip(of_class[::2], of_class[1::2], strict=False)
            of_class = [fftconvolve(a, b) for a, b in pairs] + of_class[len(of_class) // 2 * 2 :]
        low, high = count_interval(of_class[0] if of_class else np.ones(1), confidence)
        return low, high + free

    def extra_repr(self) -> str:
        """What ``print`` shows: calibration inputs, classes, and the codes (if many, the number) of pooled classes."""
        codes = self.pooled.nonzero().flatten().tolist()
        return f"n={len(self.scores)}, classes={len(self.counts)}, pooled={codes if len(codes) <= 10 else len(codes)}"

    def _fitted(self) -> None:
        if not len(self.scores):
            raise NotFitted("ClassConditional has no calibration scores: call fit with held-out known inputs")

    def _sizes(self) -> Tensor:
        """``(C,)`` how many scores each class is compared with."""
        return torch.where(self.pooled, len(self.scores), self.counts)

    def _starts(self) -> Tensor:
        """``(C,)`` where the keys of each class begin."""
        return self.counts.cumsum(0) - self.counts

    def _rank(self, scores: Tensor, classes: Tensor) -> Tensor:
        """``1 + #{i of the class: c_i <= s}``, compared in the wider of the two types, which is exact."""
        self._fitted()
        dtype = torch.promote_types(scores.dtype, self.scores.dtype)
        below = torch.bucketize(scores.to(dtype), self.scores.to(dtype), right=True)  # of all classes
        # Scores are one ascending list, so the class has as many below as it has rows before that place.
        keys = torch.bucketize(classes * (len(self.scores) + 1) + below, self.keys)
        return 1 + torch.where(self.pooled[classes], below, keys - self._starts()[classes])

    def _codes(self, classes: Any) -> Tensor:
        self._fitted()
        codes = as_codes(classes, "classes").to(self.scores.device)
        refuse(codes >= len(self.counts), "classes", f"not among the {len(self.counts)} of the fit")
        return codes

    def _checked(self, scores: Any, classes: Any) -> tuple[Tensor, Tensor]:
        """Ranks and class codes of inputs that were looked at."""
        codes = self._codes(classes)
        values = as_tensor(scores, "scores").to(codes.device)
        _same_shape(codes, values, "classes")
        refuse(values.isnan(), "scores", "NaN")
        return self._rank(values, codes), codes

    def _orders(self, alpha: float, confidence: float | None = None) -> np.ndarray:
        """``(C,)`` which smallest score is the threshold of each class, from 1."""
        self._fitted()
        sizes = self._sizes().cpu().numpy()
        orders = rank(sizes, alpha, confidence)
        if not orders.all():
            scarcest = int(sizes.argmin())
            if self.pooled[scarcest]:  # all scores together, so no class has more
                raise too_few(len(self.scores), alpha, confidence)
            also = ", or pool such classes with minimum={needed}"
            raise too_few(int(sizes[scarcest]), alpha, confidence, f"class {scarcest}: ", also)
        return orders

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name, held in self._buffers.items():
            new = state_dict.get(prefix + name)
            if held is not None and new is not None:
                # Adopt the saved lengths and types: torch would refuse other lengths and round to the held type.
                self._buffers[name] = torch.empty_like(new, device=held.device)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _same_shape(codes: Tensor, scores: Tensor, name: str) -> None:
    if codes.shape != scores.shape:
        raise BadInput(f"{name}: expected one for each score, shape {tuple(scores.shape)}, got {tuple(codes.shape)}")
