"""Scores of several networks' logits about the same inputs."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, log1p

from unseen.errors import WrongUse
from unseen.statistics import odds

Reduce = Literal["probabilities", "logits", "variance"]


def check_reduce(part: str, reduce: str) -> None:
    """Raise for a word that is no `Reduce`."""
    if reduce not in ("probabilities", "logits", "variance"):
        raise WrongUse(f"{part}(reduce={reduce!r}): give 'probabilities', 'logits' or 'variance'")


def agreement(logits: Tensor, reduce: Reduce) -> Tensor:
    """How sure networks are together, ``(B,)``: in ``[-log C, 0]``, or in ``[-1 / 2, 0]`` for the variance.

    Args:
        logits: ``(B, R, C)`` of ``R`` networks; 2 of them or more for the variance.
        reduce: ``"probabilities"``: the logarithm of the largest mean probability; ``"logits"``: that of the mean
            logits; ``"variance"``: minus the variance of a probability over networks, divided by ``R - 1``, averaged
            over classes.
    """
    mean = logits.mean(dim=1)  # (B, C)
    if reduce == "logits":
        return -log1p(odds(mean).sum(dim=1))
    p = logits.softmax(dim=2)
    if reduce == "probabilities":
        average = p.mean(dim=1)
        top = average.max(dim=1, keepdim=True)
        # From what the other classes leave: next to 1 a probability in float32 has steps of 6e-8.
        return -log1p(average.scatter(1, top.indices, 0.0).sum(dim=1) / top.values.squeeze(1))
    # Of the likeliest class what is left is taken, which varies as much and does not lose its digits next to 1.
    likeliest = mean.argmax(dim=1)[:, None, None].expand(-1, p.shape[1], 1)  # (B, R, 1)
    left = p.scatter(2, likeliest, 0.0)
    left = left.scatter(2, likeliest, left.sum(dim=2, keepdim=True))
    gaps = left - left.mean(dim=1, keepdim=True)
    return -(gaps.square().sum(dim=1) / (p.shape[1] - 1)).mean(dim=1)
