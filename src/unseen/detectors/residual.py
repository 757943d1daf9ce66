"""Length of what the principal directions of the known leave over."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from unseen.detectors.base import Detector
from unseen.errors import WrongUse
from unseen.heads._implied import head_behind
from unseen.parts import Labels, Paper
from unseen.signals import LinearHead, Support
from unseen.statistics import residual_basis


class Residual(Detector):
    """An input is known when its features stay in the directions that known features use.

    ``score(x) = -||R'(f - u)||``, with the ``D - d`` weakest directions ``R`` of the known features seen from the
    origin ``u``.

    Args:
        components: ``d``, the directions that are taken for known; None is the paper's rule, 1000 from 2048 features
            on, 512 from 768 on, else half of them.
        origin: ``"head"`` (the paper): the point where the linear head answers 0 for every class, or comes nearest to
            it; ``"mean"``: the mean of the known features, for which no head is needed.

    Reads: ``features (N, D)``, and the linear head behind the logits where the origin is its; labels optional.
    Returns: ``(N,)``, at most 0, in units of the features.
    Raises: WrongUse, when no direction would be left, or for another origin.
    Cost: one eigenvalue problem of ``D x D``; ``D (D - d)`` numbers.
    Source: Wang, Li, Feng, Zhang, "ViM: Out-Of-Distribution with Virtual-logit Matching", CVPR 2022, section 4.1.
    Differs: OpenOOD learns the directions from a validation split, and its ``d = 512`` leaves nothing of 512 features.
    pytorch-ood and oodeel have it inside ViM alone.

    >>> known = [[3.0, 0.1], [-3.0, 0.1], [2.0, -0.1], [-2.0, -0.1]]
    >>> round(Residual(components=1, origin="mean").fit(known).score([[9.0, 4.0]]).item(), 2)
    -4.0
    """

    needs = frozenset({"features"})
    labels: Labels = "optional"
    traits = frozenset({"linear_head"})
    paper = Paper("ViM: Out-Of-Distribution with Virtual-logit Matching", "Wang, Li, Feng, Zhang", "CVPR", 2022)
    center: Tensor  # (D,)
    basis: Tensor  # (D, D - d), orthonormal columns

    def __init__(self, components: int | None = None, origin: Literal["head", "mean"] = "head") -> None:
        super().__init__()
        self.components = components
        self.origin = origin
        if origin == "mean":  # then neither a head nor labels to make one of
            self.traits, self.labels = frozenset(), "ignored"
        self.register_buffer("center", torch.empty(0))
        self.register_buffer("basis", torch.empty(0, 0))

    def learn(self, support: Support) -> None:
        """Eigenvectors of the scatter around the origin, in float64."""
        if self.origin not in ("head", "mean"):
            raise WrongUse(f"Residual(origin={self.origin!r}): the origin is 'head' or 'mean'")
        mean = support.moments("features").grand_mean()
        center = zero_of(head_behind(support, self.name)) if self.origin == "head" else mean
        basis = unused_directions(support, center, self.components, self.name)
        precision = support.dtype("features")
        self.center, self.basis = center.to(precision), basis.to(precision)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Negative lengths ``(B,)``."""
        left: Tensor = (signals["features"] - self.center) @ self.basis  # (B, D - d)
        return -left.square().sum(dim=1).sqrt()


def zero_of(head: LinearHead) -> Tensor:
    """The shortest feature for which the head's logits are 0, or as near to it as they come, ``(D,)`` float64."""
    # The cut is above float32 rounding: a head whose logits always add up to 1 has a direction of pure rounding, and
    # its pseudo-inverse would send the point a million lengths away.
    inverse: Tensor = torch.linalg.pinv(head.weight.double(), rtol=1e-5)  # (D, C)
    return -(inverse @ head.bias.double())


def unused_directions(support: Support, center: Tensor, components: int | None, name: str) -> Tensor:
    """The weakest directions of the features seen from ``center``, ``(D, D - components)`` float64.

    Raises:
        WrongUse: when no direction would be left.
    """
    moments = support.moments("features")
    width = len(center)
    taken = components
    if taken is None:
        taken = 1000 if width >= 2048 else 512 if width >= 768 else width // 2
    if not isinstance(taken, int) or not 0 <= taken < width:
        raise WrongUse(
            f"{name}(components={taken}): give a number from 0 to {width - 1}, as there are {width} features"
        )
    shift = moments.grand_mean() - center
    return residual_basis(moments.total() + len(moments) * torch.outer(shift, shift), taken)
