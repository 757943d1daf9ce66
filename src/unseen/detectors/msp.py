"""Maximum softmax probability."""

from collections.abc import Mapping

from torch import Tensor

from unseen.detectors._winner import winner
from unseen.detectors.base import Detector
from unseen.parts import Paper


class MSP(Detector):
    """An input is known when the classifier is sure of one class.

    ``score(x) = log max_c p_c``, ``p = softmax(logits / temperature)``. Above one half it is computed as
    ``log(1 - sum_{c != y} p_c)`` with the winner ``y``, so that sure inputs do not tie.

    Args:
        temperature: divides the logits; the paper takes 1.

    Reads: ``logits (N, C)``; labels ignored; nothing is learnt.
    Returns: ``(N,)`` in ``[-log C, 0]``, natural logarithm; ``exp`` of it is the probability.
    Source: Hendrycks, Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in
    Neural Networks", ICLR 2017, section 3. The logarithm ranks alike and does not saturate: in float32 the
    probability itself is 1.0 beyond a gap of about 17.
    Differs: OpenOOD, pytorch-ood and oodeel return the probability itself, which in float32 has steps of 6e-8 next to
    1, so that sure inputs tie.

    >>> round(MSP().score([[0.0, 0.0]]).item(), 4)
    -0.6931
    """

    needs = frozenset({"logits"})
    traits = frozenset({"stateless"})
    paper = Paper(
        "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural Networks",
        "Hendrycks, Gimpel",
        "ICLR",
        2017,
    )

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Log-probabilities ``(B,)``."""
        logits = signals["logits"]
        log_p, _ = winner((logits if self.temperature == 1 else logits / self.temperature).softmax(dim=1))
        return log_p
