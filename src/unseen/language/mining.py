"""Which of many words are unlike every class name: the negatives of a text bank."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unseen.errors import BadInput, WrongUse
from unseen.naming import did_you_mean

BLOCK = 4096  # candidates compared with all names at once
NEAR = 0.95  # cosine above which CSP takes a candidate for another word for the class
FRACTION = 0.15  # of the candidates, as NegLabel
FEW = 1e-9  # what a product of floats may lack of the whole number that it is: 0.29 * 100 is 28.999...

RULES = ("neglabel", "csp", "all", "random", "nearest")
"""``neglabel`` keeps the words whose quantile of the cosines with the class names is lowest; ``csp`` does too, but no
word that is all but a class name; ``all`` keeps every word. ``random`` and ``nearest`` are controls: a method that is
no worse with these did not profit from mining."""

INTERPOLATIONS = ("linear", "floor")
"""How a quantile falls between two cosines: ``linear``, or ``floor``, the sorted cosine at place ``floor(q K)``."""


@dataclass(frozen=True)
class Mined:
    """Words that were kept.

    Attributes:
        index: ``(M,)`` int64, where each stood among the candidates; lowest statistic first, ties by letter.
        statistic: ``(M0,)`` float64 of every candidate, in the order given.
        near: how many candidates were too like a class name to be kept.
    """

    index: Tensor
    statistic: Tensor
    near: int


def statistic(
    candidates: Any, known: Any, quantile: float = 0.95, interpolation: str = "linear", *, block: int = BLOCK
) -> Tensor:
    """How like the class names each candidate is: ``s_j = quantile_k cos(n_j, t_k)``, ``(M0,)`` float64.

    The quantile, and not the largest cosine, tolerates a few names that are like the word by chance. With ``quantile``
    1 it is the largest.

    Args:
        candidates: ``(M0, E)`` rows of words, of any length.
        known: ``(K, E)`` rows of class names, of any length.
        quantile: share of the names, from 0 to 1.
        interpolation: see ``INTERPOLATIONS``.
        block: candidates compared at once. Memory is ``block * K`` numbers; results agree to rounding.

    Raises:
        WrongUse: for a quantile, interpolation or block out of range.
        BadInput: for rows of other widths, or without a direction.

    Source: Jiang, Liu, Fang, Chen, Liu, Zheng, Han, "Negative Label Guided OOD Detection with Pretrained
        Vision-Language Models", ICLR 2024, algorithm 1.

    >>> statistic([[1.0, 0.0], [0.0, 2.0]], [[1.0, 0.0], [3.0, 4.0]], quantile=0.5).tolist()
    [0.800000011920929, 0.4000000059604645]
    """
    return _similar(*_rows(candidates, known), quantile, interpolation, block)[0]


def mine(
    words: Sequence[str],
    rows: Any,
    known: Any,
    *,
    rule: str = "neglabel",
    kinds: Sequence[str] | None = None,
    fraction: float | None = None,
    count: int | None = None,
    quantile: float = 0.95,
    interpolation: str = "linear",
    near: float | None = None,
    seed: int = 0,
    block: int = BLOCK,
) -> Mined:
    """Keep some of the words, by how unlike the class names they are.

    The order in which candidates come changes nothing: they are walked by letter, and ties go to the earlier letter.
    A larger fraction keeps all that a smaller one keeps.

    A word that is a class name is kept by no rule with ``near``, such as ``csp``. ``neglabel`` has no such guard: the
    quantile overlooks the one name that the word is, so that with many classes it may be kept.

    Args:
        words: M0 candidates, all different.
        rows: ``(M0, E)``, of any length.
        known: ``(K, E)`` of the class names, of any length.
        rule: see ``RULES``.
        kinds: ``"noun"`` or ``"adjective"`` of each candidate; a share is taken of each kind by itself. None takes them
            for one kind.
        fraction: share of each kind that is kept, rounded down; 0.15 by default.
        count: keep so many words instead, split between the kinds by how many candidates they have.
        quantile: see `statistic`.
        interpolation: see `statistic`.
        near: candidates with a cosine above this to some class name are never kept, though they count for the share.
            None is 0.95 for ``csp`` and no limit for the others.
        seed: of ``random``.
        block: see `statistic`.

    Raises:
        WrongUse: for an unknown rule, both of ``fraction`` and ``count``, or one of them for ``all``.
        BadInput: when a word comes twice, or no word is kept.

    Source: as `statistic`; Chen, Gao, Xu, "Conjugated Semantic Pool Improves OOD Detection with Pre-trained
        Vision-Language Models", NeurIPS 2024, for ``csp``.

    >>> known = [[1.0, 0.0], [0.8, 0.6]]
    >>> found = mine(["cat", "car", "sky"], [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.1]], known, count=2, quantile=1.0)
    >>> found.index.tolist()
    [2, 1]
    """
    check_rule(rule, fraction, count)
    x, t = _rows(rows, known)
    if len(words) != len(x):
        raise BadInput(f"{len(words):,} words came with {len(x):,} rows")
    order = sorted(range(len(words)), key=lambda i: words[i])
    twice = next((words[i] for i, j in pairwise(order) if words[i] == words[j]), None)
    if twice is not None:
        raise BadInput(f"the word {twice!r} comes twice among the candidates")
    walked = torch.tensor(order, dtype=torch.long)
    by_letter, closest = _similar(x, t, quantile, interpolation, block, walked)  # (M0,) each, by letter

    limit = NEAR if near is None and rule == "csp" else near
    barred = closest > limit if limit is not None else torch.zeros(len(order), dtype=torch.bool)
    if rule == "random":
        preference = torch.randperm(len(order), generator=torch.Generator().manual_seed(seed)).double()
    else:
        preference = -by_letter if rule == "nearest" else by_letter
    preference = preference.masked_fill(barred, math.inf)

    of_kind = np.array(["noun"] * len(words) if kinds is None else kinds)[order]
    kept: list[int] = []
    for kind, number in _shares(of_kind, rule, fraction, count).items():
        here = torch.from_numpy(np.flatnonzero(of_kind == kind))
        best = here[preference[here].argsort(stable=True)[:number]]
        kept += best[~barred[best]].tolist()
    if not kept:
        raise BadInput(f"none of {len(words):,} words is kept: {_why(len(words), int(barred.sum()))}")
    chosen = torch.tensor(sorted(kept))
    chosen = walked[chosen[by_letter[chosen].argsort(stable=True)]]
    return Mined(chosen, torch.empty_like(by_letter).index_copy_(0, walked, by_letter), int(barred.sum()))


def check_rule(rule: str, fraction: float | None, count: int | None) -> None:
    """Raise for a rule that there is not, or shares that it does not take."""
    if rule not in RULES:
        raise WrongUse(
            f"no rule of mining is called {rule!r}: choose one of {', '.join(RULES)}{did_you_mean(rule, RULES)}"
        )
    if rule == "all" and fraction is not None:
        raise WrongUse("every word is taken by the rule 'all': leave out the fraction")
    if fraction is not None and count is not None:
        raise WrongUse("give a fraction of the words or a count, not both")
    if fraction is not None and not 0 < fraction <= 1:
        raise WrongUse(f"fraction={fraction}: the share of the words lies above 0 and is at most 1")
    if count is not None and count < 1:
        raise WrongUse(f"count={count}: keep at least 1 word")


def check_quantile(quantile: float, interpolation: str) -> None:
    """Raise for a quantile out of range or an interpolation that there is not."""
    if not 0 <= quantile <= 1:
        raise WrongUse(f"quantile={quantile}: a quantile lies from 0 to 1")
    if interpolation not in INTERPOLATIONS:
        raise WrongUse(f"interpolation={interpolation!r}: choose one of {', '.join(INTERPOLATIONS)}")


def _shares(of_kind: Any, rule: str, fraction: float | None, count: int | None) -> dict[str, int]:
    there = {kind: int((of_kind == kind).sum()) for kind in sorted(set(of_kind.tolist()), reverse=True)}
    strange = [kind for kind in there if kind not in ("noun", "adjective")]
    if strange:
        raise WrongUse(f"a word's kind is 'noun' or 'adjective', got {strange[0]!r}")
    if count is None:
        return {
            kind: number if rule == "all" else math.floor((FRACTION if fraction is None else fraction) * number + FEW)
            for kind, number in there.items()
        }
    whole = len(of_kind)
    if count > whole:
        raise BadInput(
            f"{count:,} words are wanted and there are {whole:,} candidates: give more words or a smaller count"
        )
    nouns = math.floor(count * there.get("noun", 0) / whole + 0.5)
    return {kind: nouns if kind == "noun" else count - nouns for kind in there}


def _why(words: int, near: int) -> str:
    if near == words:
        return "all are too like a class name"
    return "the fraction of so few is less than one word; raise it, or give a count"


def _rows(candidates: Any, known: Any) -> tuple[Tensor, Tensor]:
    x, t = (
        (given.detach().cpu() if isinstance(given, Tensor) else torch.from_numpy(np.asarray(given)))
        for given in (candidates, known)
    )
    if x.ndim != 2 or t.ndim != 2 or x.shape[1] != t.shape[1] or not len(t):
        raise BadInput(
            f"candidates of shape {tuple(x.shape)} cannot be compared with names of shape {tuple(t.shape)}: both are "
            "rows of one width"
        )
    return x, t


def _similar(
    candidates: Tensor, known: Tensor, quantile: float, interpolation: str, block: int, order: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Quantile and maximum over the names of each candidate's cosine, float64, in ``order`` where one is given."""
    check_quantile(quantile, interpolation)
    if block < 1:
        raise WrongUse(f"block={block}: compare at least 1 candidate at once")
    t = known.float()
    t = (t / _lengths(t, 0, "name")[:, None]).T.contiguous()
    many = t.shape[1]
    at = quantile * (many - 1) if interpolation == "linear" else min(math.floor(quantile * many + FEW), many - 1)
    low = min(math.floor(at), many - 1)
    share = at - low
    total = len(candidates)
    found, closest = np.empty(total), np.empty(total)
    product = torch.empty(min(block, total), many)
    for start in range(0, total, block):
        rows = candidates[start : start + block] if order is None else candidates[order[start : start + block]]
        x = rows.float()
        # Cosines but for the length of x, by which the two numbers that remain are divided in the end.
        products = torch.mm(x, t, out=product[: len(x)]).numpy()  # (B, E) @ (E, K) -> (B, K)
        # A partial sort: the product at the place, and above it all that are larger, in no order.
        products.partition(low, axis=1)
        length = _lengths(x, start, "candidate").numpy().astype(np.float64)
        lower = products[:, low].astype(np.float64)
        upper = products[:, low + 1 :].min(axis=1) if share > 0 else lower
        found[start : start + block] = (lower + share * (upper - lower)) / length
        closest[start : start + block] = products[:, low:].max(axis=1) / length
    return torch.from_numpy(found), torch.from_numpy(closest)


def _lengths(rows: Tensor, start: int, what: str) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(rows, dim=1)
    bad = ~(torch.isfinite(length) & (length > 0))
    if bad.any():
        raise BadInput(f"the row of {what} {start + int(bad.nonzero()[0])} is zero, NaN or infinite")
    return length
