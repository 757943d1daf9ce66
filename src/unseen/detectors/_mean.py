"""The mean of the known features, for methods that need nothing of how they spread."""

import torch
from torch import Tensor

from unseen.signals import Support


def grand_mean(support: Support) -> Tensor:
    """Mean of the features, ``(D,)`` float64: ``N D`` additions, where `Support.moments` makes ``N D^2`` products.

    >>> from unseen.signals import Signals
    >>> grand_mean(Support(Signals({"features": torch.tensor([[1.0, 2.0], [3.0, 6.0]])}))).tolist()
    [2.0, 4.0]
    """
    batches = (batch["features"] for batch in support.batches("features"))
    total: Tensor = sum(x.sum(dim=0, dtype=torch.float64) for x in batches)  # type: ignore[assignment] # never empty
    return total / len(support)
