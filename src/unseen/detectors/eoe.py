"""Envisioned outliers: the best class name against the best of words that somebody thought of."""

from collections.abc import Mapping

import torch
from torch import Tensor

from unseen.detectors._texts import TextDetector
from unseen.parts import Paper
from unseen.signals import Support


class EOE(TextDetector):
    """An input is known when its best class name beats the best of the words that were envisioned for what is not.

    ``score = max_k p_k - beta max_j p_j``, one softmax ``p`` over class names ``k`` and words ``j`` together. The words
    are whatever the bank holds: the paper has a language model list what looks like the classes and is none.

    Args:
        temperature: in units of cosines.
        beta: weight of the words.

    Reads: ``embedding (N, E)`` and class names as texts; words where the bank has some; labels ignored.
    Returns: ``(N,)``, a difference of probabilities times the number of texts, so that a guess has ``1 - beta``.
    Without words it ranks as `MCM` does.
    Raises: NotEnoughKnown, with a single class name.
    Cost: ``(K + M) E`` numbers, and one product with them.
    Source: Cao, Zhong, Zhou, Liu, Liu, Han, "Envisioning Outlier Exposure by Large Language Models for
    Out-of-Distribution Detection", ICML 2024, equation 4.
    Differs: the authors' program has another score as its default, which it takes for an ablation.

    >>> from unseen.signals import TextBank
    >>> bank = TextBank([[1.0, 0.0], [0.8, 0.6]], ("cat", "dog"), [[0.0, 1.0]], ("sky",))
    >>> near, far = EOE().fit({"embedding": [[1.0, 0.0]]}, text=bank).score([[1.0, 0.0], [0.0, 1.0]]).tolist()
    >>> near > far
    True
    """

    traits = frozenset({"text_bank", "saturates"})  # at a small temperature a probability reaches 1
    paper = Paper(
        "Envisioning Outlier Exposure by Large Language Models for Out-of-Distribution Detection",
        "Cao, Zhong, Zhou, Liu, Liu, Han",
        "ICML",
        2024,
    )
    negative: Tensor  # (M, E) words over the temperature

    def __init__(self, temperature: float = 1.0, beta: float = 0.25) -> None:
        super().__init__(temperature)
        self.beta = beta
        self.register_buffer("negative", torch.empty(0, 0))

    def learn(self, support: Support) -> None:
        """Keep class names and words."""
        super().learn(support)
        self.negative = self.kept(support.bank(self.name).negative)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Differences ``(B,)``."""
        texts = torch.cat([self.positive, self.negative])
        share = self.cosines(signals, texts).softmax(dim=1) * len(texts)  # (B, K + M)
        known = share[:, : len(self.positive)].amax(dim=1)
        if not len(self.negative):
            return known
        return known - self.beta * share[:, len(self.positive) :].amax(dim=1)

    def numbers_per_query(self) -> int:
        """A cosine with each text."""
        return len(self.positive) + len(self.negative)
