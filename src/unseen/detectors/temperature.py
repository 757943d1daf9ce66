"""Temperature of the logits."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from unseen.errors import NotEnoughKnown, WrongUse
from unseen.parts import Paper, Step
from unseen.signals import BATCH, Support

SURE = 80.0  # largest mean gap between the labelled logit and the others after division; float32 ends at exp(-87)
REACH = 64.0  # the largest T, in units of the spread of the logits
CLOSE = 1e-10  # step of log T at which Newton's method ends; the next one would be its square
STEPS = 100  # bisection alone needs half as many


class Temperature(Step):
    """Logits divided by one learnt number, so that the softmax is as sure as it is right.

    ``l' = l / T``, with the ``T > 0`` that minimises the negative log-likelihood (NLL) of the labels,
    ``mean of log sum_c exp(l_c / T) - l_y / T``. The likeliest class stays the same; the order
    in which `MSP` and `Energy` put inputs changes.

    The NLL is convex in ``1 / T`` and has one minimum. Where all inputs are classified without error it falls as
    long as ``T`` does; ``T`` then ends at its lower bound and `bounded` is true. Where errors are rare, ``T`` rests on
    these few.

    **In a pipeline it learns from the inputs that the head learnt from**, as in ``ridge >> temperature >> msp``. The
    head is surer of these than of new ones, so ``T`` comes out too small. For probabilities that hold, the encoder's
    network must not have been trained on the inputs, or ``fit`` must be given the logits of held-out ones.

    Attributes:
        temperature: ``T``, a tensor of no axes.
        bounds: ``(2,)`` the smallest and the largest ``T`` that could come out: the mean gap between the labelled logit
            and the others over 80; and 64 times the root mean square of the logits around the mean of their input.
            1 is always between them, so that the NLL is never above that of the logits as they were.

    Reads: ``logits (N, C)``; labels required, label ``i`` being column ``i``.
    Writes: ``logits (N, C)``, no unit.
    Raises: NotEnoughKnown, with fewer than two classes; WrongUse, when the columns are not those of the labels, or the
    labelled logit is on average no larger than the others, as when columns are in another order than labels.
    Cost: ``N C`` numbers while it learns, as the logits are read once; about ten passes over them.
    Source: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, section 4.2. Newton's
    method on ``log T`` between bounds takes the place of the authors' LBFGS, which may step to a negative ``T``.
    Differs: OpenOOD and pytorch-ood take 50 steps of LBFGS of rate 0.01, from 1.5 and from 1, which end short of the
    minimum, and neither keeps ``T`` above 0.

    >>> step = Temperature().fit([[4.0, 0.0], [4.0, 0.0], [0.0, 4.0], [0.0, 4.0]], [0, 0, 1, 0])
    >>> round(step.temperature.item(), 4)  # right three times in four: 4 / log(3)
    3.641
    """

    room = "detectors"
    needs = frozenset({"logits"})
    writes = frozenset({"logits"})
    labels = "aligned"
    paper = Paper("On Calibration of Modern Neural Networks", "Guo, Pleiss, Sun, Weinberger", "ICML", 2017)
    temperature: Tensor
    bounds: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("temperature", torch.empty(0))
        self.register_buffer("bounds", torch.empty(0))

    @property
    def bounded(self) -> bool:
        """Whether ``T`` was stopped by one of its bounds, as for logits that make no error."""
        return bool((self.temperature == self.bounds).any())

    def learn(self, support: Support) -> None:
        """Minimise the NLL in float64, keep ``T`` in the precision of the logits."""
        if len(support.classes) < 2:
            raise NotEnoughKnown(f"{self.name} tells classes apart and needs two classes, got {len(support.classes)}")
        assert support.labels is not None
        logits = support.gather("logits")  # (N, C); read once, as a store may be slow and a step before it costly
        labels = torch.from_numpy(support.labels).to(logits.device)
        lead, spread = _lead(logits, labels)
        if lead <= 0:
            raise WrongUse(
                f"{self.name}: the labelled logit is on average no larger than the others, so no temperature fits: are "
                f"the {logits.shape[1]} columns in the order of the classes?"
            )
        # T = 1 is always allowed: what comes out is no worse than leaving the logits alone.
        gap = lead * logits.shape[1] / (logits.shape[1] - 1)  # the mean that is led over holds the labelled logit too
        low, high = min(gap / SURE, 1.0), max(spread * REACH, 1.0)
        self.bounds = logits.new_tensor([low, high])
        self.temperature = logits.new_tensor(_minimum(logits, labels, low, high)).clamp(*self.bounds)

    def forward(self, signals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``{"logits": (B, C)}``."""
        return {"logits": signals["logits"] / self.temperature}


def _minimum(logits: Tensor, labels: Tensor, low: float, high: float) -> float:
    """The ``T`` of least NLL between two bounds: Newton's method on ``v = -log T``, halving where it leaves them."""
    left, right = -math.log(high), -math.log(low)
    if _slopes(logits, labels, right)[0] <= 0:
        return low
    if _slopes(logits, labels, left)[0] >= 0:
        return high
    v = min(max(0.0, left), right)
    for _ in range(STEPS):
        slope, bend = _slopes(logits, labels, v)
        left, right = (v, right) if slope < 0 else (left, v)
        # The root of the slope in 1 / T, which rises throughout; its step is taken in log(1 / T).
        step = -slope / bend if bend > 0 else math.inf
        # A step too small to change v ends on the bound that v has just become, and is no reason to halve.
        last, v = v, v + step if left <= v + step <= right else (left + right) / 2
        if abs(v - last) <= CLOSE:
            break
    return math.exp(-v)


def _slopes(logits: Tensor, labels: Tensor, v: float) -> tuple[float, float]:
    """Of the NLL at ``T = exp(-v)``: ``b (p . l - l_y)`` and ``b^2 var_p(l)``, ``b = 1 / T``, means over inputs.

    The first is the derivative by ``v``, the second ``b^2`` times the second derivative by ``b``: their ratio is a
    step of Newton's method for the root of the derivative by ``b``, measured in ``v``.
    """
    slope = bend = 0.0
    for start in range(0, len(logits), BATCH):
        scaled = logits[start : start + BATCH].double() * math.exp(v)  # (B, C)
        scaled = scaled - scaled.gather(1, labels[start : start + BATCH, None])
        p = scaled.softmax(dim=1)
        mean = (p * scaled).sum(dim=1, keepdim=True)
        slope += float(mean.sum())
        bend += float((p * (scaled - mean).square()).sum())
    return slope / len(logits), bend / len(logits)


def _lead(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean lead of the labelled logit over the mean of its row, and the root mean square around that mean."""
    lead = squares = 0.0
    for start in range(0, len(logits), BATCH):
        rows = logits[start : start + BATCH].double()
        rows = rows - rows.mean(dim=1, keepdim=True)
        lead += float(rows.gather(1, labels[start : start + BATCH, None]).sum())
        squares += float(rows.square().sum())
    return lead / len(logits), math.sqrt(squares / logits.numel())
