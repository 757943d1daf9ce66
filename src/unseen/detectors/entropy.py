"""Entropy of the predicted classes."""

from collections.abc import Mapping

from torch import Tensor, log1p

from unseen.detectors.base import Detector
from unseen.parts import Paper
from unseen.statistics import odds


class Entropy(Detector):
    """An input is known when the classifier spreads its answer over few classes.

    ``score(x) = sum_c p_c log p_c``, ``p = softmax(l)``: the entropy with its sign turned. Computed as
    ``-(log(1 + R) + sum_{c != y} e^{-g_c} g_c / (1 + R))`` with the gaps ``g_c = l_y - l_c`` to the winner ``y`` and
    ``R = sum_{c != y} e^{-g_c}``: no term is negative, so that confident inputs do not tie and ``0 log 0`` does not
    arise.

    Reads: ``logits (N, C)``; labels ignored; nothing is learnt.
    Returns: ``(N,)`` in ``[-log C, 0]``, natural logarithm.
    Source: Chan, Rottmann, Gottschalk, "Entropy Maximization and Meta Classification for Out-of-Distribution Detection
    in Semantic Segmentation", ICCV 2021, section 3, of whole inputs in place of pixels.

    >>> round(Entropy().score([[0.0, 0.0]]).item(), 4)
    -0.6931
    """

    needs = frozenset({"logits"})
    traits = frozenset({"stateless"})
    paper = Paper(
        "Entropy Maximization and Meta Classification for Out-of-Distribution Detection in Semantic Segmentation",
        "Chan, Rottmann, Gottschalk",
        "ICCV",
        2021,
    )

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Negative entropies ``(B,)``."""
        logits = signals["logits"]
        others = odds(logits)  # (B, C)
        gaps = logits.amax(dim=1, keepdim=True) - logits
        rest = others.sum(dim=1)
        return -(log1p(rest) + (others * gaps).sum(dim=1) / (1 + rest))
