"""Log odds of known against unknown inputs, linear in the features."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from unseen.detectors._logistic import PENALTY, discriminate
from unseen.detectors.base import Detector
from unseen.parts import Paper
from unseen.signals import Signals, Support


class BinaryDiscriminator(Detector):
    """An input is known when a linear classifier that was taught known against unknown inputs says so.

    ``score(x) = w f + b``, the log odds of a logistic regression on features ``f``: known inputs against those unknown
    ones that it is given to learn from, both sides counting alike, with a penalty on the weights of standardised
    features. It is the simplest use of unknown inputs, which any other has to beat, and it has no idea of what is
    unlike both sides: an input far out on the side of the known is as known as can be.

    Args:
        penalty: factor of half the squared weights.

    Reads: ``features (N, D)`` of known and unknown inputs; labels ignored.
    Returns: ``(N,)``, log odds (nats).
    Raises: WrongUse, without unknown inputs, or for a penalty of 0; NotEnoughKnown, when no feature differs.
    Cost: ``D + 1`` numbers; ten to twenty walks over known and unknown inputs, each ``(N + M) D^2``.
    Source: Bitterwolf, Meinke, Augustin, Hein, "Breaking Down Out-of-Distribution Detection: Many Methods Based on OOD
    Training Data Estimate a Combination of the Same Core Quantities", ICML 2022: the binary discriminator that shares
    its features with the classifier.
    Differs: there the features are trained with it. Here they are as they come, and only the linear layer learns.

    >>> detector = BinaryDiscriminator().fit([[2.0, 1.0], [2.0, -1.0]], unknown=[[-2.0, 1.0], [-2.0, -1.0]])
    >>> known, between, unknown = detector.score([[2.0, 9.0], [0.0, 0.0], [-2.0, 9.0]]).round(2).tolist()
    >>> known > between == 0.0 > unknown
    True
    """

    needs = frozenset({"features"})
    traits = frozenset({"uses_unknown", "two_pass"})
    paper = Paper(
        "Breaking Down Out-of-Distribution Detection: Many Methods Based on OOD Training Data Estimate a Combination "
        "of the Same Core Quantities",
        "Bitterwolf, Meinke, Augustin, Hein",
        "ICML",
        2022,
    )
    weight: Tensor  # (D,)
    bias: Tensor  # ()

    def __init__(self, penalty: float = PENALTY) -> None:
        super().__init__()
        self.penalty = penalty
        self.register_buffer("weight", torch.empty(0))
        self.register_buffer("bias", torch.empty(0))

    def learn(self, support: Support) -> None:
        """Logistic regression in float64."""
        assert support.unknown is not None
        known, unknown = support.signals, support.unknown
        weight, bias = discriminate(lambda: _walk(known), lambda: _walk(unknown), self.penalty, "BinaryDiscriminator")
        precision = support.dtype("features")
        self.weight, self.bias = weight.to(precision), bias.to(precision)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Log odds ``(B,)``."""
        return signals["features"] @ self.weight + self.bias


def _walk(signals: Signals) -> Iterator[Tensor]:
    return (batch["features"] for batch in signals.batches("features"))
