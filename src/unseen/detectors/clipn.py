"""Texts that say no: each class name against a text that denies it."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from unseen.detectors._texts import TextDetector, log_sigmoid
from unseen.errors import WrongUse
from unseen.parts import Paper
from unseen.signals import Support


class CLIPN(TextDetector):
    """An input is known when the names of its likely classes match it better than the texts that deny them.

    With cosines ``s_k`` with the name of class ``k`` and ``n_k`` with the text that denies it::

        atd = sum_k softmax_k(s / tau) sigmoid((s_k - n_k) / tau)      "agreeing to differ"
        ctw = sigmoid((s_c - n_c) / tau),  c = argmax s                "competing to win"

    The bank brings the texts. The paper trains a text encoder of its own for them; hand-written ones ("a photo without
    a cat") are read by the same rule, and do worse there.

    Args:
        rule: ``"atd"`` or ``"ctw"``.
        temperature: ``tau``, in units of cosines.

    Reads: ``embedding (N, E)``, class names as texts, and a text that denies each; labels ignored.
    Returns: ``(N,)``: log-odds of the paper's score.
    Raises: WrongUse, where the bank has no such texts, or for another rule.
    Cost: ``2 K E`` numbers, and two products with them.
    Source: Wang, Li, Yao, Li, "CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No", ICCV 2023, equations 9 to
    12.
    Differs: the authors' code gives the probability, which ends at 1.

    >>> from unseen.signals import TextBank
    >>> bank = TextBank([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], ("a", "b"), opposite=[[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    >>> near, far = CLIPN().fit({"embedding": [[1.0, 0.0, 0.0]]}, text=bank).score([[1, 0, 0], [0, 0, 1]]).tolist()
    >>> round(near), round(far)
    (100, -100)
    """

    texts = frozenset({"opposite"})
    fewest = 1
    paper = Paper("CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No", "Wang, Li, Yao, Li", "ICCV", 2023)
    opposite: Tensor  # (K, E) over the temperature

    def __init__(self, rule: Literal["atd", "ctw"] = "atd", temperature: float = 0.01) -> None:
        super().__init__(temperature)
        if rule not in ("atd", "ctw"):
            raise WrongUse(f"CLIPN(rule={rule!r}): rule must be 'atd' or 'ctw'")
        self.rule = rule
        self.register_buffer("opposite", torch.empty(0, 0))

    def learn(self, support: Support) -> None:
        """Keep both texts of each class."""
        super().learn(support)
        denials = support.bank(self.name).opposite
        assert denials is not None  # as the fit has checked
        self.opposite = self.kept(denials)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Log-odds ``(B,)``."""
        scaled = self.cosines(signals, self.positive)  # (B, K)
        gap = scaled - self.cosines(signals, self.opposite)
        if self.rule == "ctw":
            return gap.gather(1, scaled.argmax(dim=1, keepdim=True)).squeeze(1)
        share = scaled.log_softmax(dim=1)
        return torch.logsumexp(share + log_sigmoid(gap), dim=1) - torch.logsumexp(share + log_sigmoid(-gap), dim=1)

    def numbers_per_query(self) -> int:
        """Two cosines a class."""
        return 2 * len(self.positive)
