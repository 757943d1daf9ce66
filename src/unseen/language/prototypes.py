"""One row a name from several prompts, in the two orders of averaging that are in use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unseen.errors import BadInput, WrongUse
from unseen.language import templates
from unseen.naming import did_you_mean
from unseen.signals import Embed

TEXTS = 8192  # given to the model at once: what is held of the outputs, whatever the number of names and prompts

ORDERS = ("norm-mean-norm", "mean-norm")
"""``norm-mean-norm`` brings the row of each prompt to length 1 before they are averaged (CLIP, PLP, OpenOOD-VLM, EOE);
``mean-norm`` averages them as the model gives them (CSP), so that a prompt with longer rows counts for more."""


def prototypes(
    names: Sequence[str],
    embed: Embed,
    prompts: templates.Prompts = "plp",
    order: str = "norm-mean-norm",
    *,
    clean: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Rows of names: ``(K, E)`` float32 of length 1.

    With ``e_jk`` the model's row for prompt ``j`` of ``J`` with name ``k``,
    ``t_k = m_k / ||m_k||``, ``m_k = sum_j e_jk / ||e_jk|| / J`` or, with ``mean-norm``, ``m_k = sum_j e_jk / J``.

    A name that comes twice is read once and gets the same row both times.

    Args:
        names: K names.
        embed: texts to rows ``(n, E)`` of any length; called with at most 8,192 texts.
        prompts: see `prompts`.
        order: see ``ORDERS``.
        clean: underscores of names as spaces.
        progress: called with (texts read, texts in all).

    Raises:
        WrongUse: for no names, or an unknown order.
        BadInput: when the model gives other than one row a text, or rows without a direction.

    Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021, section
        3.1.4; Adaloglou, Michels, Kaiser, Kollmann, "Adapting Contrastive Language-Image Pretrained (CLIP) Models for
        Out-of-Distribution Detection", TMLR 2024.

    >>> prototypes(["wasp", "ox"], lambda texts: [[3.0, float(len(text))] for text in texts], prompts="name")
    tensor([[0.6000, 0.8000],
            [0.8321, 0.5547]])
    """
    check_order(order)
    written = templates.prompts(prompts)
    called = [templates.clean(name) if clean else name for name in names]
    distinct = list(dict.fromkeys(called))
    if not distinct:
        raise WrongUse("there are no names to make texts of: give at least one")
    step = max(1, TEXTS // len(written))
    parts: list[Tensor] = []
    for start in range(0, len(distinct), step):
        some = distinct[start : start + step]
        texts = [templates.fill(prompt, name) for prompt in written for name in some]
        rows = as_rows(embed(texts), texts).reshape(len(written), len(some), -1)  # (J, B, E)
        if order == "norm-mean-norm":
            rows = rows / rows.norm(dim=2, keepdim=True)
        mean = rows.mean(dim=0)  # (B, E)
        length = mean.norm(dim=1, keepdim=True)
        lost = (length == 0).flatten().nonzero().flatten().tolist()
        if lost:
            raise BadInput(f"the texts of {some[lost[0]]!r} cancel out: their average has no direction")
        parts.append((mean / length).float())
        if progress is not None:
            progress(min(start + step, len(distinct)) * len(written), len(distinct) * len(written))
    place = {name: row for row, name in enumerate(distinct)}
    return torch.cat(parts)[torch.tensor([place[name] for name in called])]


def as_rows(given: Any, texts: Sequence[str]) -> Tensor:
    """What a model gave for the texts as ``(n, E)`` float64, each with a direction.

    Raises:
        BadInput: when it did not give one row a text, or a row is zero, NaN or infinite.
    """
    try:
        rows = (given.detach().cpu() if isinstance(given, Tensor) else torch.from_numpy(np.array(given))).double()
    except (TypeError, ValueError) as error:
        raise BadInput(f"the model gave no rows of numbers for texts: {' '.join(str(error).split())}") from error
    if rows.ndim != 2 or len(rows) != len(texts):
        raise BadInput(f"the model was given {len(texts):,} texts and gave back shape {tuple(rows.shape)}")
    length = rows.norm(dim=1)
    bad = (~torch.isfinite(length) | (length == 0)).nonzero().flatten().tolist()
    if bad:
        raise BadInput(f"the model's row for {texts[bad[0]]!r} is zero, NaN or infinite ({len(bad):,} such rows)")
    return rows


def check_order(order: str) -> None:
    """Raise for an order of averaging that there is not."""
    if order not in ORDERS:
        raise WrongUse(f"order={order!r}: choose one of {', '.join(ORDERS)}{did_you_mean(order, ORDERS)}")
