"""Agreement of several networks that were trained alike."""

from collections.abc import Mapping

from torch import Tensor

from unseen.detectors._samples import Reduce, agreement, check_reduce
from unseen.detectors.base import Detector
from unseen.parts import Paper


class Ensemble(Detector):
    """An input is known when networks that were trained from different starts are sure of one class together.

    With the logits ``l_r`` and probabilities ``p_r`` of network ``r = 1 .. R``, see ``reduce``.

    Args:
        reduce: ``"probabilities"``: the logarithm of the largest mean probability, as the paper averages; ``"logits"``:
            that of the mean logits; ``"variance"``: minus the variance of a probability over the networks, divided by
            ``R - 1``, averaged over classes; it calls an input known whose logits are all small, and needs two
            networks.

    Reads: ``samples (N, R, C)``, the logits of ``R`` networks, from arrays or the encoder ``ensemble``; nothing is
    learnt.
    Returns: ``(N,)``; in ``[-log C, 0]``, natural logarithm, or the variance, in ``[-1 / 2, 0]``.
    Raises: WrongUse, for another ``reduce``.
    Source: Lakshminarayanan, Pritzel, Blundell, "Simple and Scalable Predictive Uncertainty Estimation using Deep
    Ensembles", NeurIPS 2017, section 2.4.
    Differs: OpenOOD takes the mean logits, of 5 networks.

    >>> round(Ensemble().score({"samples": [[[0.0, 9.0], [9.0, 0.0]]]}).item(), 3)  # both are sure, of another class
    -0.693
    """

    needs = frozenset({"samples"})
    traits = frozenset({"stateless"})
    paper = Paper(
        "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles",
        "Lakshminarayanan, Pritzel, Blundell",
        "NeurIPS",
        2017,
    )

    def __init__(self, reduce: Reduce = "probabilities") -> None:
        super().__init__()
        self.reduce: Reduce = reduce
        check_reduce("Ensemble", reduce)
        if reduce == "variance":
            self.traits = frozenset({"stateless", "blind_to_flat_logits"})

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Log-probabilities or negative variances ``(B,)``."""
        return agreement(signals["samples"], self.reduce)

    def numbers_per_query(self) -> int:
        """Logits and probabilities of five networks with a thousand classes, as many as most have."""
        return 4 * 5 * 1000
