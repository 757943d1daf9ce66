"""Energy of the logits less a virtual logit for what the principal directions leave over."""

from collections.abc import Mapping

import torch
from torch import Tensor, logsumexp

from unseen.detectors.base import Detector
from unseen.detectors.residual import unused_directions, zero_of
from unseen.errors import NotEnoughKnown
from unseen.heads._implied import head_behind
from unseen.parts import Paper
from unseen.signals import Support

FLAT = 1e-6  # a residual below this share of the features' length is rounding


class ViM(Detector):
    """An input is known when its logits are large and its features stay in the directions that known features use.

    ``score(x) = log sum_c exp(l_c) - a ||R'(f - u)||``, with the logits ``l = W f + b``, the point ``u = -W^+ b`` where
    they are 0, the ``D - d`` weakest directions ``R`` of the known features seen from ``u``, and ``a`` such that the
    virtual logit ``a ||R'(f - u)||`` is on average as large as the largest logit. It ranks as the paper's probability
    of the virtual class.

    Args:
        components: ``d``; None is the paper's rule, 1000 from 2048 features on, 512 from 768 on, else half of them.

    Reads: ``features (N, D)``, and the linear head behind the logits; labels only where no head is there and one must
    be learnt.
    Returns: ``(N,)``, in units of the logits.
    Raises: WrongUse, when no direction would be left or there is no head; NotEnoughKnown, when the known features lie
    in ``d`` directions, which leaves no residual to scale by.
    Cost: one eigenvalue problem of ``D x D``; ``D (C + D - d)`` numbers; a query is one product with all of them.
    Source: Wang, Li, Feng, Zhang, "ViM: Out-Of-Distribution with Virtual-logit Matching", CVPR 2022, equations 5 to 9.
    Differs: OpenOOD's default ``d`` is 256, and its search tries 1000 too, which leaves nothing of 512 features.
    pytorch-ood has no default, and takes half of the features where ``d`` does not fit. oodeel sees the features from
    their mean, whatever its ``pca_origin`` says, and keeps 99 % of the variance. OpenOOD and the authors' code use
    ``eig``, which may answer with complex numbers.

    >>> from unseen.signals import LinearHead
    >>> head = LinearHead(torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]), torch.zeros(2))
    >>> known = [[4.0, 0.0, 0.5], [-4.0, 0.0, 0.5], [4.0, 0.5, 0.0], [-4.0, 0.5, 0.0]]
    >>> detector = ViM(components=1).fit(known, head=head)
    >>> [round(s, 2) for s in detector.score([[4.0, 0.0, 0.5], [4.0, 0.0, 5.0]]).tolist()]
    [0.0, -36.0]
    """

    needs = frozenset({"features"})
    labels = "optional"
    traits = frozenset({"linear_head", "two_pass"})
    paper = Paper("ViM: Out-Of-Distribution with Virtual-logit Matching", "Wang, Li, Feng, Zhang", "CVPR", 2022)
    center: Tensor  # (D,) u
    product: Tensor  # (D, C + D - d): the head's weight, then a R
    offset: Tensor  # (C,) logits at u: 0 where the head can answer 0 for every class

    def __init__(self, components: int | None = None) -> None:
        super().__init__()
        self.components = components
        for name in ("center", "product", "offset"):
            self.register_buffer(name, torch.empty(0))

    def learn(self, support: Support) -> None:
        """Directions from moments, the scale from a second walk."""
        head = head_behind(support, self.name)
        weight, bias = head.weight.double(), head.bias.double()
        center = zero_of(head)
        basis = unused_directions(support, center, self.components, self.name)
        largest = residual = length = 0.0
        for batch in support.batches("features"):
            x = batch["features"].double()
            largest += float((x @ weight.T + bias).amax(dim=1).sum())
            residual += float(((x - center) @ basis).norm(dim=1).sum())
            length += float((x - center).norm(dim=1).sum())
        if residual <= FLAT * length:
            raise NotEnoughKnown(
                f"ViM: the {len(support):,} known inputs lie in {basis.shape[0] - basis.shape[1]} directions, which "
                "leaves no residual to scale by: lower components or add inputs"
            )
        precision = support.dtype("features")
        self.center = center.to(precision)
        self.product = torch.cat([weight.T, largest / residual * basis], dim=1).to(precision).contiguous()
        self.offset = (bias + weight @ center).to(precision)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Energies less virtual logits ``(B,)``."""
        both = (signals["features"] - self.center) @ self.product  # (B, C + D - d)
        classes = self.offset.shape[0]
        virtual = both[:, classes:].square().sum(dim=1).sqrt()
        return logsumexp(both[:, :classes] + self.offset, dim=1) - virtual
