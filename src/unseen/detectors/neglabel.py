"""Negative labels: class names against words that name no class."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from unseen.detectors._texts import TextDetector, log_sigmoid
from unseen.errors import WrongUse
from unseen.parts import Paper
from unseen.signals import Support


class NegLabel(TextDetector):
    """An input is known when class names outweigh many words that were chosen for being unlike every class.

    ``S = P / (P + Q)`` with ``P = sum_k exp(s_k / tau)`` over class names and ``Q = sum_j exp(q_j / tau)`` over words.
    Words are put into groups, a score is taken with each, and the scores are averaged, so that a few words which happen
    to match do not decide alone.

    The bank is made elsewhere (`unseen.language`): words mined as the paper does, or by the recipe of CSP
    (Chen, Gao, Xu, "Conjugated Semantic Pool Improves OOD Detection with Pre-trained Vision-Language Models", NeurIPS
    2024), which has this same score on another bank.

    Args:
        temperature: ``tau``, in units of cosines.
        groups: how many; 1 for none. Fewer words than groups make a group each.
        seed: of the one draw that puts words into groups of equal size. What is left over are the last words of the
            bank, where mining puts those that are least unlike the classes; they take no part.

    Reads: ``embedding (N, E)``, class names as texts, and words; labels ignored.
    Returns: ``(N,)``: the log-odds ``log(S / (1 - S))`` of the averaged score.
    Raises: WrongUse, where the bank has no words, or for a number of groups below 1.
    Cost: ``(K + M) E`` numbers, and one product with them.
    Source: Jiang, Liu, Fang, Chen, Liu, Zheng, Han, "Negative Label Guided OOD Detection with Pretrained
    Vision-Language Models", ICLR 2024, equations 4 and 5, and section 3.3 on groups.
    Differs: the authors' code gives ``S``, which in float32 has steps of 6e-8 next to 1 and is 1 beyond log-odds of
    about 17, where known images tie; without groups it sums logits. Log-odds rank as ``S`` does and do not end.

    >>> from unseen.signals import TextBank
    >>> bank = TextBank([[1.0, 0.0], [0.8, 0.6]], ("cat", "dog"), [[0.0, 1.0], [-1.0, 0.0]], ("sky", "sea"))
    >>> detector = NegLabel(groups=1).fit({"embedding": [[1.0, 0.0]]}, text=bank)
    >>> known, unknown = detector.score([[1.0, 0.1], [0.0, 1.0]]).tolist()
    >>> known > 50, unknown < -5
    (True, True)
    """

    texts = frozenset({"negative"})
    fewest = 1  # it is the words that a name is compared with
    traits = frozenset({"text_bank", "sampled"})
    small = {"groups": 5}  # noqa: RUF012 - a constant, shared on purpose
    paper = Paper(
        "Negative Label Guided OOD Detection with Pretrained Vision-Language Models",
        "Jiang, Liu, Fang, Chen, Liu, Zheng, Han",
        "ICLR",
        2024,
    )
    negative: Tensor  # (G, m, E) words over the temperature, by group

    def __init__(self, temperature: float = 0.01, groups: int = 100, seed: int = 0) -> None:
        super().__init__(temperature)
        if not isinstance(groups, int) or groups < 1:
            raise WrongUse(f"NegLabel(groups={groups!r}): give a whole number from 1")
        self.groups = groups
        self.seed = seed
        self.register_buffer("negative", torch.empty(0, 0, 0))

    def learn(self, support: Support) -> None:
        """Keep class names and words, these by group."""
        super().learn(support)
        words = support.bank(self.name).negative
        groups = min(self.groups, len(words))
        each = len(words) // groups
        drawn = np.random.default_rng(self.seed).permutation(groups * each)
        self.negative = self.kept(words[torch.from_numpy(drawn)]).view(groups, each, -1)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Log-odds ``(B,)``."""
        x = normalize(signals["embedding"], dim=1)
        groups, each, _ = self.negative.shape
        known = torch.logsumexp(x @ self.positive.T, dim=1, keepdim=True)  # (B, 1)
        other = (x @ self.negative.flatten(0, 1).T).view(-1, groups, each)
        top = other.amax(dim=2, keepdim=True)
        odds = known - (other.sub_(top).exp_().sum(dim=2).log_() + top.squeeze(2))  # (B, G)
        return torch.logsumexp(log_sigmoid(odds), dim=1) - torch.logsumexp(log_sigmoid(-odds), dim=1)

    def numbers_per_query(self) -> int:
        """A cosine with each text."""
        return len(self.positive) + self.negative[..., 0].numel()
