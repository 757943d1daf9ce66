"""Agreement of a network with itself while its dropout layers drop units."""

from collections.abc import Mapping

from torch import Tensor

from unseen.detectors._samples import Reduce, agreement, check_reduce
from unseen.detectors.base import Detector
from unseen.errors import WrongUse
from unseen.parts import Paper
from unseen.signals import Samples


class MCD(Detector):
    """An input is known when thinned copies of the network are sure of one class together: Monte Carlo dropout.

    The network answers ``R`` times with its own dropout layers at work (`Samples`): with logits ``l_r`` and
    probabilities ``p_r``. The masks are drawn under the seed, one for all inputs, so that a score depends neither on
    the batch nor on how often it is asked for. A network without dropout layers cannot answer; `Dropout` drops the
    features of any network before its last layer, without passes.

    Args:
        passes: ``R``, from 1; from 2 for the variance.
        reduce: ``"probabilities"``: the logarithm of the largest mean probability, the paper's estimate; ``"logits"``:
            that of the mean logits; ``"variance"``: minus the variance of a probability over the passes, divided by
            ``R - 1``, averaged over classes; it calls an input known whose logits are all small.
        seed: of the masks.

    Reads: the logits of ``R`` passes; nothing is learnt.
    Returns: ``(N,)``; in ``[-log C, 0]``, natural logarithm, or the variance, in ``[-1 / 2, 0]``.
    Raises: WrongUse, for a number of passes that there cannot be, or another ``reduce``.
    Cost: ``R`` forward passes.
    Source: Gal, Ghahramani, "Dropout as a Bayesian Approximation: Representing Model Uncertainty in Deep Learning",
    ICML 2016; the variance after Kendall, Badrinarayanan, Cipolla, "Bayesian SegNet", BMVC 2017.
    Differs: pytorch-ood takes 30 passes, as is the default here, and the variance unless told; it puts the whole model
    but its batch normalisation into training mode. What OpenOOD calls MCD is another method, of a network with two
    heads.

    >>> detector = MCD(passes=2)
    >>> samples = Samples(draws=2).key
    >>> round(detector.score({samples: [[[0.0, 9.0], [9.0, 0.0]]]}).item(), 3)  # each pass is sure, of another class
    -0.693
    """

    learns = frozenset()
    traits = frozenset({"stateless"})
    paper = Paper(
        "Dropout as a Bayesian Approximation: Representing Model Uncertainty in Deep Learning",
        "Gal, Ghahramani",
        "ICML",
        2016,
    )

    def __init__(self, passes: int = 30, reduce: Reduce = "probabilities", seed: int = 0) -> None:
        super().__init__()
        self.passes = passes
        self.reduce: Reduce = reduce
        self.seed = seed
        check_reduce("MCD", reduce)
        self._request = Samples(passes, seed)
        self.needs = frozenset({self._request})
        if reduce == "variance":
            if passes < 2:
                raise WrongUse(f"MCD(passes={passes}, reduce='variance'): give a whole number from 2")
            self.traits = frozenset({"stateless", "blind_to_flat_logits"})

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Log-probabilities or negative variances ``(B,)``."""
        return agreement(signals[self._request.key], self.reduce)

    def numbers_per_query(self) -> int:
        """Logits and probabilities of every pass, of a thousand classes, as many as most networks have."""
        return 4 * self.passes * 1000
