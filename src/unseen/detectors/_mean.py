"""Means of the known features, for methods that need nothing of how these vary together."""

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


def class_means(support: Support) -> Tensor:
    """Mean of the features of every class that has inputs, ``(C', D)`` float64; one row where there are no labels.

    >>> class_means(Support.of([[1.0], [5.0], [3.0]], ["a", "b", "a"])).tolist()
    [[2.0], [5.0]]
    """
    classes = max(1, len(support.classes))
    total: Tensor = torch.zeros(classes, support.signals.width("features"), dtype=torch.float64)
    count: Tensor = torch.zeros(classes, dtype=torch.float64)
    for batch in support.batches("features"):
        x = batch["features"].double()
        codes = batch["labels"] if support.labels is not None else torch.zeros(len(x), dtype=torch.long)
        total = total.to(x.device).index_add(0, codes.to(x.device), x)
        count = count + codes.bincount(minlength=classes)
    there = count > 0
    return total[there] / count[there, None].to(total.device)


def deviation(support: Support, center: Tensor) -> Tensor:
    """Root mean square distance of the features from ``center (D,)``, a float64 number."""
    batches = (batch["features"] for batch in support.batches("features"))
    total: Tensor = sum((x.double() - center).square().sum() for x in batches)  # type: ignore[assignment] # never empty
    return (total / len(support)).sqrt()
