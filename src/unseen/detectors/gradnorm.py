"""Length of the gradient by which the last layer would be taught to say nothing."""

from collections.abc import Mapping

from torch import Tensor

from unseen.detectors.base import Detector
from unseen.parts import Paper


class GradNorm(Detector):
    """An input is known when it would pull hard at the last layer, were that asked for equal probabilities.

    ``score(x) = ||dL / dW||_1``, with ``L = -(1 / C) sum_c log p_c`` and ``p = softmax(l / T)``. Of the weight ``W`` of
    a linear layer this gradient is an outer product, whose length needs neither ``W`` nor a backward pass::

        ||dL / dW||_1 = ||f||_1 sum_c |p_c - 1 / C| / T

    Args:
        temperature: ``T``; the paper takes 1.

    Reads: ``features (N, D)`` and ``logits (N, C)``; labels ignored; nothing is learnt.
    Returns: ``(N,)`` from 0 on, in units of the features.
    Source: Huang, Geng, Li, "On the Importance of Gradients for Detecting Distributional Shifts in the Wild", NeurIPS
    2021: the gradient of the last layer's weight alone. The authors' code sums over classes where ``L`` averages, which
    multiplies every score by ``C``.
    Differs: OpenOOD and the authors' code multiply every score by ``C``. pytorch-ood takes the gradient of all
    parameters unless told. All of them run a backward pass for each input, where ours is a formula.

    >>> asked = {"features": [[1.0, -2.0]], "logits": [[50.0, 0.0]]}
    >>> round(GradNorm().score(asked).item(), 3)
    3.0
    """

    needs = frozenset({"features", "logits"})
    traits = frozenset({"stateless"})
    paper = Paper(
        "On the Importance of Gradients for Detecting Distributional Shifts in the Wild",
        "Huang, Geng, Li",
        "NeurIPS",
        2021,
    )

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Lengths of gradients ``(B,)``."""
        logits = signals["logits"]
        p = (logits / self.temperature).softmax(dim=1)
        pull = (p - 1 / logits.shape[1]).abs().sum(dim=1)
        return signals["features"].abs().sum(dim=1) * pull / self.temperature
