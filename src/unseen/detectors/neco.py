"""Share of the features that lies along the main directions of the known."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from unseen.detectors.base import Detector
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.parts import Paper
from unseen.signals import Support

SHARE = 0.9  # of the variance that the main directions hold where no number of them is given


class NECO(Detector):
    """An input is known when its features lie along the few directions into which training collapses the known ones.

    ``score(x) = l_max ||P z|| / ||z||``, with ``z`` the features, each less its mean and in units of its standard
    deviation among the known, ``P`` the projection on their ``d`` main directions, and ``l_max`` the largest logit.

    Where ``l_max`` is below 0 it is multiplied by ``2 - ||P z|| / ||z||`` instead. The two agree at 0, and the score
    rises with the share and with the logit everywhere; by the paper's product, inputs that nothing speaks for would
    score higher the less they lie along ``P``.

    Args:
        components: ``d``, from 1 to the width of the features. The authors tune it for each network; None takes the
            fewest directions that hold 90 % of the variance.
        factor: ``"maxlogit"``, or ``"none"`` to leave the share alone, as the authors do for ResNets; no logits are
            needed then.
        floor: added to each variance, as a share of the mean variance. It keeps features that never vary finite.

    Reads: ``features (N, D)``, and ``logits (N, C)`` for the factor; labels ignored.
    Returns: ``(N,)``, in units of the logits; without the factor in ``[0, 1]``.
    Raises: WrongUse, for a number of directions that there cannot be, or another factor; NotEnoughKnown, when the known
    inputs do not differ.
    Cost: one eigenvalue problem of ``D x D``; ``D d`` numbers.
    Source: Ben Ammar, Belkhir, Popescu, Manzanera, Franchi, "NECO: NEural Collapse Based Out-of-distribution
    Detection", ICLR 2024.
    Differs: the authors' code multiplies by a negative largest logit as by a positive one, which turns the order
    around, and for DeiT and Swin it divides by the length of the raw features. The three libraries that are compared
    here do not have the method.

    >>> known = [[3.0, 3.1], [-3.0, -3.1], [2.0, 1.9], [-2.0, -1.9]]
    >>> detector = NECO(components=1, factor="none").fit(known)
    >>> [round(s, 2) for s in detector.score([[5.0, 5.0], [5.0, -5.0], [5.0, 0.0]]).tolist()]
    [1.0, 0.0, 0.71]
    """

    needs = frozenset({"features", "logits"})
    paper = Paper(
        "NECO: NEural Collapse Based Out-of-distribution Detection",
        "Ben Ammar, Belkhir, Popescu, Manzanera, Franchi",
        "ICLR",
        2024,
    )
    origin: Tensor  # (D,) mean of all known inputs
    spread: Tensor  # (D,) standard deviations
    basis: Tensor  # (D, d), orthonormal columns

    def __init__(
        self,
        components: int | None = None,
        factor: Literal["maxlogit", "none"] = "maxlogit",
        floor: float = 1e-6,
    ) -> None:
        super().__init__()
        self.components = components
        self.factor = factor
        self.floor = floor
        if factor == "none":
            self.needs = frozenset({"features"})
        for name in ("origin", "spread", "basis"):
            self.register_buffer(name, torch.empty(0))

    def learn(self, support: Support) -> None:
        """Eigenvectors of the correlations, in float64, from moments."""
        if self.factor not in ("maxlogit", "none"):
            raise WrongUse(f"NECO(factor={self.factor!r}): the factor is 'maxlogit' or 'none'")
        if self.factor == "maxlogit":
            for _ in support.batches("logits"):  # nothing is learnt of them, but NaN is named now, not at a query
                pass
        moments = support.moments("features")
        covariance = moments.total() / len(moments)
        variance = covariance.diagonal()
        if not variance.sum() > 0:
            raise NotEnoughKnown("NECO: the known inputs do not differ, so they have no main directions; add inputs")
        spread = (variance + self.floor * variance.mean()).sqrt()
        values, vectors = torch.linalg.eigh(covariance / spread / spread[:, None])  # ascending
        taken, width = self.components, len(spread)
        if taken is None:
            held = values.flip(0).clamp_min(0).cumsum(0)
            taken = min(width, 1 + int((held < SHARE * held[-1]).sum()))
        if not isinstance(taken, int) or not 1 <= taken <= width:
            raise WrongUse(f"NECO(components={taken}): give a number from 1 to {width}, as there are {width} features")
        precision = support.dtype("features")
        self.origin, self.spread = moments.grand_mean().to(precision), spread.to(precision)
        self.basis = vectors[:, width - taken :].to(precision).contiguous()

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Shares, times the largest logit, ``(B,)``."""
        z = (signals["features"] - self.origin) / self.spread
        tiny = torch.finfo(z.dtype).tiny  # the mean itself lies in every subspace
        share: Tensor = ((z @ self.basis).norm(dim=1) + tiny) / (z.norm(dim=1) + tiny)
        if self.factor == "none":
            return share
        logit = signals["logits"].amax(dim=1)
        return logit * torch.where(logit > 0, share, 2 - share)
