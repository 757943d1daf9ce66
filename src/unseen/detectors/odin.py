"""Softmax probability at a high temperature, of an input that was moved to be answered more confidently."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, logsumexp

from unseen.detectors.base import Detector
from unseen.parts import Paper
from unseen.signals import Perturbed
from unseen.signals.requests import Units


class ODIN(Detector):
    """An input is known when a small step towards a surer answer makes the answer as sure as it makes known ones.

    ``x' = x - epsilon sign(d CE(l(x) / T, y) / dx)``, with the logits ``l`` and ``y = argmax l(x)``. The paper ranks by
    the largest of ``softmax(l(x') / T)``. At a temperature of 1000 that is ``1 / C`` and a few thousandths, which
    float32 tells apart badly, and at 1 it saturates; so the score is the lead of the winner, which rises with it and
    does neither:

    ``score(x) = l_y - T log mean_{c != y} exp(l_c / T)``, of the moved input and its own winner ``y``.

    Args:
        epsilon: length of the step; 0 leaves the input where it is.
        temperature: ``T``, above 0; the paper takes 1000.
        units: of the step: ``"pixels"`` are those of values in ``[0, 1]``, whatever each channel was divided by, as in
            the authors' code; ``"normalised"`` are those of the network's input, as in the formula of the paper.

    Reads: ``Perturbed(...)``, the logits of the moved input, which a network gives (not stored arrays, nor a head
    before the detector); labels ignored; nothing is learnt.
    Returns: ``(N,)``, at least 0, in units of the logits; 0 where there is one class.
    Raises: WrongUse, for other numbers or units.
    Cost: two forward passes and one backward pass through the network for each query, none for known inputs.
    Source: Liang, Li, Srikant, "Enhancing the Reliability of Out-of-distribution Image Detection in Neural Networks",
    ICLR 2018, equations 1 and 2. The paper chooses ``epsilon`` by unknown inputs.
    Differs: OpenOOD, pytorch-ood and oodeel answer with the largest probability itself. OpenOOD chooses ``epsilon`` and
    ``T`` with unknown inputs at hand; 0.0014, the default here, is its default and pytorch-ood's; oodeel takes 0.014 in
    units of the network's input, and fails at 0. A slope of exactly 0 moves nothing here, as in pytorch-ood and oodeel;
    in OpenOOD it counts as positive.

    >>> detector = ODIN()
    >>> moved = {Perturbed(epsilon=0.0014, temperature=1000).key: [[3.0, 1.0, 1.0], [3.0, 3.0, 3.0]]}
    >>> [round(s, 3) for s in detector.score(moved).tolist()]
    [2.0, 0.0]
    """

    learns = frozenset()
    traits = frozenset({"stateless"})
    paper = Paper(
        "Enhancing the Reliability of Out-of-distribution Image Detection in Neural Networks",
        "Liang, Li, Srikant",
        "ICLR",
        2018,
    )

    def __init__(self, epsilon: float = 0.0014, temperature: float = 1000.0, units: Units = "pixels") -> None:
        super().__init__()
        self.epsilon = epsilon
        self.temperature = temperature
        self.units = units
        self.moved = Perturbed(epsilon, temperature, units)
        self.needs = frozenset({self.moved})

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Leads of the winners ``(B,)``."""
        return lead(signals[self.moved.key], self.temperature)


def lead(logits: Tensor, temperature: float) -> Tensor:
    """How far the winner is ahead of the others, ``l_y - T log mean_{c != y} exp(l_c / T)``, ``(B,)``.

    With the largest probability ``p`` of ``softmax(l / T)`` it is ``T log(p (C - 1) / (1 - p))``: it ranks alike.

    Args:
        logits: ``(B, C)``.
        temperature: ``T``.

    >>> lead(torch.tensor([[90.0, 0.0], [91.0, 0.0]]), 1.0).tolist()
    [90.0, 91.0]
    """
    classes = logits.shape[1]
    if classes == 1:
        return torch.zeros_like(logits[:, 0])
    # At T = 1000 the logarithm is log(C - 1) and a few thousandths, and float32 leaves three digits of those.
    scaled = logits.double() / temperature
    top = scaled.max(dim=1, keepdim=True)
    others = (scaled - top.values).scatter(1, top.indices, -torch.inf)
    return (temperature * (math.log(classes - 1) - logsumexp(others, dim=1))).to(logits.dtype)
