"""Local maximum concept matching: the patch that matches a class name best."""

from collections.abc import Mapping

from torch import Tensor
from torch.nn.functional import normalize

from unseen.detectors._texts import TextDetector, log_odds
from unseen.parts import Paper


class LMCM(TextDetector):
    """An input is known when some patch of it matches one class name better than the others do.

    ``max_p max_k softmax_k(a_p / tau)`` with the cosines ``a_pk`` between patch ``p`` and the text of class ``k``: what
    is small in the image, or stands beside other things, is found all the same.

    Args:
        temperature: ``tau``, in units of cosines.

    Reads: ``local (N, P, E)`` and class names as texts; labels ignored.
    Returns: ``(N,)``, from 0: log-odds of the largest probability, less those of a guess.
    Raises: NotEnoughKnown, with a single class name.
    Cost: ``K E`` numbers, and a product with them for each of ``P`` patches.
    Source: Miyai, Yu, Irie, Aizawa, "GL-MCM: Global and Local Maximum Concept Matching for Zero-Shot
    Out-of-Distribution Detection", IJCV 2025, the local part of equation 3.
    Differs: the authors' code gives the probability itself; the log-odds rank alike.

    >>> from unseen.signals import TextBank
    >>> bank = TextBank([[1.0, 0.0], [0.0, 1.0]], ("left", "up"))
    >>> detector = LMCM().fit({"local": [[[1.0, 0.0], [1.0, 0.0]]]}, text=bank)
    >>> some, none = detector.score({"local": [[[1.0, 1.0], [0.0, 2.0]], [[1.0, 1.0], [1.0, 1.0]]]}).tolist()
    >>> round(some, 2), none == 0
    (1.0, True)
    """

    needs = frozenset({"local"})
    paper = Paper(
        "GL-MCM: Global and Local Maximum Concept Matching for Zero-Shot Out-of-Distribution Detection",
        "Miyai, Yu, Irie, Aizawa",
        "IJCV",
        2025,
    )

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__(temperature)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Log-odds ``(B,)``."""
        scaled = normalize(signals["local"], dim=2) @ self.positive.T  # (B, P, K)
        return log_odds(scaled, self.temperature).amax(dim=1)

    def numbers_per_query(self) -> int:
        """A cosine of each patch with each text."""
        return max(1, patches(self)) * len(self.positive)


def patches(detector: TextDetector) -> int:
    """How many patches an image had at the fit: the width of its row over that of a text."""
    place = sorted(detector.reads()).index("local")
    if not len(detector.widths) or not len(detector.positive):
        return 0
    return int(detector.widths[place]) // detector.positive.shape[1]
