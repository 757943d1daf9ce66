"""The largest logit of an input that was moved to enlarge it."""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from unseen.detectors.base import Detector
from unseen.detectors.odin import lead
from unseen.errors import WrongUse
from unseen.parts import Paper
from unseen.signals import Perturbed
from unseen.signals.requests import Units


class GODIN(Detector):
    """An input is known when a small step towards a larger logit makes its largest as large as it makes known ones.

    ``score(x) = max_c l_c(x'),  x' = x + epsilon sign(d max_c l_c(x) / dx)``: the input step and the read-out of
    generalised ODIN, without a temperature and without unknown inputs to choose it by.

    **The paper has more than this**: a last layer that is trained for it, ``f_c = h_c / g``, where ``h_c`` is the
    cosine, distance or product of features and class weight, and ``g`` a learnt number, and it scores by ``h`` or ``g``
    alone. Any network's logits take the place of ``h`` here. What is lost is the separation by ``g``, which lets an
    input be uncertain in ``g`` while ``h`` tells classes; where a network was trained with such a layer, let it give
    ``h`` as its logits.

    Args:
        epsilon: length of the step; the paper chooses among powers of 2 times 0.0025 the one by which known inputs
            gain most.
        units: of the step: ``"pixels"`` are those of values in ``[0, 1]``, whatever each channel was divided by;
            ``"normalised"`` are those of the network's input, as in the formula of the paper.
        readout: ``"logit"``, the paper's; ``"probability"`` ranks by the softmax of the logits: it is the lead of the
            winner, ``l_y - log mean_{c != y} exp(l_c)``, which does not saturate.

    Reads: ``Perturbed(..., towards="logit")``, the logits of the moved input, which a network gives (not stored arrays,
    nor a head before the detector); labels ignored; nothing is learnt.
    Returns: ``(N,)``, in units of the logits; both signs occur for ``"logit"``.
    Raises: WrongUse, for other numbers, units or read-outs.
    Cost: two forward passes and one backward pass through the network for each query, none for known inputs.
    Source: Hsu, Shen, Jin, Kira, "Generalized ODIN: Detecting Out-of-Distribution Image Without Learning From
    Out-of-Distribution Data", CVPR 2020, section 3.2.
    Differs: OpenOOD has the layer that is trained for it, takes the softmax of its ``h``, which is
    ``readout="probability"`` here, and steps by 0.0025 in units of pixels, both defaults here.

    >>> moved = {Perturbed(0.0025, temperature=1, towards="logit").key: [[3.0, 1.0, 1.0], [3.0, 3.0, 3.0]]}
    >>> GODIN().score(moved).tolist(), [round(s, 3) for s in GODIN(readout="probability").score(moved).tolist()]
    ([3.0, 3.0], [2.0, 0.0])
    """

    learns = frozenset()
    traits = frozenset({"stateless"})
    paper = Paper(
        "Generalized ODIN: Detecting Out-of-Distribution Image Without Learning From Out-of-Distribution Data",
        "Hsu, Shen, Jin, Kira",
        "CVPR",
        2020,
    )

    def __init__(
        self,
        epsilon: float = 0.0025,
        units: Units = "pixels",
        readout: Literal["logit", "probability"] = "logit",
    ) -> None:
        super().__init__()
        if readout not in ("logit", "probability"):
            raise WrongUse(f"GODIN(readout={readout!r}): give 'logit' or 'probability'")
        self.epsilon = epsilon
        self.units = units
        self.readout = readout
        self.moved = Perturbed(epsilon, temperature=1.0, units=units, towards="logit")
        self.needs = frozenset({self.moved})

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Largest logits, or leads of the winners ``(B,)``."""
        logits = signals[self.moved.key]
        return logits.amax(dim=1) if self.readout == "logit" else lead(logits, 1.0)
