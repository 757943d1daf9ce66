"""Envisioned outliers: the best class name against the best of words that somebody thought of."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from unseen.detectors._texts import NEAR, SHARP, TextDetector, log_odds
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.parts import Paper
from unseen.signals import Support


class EOE(TextDetector):
    """An input is known when its best class name beats the best of the words that were envisioned for what is not.

    ``score = max_k p_k - beta max_j p_j``, one softmax ``p`` over class names ``k`` and words ``j`` together. The words
    are whatever the bank holds: the paper has a language model list what looks like the classes and is none.

    Args:
        temperature: in units of cosines.
        beta: weight of the words, from 0, which gives the softmax over names and words alone.

    Reads: ``embedding (N, E)`` and class names as texts; words where the bank has some; labels ignored.
    Returns: ``(N,)``: ``log((S + beta) / (1 - S))`` for the paper's score ``S``, less that of equal cosines. Without
    words, what `MCM` returns.
    Raises: NotEnoughKnown, with a single text; WrongUse, for a weight below 0.
    Cost: ``(K + M) E`` numbers, and one product with them.
    Source: Cao, Zhong, Zhou, Liu, Liu, Han, "Envisioning Outlier Exposure by Large Language Models for
    Out-of-Distribution Detection", ICML 2024, equation 4.
    Differs: the authors' program has another score as its default, which it takes for an ablation. Both give ``S``,
    which ends at 1 and at ``-beta`` where the temperature is small; what is returned here ranks alike and has no end.

    >>> from unseen.signals import TextBank
    >>> bank = TextBank([[1.0, 0.0], [0.8, 0.6]], ("cat", "dog"), [[0.0, 1.0]], ("sky",))
    >>> near, far = EOE().fit({"embedding": [[1.0, 0.0]]}, text=bank).score([[1.0, 0.0], [0.0, 1.0]]).tolist()
    >>> near > far
    True
    """

    fewest = 1
    paper = Paper(
        "Envisioning Outlier Exposure by Large Language Models for Out-of-Distribution Detection",
        "Cao, Zhong, Zhou, Liu, Liu, Han",
        "ICML",
        2024,
    )
    negative: Tensor  # (M, E) words over the temperature

    def __init__(self, temperature: float = 1.0, beta: float = 0.25) -> None:
        super().__init__(temperature)
        if not 0 <= beta < math.inf:
            raise WrongUse(f"EOE(beta={beta!r}): give a number from 0")
        self.beta = beta
        self.register_buffer("negative", torch.empty(0, 0))

    def learn(self, support: Support) -> None:
        """Keep class names and words."""
        super().learn(support)
        words = support.bank(self.name).negative
        if len(self.positive) + len(words) < 2:
            raise NotEnoughKnown(
                "eoe compares texts with each other and needs two, got one: name more classes or words"
            )
        self.negative = self.kept(words)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Log-odds ``(B,)``."""
        names, words = self.cosines(signals, self.positive), self.cosines(signals, self.negative)
        if not len(self.negative):
            return log_odds(names, self.temperature)
        known, other = names.max(dim=1, keepdim=True), words.max(dim=1, keepdim=True)
        top = torch.maximum(known.values, other.values)
        own, best = (known.values - top).squeeze(1), (other.values - top).squeeze(1)
        gaps, n, beta = torch.cat([names, words], dim=1) - top, len(self.positive) + len(self.negative), self.beta
        # S of equal cosines, and how far S is above it, from exponentials less 1, which keep small differences.
        guess, less = (1 - beta) / n, torch.expm1(gaps).sum(dim=1)
        above = own.expm1() - beta * best.expm1() - guess * less
        above = above / (less + n)
        near = torch.log1p(above / (guess + beta)) - torch.log1p(-above / (1 - guess))
        if self.temperature >= SHARP:
            return near
        # S + beta and 1 - S as sums of what is positive, neither of which is lost beside the other.
        left = [x.scatter(1, found.indices, -torch.inf) - top for x, found in ((names, known), (words, other))]
        rest = torch.logsumexp(torch.cat(left, dim=1), dim=1)  # of all texts but the two best
        more = math.log1p(beta)
        for_known = torch.logsumexp(torch.stack([own + more, rest + math.log(beta)]), dim=0) if beta else own
        against = torch.logsumexp(torch.stack([rest, best + more]), dim=0)
        far = for_known - math.log1p(beta * (n - 1)) - against + math.log(n - 1 + beta)
        between = (less > NEAR * n) & (own > -1) & (above < 0.5 * (1 - guess))
        return torch.where(between, near, far)

    def numbers_per_query(self) -> int:
        """A cosine with each text."""
        return len(self.positive) + len(self.negative)
