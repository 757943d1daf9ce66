"""Logits enlarged by how widely the features are spread over units."""

from collections.abc import Mapping

from torch import Tensor

from unseen.detectors.scale import kept, spread
from unseen.parts import Paper, Step


class LTS(Step):
    """Enlarges the logits of an input in which many units fire, and leaves those alone in which a few do all the work.

    ``l' = l (S_1 / S_2)^2``, with the sum ``S_1`` of the positive features of the input and the sum ``S_2`` of its
    ``k = D - round(quantile D)`` largest. The logits are scaled, not the features, so that no layer need be known, and
    the bias is enlarged with the rest. ``LTS() >> Energy()`` is the paper's.

    Args:
        quantile: share of the features that ``S_2`` leaves out, in ``[0, 1)``; the authors take 0.95. At least one is
            left.

    Reads: ``features (N, D)``, ``logits (N, C)``; labels ignored; nothing is learnt.
    Writes: ``logits (N, C)``.
    Raises: WrongUse, for a quantile outside ``[0, 1)``.
    Cost: a partial selection in each row.
    Source: Djurisic, Liu, Nikolic, "Logit Scaling for Out-of-Distribution Detection", Machine Vision and Applications
    2025. The authors' code counts negative features as 0 in the sums, as is done here.

    >>> import torch
    >>> signals = {"features": torch.tensor([[2.0, 0.0], [1.0, 1.0]]), "logits": torch.tensor([[3.0], [3.0]])}
    >>> LTS(quantile=0.5)(signals)["logits"].tolist()
    [[3.0], [12.0]]
    """

    room = "detectors"
    needs = frozenset({"features", "logits"})
    writes = frozenset({"logits"})
    traits = frozenset({"stateless"})
    paper = Paper(
        "Logit Scaling for Out-of-Distribution Detection",
        "Djurisic, Liu, Nikolic",
        "Machine Vision and Applications",
        2025,
    )

    def __init__(self, quantile: float = 0.95) -> None:
        super().__init__()
        self.quantile = quantile

    def forward(self, signals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``{"logits": (B, C)}``."""
        x = signals["features"]
        return {"logits": signals["logits"] * spread(x, kept(x, self.quantile, "LTS")).square()}
