"""Logits from the weights that matter to known inputs."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import linear

from unseen.detectors._mean import grand_mean
from unseen.errors import WrongUse
from unseen.heads._implied import head_behind
from unseen.parts import Labels, Paper, Step
from unseen.signals import Support
from unseen.statistics import quantile


class DICE(Step):
    """Makes the logits again from the few weights that contribute most to those of known inputs.

    Weight ``W_cj`` of the linear layer behind the logits contributes ``W_cj m_j``, with the mean ``m`` of the known
    features. It is kept where that is above the ``sparsity`` quantile of all ``C D`` contributions, and else set to 0:
    ``l' = (M * W) f + b``. Unknown inputs that reach large logits by many small contributions no longer do.
    ``DICE() >> Energy()`` is the paper's; ``ReAct() >> DICE() >> Energy()`` goes with a smaller sparsity, 0.1 say.

    Args:
        sparsity: share of the weights that are dropped, from 0, where only the least goes, and below 1. The paper takes
            0.9 for CIFAR and 0.7 for ImageNet-1k.

    Reads: ``features (N, D)``, and the linear head behind the logits; labels only where no head is there and one must
    be learnt.
    Writes: ``logits (N, C)``, as many and in the order of the head's.
    Raises: WrongUse, for a sparsity outside ``[0, 1)``, or when there is no head.
    Cost: ``C D`` numbers; a query is the head's product.
    Source: Sun, Li, "DICE: Leveraging Sparsification for Out-of-Distribution Detection", ECCV 2022.
    Differs: the authors' code, OpenOOD and pytorch-ood make all ``C D`` products of each input before they add them up:
    the same numbers in ``D`` times the memory. OpenOOD's search over the sparsity does not make the mask again, so that
    it changes nothing; pytorch-ood has no default.

    >>> from unseen.signals import LinearHead
    >>> head = LinearHead(torch.tensor([[2.0, 1.0], [-1.0, 3.0]]), torch.zeros(2))
    >>> step = DICE(sparsity=0.5).fit([[1.0, 1.0]], head=head)
    >>> step({"features": torch.tensor([[1.0, 10.0]])})["logits"]
    tensor([[ 2., 30.]])
    """

    room = "detectors"
    needs = frozenset({"features"})
    writes = frozenset({"logits"})
    labels: Labels = "optional"
    traits = frozenset({"linear_head"})
    paper = Paper("DICE: Leveraging Sparsification for Out-of-Distribution Detection", "Sun, Li", "ECCV", 2022)
    weight: Tensor  # (C, D), mostly 0
    bias: Tensor  # (C,)

    def __init__(self, sparsity: float = 0.9) -> None:
        super().__init__()
        self.sparsity = sparsity
        self.register_buffer("weight", torch.empty(0, 0))
        self.register_buffer("bias", torch.empty(0))

    def learn(self, support: Support) -> None:
        """One quantile over the contributions, in float64."""
        if not 0 <= self.sparsity < 1:
            raise WrongUse(f"DICE(sparsity={self.sparsity}): the share of weights to drop is from 0 and below 1")
        head = head_behind(support, self.name)
        weight = head.weight.double()
        contribution = weight * grand_mean(support)  # (C, D)
        limit = quantile(lambda: [contribution], self.sparsity)
        precision = support.dtype("features")
        self.weight = (weight * (contribution > limit)).to(precision).contiguous()
        self.bias = head.bias.to(precision, copy=True)  # a buffer must not share memory with the caller's head

    def forward(self, signals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``{"logits": (B, C)}``."""
        return {"logits": linear(signals["features"], self.weight, self.bias)}
