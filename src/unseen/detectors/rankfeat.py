"""Energy of the logits that a network gives once the largest component of an inner layer's map is taken away."""

from collections.abc import Mapping

import torch
from torch import Tensor, logsumexp

from unseen.detectors._layers import layers_of
from unseen.detectors.base import Detector
from unseen.parts import Paper
from unseen.signals import RankReduced


class RankFeat(Detector):
    """An input is known when its logits stay large without the largest singular component of its feature maps.

    ``score(x) = log sum_c exp(l_c)``, with ``l`` the mean over layers of the logits that the network gives when the
    layer's map ``F (channels, positions)`` of the input is replaced by ``F - s_1 u_1 v_1'`` (`RankReduced`). Unknown
    inputs often have a much larger ``s_1``, and lose more with it.

    The component is found by an exact eigenvalue problem. The authors' RankWeight, which takes the largest component
    off the weights too, is left out: it is another network, not another question to this one.

    Args:
        layers: dotted names of layers that give maps, or stages from the back, with commas between them; the authors
            take the last two blocks.

    Reads: what the encoder answers with reduced layers; nothing is learnt.
    Returns: ``(N,)``, in units of the logits.
    Raises: WrongUse, for no layer or one twice.
    Cost: a forward pass and an eigenvalue problem of the smaller side of the map for each layer and input.
    Source: Song, Sebe, Wang, "RankFeat: Rank-1 Feature Removal for Out-of-distribution Detection", NeurIPS 2022,
    section 3.
    Differs: the authors also offer some steps of a power iteration, from a random start, in the place of the eigenvalue
    problem. pytorch-ood asks one layer only.

    >>> detector = RankFeat(layers="-1,-2")
    >>> last, before = (RankReduced(layer).key for layer in ("-1", "-2"))
    >>> round(detector.score({last: [[1.0, 3.0]], before: [[3.0, 1.0]]}).item(), 3)
    2.693
    """

    learns = frozenset()
    traits = frozenset({"stateless"})
    paper = Paper(
        "RankFeat: Rank-1 Feature Removal for Out-of-distribution Detection", "Song, Sebe, Wang", "NeurIPS", 2022
    )

    def __init__(self, layers: str = "-1,-2") -> None:
        super().__init__()
        self.layers = layers
        self._requests = [RankReduced(layer) for layer in layers_of("rankfeat", layers)]
        self.needs = frozenset(self._requests)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Energies ``(B,)``."""
        logits = torch.stack([signals[request.key] for request in self._requests]).mean(dim=0)  # (B, C)
        return logsumexp(logits, dim=1)
