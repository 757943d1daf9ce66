"""How near features lie to the weight of their class, as neural collapse has it, and how large they are."""

from collections.abc import Mapping

import torch
from torch import Tensor

from unseen.detectors._mean import grand_mean
from unseen.detectors.base import Detector
from unseen.heads._implied import head_behind
from unseen.parts import Labels, Paper
from unseen.signals import Support


class NCI(Detector):
    """An input is known when its features point along the weight of its class and are large.

    ``score(x) = w_y . (f - m) / ||f - m|| + alpha ||f||_1``, with the weight ``w_y`` of the likeliest class ``y`` in
    the linear layer behind the logits, and the mean ``m`` of the known features. In a network that was trained to the
    end, the features of a class gather along its weight as seen from ``m``. The weight's length counts, and the second
    norm is that of the features as they are, not from ``m``.

    Args:
        alpha: weight of the features' size; the authors take 1e-4, or choose up to 0.1 with unknown inputs at hand.

    Reads: ``features (N, D)``, and the linear head behind the logits; labels only where no head is there and one must
    be learnt.
    Returns: ``(N,)``, in units of the weights; both signs occur.
    Raises: WrongUse, when there is no head.
    Cost: ``C D + C + D`` numbers; a query is the head's product.
    Source: Liu, Qin, "Detecting Out-of-Distribution Through the Lens of Neural Collapse", CVPR 2025.
    Differs: pytorch-ood's default ``alpha`` is 0; OpenOOD chooses it with unknown inputs at hand.

    >>> from unseen.signals import LinearHead
    >>> head = LinearHead(torch.tensor([[2.0, 0.0], [-2.0, 0.0]]), torch.zeros(2))
    >>> detector = NCI(alpha=0.0).fit([[1.0, 1.0], [-1.0, 1.0]], head=head)
    >>> [round(s, 2) for s in detector.score([[5.0, 1.0], [3.0, 5.0]]).tolist()]
    [2.0, 1.2]
    """

    needs = frozenset({"features"})
    labels: Labels = "optional"
    traits = frozenset({"linear_head"})
    paper = Paper("Detecting Out-of-Distribution Through the Lens of Neural Collapse", "Liu, Qin", "CVPR", 2025)
    center: Tensor  # (D,) m
    weight: Tensor  # (C, D)
    offset: Tensor  # (C,) logits at m

    def __init__(self, alpha: float = 1e-4) -> None:
        super().__init__()
        self.alpha = alpha
        for name in ("center", "weight", "offset"):
            self.register_buffer(name, torch.empty(0))

    def learn(self, support: Support) -> None:
        """The head seen from the mean, in float64."""
        head = head_behind(support, self.name)
        weight, center = head.weight.double(), grand_mean(support)
        precision = support.dtype("features")
        self.center = center.to(precision)
        # A copy, as a buffer must not share memory with the caller's head.
        self.weight = weight.to(precision, copy=True).contiguous()
        self.offset = (head.bias.double() + weight @ center).to(precision)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Projections and sizes ``(B,)``."""
        x = signals["features"]
        centred = x - self.center
        along = centred @ self.weight.T  # (B, C)
        named = (along + self.offset).argmax(dim=1, keepdim=True)
        # Features on the mean point nowhere and get 0 for it.
        direction = along.gather(1, named).squeeze(1) / centred.square().sum(dim=1).sqrt().clamp_min(1e-12)
        return direction + self.alpha * x.abs().sum(dim=1)
