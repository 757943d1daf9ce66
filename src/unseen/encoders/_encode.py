"""The only loop over inputs: fixed shards in fixed order, each made once and kept."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from unseen.data import Inputs, Unreadable, duplicates, merge_groups, open_inputs
from unseen.encoders.base import Encoder, check_kind, open_encoder
from unseen.errors import BadInput, NoRoom
from unseen.signals import Request, Shards, Signals, Store, Support, key_of

# A row's numbers depend in their last bits on the shape of its batch and on nothing else in it, so the grid is
# over the listing: an unreadable file keeps its slot, the last batch is padded, and appending rows changes no other.
BATCH = 32
SHARD = 8 * BATCH
AHEAD = 4  # batches read while one is computed

Progress = Callable[[int, int], None]


def encode(
    data: Any,
    encoder: str | Encoder,
    wanted: Collection[str | Request] | None = None,
    *,
    cache: str | os.PathLike[str] | bool | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
) -> Support:
    """Everything wanted about every input, from one pass; what a store already holds is not made again.

    Args:
        data: what `unseen.data.open_inputs` takes: a folder, manifest, array file, arrays, or `Inputs`.
        encoder: an `Encoder`, or the name of one.
        wanted: signals and requests; by default everything that the encoder gives without a request.
        cache: folder of the store; None is the user's cache folder, False keeps everything in memory.
        progress: called with (rows done, rows in all) as the pass goes on.
        device: where an encoder given by name runs.

    Returns:
        A `Support` whose signals are memory maps of the store's shards, without the unreadable inputs, which are
        listed in ``skipped``. Rows that are exact copies share a group.

    Raises:
        BadInput: when nothing can be read, or the encoder reads another kind of input.
        NoRoom: when the disk is full; finished shards stay and the next call goes on from them.
    """
    inputs = open_inputs(data)
    encoder = open_encoder(encoder, device) if isinstance(encoder, str) else encoder
    check_kind(encoder, inputs.kind, inputs.source)
    asked = frozenset(wanted) if wanted is not None else frozenset(encoder.provides)
    digests = inputs.digests()
    if encoder.accepts == "arrays":
        columns: dict[str, Any] = encoder.answer_columns(inputs.columns, asked)  # type: ignore[attr-defined]
        unreadable: dict[int, str] = {}
    else:
        columns, unreadable = _encode_images(inputs, digests, encoder, asked, _store(cache, encoder), progress)
    return _support(inputs, digests, encoder, columns, unreadable)


def default_cache() -> Path:
    """The folder of the store where none is named."""
    return Path(platformdirs.user_cache_dir("unseen"))


def _store(cache: str | os.PathLike[str] | bool | None, encoder: Encoder) -> Store | None:
    if cache is False:
        return None
    folder = default_cache() if cache is None or cache is True else Path(cache)
    return Store(folder, f"{encoder.id}|batch={BATCH}")


def _encode_images(
    inputs: Inputs,
    digests: Sequence[bytes],
    encoder: Encoder,
    wanted: frozenset[str | Request],
    store: Store | None,
    progress: Progress | None,
) -> tuple[dict[str, Any], dict[int, str]]:
    keys = sorted(key_of(want) for want in wanted)
    starts = range(0, len(inputs), SHARD)
    shards: dict[int, dict[str, np.ndarray]] = {}
    unreadable: dict[int, str] = {}
    missing: list[int] = []
    for start in starts:
        rows = digests[start : start + SHARD]
        found = _stored(store, rows, keys)
        if found is None:
            missing.append(start)
        else:
            shards[start] = found[0]
            unreadable.update({start + row: reason for row, reason in found[1].items()})
    done = len(inputs) - sum(min(SHARD, len(inputs) - start) for start in missing)
    if progress is not None:
        progress(done, len(inputs))
    for start, computed, reasons in _made(inputs, encoder, wanted, missing):
        made = computed
        stop = min(start + SHARD, len(inputs))
        if store is not None:
            folder = store.shard(digests[start:stop])
            try:
                for key in keys:
                    store.write(folder, key, made[key], reasons)
            except NoRoom as error:
                raise NoRoom(f"{error} ({done:,} of {len(inputs):,} inputs are encoded and stay)") from error
            stored = _stored(store, digests[start:stop], keys)
            if stored is not None:  # read back as a memory map, so that memory does not grow with the inputs
                made = stored[0]
        shards[start] = made
        unreadable.update({start + row: reason for row, reason in reasons.items()})
        done += stop - start
        if progress is not None:
            progress(done, len(inputs))
    return {key: Shards([shards[start][key] for start in starts]) for key in keys}, unreadable


def _stored(
    store: Store | None, digests: Sequence[bytes], keys: Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[int, str]] | None:
    if store is None:
        return None
    folder = store.shard(digests)
    arrays: dict[str, np.ndarray] = {}
    unreadable: dict[int, str] = {}
    for key in keys:
        held = store.read(folder, key, len(digests))
        if held is None:
            return None
        arrays[key], unreadable = held
    return arrays, unreadable


def _made(
    inputs: Inputs, encoder: Encoder, wanted: frozenset[str | Request], starts: Sequence[int]
) -> Iterator[tuple[int, dict[str, np.ndarray], dict[int, str]]]:
    """Shards computed one after the other, each with the unreadable rows in it; reading runs ahead."""
    plan = [
        (start, range(first, min(first + BATCH, start + SHARD, len(inputs))))
        for start in starts
        for first in range(start, min(start + SHARD, len(inputs)), BATCH)
    ]
    blank: np.ndarray | None = None
    parts: dict[str, list[np.ndarray]] = {}
    reasons: dict[int, str] = {}
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        reading: deque[list[Future[np.ndarray | str]]] = deque()
        try:
            for number, (start, rows) in enumerate(plan):
                while len(reading) < AHEAD and number + len(reading) < len(plan):
                    ahead = plan[number + len(reading)][1]
                    reading.append([pool.submit(_read, inputs, encoder, row) for row in ahead])
                images = [future.result() for future in reading.popleft()]
                if blank is None:
                    blank = np.zeros_like(encoder.prepare(np.zeros((8, 8, 3), dtype=np.uint8)))
                batch = np.stack(
                    [
                        *(blank if isinstance(image, str) else image for image in images),
                        *[blank] * (BATCH - len(images)),
                    ]
                )
                reasons.update(
                    {row - start: image for row, image in zip(rows, images, strict=True) if isinstance(image, str)}
                )
                for key, answer in encoder.answer(batch, wanted).items():
                    parts.setdefault(key, []).append(answer[: len(images)].cpu().numpy())
                if number + 1 == len(plan) or plan[number + 1][0] != start:
                    yield start, {key: np.concatenate(part) for key, part in parts.items()}, reasons
                    parts, reasons = {}, {}
        finally:
            for futures in reading:
                for future in futures:
                    future.cancel()


def _read(inputs: Inputs, encoder: Encoder, row: int) -> np.ndarray | str:
    try:
        return encoder.prepare(inputs.read(row))
    except Unreadable as error:
        return str(error)


def _support(
    inputs: Inputs,
    digests: Sequence[bytes],
    encoder: Encoder,
    columns: dict[str, Any],
    unreadable: dict[int, str],
) -> Support:
    if len(unreadable) == len(inputs):
        row, reason = next(iter(unreadable.items()))
        raise BadInput(
            f"none of the {len(inputs):,} inputs of {inputs.source} can be read; {inputs.keys[row]}: {reason}"
        )
    copies = duplicates(inputs, digests)
    notes = list(inputs.notes)
    if copies.groups:
        extra = sum(len(group) - 1 for group in copies.groups)
        notes.append(f"{extra:,} inputs are exact copies of others; copies are kept on one side of every split")
    if copies.conflicting:
        first = copies.conflicting[0]
        names = " and ".join(inputs.keys[row] for row in first[:2])
        notes.append(f"{len(copies.conflicting):,} sets of exact copies carry different labels, such as {names}")
    whole = Support(
        Signals(columns),
        labels=inputs.labels,
        classes=inputs.classes,
        keys=inputs.keys,
        groups=merge_groups(inputs, digests),
        head=encoder.head,
        encoder=encoder.id,
        skipped=tuple((inputs.keys[row], reason) for row, reason in sorted(unreadable.items())),
        notes=tuple(notes),
    )
    if not unreadable:
        return whole
    return whole.take(np.array([row for row in range(len(inputs)) if row not in unreadable]))
