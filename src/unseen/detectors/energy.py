"""Free energy of the logits."""

from collections.abc import Mapping

from torch import Tensor, logsumexp

from unseen.detectors.base import Detector
from unseen.parts import Paper


class Energy(Detector):
    """An input is known when its logits are large together.

    ``score(x) = T log sum_c exp(l_c / T)``, with ``l`` the logits: the paper's energy with its sign turned.

    Args:
        temperature: ``T``; the paper takes 1.

    Reads: ``logits (N, C)``; labels ignored; nothing is learnt.
    Returns: ``(N,)`` between ``max l`` and ``max l + T log C``, in units of the logits.
    Source: Liu, Wang, Owens, Li, "Energy-based Out-of-distribution Detection", NeurIPS 2020, equation 3.
    Differs: OpenOOD's parameter search chooses ``T`` with unknown inputs at hand; here it is what you give.

    >>> round(Energy().score([[0.0, 0.0]]).item(), 4)
    0.6931
    """

    needs = frozenset({"logits"})
    traits = frozenset({"stateless"})
    paper = Paper("Energy-based Out-of-distribution Detection", "Liu, Wang, Owens, Li", "NeurIPS", 2020)

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Energies ``(B,)``."""
        logits = signals["logits"]
        if self.temperature == 1:
            return logsumexp(logits, dim=1)
        return self.temperature * logsumexp(logits / self.temperature, dim=1)
