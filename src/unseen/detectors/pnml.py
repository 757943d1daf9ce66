"""Regret of a last layer that may still learn the input."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, log1p
from torch.nn.functional import linear, normalize

from unseen.detectors.base import Detector
from unseen.errors import NotEnoughKnown
from unseen.heads._implied import head_behind
from unseen.parts import Labels, Paper
from unseen.signals import Support

USED = 1e-10  # of the strongest direction's share: directions with less are rounding, and count as never used


class PNML(Detector):
    """An input is known when a last layer that learnt it too, with whatever label, would answer much as it does.

    ``score(x) = -log(sum_c p_c / (p_c + (1 - p_c) p_c^k)) / log C``: the regret of predictive normalised maximum
    likelihood (pNML) with its sign turned. Term ``c`` is the probability of ``c`` once the layer has learnt that the
    input is a ``c``; ``k = t / (1 + t)`` says how much one input can move the layer there, with unit features ``z`` and
    a 1 before them, ``h = (1, z)``::

        t = max(h' (H'H)^+ h, ||h - H^+ H h||^2),    p = softmax(W z + b)

    over the rows ``H`` of the known inputs. The first is small where many known inputs lie; the second is the part of
    ``h`` in directions that no known input has. As in the paper, ``p`` is that of the *unit* features.

    Reads: ``features (N, D)``, any scale, and the linear head behind the logits; labels only where no head is there and
    one must be learnt.
    Returns: ``(N,)`` in ``[-1, 0]`` up to rounding, no unit.
    Raises: WrongUse, when there is no head; NotEnoughKnown, when it has fewer than two classes.
    Cost: one eigenvalue problem of ``D x D``; ``D (D + C)`` numbers; a query is a product with all of them.
    Source: Bibas, Feder, Hassner, "Single Layer Predictive Normalized Maximum Likelihood for Out-of-Distribution
    Detection", NeurIPS 2021.
    Differs: pytorch-ood leaves out the 1 before the features, and the part of an input that no known input spans.

    >>> from unseen.signals import LinearHead
    >>> head = LinearHead(torch.tensor([[3.0, 0.0, 0.0], [-3.0, 0.0, 0.0]]), torch.zeros(2))
    >>> known = [[4.0, 1.0, 0.0], [4.0, -1.0, 0.0], [-4.0, 1.0, 0.0], [-4.0, -1.0, 0.0]]
    >>> detector = PNML().fit(known, head=head)
    >>> [round(s, 2) for s in detector.score([[4.0, 0.0, 0.0], [0.0, 0.0, 4.0]]).tolist()]
    [-0.02, -0.23]
    """

    needs = frozenset({"features"})
    labels: Labels = "optional"
    traits = frozenset({"linear_head"})
    paper = Paper(
        "Single Layer Predictive Normalized Maximum Likelihood for Out-of-Distribution Detection",
        "Bibas, Feder, Hassner",
        "NeurIPS",
        2021,
    )
    weight: Tensor  # (C, D)
    bias: Tensor  # (C,)
    directions: Tensor  # (D, 1 + D) eigenvectors of H'H, without their first number
    start: Tensor  # (1 + D,) that first number, which meets the 1
    shares: Tensor  # (1 + D, 2) what a squared length along each counts within, and outside of, what was used

    def __init__(self) -> None:
        super().__init__()
        for name in ("weight", "bias", "directions", "start", "shares"):
            self.register_buffer(name, torch.empty(0))

    def learn(self, support: Support) -> None:
        """Second moments of the unit features and their eigenvectors, in float64."""
        head = head_behind(support, self.name)
        if len(head.weight) < 2:
            raise NotEnoughKnown(f"PNML weighs classes against each other and needs two, got {len(head.weight)}")
        wide = 1 + support.signals.width("features")
        gram = torch.zeros(wide, wide, dtype=torch.float64, device=support.signals.device)
        for batch in support.batches("features"):
            z = normalize(batch["features"].double())
            h = torch.cat([torch.ones_like(z[:, :1]), z], dim=1)
            gram += h.T @ h
        values, vectors = torch.linalg.eigh(gram)
        used = values > USED * values[-1]
        precision = support.dtype("features")
        # Copies, as a buffer must not share memory with the caller's head.
        self.weight = head.weight.to(precision, copy=True).contiguous()
        self.bias = head.bias.to(precision, copy=True)
        self.directions = vectors[1:].to(precision).contiguous()
        self.start = vectors[0].to(precision).contiguous()
        self.shares = torch.stack([torch.where(used, 1 / values, 0.0), (~used).double()], dim=1).to(precision)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Negative regrets ``(B,)``."""
        z = normalize(signals["features"])
        along = z @ self.directions + self.start  # (B, 1 + D)
        t = (along.square() @ self.shares).amax(dim=1, keepdim=True)
        stay = 1 / (1 + t)  # 1 - k
        logits = linear(z, self.weight, self.bias)
        top = logits.max(dim=1, keepdim=True)
        gaps = (logits - top.values).scatter(1, top.indices, -torch.inf)  # (B, C), the winner left out
        rest = gaps.exp().sum(dim=1, keepdim=True)
        whole = log1p(rest)
        # Term c is the logistic function of (1 - k) log p_c - log(1 - p_c). That of the winner is near 1, so that what
        # is summed is how much it lacks, from what the other classes leave.
        log_p = gaps - whole
        others = (stay * log_p - log1p(-log_p.exp())).sigmoid().sum(dim=1)
        lacking = (rest.log() - (1 - stay) * whole).sigmoid().squeeze(1)
        return -log1p(others - lacking) / math.log(self.bias.shape[0])
