"""Maximum softmax probability."""

from collections.abc import Mapping

from torch import Tensor, log1p

from unseen.detectors.base import Detector
from unseen.parts import Paper
from unseen.statistics import odds


class MSP(Detector):
    """An input is known when the classifier is sure of one class.

    ``score(x) = log max_c p_c = -log1p(R)``, ``R = sum_{c != y} exp(l_c - l_y)``, ``y = argmax l``,
    ``l = logits / temperature``.

    Args:
        temperature: divides the logits; the paper takes 1.

    Reads: ``logits (N, C)``; labels ignored; nothing is learnt.
    Returns: ``(N,)`` in ``[-log C, 0]``, natural logarithm; ``exp`` of it is the probability.
    Source: Hendrycks, Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in
    Neural Networks", ICLR 2017, section 3. The logarithm ranks alike and does not saturate: in float32 the
    probability itself is 1.0 beyond a gap of about 17.

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
        return -log1p(odds(signals["logits"] / self.temperature).sum(dim=1))
