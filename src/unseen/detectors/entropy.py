"""Entropy of the predicted classes."""

from collections.abc import Mapping

from torch import Tensor

from unseen.detectors._winner import winner
from unseen.detectors.base import Detector
from unseen.parts import Paper


class Entropy(Detector):
    """An input is known when the classifier spreads its answer over few classes.

    ``score(x) = sum_c p_c log p_c``, ``p = softmax(l)``: the entropy with its sign turned. Computed as
    ``log p_y - sum_c p_c (l_y - l_c)`` with the winner ``y``, whose probability is taken from what the others leave: no
    two terms cancel, so that confident inputs do not tie and ``0 log 0`` does not arise.

    Reads: ``logits (N, C)``; labels ignored; nothing is learnt.
    Returns: ``(N,)`` in ``[-log C, 0]``, natural logarithm.
    Source: Chan, Rottmann, Gottschalk, "Entropy Maximization and Meta Classification for Out-of-Distribution Detection
    in Semantic Segmentation", ICCV 2021, section 3, of whole inputs in place of pixels.
    Differs: pytorch-ood counts probabilities below 1e-7 as 1e-7; in oodeel a probability of 0 makes the score NaN. Both
    take the logarithm of a float32 probability, which has steps of 6e-8 next to 1.

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
        p = logits.softmax(dim=1)
        gaps = logits.amax(dim=1, keepdim=True) - logits
        return winner(p)[0] - (p * gaps).sum(dim=1)
