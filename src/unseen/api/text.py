"""Class names, and words that are no class's, as the text side of an encoder sees them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from unseen.encoders import Encoder, embed_texts, open_encoder
from unseen.errors import WrongUse
from unseen.language import Texts
from unseen.signals import TextBank

if TYPE_CHECKING:
    from unseen.language.texts import Names

BLOCK = 4096  # words compared with all classes at once


def text(
    names: Names,
    encoder: str | Encoder,
    texts: Texts | None = None,
    *,
    cache: str | os.PathLike[str] | bool | None = None,
    device: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> TextBank:
    """Read class names, and words to tell them from, once: what `unseen.audit` and the like take as ``text``.

    Args:
        names: class names: a folder of class folders, a file with one a line, names with commas, a list, or a mapping
            from class to what it is called.
        encoder: one that reads texts, or its name.
        texts: prompts, order of averaging, words and how they are mined; by default PLP's five prompts and no words.
        cache: folder of the store that keeps what was read; None is the user's cache folder, False keeps nothing.
        device: where the network runs; None leaves it where it is.
        progress: called with (what is being done, done, in all).

    Raises:
        WrongUse: when the encoder reads no texts.
        BadInput: for names or words that cannot be used.
    """
    reader = open_encoder(encoder, device)
    if not reader.reads_text:
        raise WrongUse(f"the encoder {reader.name} reads no texts: take one that does, such as clip:MODEL or hf:MODEL")
    before = whole = 0

    def at(done: int, total: int) -> None:
        nonlocal before, whole
        before, whole = done, total
        tell(0)

    def tell(more: int) -> None:
        if progress is not None:
            progress("reading texts", min(before + more, whole), whole)

    def embed(some: Sequence[str]) -> Any:
        return embed_texts(reader, some, cache=cache, progress=lambda done, _: tell(done))

    return (texts or Texts()).bank(names, embed, reader.scale, reader.id, progress=at)


def describe(bank: TextBank) -> dict[str, Any]:
    """A bank as plain values: its classes, and of each word the class that it is closest to.

    Returns:
        ``classes``, ``width``, ``encoder``, ``scale``, ``opposite``; ``words``, each with ``word``, ``statistic``,
        ``class`` and ``cosine``, in the order of the bank; ``about`` and ``notes`` on how it was made.
    """
    cosine, closest = _closest(bank)
    statistic = [None] * len(bank.words) if bank.statistic is None else bank.statistic.tolist()
    rows = zip(bank.words, statistic, closest, cosine, strict=True)
    return {
        "classes": list(bank.classes),
        "width": bank.width,
        "encoder": bank.encoder,
        "scale": bank.scale,
        "opposite": bank.opposite is not None,
        "words": [
            {"word": word, "statistic": value, "class": bank.classes[k], "cosine": cos} for word, value, k, cos in rows
        ],
        "about": {name: value for name, value in bank.about.items() if name != "notes"},
        "notes": list(bank.about.get("notes", [])),
    }


def _closest(bank: TextBank) -> tuple[list[float], list[int]]:
    if not bank.words:
        return [], []
    starts = range(0, len(bank.words), BLOCK)
    parts = [(bank.negative[at : at + BLOCK] @ bank.positive.T).max(dim=1) for at in starts]  # (B, K) -> (B,)
    return torch.cat([p.values for p in parts]).tolist(), torch.cat([p.indices for p in parts]).tolist()
