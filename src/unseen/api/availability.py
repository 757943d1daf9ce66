"""What is known beside the inputs: nothing, class names as texts, or labels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, get_args

from unseen import protocols, registry
from unseen.data import Inputs
from unseen.encoders import Encoder
from unseen.errors import WrongUse
from unseen.signals import Level, TextBank

if TYPE_CHECKING:
    from unseen.language import Texts

    Text = TextBank | Texts | str | os.PathLike[str] | None

LEVELS: tuple[str, ...] = get_args(Level)


def known_texts(
    text: Text,
    level: Level,
    inputs: Inputs,
    encoder: Encoder,
    cache: str | os.PathLike[str] | bool | None,
    progress: Any = None,
) -> TextBank | None:
    """The class names as texts, from whatever was given; None where none are known.

    Args:
        text: a `TextBank`, the file of one, or `Texts` to be embedded. None stands for the class names of the inputs
            where ``level`` is ``"names"``, else for nothing.
        level: what may be known.
        inputs: the known inputs; their class names are taken where ``text`` names none.
        encoder: reads the texts, where they are not read yet.
        cache: folder of the store, which keeps what the text side said.
        progress: called with (texts done, texts in all).

    Raises:
        WrongUse: for an unknown level, texts where none may be known, no names, an encoder that reads no texts, texts
            that another encoder read, or a class of the inputs without a text.
    """
    if level not in LEVELS:
        raise WrongUse(f"labels={level!r}: say what may be learnt from: {', '.join(LEVELS)}")
    if level == "none" and text is not None:
        raise WrongUse("class names are given as texts and labels='none' allows no names: take labels='names'")
    if text is None and level != "names":
        return None
    if isinstance(text, TextBank):
        bank = text
    elif isinstance(text, str | os.PathLike):
        bank = TextBank.load(text)
    else:
        from unseen.encoders import embed_texts
        from unseen.language import Texts

        wanted = Texts() if text is None else text
        names = wanted.names or inputs.classes
        if not names:
            raise WrongUse(f"{inputs.source} names no classes: give their names")
        if not encoder.reads_text:
            raise WrongUse(
                f"the encoder {encoder.name} reads no texts: take one that does, such as clip, or give a file of texts "
                "in the space of the embeddings"
            )
        bank = wanted.bank(
            names,
            lambda texts: embed_texts(encoder, texts, cache=cache, progress=progress),
            scale=encoder.scale,
            encoder=encoder.id,
        )
    if bank.encoder and encoder.accepts == "images" and bank.encoder != encoder.id:
        raise WrongUse("the texts were read by another model than the one that looks at the images: make them again")
    absent = [name for name in inputs.classes if name not in bank.classes]
    if absent and inputs.labels is not None and level == "names":
        raise WrongUse(
            f"class {absent[0]!r} of {inputs.source} has no text ({len(absent)} of {len(inputs.classes)} have none): "
            "name every class as it is named there"
        )
    return bank


def signals_for(detectors: Sequence[str] | None, encoder: Encoder, texts: bool) -> list[str]:
    """Signals to ask the encoder for: features, and with texts those that are compared with them.

    Patch features are large, so they are asked for only where a detector that is named reads them.

    Args:
        detectors: names or expressions; None for those that protocols try by themselves.
        encoder: of images.
        texts: whether there are texts.
    """
    there = encoder.provides | encoder.when_named
    wanted = {"features"} | ({"embedding"} if texts else set())
    for name in detectors or ():
        wanted |= set(_plain(name)) & there
    return sorted(wanted & there)


def _plain(name: str) -> Iterable[str]:
    if name == protocols.ALL:
        return ()
    part = registry.create(name)
    return [need for need in part.needs | part.at_fit() if need in ("embedding", "local")]
