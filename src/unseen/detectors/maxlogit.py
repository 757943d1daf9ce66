"""The largest logit."""

from collections.abc import Mapping

from torch import Tensor

from unseen.detectors.base import Detector
from unseen.parts import Paper


class MaxLogit(Detector):
    """An input is known when some class is answered loudly, whatever the others say.

    ``score(x) = max_c l_c``, with ``l`` the logits. Unlike the softmax it keeps the scale of the logits, so that an
    input between two known classes is not taken for unknown.

    Reads: ``logits (N, C)``; labels ignored; nothing is learnt.
    Returns: ``(N,)``, in units of the logits.
    Source: Hendrycks, Basart, Mazeika, Zou, Kwon, Mostajabi, Steinhardt, Song, "Scaling Out-of-Distribution Detection
    for Real-World Settings", ICML 2022, section 3.

    >>> MaxLogit().score([[0.5, 2.0]]).item()
    2.0
    """

    needs = frozenset({"logits"})
    traits = frozenset({"stateless"})
    paper = Paper(
        "Scaling Out-of-Distribution Detection for Real-World Settings",
        "Hendrycks, Basart, Mazeika, Zou, Kwon, Mostajabi, Steinhardt, Song",
        "ICML",
        2022,
    )

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Largest logits ``(B,)``."""
        return signals["logits"].amax(dim=1)
