"""Mahalanobis distance of an input that was moved to come nearer."""

from collections.abc import Mapping

from torch import Tensor

from unseen.detectors.base import Detector
from unseen.detectors.mahalanobis import Mahalanobis
from unseen.parts import Paper
from unseen.signals import Climbed, Request, Support
from unseen.signals.requests import Units


class MahalanobisODIN(Detector):
    """An input is known when a small step towards the nearest class mean brings it as near as known ones come.

    ``score(x) = M(x'),  x' = x + epsilon sign(dM(x) / dx)``, with the score ``M`` of `Mahalanobis`, which is learnt
    from inputs as they are: minus the squared distance of the features to the nearest class mean, by the spread that
    classes share. The nearest mean of the moved input may be another.

    Args:
        epsilon: length of the step; 0 leaves the input where it is.
        units: of the step: ``"pixels"`` are those of values in ``[0, 1]``, whatever each channel was divided by, as in
            the authors' code; ``"normalised"`` are those of the network's input, as in the formula of the paper.
        floor: ridge added to the covariance, as a share of its mean eigenvalue.

    Reads: ``features (N, D)`` at the fit, labels optional: without them all known inputs are one class. At a query
    ``Climbed(...)``, the features of the moved input, which a network gives (stored arrays cannot, and no step before
    the detector may change features).
    Returns: ``(N,)``, at most 0, squared standard deviations.
    Raises: WrongUse, for another step or other units; NotEnoughKnown, with fewer than two inputs.
    Cost: as `Mahalanobis`; two forward passes and one backward pass through the network for each query, none for known
    inputs.
    Source: Lee, Lee, Lee, Shin, "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial
    Attacks", NeurIPS 2018, section 2.2, on the features of the last layer alone; `MDSEnsemble` is for several. The
    paper chooses ``epsilon`` by unknown inputs.
    Differs: pytorch-ood's detector of this name takes a step of 0.002, the default here, and half the distance, which
    ranks alike.

    >>> known = {"features": [[0.0, 1.0], [0.0, -1.0], [1.0, 0.0], [-1.0, 0.0]]}
    >>> detector = MahalanobisODIN(floor=0.0).fit(known)
    >>> (moved,) = detector.reads()
    >>> round(detector.score({moved: [[2.0, 0.0]]}).item(), 3)
    -8.0
    """

    learns = frozenset({"features"})
    labels = "optional"
    paper = Paper(
        "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks",
        "Lee, Lee, Lee, Shin",
        "NeurIPS",
        2018,
    )

    def __init__(self, epsilon: float = 0.002, units: Units = "pixels", floor: float = 1e-6) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.units = units
        self.floor = floor
        self.distance = Mahalanobis(floor)
        Climbed(self.distance, epsilon, units)  # names a wrong argument at once

    @property
    def needs(self) -> frozenset[str | Request]:  # type: ignore[override] # of what was learnt
        """The features after a step that goes by the distances learnt."""
        return frozenset({Climbed(self.distance, self.epsilon, self.units)})

    def learn(self, support: Support) -> None:
        """Distances of inputs as they are."""
        self.distance.fit(support)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Negative squared distances ``(B,)``."""
        # The key is not made here: it holds a fingerprint of tensors, which a graph has no values of.
        (moved,) = signals.values()
        return self.distance({"features": moved})  # type: ignore[no-any-return]
