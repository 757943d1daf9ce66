"""Energy of logits under a temperature that a network learnt to give each input."""

from collections.abc import Mapping

from torch import Tensor, logsumexp

from unseen.detectors.base import Detector
from unseen.parts import Paper

LEAST = 1e-12  # what the authors add to a sigmoid; stored in half precision it may have become 0


class AbeT(Detector):
    """An input is known when its logits are large together for the temperature that the network gives it.

    ``score(x) = log sum_c exp(h_c / t)``: ``t`` is the network's own temperature for ``x``, small where it is sure, and
    ``h_c`` are the logits before they were divided by it, cosines in the paper. An energy has ``t`` once more in front;
    there its effect cancels that inside, and leaving it out is what the method is.

    Only networks that were trained with such a temperature give one: ``t = sigmoid(BatchNorm(w'f + b))`` with the loss
    of ``h / t``. Store both beside each other, without dividing.

    Reads: ``logits (N, C)``, not divided, and ``temperature (N, 1)``, above 0; labels ignored; nothing is learnt.
    Returns: ``(N,)``, no unit; both signs occur.
    Source: LeVine, Pikus, Phillips, Norman, Amat Gil, Hendryx, "Out-of-Distribution Detection & Applications With
    Ablated Learned Temperature Energy", 2024, whose sign is turned.
    Differs: the authors' code sums exponentials before it takes the logarithm, which overflow below a temperature of
    1/89 in float32.

    >>> asked = {"logits": [[0.9, 0.1], [0.9, 0.1]], "temperature": [[0.1], [1.0]]}
    >>> [round(s, 2) for s in AbeT().score(asked).tolist()]
    [9.0, 1.27]
    """

    needs = frozenset({"logits", "temperature"})
    traits = frozenset({"stateless"})
    paper = Paper(
        "Out-of-Distribution Detection & Applications With Ablated Learned Temperature Energy",
        "LeVine, Pikus, Phillips, Norman, Amat Gil, Hendryx",
        "arXiv",
        2024,
    )

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Energies ``(B,)``."""
        return logsumexp(signals["logits"] / signals["temperature"].clamp_min(LEAST), dim=1)
