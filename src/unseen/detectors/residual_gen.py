"""Generalised entropy, times the length of what the principal directions leave over."""

from collections.abc import Mapping

import torch
from torch import Tensor

from unseen.detectors.gen import GEN
from unseen.detectors.residual import unused_directions, zero_of
from unseen.heads._implied import head_behind
from unseen.parts import Labels, Paper
from unseen.signals import Support


class ResidualGEN(GEN):
    """An input is known when its answer is clear, or its features stay in the directions that known features use.

    ``score(x) = -G(W f + b) ||R'(f - u)||``: ``G`` is the generalised entropy that `GEN` turns, of the logits of the
    linear head, and ``R'(f - u)`` the features' part in the ``D - d`` weakest directions of the known, seen from the
    point ``u`` where the logits are 0, whose length `Residual` turns. Either factor alone can call an input known.

    Args:
        gamma: exponent of the entropy, above 0; the paper takes 0.1.
        M: how many of the largest probabilities count; all, where there are fewer classes.
        components: ``d``; None is the rule of `ViM`, 1000 from 2048 features on, 512 from 768 on, else half of them.

    Reads: ``features (N, D)``, and the linear head behind the logits; labels only where no head is there and one must
    be learnt.
    Returns: ``(N,)``, at most 0, in units of the features.
    Raises: WrongUse, when no direction would be left or there is no head.
    Cost: one eigenvalue problem of ``D x D``; ``D (C + D - d)`` numbers; a query is one product with all of them.
    Source: Liu, Lochman, Zach, "GEN: Pushing the Limits of Softmax-Based Out-of-Distribution Detection", CVPR 2023, the
    combination with the residual of ViM.
    Differs: OpenOOD, pytorch-ood and oodeel have both factors, each inside a detector of its own, and not their
    product.

    >>> from unseen.signals import LinearHead
    >>> head = LinearHead(torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]), torch.zeros(2))
    >>> known = [[4.0, 0.0, 0.5], [-4.0, 0.0, 0.5], [4.0, 0.5, 0.0], [-4.0, 0.5, 0.0]]
    >>> detector = ResidualGEN(gamma=1.0, components=1).fit(known, head=head)
    >>> [round(s, 4) for s in detector.score([[0.0, 0.0, 2.0], [4.0, 0.0, 2.0], [0.0, 0.0, 0.0]]).tolist()]
    [-1.0, -0.0013, -0.0]
    """

    needs = frozenset({"features"})
    labels: Labels = "optional"
    traits = frozenset({"linear_head"})
    small = {"M": 4}  # noqa: RUF012 - a constant, shared on purpose; there are six classes
    paper = Paper(
        "GEN: Pushing the Limits of Softmax-Based Out-of-Distribution Detection", "Liu, Lochman, Zach", "CVPR", 2023
    )
    center: Tensor  # (D,) u
    product: Tensor  # (D, C + D - d): the head's weight, then R
    offset: Tensor  # (C,) logits at u: 0 where the head can answer 0 for every class

    def __init__(self, gamma: float = 0.1, M: int = 100, components: int | None = None) -> None:
        super().__init__(gamma, M)
        self.components = components
        for name in ("center", "product", "offset"):
            self.register_buffer(name, torch.empty(0))

    def learn(self, support: Support) -> None:
        """The weakest directions, in float64, beside the head."""
        head = head_behind(support, self.name)
        weight, center = head.weight.double(), zero_of(head)
        basis = unused_directions(support, center, self.components, self.name)
        precision = support.dtype("features")
        self.center = center.to(precision)
        self.product = torch.cat([weight.T, basis], dim=1).to(precision).contiguous()
        self.offset = (head.bias.double() + weight @ center).to(precision)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Negative products of entropy and length ``(B,)``."""
        both = (signals["features"] - self.center) @ self.product  # (B, C + D - d)
        classes = self.offset.shape[0]
        entropy = super().forward({"logits": both[:, :classes] + self.offset})  # at most 0
        return entropy * both[:, classes:].square().sum(dim=1).sqrt()
