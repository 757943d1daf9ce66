"""Length of the gradient by which the last layer would be taught to say everything."""

from collections.abc import Mapping

from torch import Tensor

from unseen.detectors.base import Detector
from unseen.parts import Paper


class GradUncertainty(Detector):
    """An input is known when it would pull hard at the last layer, were that asked for all classes at once.

    ``score(x) = ||dL / dW||^2 + ||dL / db||^2``, with ``L = -sum_c log p_c``, the binary cross-entropy of ``p =
    softmax(l)`` with a 1 for every class. For the weight ``W`` and bias ``b`` of a linear layer that is::

        (||f||^2 + 1) ||C p - 1||^2

    It is 0 where all classes are equally likely, and larger the surer the answer. `GradNorm` has other norms of the
    same direction.

    **This is the last layer's part of the paper's representation, with its sum for a score.** The paper takes a number
    for every layer and trains a classifier on them with unknown inputs at hand, which also learns the sign.

    Reads: ``features (N, D)`` and ``logits (N, C)``; labels ignored; nothing is learnt.
    Returns: ``(N,)`` from 0 on, in squared units of the features.
    Source: Lee, AlRegib, "Gradients as a Measure of Uncertainty in Neural Networks", ICIP 2020.
    Differs: pytorch-ood takes the gradient of all parameters unless told, which it makes for each input.

    >>> asked = {"features": [[1.0, 2.0]], "logits": [[50.0, 0.0]]}
    >>> round(GradUncertainty().score(asked).item(), 3)
    12.0
    """

    needs = frozenset({"features", "logits"})
    traits = frozenset({"stateless"})
    paper = Paper("Gradients as a Measure of Uncertainty in Neural Networks", "Lee, AlRegib", "ICIP", 2020)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Squared lengths of gradients ``(B,)``."""
        logits = signals["logits"]
        pull = logits.shape[1] * logits.softmax(dim=1) - 1
        return (signals["features"].square().sum(dim=1) + 1) * pull.square().sum(dim=1)
