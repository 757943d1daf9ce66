"""How strongly an input is tied to the known ones, by features and by answers."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import normalize

from unseen.detectors.base import Detector
from unseen.errors import WrongUse
from unseen.parts import Paper
from unseen.signals import Support


class Relation(Detector):
    """An input is known when many known inputs look like it and are answered like it.

    ``score(x) = mean_j r_j^t``, ``r_j = max(0, cos(f, f_j)) p . p_j``, over the known inputs ``j``, with the features
    ``f`` and ``p = softmax(l)``; ties weaker than ``least`` count as 0. The paper adds the ties up; their mean ranks
    alike and does not grow with their number.

    Args:
        power: ``t``, above 0; the larger, the more the strongest ties decide. The authors take 1.
        least: the weakest ``r_j`` that counts, from 0 on. The authors take 0.03.

    Reads: ``features (N, D)``, ``logits (N, C)``; labels ignored.
    Returns: ``(N,)`` in ``[0, 1]``, no unit.
    Raises: WrongUse, for a power that is not above 0, or a negative ``least``.
    Cost: ``N (D + C)`` numbers; a query compares with all known inputs.
    Source: Kim, Yun, Song, "Neural Relation Graph: A Unified Framework for Identifying Label Noise and Outlier Data",
    NeurIPS 2023.
    Differs: OpenOOD and the authors' code add the ties up, so that the score grows with the known inputs. OpenOOD
    chooses the power, from 1 to 8, with unknown inputs at hand.

    >>> known = {"features": [[1.0, 0.0], [0.0, 1.0]], "logits": [[9.0, 0.0], [0.0, 9.0]]}
    >>> asked = {"features": [[2.0, 0.0], [2.0, 0.0]], "logits": [[9.0, 0.0], [0.0, 0.0]]}
    >>> [round(s, 2) for s in Relation().fit(known).score(asked).tolist()]
    [0.5, 0.25]
    """

    needs = frozenset({"features", "logits"})
    paper = Paper(
        "Neural Relation Graph: A Unified Framework for Identifying Label Noise and Outlier Data",
        "Kim, Yun, Song",
        "NeurIPS",
        2023,
    )
    bank: Tensor  # (N, D), unit rows
    answers: Tensor  # (N, C), probabilities

    def __init__(self, power: float = 1.0, least: float = 0.03) -> None:
        super().__init__()
        self.power = power
        self.least = least
        self.register_buffer("bank", torch.empty(0, 0))
        self.register_buffer("answers", torch.empty(0, 0))

    def learn(self, support: Support) -> None:
        """Keep every known input: its direction, and its probabilities."""
        if not self.power > 0:
            raise WrongUse(f"Relation(power={self.power}): give a power above 0")
        if not self.least >= 0:
            raise WrongUse(f"Relation(least={self.least}): give the weakest tie that counts, from 0 on")
        self.bank = support.gather("features", normalize)
        self.answers = support.gather("logits", _probabilities)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Mean ties ``(B,)``."""
        alike = (normalize(signals["features"]) @ self.bank.T).relu()  # (B, N)
        ties = alike * (_probabilities(signals["logits"]) @ self.answers.T)
        return (ties.pow(self.power) * (ties > self.least)).mean(dim=1)

    def numbers_per_query(self) -> int:
        """Three numbers for every known input."""
        return 3 * len(self.bank)


def _probabilities(logits: Tensor) -> Tensor:
    return logits.softmax(dim=1)
