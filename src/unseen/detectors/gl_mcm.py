"""Global and local maximum concept matching: the whole image and its best patch."""

import math
from collections.abc import Mapping

from torch import Tensor
from torch.nn.functional import normalize

from unseen.detectors._texts import TextDetector, combined
from unseen.detectors.l_mcm import patches
from unseen.errors import WrongUse
from unseen.parts import Paper


class GLMCM(TextDetector):
    """An input is known when it, or some patch of it, matches one class name better than the others do.

    ``max_k softmax_k(s / tau) + weight * max_p max_k softmax_k(a_p / tau)``: `MCM` and `LMCM` as probabilities.

    Args:
        weight: of the best patch. The paper has 1; its script for ImageNet 0.5.
        temperature: ``tau``, in units of cosines.

    Reads: ``embedding (N, E)``, ``local (N, P, E)`` and class names as texts; labels ignored.
    Returns: ``(N,)``, from 0: the log-odds of that sum over ``1 + weight``, less those of a guess. For an image that is
    its only patch this is what `MCM` returns.
    Raises: NotEnoughKnown, with a single class name; WrongUse, for a weight below 0.
    Cost: ``K E`` numbers, and a product with them for the image and each of ``P`` patches.
    Source: Miyai, Yu, Irie, Aizawa, "GL-MCM: Global and Local Maximum Concept Matching for Zero-Shot
    Out-of-Distribution Detection", IJCV 2025, equation 3.
    Differs: the authors' code gives the sum itself, which ends at ``1 + weight`` where the temperature is small. The
    log-odds rank alike.

    >>> from unseen.signals import TextBank
    >>> bank = TextBank([[1.0, 0.0], [0.0, 1.0]], ("left", "up"))
    >>> known = {"embedding": [[1.0, 1.0]], "local": [[[1.0, 0.0], [0.0, 1.0]]]}
    >>> round(GLMCM(weight=0.5).fit(known, text=bank).score(known).item(), 3)
    0.311
    """

    needs = frozenset({"embedding", "local"})
    paper = Paper(
        "GL-MCM: Global and Local Maximum Concept Matching for Zero-Shot Out-of-Distribution Detection",
        "Miyai, Yu, Irie, Aizawa",
        "IJCV",
        2025,
    )

    def __init__(self, weight: float = 1.0, temperature: float = 1.0) -> None:
        super().__init__(temperature)
        if not 0 <= weight < math.inf:
            raise WrongUse(f"GLMCM(weight={weight!r}): give a number from 0")
        self.weight = weight

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Log-odds ``(B,)``."""
        whole = self.cosines(signals, self.positive)  # (B, K)
        patch = normalize(signals["local"], dim=2) @ self.positive.T  # (B, P, K)
        return combined([whole, patch], [1.0, self.weight], self.temperature)

    def numbers_per_query(self) -> int:
        """A cosine of the image and of each patch with each text."""
        return (1 + patches(self)) * len(self.positive)
