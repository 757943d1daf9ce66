"""Features or logits enlarged by how widely the features are spread, the more so the less they shift."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from unseen.errors import WrongUse
from unseen.parts import Paper, Step
from unseen.signals import Nudged, Support

POINTS = 5000  # of the distribution that is kept; with more known inputs F is right to 1 / 5000


class AdaSCALE(Step):
    """Enlarges what `SCALE` and `LTS` enlarge, with a quantile of its own for each input.

    The values of the input that matter least for its logit are moved, and how the largest features answer tells how
    unlike the known it is: ``Q = sum_{top k1} relu(f'_j) + lam sum_{top k2} |f_j - f'_j|``, with the features ``f'`` of
    the moved input, at the places of the largest features of ``f``. With the share ``F(Q)`` of known inputs whose ``Q``
    is not larger, the quantile is ``p = lower + (1 - F(Q)) (upper - lower)``. Then, as there, ``r = S_1 / S_2``: the
    sum of the positive features over that of the ``D - round(p D)`` largest. A small ``Q`` gives a high quantile, few
    features in ``S_2``, and so a large factor.

    It rests on unknown inputs shifting more. The first sum is larger where features are, and those of known inputs
    often are: these then get the smaller factor, and one quantile for all, `SCALE` or `LTS`, does better. Where
    ``p D`` comes to be rounded the other way the factor jumps, the less the wider the features are.

    Args:
        variant: ``"A"`` enlarges features, ``f exp(r)``, from which logits are made again; ``"L"`` enlarges logits,
            ``l r^2``. ``AdaSCALE() >> Energy()`` and ``AdaSCALE("L") >> Energy()`` are the paper's two.
        lower: quantile for the inputs that shift most, in ``[0, 1)``.
        upper: quantile for those that shift least, from ``lower`` to below 1. With both equal it is `SCALE` or `LTS`.
        k1: share of the features whose sum corrects for size, in ``(0, 1]``; rounded down, at least one.
        k2: share of the features whose shift counts, likewise.
        lam: weight of the shift.
        share: of the input's values that are moved, in ``(0, 1]``.
        step: by which they are moved, in units of the network's input.

    Reads: ``features (N, D)``, ``Nudged(share, step)``, the features of the moved input, which a network gives (not
    stored arrays; no step before this one may change features), and for ``"L"`` ``logits (N, C)``; labels ignored.
    Writes: ``features (N, D)`` or ``logits (N, C)``.
    Raises: WrongUse, for another variant, quantiles or shares that there cannot be, or another weight.
    Cost: two forward passes and one backward pass through the network for each input, known ones too; at most 5000
    numbers.
    Source: Regmi, "AdaSCALE: Adaptive Scaling for OOD Detection", arXiv 2503.08023, 2025.
    Differs: OpenOOD chooses the quantiles, among others, with unknown inputs at hand; its ``adascale_a`` and
    ``adascale_l`` begin with the constants that are the defaults here.

    >>> known = {"features": [[4.0, 1.0], [3.0, 2.0]], "logits": [[1.0], [1.0]], Nudged().key: [[4.0, 1.0], [2.5, 2.0]]}
    >>> step = AdaSCALE("L", lower=0.0, upper=0.9).fit(known)
    >>> asked = {name: torch.tensor(rows) for name, rows in known.items()}
    >>> [round(row[0], 2) for row in step(asked)["logits"].tolist()]  # Q = 4 and 7.5, so that F = 1/2 and 1
    [1.56, 1.0]
    """

    room = "detectors"
    traits = frozenset({"jumps"})
    grid = {"upper": (0.95,)}  # noqa: RUF012 - a constant, shared on purpose
    paper = Paper("AdaSCALE: Adaptive Scaling for OOD Detection", "Regmi", "arXiv", 2025)
    points: Tensor  # (M,) values of Q in ascending order, evenly many known inputs apart

    def __init__(
        self,
        variant: Literal["A", "L"] = "A",
        lower: float = 0.75,
        upper: float = 0.85,
        k1: float = 0.05,
        k2: float = 0.01,
        lam: float = 10.0,
        share: float = 0.05,
        step: float = 0.5,
    ) -> None:
        super().__init__()
        if variant not in ("A", "L"):
            raise WrongUse(f"AdaSCALE(variant={variant!r}): give 'A' or 'L'")
        self.variant = variant
        self.lower = lower
        self.upper = upper
        self.k1 = k1
        self.k2 = k2
        self.lam = lam
        self.share = share
        self.step = step
        self.nudged = Nudged(share, step)
        self.needs = frozenset({"features", self.nudged, *(("logits",) if variant == "L" else ())})
        self.writes = frozenset({"features" if variant == "A" else "logits"})
        self.register_buffer("points", torch.empty(0))

    def learn(self, support: Support) -> None:
        """The distribution of ``Q`` among known inputs, in one walk."""
        if not 0 <= self.lower <= self.upper < 1:
            raise WrongUse(
                f"AdaSCALE(lower={self.lower}, upper={self.upper}): give two quantiles from 0 to below 1, in order"
            )
        if not (0 < self.k1 <= 1 and 0 < self.k2 <= 1):
            raise WrongUse(f"AdaSCALE(k1={self.k1}, k2={self.k2}): give shares above 0 and at most 1")
        if not self.lam >= 0:
            raise WrongUse(f"AdaSCALE(lam={self.lam}): give a weight from 0")
        # What is not read here must be numbers all the same.
        found = [self._shift(batch) for batch in support.batches(*sorted(self.reads()))]
        ordered = torch.cat(found).sort().values
        kept = min(len(ordered), POINTS)
        # The k-th of M points is the smallest value that k / M of the known inputs do not exceed.
        at = -(-torch.arange(1, kept + 1, device=ordered.device) * len(ordered) // kept) - 1
        self.points = ordered[at].to(support.dtype("features"))

    def _shift(self, signals: Mapping[str, Tensor]) -> Tensor:
        """``Q``, ``(B,)``."""
        x, moved = signals["features"], signals[self.nudged.key]
        many, few = (max(1, int(share * x.shape[1])) for share in (self.k1, self.k2))
        places = x.topk(max(many, few), dim=1).indices  # in descending order
        size = moved.relu().gather(1, places[:, :many]).sum(dim=1)
        return size + self.lam * (x - moved).abs().gather(1, places[:, :few]).sum(dim=1)

    def forward(self, signals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``{"features": (B, D)}`` or ``{"logits": (B, C)}``."""
        x = signals["features"]
        width, tiny = x.shape[1], torch.finfo(x.dtype).tiny
        # In float64, as a share of 0.5 must round alike everywhere.
        not_larger = (self.points <= self._shift(signals)[:, None]).sum(dim=1).double() / len(self.points)
        quantile = self.lower + (1 - not_larger) * (self.upper - self.lower)
        k = (width - (width * quantile).round()).clamp_min(1).long()  # (B,)
        positive = x.relu()
        upto = positive.topk(max(1, width - round(width * self.lower)), dim=1).values.cumsum(dim=1)
        r = (positive.sum(dim=1) + tiny) / (upto.gather(1, k[:, None] - 1).squeeze(1) + tiny)
        if self.variant == "L":
            return {"logits": signals["logits"] * r.square()[:, None]}
        return {"features": x * r.exp()[:, None]}
