"""Maximum concept matching: the softmax of cosines with class names."""

from collections.abc import Mapping

from torch import Tensor

from unseen.detectors._texts import TextDetector, log_odds
from unseen.parts import Paper


class MCM(TextDetector):
    """An input is known when one class name matches its image better than the others do.

    With cosines ``s_k`` between image and the text of class ``k``, the paper's score is ``max_k softmax_k(s / tau)``.
    At ``tau = 1`` all probabilities are close to ``1 / K`` and the score ranks like the largest cosine less their
    mean, so that what an image adds to all cosines alike does not matter. With the five prompts of PLP this is that
    paper's pseudo-MSP.

    Args:
        temperature: ``tau``, in units of cosines.

    Reads: ``embedding (N, E)`` and class names as texts; labels ignored.
    Returns: ``(N,)``, from 0: the log-odds of the largest probability, less those of a guess.
    Raises: NotEnoughKnown, with a single class name: its probability is always 1.
    Cost: ``K E`` numbers, and one product with them.
    Source: Ming, Cai, Gu, Sun, Li, Li, "Delving into Out-of-Distribution Detection with Vision-Language
    Representations", NeurIPS 2022, equation 2.
    Differs: the paper and pytorch-ood give the probability itself, which ends at 1 where ``tau`` is small and uses few
    digits where it is 1. The log-odds rank alike.

    >>> from unseen.signals import TextBank
    >>> bank = TextBank([[1.0, 0.0], [0.0, 1.0]], ("left", "up"))
    >>> near, between = MCM().fit({"embedding": [[1.0, 0.0]]}, text=bank).score([[2.0, 0.1], [1.0, 1.0]]).tolist()
    >>> round(near, 2), between == 0
    (0.95, True)
    """

    paper = Paper(
        "Delving into Out-of-Distribution Detection with Vision-Language Representations",
        "Ming, Cai, Gu, Sun, Li, Li",
        "NeurIPS",
        2022,
    )

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__(temperature)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Log-odds ``(B,)``."""
        return log_odds(self.cosines(signals, self.positive), self.temperature)
