"""Texts -> outputs of an encoder's text side, each made once and kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

import numpy as np

from unseen.data import Progress
from unseen.encoders._encode import _store
from unseen.encoders.base import Encoder, open_encoder
from unseen.errors import BadInput, NoRoom, WrongUse
from unseen.signals import Store

SEGMENT = 1024  # texts a shard: what a run that is killed loses at most
OUTPUTS, KEYS = "text", "text_keys"


def embed_texts(
    encoder: str | Encoder,
    texts: Sequence[str],
    *,
    cache: str | os.PathLike[str] | bool | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Outputs of the text side, ``(n, E)`` float32, of any length; what a store already holds is not made again.

    Texts are kept one by one beside the encoder's signals: those that are new are encoded, in whatever list they come.
    A shard of them is two columns, fingerprints of the texts and outputs, so no text is written to the disk.

    Args:
        encoder: an `Encoder` that reads texts, or the name of one.
        texts: any number; one that comes twice is encoded once.
        cache: folder of the store; None is the user's cache folder, False keeps nothing.
        progress: called with (texts done, texts in all).

    Raises:
        WrongUse: when a text that the store lacks meets an encoder without a text side, or ``texts`` is no list.
        BadInput: when an output is not finite.
        NoRoom: when the disk is full; finished shards stay and the next call goes on from them.
    """
    asked = list(texts)
    if isinstance(texts, str) or not all(isinstance(text, str) for text in asked):
        raise WrongUse(f"embed_texts takes a list of texts, got {texts!r:.60}")
    encoder = open_encoder(encoder)
    keys = [_key(text) for text in asked]
    store = _store(cache, encoder)
    held = {} if store is None else _held(store, frozenset(keys))
    new = {key: text for key, text in zip(keys, asked, strict=True) if key not in held}
    order, done, whole = list(new), len(held), len(held) + len(new)
    if progress is not None:
        progress(done, whole)
    for start in range(0, len(order), SEGMENT):
        some = order[start : start + SEGMENT]
        outputs = encoder.text([new[key] for key in some]).numpy()
        odd = np.flatnonzero(~np.isfinite(outputs).all(axis=1))
        if len(odd):
            raise BadInput(f"{encoder.name}: the output for the text {new[some[odd[0]]]!r} is not finite")
        held |= dict(zip(some, outputs, strict=True))
        done += len(some)
        if store is not None:
            shard = store.shard(some)
            try:
                store.write(shard, OUTPUTS, outputs, {})
                # Last: a shard without its keys is never looked into.
                store.write(shard, KEYS, np.frombuffer(b"".join(some), np.uint8).reshape(len(some), -1), {})
            except NoRoom as error:
                raise NoRoom(f"{error} ({start:,} of {len(order):,} new texts are encoded and stay)") from error
        if progress is not None:
            progress(done, whole)
    return np.stack([held[key] for key in keys]) if keys else encoder.text([]).numpy()


def _key(text: str) -> bytes:
    return hashlib.sha256(b"text\0" + text.encode(errors="surrogatepass")).digest()


def _held(store: Store, wanted: frozenset[bytes]) -> dict[bytes, np.ndarray]:
    """What the store's shards of texts hold of ``wanted``."""
    found: dict[bytes, np.ndarray] = {}
    for path in sorted(store.folder.glob(f"*/{KEYS}.npy")):
        if len(found) == len(wanted):
            break
        try:
            rows = np.load(path, mmap_mode="r", allow_pickle=False).shape[0]
        except (OSError, ValueError, EOFError):
            continue
        keys = store.read(path.parent, KEYS, rows)
        if keys is None:
            continue
        here = {bytes(key): row for row, key in enumerate(keys[0][:])}
        rest = (wanted - found.keys()) & here.keys()
        outputs = store.read(path.parent, OUTPUTS, rows) if rest else None
        if outputs is not None:
            values = outputs[0][:]
            found.update({key: values[here[key]] for key in rest})
    return found
