"""The only loop over inputs: fixed shards in fixed order, each made once and kept."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from unseen.data import Duplicates, Inputs, Progress, Unreadable, duplicates, merge_groups, open_inputs
from unseen.encoders.base import Encoder, check_kind, open_encoder
from unseen.errors import BadInput, NoRoom, WrongUse
from unseen.signals import Request, Shards, Signals, Store, Support, key_of
from unseen.signals.store import Stored

# A row's numbers depend in their last bits on the shape of its batch and on nothing else in it, so the grid is
# over the listing: an unreadable file keeps its slot, the last batch is padded, and appending rows changes no other.
BATCH = 32
SHARD = 8 * BATCH
AHEAD = 4  # batches read while one is computed


def encode(
    data: Any,
    encoder: str | Encoder,
    wanted: str | Request | Collection[str | Request] | None = None,
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
        A `Support` whose signals are read from the store's shards when asked for, without the unreadable inputs,
        which are listed in ``skipped``. Rows that are exact copies share a group.

    Raises:
        BadInput: when nothing can be read, or the encoder reads another kind of input.
        NoRoom: when the disk is full; finished shards stay and the next call goes on from them.
    """
    inputs = open_inputs(data)
    encoder = open_encoder(encoder, device) if isinstance(encoder, str) else encoder
    check_kind(encoder, inputs.kind, inputs.source)
    if not len(inputs):
        raise BadInput(f"{inputs.source}: there are no inputs to encode")
    if wanted is None:
        asked = frozenset[str | Request](encoder.provides)
    else:
        asked = frozenset([wanted] if isinstance(wanted, (str, Request)) else wanted)
    digests = inputs.digests()
    if encoder.accepts == "arrays":
        columns: dict[str, Any] = encoder.answer_columns(inputs.columns, asked)  # type: ignore[attr-defined]
        unreadable: dict[int, str] = {}
        if progress is not None:
            progress(len(inputs), len(inputs))
    else:
        if not asked:
            raise WrongUse(
                f"nothing is wanted: the encoder {encoder.name!r} gives {', '.join(sorted(encoder.provides))}"
            )
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
    wants = {key_of(want): want for want in sorted(wanted, key=key_of)}
    starts = range(0, len(inputs), SHARD)
    shards: dict[int, dict[str, np.ndarray | Stored]] = {}
    unreadable: dict[int, str] = {}
    missing: dict[int, frozenset[str | Request]] = {}
    for start in starts:
        rows = range(start, min(start + SHARD, len(inputs)))
        shards[start], reasons = _stored(store, inputs, encoder, digests, rows, wants)
        unreadable.update(reasons)
        lacking = frozenset(want for key, want in wants.items() if key not in shards[start])
        if lacking:
            missing[start] = lacking
    done = len(inputs) - sum(min(SHARD, len(inputs) - start) for start in missing)
    if progress is not None:
        progress(done, len(inputs))
    for start, computed, reasons in _made(inputs, encoder, missing):
        stop = min(start + SHARD, len(inputs))
        shards[start] |= computed
        if store is not None:
            folder = store.shard(digests[start:stop])
            try:
                for key, values in computed.items():
                    store.write(folder, key, values, reasons)
            except NoRoom as error:
                raise NoRoom(f"{error} ({done:,} of {len(inputs):,} inputs are encoded and stay)") from error
            for key in computed:  # read from the disk from now on, so that memory does not grow with the inputs
                held = store.read(folder, key, stop - start)
                if held is not None:
                    shards[start][key] = held[0]
        unreadable.update({start + row: reason for row, reason in reasons.items()})
        done += stop - start
        if progress is not None:
            progress(done, len(inputs))
    return {key: Shards([shards[start][key] for start in starts]) for key in wants}, unreadable


def _stored(
    store: Store | None,
    inputs: Inputs,
    encoder: Encoder,
    digests: Sequence[bytes],
    rows: range,
    keys: Iterable[str],
) -> tuple[dict[str, np.ndarray | Stored], dict[int, str]]:
    """What the store holds of one shard, and why rows in it are unreadable."""
    arrays: dict[str, np.ndarray | Stored] = {}
    unreadable: dict[int, str] = {}
    if store is None:
        return arrays, unreadable
    folder = store.shard(digests[rows.start : rows.stop])
    again: dict[int, str | None] = {}  # row -> why it still cannot be read
    for key in keys:
        held = store.read(folder, key, len(rows))
        if held is None:
            continue
        # The same bytes may be readable today: more memory, a higher limit of pixels, another Pillow.
        for row in (rows.start + row for row in held[1]):
            if row not in again:
                now = _read(inputs, encoder, row)
                again[row] = now if isinstance(now, str) else None
        still = {row: again[row] for row in (rows.start + row for row in held[1])}
        if all(reason is not None for reason in still.values()):
            arrays[key] = held[0]
            unreadable.update({row: reason for row, reason in still.items() if reason is not None})
    return arrays, unreadable


def _made(
    inputs: Inputs, encoder: Encoder, missing: Mapping[int, frozenset[str | Request]]
) -> Iterator[tuple[int, dict[str, np.ndarray], dict[int, str]]]:
    """Shards computed one after the other, each with the unreadable rows in it; reading runs ahead."""
    plan = [
        (start, range(first, min(first + BATCH, start + SHARD, len(inputs))))
        for start in missing
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
                for key, answer in encoder.answer(batch, missing[start]).items():
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
        return error.reason


def _support(
    inputs: Inputs,
    digests: Sequence[bytes],
    encoder: Encoder,
    columns: dict[str, Any],
    unreadable: dict[int, str],
) -> Support:
    if len(unreadable) == len(inputs):
        row, reason = min(unreadable.items())
        raise BadInput(
            f"none of the {len(inputs):,} inputs of {inputs.source} can be read; {inputs.keys[row]}: {reason}"
        )
    found = duplicates(inputs, digests)
    # Copies of what cannot be read are skipped, each by its own name.
    copies = Duplicates(
        *(tuple(g for g in sets if g[0] not in unreadable) for sets in (found.groups, found.conflicting))
    )
    notes = [*inputs.notes, *copies.describe(inputs)]
    if copies.groups:
        notes.append("exact copies are kept on one side of every split")
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
