"""How hard an input pulls at a prototype of the unknown, against known inputs that pull alike."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from unseen.detectors.base import Detector
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.parts import Paper
from unseen.signals import Support
from unseen.statistics import from_nearest


class GROOD(Detector):
    """An input is known when it pulls at a prototype of the unknown as some known input does: hardly at all.

    A classifier of prototypes, the class means ``m_c`` and one point ``o`` for the unknown, answers with
    ``softmax(-||f - m_c||, -||f - o||)``. The gradient of its cross-entropy with respect to ``o`` is the same for every
    known class that might be right, and needs no backward pass::

        g(f) = p_o (f - o) / ||f - o||,    p_o the probability of o

    ``score(x) = -min_i ||g(f) - g(f_i)||`` over the known inputs ``f_i`` that the class means classify right.

    ``o`` is made of known features, or of unknown ones that are given. The authors' code mixes in an earlier layer or
    sends noise images through the network, for which stored features do not suffice. It also goes by the network's own
    answer to tell whether a known input is classified right.

    Args:
        prototype: what ``o`` is the mean of: ``"mixup"``, known inputs half-way to the class mean that is second
            nearest to them; ``"noise"``, features that are drawn evenly and by themselves between the smallest and the
            largest known value of each; ``"unknown"``, the unknown inputs that it then has to be given, the default of
            the authors' code, which keeps some for validation.
        samples: how many features are mixed or drawn; the authors take 100. Of unknown inputs all count.
        seed: of the draw.

    Reads: ``features (N, D)``; labels required.
    Returns: ``(N,)`` in ``[-2, 0]``, no unit.
    Raises: WrongUse, for another prototype, no samples or, where they are to be its mean, no unknown inputs;
    NotEnoughKnown, with one class, or where no known input is classified right.
    Cost: ``N D`` numbers; a query compares with all of them. Where known features lie hundreds nearer to their class
    mean than to ``o``, their gradients are 0 in float32, and they tie.
    Source: ElAraby, Sahoo, Pequignot, Novello, Paull, "GROOD: Gradient-Aware Out-of-Distribution Detection", TMLR 2025.

    >>> known, labels = [[0.0, 1.0], [0.0, -1.0], [9.0, 1.0], [9.0, -1.0]], ["a", "a", "b", "b"]
    >>> detector = GROOD().fit(known, labels)
    >>> detector.other.tolist()
    [4.5, 0.0]
    >>> [round(s, 2) for s in detector.score([[0.0, 1.0], [9.0, 0.0], [4.5, 3.0]]).tolist()]
    [-0.0, -0.02, -0.84]
    """

    needs = frozenset({"features"})
    labels = "required"
    traits = frozenset({"sampled", "two_pass"})
    paper = Paper(
        "GROOD: Gradient-Aware Out-of-Distribution Detection",
        "ElAraby, Sahoo, Pequignot, Novello, Paull",
        "TMLR",
        2025,
    )
    other: Tensor  # (D,) o
    means: Tensor  # (C, D), seen from o
    bank: Tensor  # (n, D) gradients of known inputs

    def __init__(
        self, prototype: Literal["mixup", "noise", "unknown"] = "mixup", samples: int = 100, seed: int = 0
    ) -> None:
        super().__init__()
        if prototype == "unknown":
            self.traits = type(self).traits - {"sampled"} | {"uses_unknown"}
        self.prototype = prototype
        self.samples = samples
        self.seed = seed
        for name in ("other", "means", "bank"):
            self.register_buffer(name, torch.empty(0))

    def learn(self, support: Support) -> None:
        """Class means from moments, then the point for the unknown, then gradients, in float64."""
        if self.prototype not in ("mixup", "noise", "unknown"):
            raise WrongUse(f"GROOD(prototype={self.prototype!r}): the prototype is 'mixup', 'noise' or 'unknown'")
        if not isinstance(self.samples, int) or self.samples < 1:
            raise WrongUse(f"GROOD(samples={self.samples!r}): give a whole number from 1")
        moments = support.moments("features")
        codes = (moments.count > 0).nonzero()[:, 0]
        if len(codes) < 2:
            raise NotEnoughKnown("GROOD compares class means with each other and needs two classes, got one")
        means = moments.mean[codes]
        other = self._prototype(support, means)
        means = means - other
        bank = []
        for batch in support.batches("features"):
            x = batch["features"].double() - other
            right = codes[_distances(x, means).argmin(dim=1)] == batch["labels"].to(x.device)
            bank.append(_gradients(x[right], means))
        if not sum(map(len, bank)):
            raise NotEnoughKnown("GROOD: no known input is nearest to the mean of its own class; look at the labels")
        precision = support.dtype("features")
        self.other, self.means = other.to(precision), means.to(precision)
        self.bank = torch.cat(bank).to(precision)

    def _prototype(self, support: Support, means: Tensor) -> Tensor:
        """``o (D,)``."""
        if self.prototype == "unknown":
            assert support.unknown is not None
            batches = support.unknown.batches("features")
            return sum((batch["features"].double().sum(dim=0) for batch in batches), 0.0 * means[0]) / len(
                support.unknown
            )
        rng = np.random.default_rng(self.seed)
        return self._mixed(support, means, rng) if self.prototype == "mixup" else self._noise(support, rng)

    def _mixed(self, support: Support, means: Tensor, rng: np.random.Generator) -> Tensor:
        """The mean of some known inputs, each half-way to its second nearest class mean, ``(D,)``."""
        chosen = torch.zeros(len(support), dtype=torch.bool)
        chosen[torch.from_numpy(rng.permutation(len(support))[: self.samples])] = True
        total, start = torch.zeros_like(means[0]), 0
        for batch in support.batches("features"):
            x = batch["features"].double()
            drawn = x[chosen[start : start + len(x)].to(x.device)]
            second = _distances(drawn, means).topk(2, dim=1, largest=False).indices[:, 1]
            total, start = total + 0.5 * (drawn + means[second]).sum(dim=0), start + len(x)
        return total / int(chosen.sum())

    def _noise(self, support: Support, rng: np.random.Generator) -> Tensor:
        """The mean of features drawn between the least and the largest of each, ``(D,)``."""
        least = largest = None
        for batch in support.batches("features"):
            low, high = batch["features"].double().aminmax(dim=0)
            least = low if least is None else least.minimum(low)
            largest = high if largest is None else largest.maximum(high)
        assert least is not None
        assert largest is not None
        share = torch.from_numpy(rng.random((self.samples, len(least))).mean(axis=0)).to(least)
        return least + share * (largest - least)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Negative distances of gradients ``(B,)``."""
        own = _gradients(signals["features"] - self.other, self.means)
        return -from_nearest(own, self.bank).square().sum(dim=1).sqrt()

    def numbers_per_query(self) -> int:
        """One product for every row of the bank, and a few copies of the features."""
        return len(self.bank) + 4 * self.bank.shape[1] + 4 * len(self.means)


def _distances(x: Tensor, means: Tensor) -> Tensor:
    """From each row to each mean, ``(B, C)``."""
    middle = means.mean(dim=0)  # seen from afar, squares would lose the digits of what lies between
    x, means = x - middle, means - middle
    squares = x.square().sum(dim=1, keepdim=True) + means.square().sum(dim=1) - 2 * x @ means.T
    return squares.clamp_min(0).sqrt()


def _gradients(x: Tensor, means: Tensor) -> Tensor:
    """``g (B, D)`` of rows and class means that are both seen from ``o``."""
    length = x.square().sum(dim=1, keepdim=True).sqrt()
    p = torch.cat([-_distances(x, means), -length], dim=1).softmax(dim=1)[:, -1:]
    return p * x / length.clamp_min(torch.finfo(x.dtype).tiny)
