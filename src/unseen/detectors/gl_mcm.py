"""Global and local maximum concept matching: the whole image and its best patch."""

from collections.abc import Mapping

from torch import Tensor
from torch.nn.functional import normalize

from unseen.detectors._texts import TextDetector, excess
from unseen.detectors.l_mcm import patches
from unseen.parts import Paper


class GLMCM(TextDetector):
    """An input is known when it, or some patch of it, matches one class name better than the others do.

    ``max_k softmax_k(s / tau) + weight * max_p max_k softmax_k(a_p / tau)``: `MCM` and `LMCM` as probabilities.

    Args:
        weight: of the best patch. The paper has 1; its script for ImageNet 0.5.
        temperature: ``tau``, in units of cosines.

    Reads: ``embedding (N, E)``, ``local (N, P, E)`` and class names as texts; labels ignored.
    Returns: ``(N,)``, from 0: the sum of both, less that of a guess, times the number of classes, which keeps digits.
    Raises: NotEnoughKnown, with a single class name.
    Cost: ``K E`` numbers, and a product with them for the image and each of ``P`` patches.
    Source: Miyai, Yu, Irie, Aizawa, "GL-MCM: Global and Local Maximum Concept Matching for Zero-Shot
    Out-of-Distribution Detection", IJCV 2025, equation 3.

    >>> from unseen.signals import TextBank
    >>> bank = TextBank([[1.0, 0.0], [0.0, 1.0]], ("left", "up"))
    >>> known = {"embedding": [[1.0, 1.0]], "local": [[[1.0, 0.0], [0.0, 1.0]]]}
    >>> round(GLMCM(weight=0.5).fit(known, text=bank).score(known).item(), 3)
    0.231
    """

    needs = frozenset({"embedding", "local"})
    traits = frozenset({"text_bank", "saturates"})  # at a small temperature a probability reaches 1
    paper = Paper(
        "GL-MCM: Global and Local Maximum Concept Matching for Zero-Shot Out-of-Distribution Detection",
        "Miyai, Yu, Irie, Aizawa",
        "IJCV",
        2025,
    )

    def __init__(self, weight: float = 1.0, temperature: float = 1.0) -> None:
        super().__init__(temperature)
        self.weight = weight

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Sums ``(B,)``."""
        whole = excess(self.cosines(signals, self.positive))
        part = excess(normalize(signals["local"], dim=2) @ self.positive.T).amax(dim=1)  # (B, P, K) -> (B,)
        return whole + self.weight * part

    def numbers_per_query(self) -> int:
        """A cosine of the image and of each patch with each text."""
        return (1 + patches(self)) * len(self.positive)
