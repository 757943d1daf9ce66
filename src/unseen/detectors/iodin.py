"""ODIN with a step of a single input value."""

from collections.abc import Mapping

from torch import Tensor

from unseen.detectors.base import Detector
from unseen.detectors.odin import lead
from unseen.parts import Paper
from unseen.signals import Perturbed
from unseen.signals.requests import Units


class IODIN(Detector):
    """An input is known when moving the one value that matters most makes the answer as sure as it makes known ones.

    As `ODIN`, but only the value of the input (one channel of one pixel) with the largest slope
    ``|d CE(l(x) / T, y) / dx|`` is moved, by ``epsilon`` against its slope. The score is the lead of the winner
    at the moved input, ``l_y - T log mean_{c != y} exp(l_c / T)``, which ranks as the largest probability of
    ``softmax(l / T)``.

    One value moved by 0.0014 changes logits in their fourth digit: unless the step is made far longer, this is ODIN
    without a step.

    Args:
        epsilon: length of the step; 0 leaves the input where it is.
        temperature: ``T``, above 0; 1000 as for ODIN.
        units: of the step: ``"pixels"`` are those of values in ``[0, 1]``, whatever each channel was divided by;
            ``"normalised"`` are those of the network's input.

    Reads: ``Perturbed(..., coordinates="largest")``, the logits of the moved input, which a network gives (not stored
    arrays, nor a head before the detector); labels ignored; nothing is learnt.
    Returns: ``(N,)``, at least 0, in units of the logits; 0 where there is one class.
    Raises: WrongUse, for other numbers or units.
    Cost: two forward passes and one backward pass through the network for each query, none for known inputs.
    Source: Regmi, "Going Beyond Conventional OOD Detection", arXiv 2411.10794, 2024, whose author put it into OpenOOD
    as ``iodin``; the constants are those there.
    Differs: OpenOOD answers with the largest probability itself, which at a temperature of 1000 is ``1 / C`` and a few
    thousandths, and chooses ``epsilon`` and ``T`` with unknown inputs at hand.

    >>> detector = IODIN(temperature=1.0)
    >>> moved = {Perturbed(0.0014, 1.0, coordinates="largest").key: [[3.0, 1.0, 1.0], [3.0, 3.0, 3.0]]}
    >>> [round(s, 3) for s in detector.score(moved).tolist()]
    [2.0, 0.0]
    """

    learns = frozenset()
    traits = frozenset({"stateless"})
    paper = Paper("Going Beyond Conventional OOD Detection", "Regmi", "arXiv", 2024)

    def __init__(self, epsilon: float = 0.0014, temperature: float = 1000.0, units: Units = "pixels") -> None:
        super().__init__()
        self.epsilon = epsilon
        self.temperature = temperature
        self.units = units
        self.moved = Perturbed(epsilon, temperature, units, coordinates="largest")
        self.needs = frozenset({self.moved})

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Leads of the winners ``(B,)``."""
        return lead(signals[self.moved.key], self.temperature)
