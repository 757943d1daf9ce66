"""Class names as texts: the angle between an image and each of them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import linear, normalize

from unseen.errors import WrongUse
from unseen.heads.base import Head
from unseen.parts import Paper
from unseen.signals import LinearHead, Support


class ZeroShot(Head):
    """Logits by the direction of each class name as a text; nothing is learnt from the inputs.

    ``logit_k(x) = cos(e, t_k) / temperature`` with the joint embedding ``e`` of the input and the text ``t_k`` of class
    ``k``, one column a class of the text bank: classes of the labels first, where the bank names all of these.

    ``zero_shot >> maxlogit``, ``>> energy``, ``>> msp`` and ``>> entropy`` are MaxLogit, Energy, maximum softmax and
    negative entropy of the texts, and ``zero_shot(temperature=1.0) >> msp`` is MCM, the pseudo-MSP of `PLP`'s paper;
    the detector `MCM` keeps more of its digits.

    The logits are no linear function of ``features``, so what needs the layer behind the logits does not find it here.

    Args:
        temperature: divides the cosines, above 0. The default is about what CLIP learnt; MCM takes 1.

    Reads: ``embedding (N, E)``, of any length, and a text bank; labels ignored.
    Raises: WrongUse, without texts or for a temperature out of range. NotEnoughKnown, with the name of one class alone.
    Cost: ``K E`` numbers; a query is one product with them.
    Source: Radford, Kim, Hallacy, Ramesh, Goh, Agarwal, Sastry, Askell, Mishkin, Clark, Krueger, Sutskever, "Learning
        Transferable Visual Models From Natural Language Supervision", ICML 2021, section 3.1.

    >>> from unseen.signals import TextBank
    >>> text = TextBank([[1.0, 0.0], [0.0, 1.0]], ("cat", "dog"))
    >>> head = ZeroShot(temperature=0.5).fit({"embedding": [[1.0, 1.0]]}, text=text)
    >>> head({"embedding": torch.tensor([[3.0, 4.0]])})["logits"]
    tensor([[1.2000, 1.6000]])
    """

    needs = frozenset({"embedding"})
    of = "embedding"
    labels = "ignored"
    traits = frozenset({"text_bank"})
    paper = Paper(
        "Learning Transferable Visual Models From Natural Language Supervision",
        "Radford, Kim, Hallacy, Ramesh, Goh, Agarwal, Sastry, Askell, Mishkin, Clark, Krueger, Sutskever",
        "ICML",
        2021,
    )

    def __init__(self, temperature: float = 0.01) -> None:
        super().__init__()
        self.temperature = temperature

    def solve(self, support: Support) -> tuple[Tensor, Tensor]:
        """The texts over the temperature; no bias."""
        if not 0 < self.temperature < math.inf:
            raise WrongUse(f"ZeroShot(temperature={self.temperature}): the temperature must be a number above 0")
        weight = support.bank(self.name).positive.double() / self.temperature
        return weight, torch.zeros(len(weight), dtype=weight.dtype)

    def linear(self, support: Support) -> LinearHead | None:
        """None: what these logits are a function of is another signal than features, and its direction alone."""
        return None

    def named(self, support: Support) -> tuple[str, ...]:
        """The classes of the text bank."""
        return support.bank(self.name).classes

    def forward(self, signals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``{"logits": (B, K)}``."""
        return {"logits": linear(normalize(signals["embedding"]), self.weight, self.bias)}
