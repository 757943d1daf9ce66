"""Features brought to length 1."""

from collections.abc import Mapping

from torch import Tensor
from torch.nn.functional import normalize

from unseen.detectors.base import Shaper
from unseen.parts import Paper


class Unit(Shaper):
    """Keeps the direction of the features and forgets their length.

    ``f' = f / ||f||``. Lengths of features differ between inputs and between classes, and are far from normally
    distributed; a Gaussian fits directions better. ``Unit() >> Mahalanobis()`` is Mahalanobis++, and any detector of
    features can stand in the place of the second. Put before a detector that reads logits, these are made again from
    the short features.

    Reads: ``features (N, D)``, any scale; labels ignored; nothing is learnt.
    Writes: ``features (N, D)``, of length 1; zeros stay zeros.
    Source: Mueller, Hein, "Mahalanobis++: Improving OOD Detection via Feature Normalization", ICML 2025.

    >>> import torch
    >>> Unit()({"features": torch.tensor([[3.0, 4.0]])})["features"]
    tensor([[0.6000, 0.8000]])
    """

    traits = frozenset({"stateless"})
    partner = "mahalanobis"
    paper = Paper("Mahalanobis++: Improving OOD Detection via Feature Normalization", "Mueller, Hein", "ICML", 2025)

    def forward(self, signals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``{"features": (B, D)}``."""
        return {"features": normalize(signals["features"])}
