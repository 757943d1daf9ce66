"""The only loop over inputs: fixed shards in fixed order, each made once and kept."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from unseen.data import (
    Duplicates,
    Inputs,
    Progress,
    Unreadable,
    duplicates,
    merge_groups,
    near_duplicates,
    open_inputs,
    thumbnail,
)
from unseen.encoders.base import Encoder, check_kind, open_encoder
from unseen.errors import BadInput, NoRoom, WrongUse
from unseen.signals import Request, Shards, Signals, Store, Support, key_of
from unseen.signals.store import Stored

# A row's numbers depend in their last bits on the shape of its batch and on nothing else in it, so the grid is
# over the listing: an unreadable file keeps its slot, the last batch is padded, and appending rows changes no other.
BATCH = 32
SHARD = 8 * BATCH
AHEAD = 4  # batches read while one is computed
MOST_WORKERS = 16  # threads of themselves: more of them wait for each other


def encode(
    data: Any,
    encoder: str | Encoder,
    wanted: str | Request | Collection[str | Request] | None = None,
    *,
    cache: str | os.PathLike[str] | bool | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
    workers: int | None = None,
    digests: Sequence[bytes] | None = None,
) -> Support:
    """Everything wanted about every input, from one pass; what a store already holds is not made again.

    Args:
        data: what `unseen.data.open_inputs` takes: a folder, manifest, array file, arrays, or `Inputs`.
        encoder: an `Encoder`, or the name of one.
        wanted: signals and requests; by default everything that the encoder gives without a request.
        cache: folder of the store; None is the user's cache folder, False keeps everything in memory.
        progress: called with (rows done, rows in all) as the pass goes on.
        device: where an encoder given by name runs.
        workers: threads that read and decode ahead of the encoder; by default one for each usable core, at most 16. The
            result is the same, bit for bit, with any number.
        digests: what ``data.digests()`` returned, where somebody has asked before.

    Returns:
        A `Support` whose signals are read from the store's shards when asked for, without the unreadable inputs,
        which are listed in ``skipped``. Rows that are exact copies share a group; a note names images that look the
        same to the encoder (`unseen.data.near_duplicates`), which do not.

    Raises:
        BadInput: when nothing can be read, or the encoder reads another kind of input.
        WrongUse: when there are fewer than 1 ``workers``.
        NoRoom: when the disk is full; finished shards stay and the next call goes on from them.
    """
    threads = min(MOST_WORKERS, usable_cores()) if workers is None else workers
    if threads < 1:
        raise WrongUse(f"workers={workers}: give the number of threads that read and decode, from 1")
    inputs = open_inputs(data)
    encoder = open_encoder(encoder, device) if isinstance(encoder, str) else encoder
    check_kind(encoder, inputs.kind, inputs.source)
    if not len(inputs):
        raise BadInput(f"{inputs.source}: there are no inputs to encode")
    if wanted is None:
        asked = frozenset[str | Request](encoder.provides)
    else:
        asked = frozenset([wanted] if isinstance(wanted, (str, Request)) else wanted)
    if digests is None:  # by default more threads than cores, as they wait for the disk
        digests = inputs.digests() if workers is None else inputs.digests(threads=workers)
    if encoder.accepts == "arrays":
        columns: dict[str, Any] = encoder.answer_columns(inputs.columns, asked)  # type: ignore[attr-defined]
        unreadable: dict[int, str] = {}
        thumbnails = None
        if progress is not None:
            progress(len(inputs), len(inputs))
    else:
        if not asked:
            raise WrongUse(
                f"nothing is wanted: the encoder {encoder.name!r} gives {', '.join(sorted(encoder.provides))}"
            )
        columns, unreadable, thumbnails = _encode_images(
            inputs, digests, encoder, asked, _store(cache, encoder), progress, threads
        )
    more = None if encoder.accepts == "arrays" else _More(inputs, encoder, tuple(digests), cache, threads)
    return _support(inputs, digests, encoder, columns, unreadable, thumbnails, more)


class _More:
    """An encoder with the inputs at hand: what signals ask when a fitted detector needs passes of its own."""

    def __init__(
        self,
        inputs: Inputs,
        encoder: Encoder,
        digests: Sequence[bytes],
        cache: str | os.PathLike[str] | bool | None,
        workers: int,
    ) -> None:
        self._inputs, self._encoder, self._digests = inputs, encoder, digests
        self._cache, self._workers = cache, workers

    def refusal(self, request: Request) -> str | None:
        return self._encoder.refusal(request)

    def __call__(
        self, rows: np.ndarray, wanted: frozenset[Request], progress: Progress | None
    ) -> Mapping[str, Shards | np.ndarray]:
        digests = [self._digests[row] for row in rows.tolist()]
        chosen = self._inputs.take(rows)
        columns, unreadable, _ = _encode_images(
            chosen,
            digests,
            self._encoder,
            frozenset(wanted),
            _store(self._cache, self._encoder),
            progress,
            self._workers,
        )
        for row, reason in unreadable.items():
            raise BadInput(f"{chosen.keys[row]} could be read before and cannot now: {reason}")
        return columns


def default_cache() -> Path:
    """The folder of the store where none is named."""
    return Path(platformdirs.user_cache_dir("unseen"))


def usable_cores() -> int:
    """Cores that this process may run on, which can be fewer than there are."""
    own = getattr(os, "sched_getaffinity", None)
    return len(own(0)) if own is not None else os.cpu_count() or 1


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
    workers: int,
) -> tuple[dict[str, Any], dict[int, str], np.ndarray | None]:
    wants = {key_of(want): want for want in sorted(wanted, key=key_of)}
    starts = range(0, len(inputs), SHARD)
    shards: dict[int, dict[str, np.ndarray | Stored]] = {}
    unreadable: dict[int, str] = {}
    small: dict[int, np.ndarray | None] = {}
    missing: dict[int, frozenset[str | Request]] = {}
    for start in starts:
        rows = range(start, min(start + SHARD, len(inputs)))
        shards[start], reasons, small[start] = _stored(store, inputs, encoder, digests, rows, wants)
        unreadable.update(reasons)
        lacking = frozenset(want for key, want in wants.items() if key not in shards[start])
        if lacking:
            missing[start] = lacking
    done = len(inputs) - sum(min(SHARD, len(inputs) - start) for start in missing)
    if progress is not None:
        progress(done, len(inputs))
    for start, computed, reasons, thumbnails in _made(inputs, encoder, missing, workers):
        stop = min(start + SHARD, len(inputs))
        shards[start] |= computed
        small[start] = thumbnails
        if store is not None:
            folder = store.shard(digests[start:stop])
            try:
                for key, values in computed.items():
                    store.write(folder, key, values, reasons, thumbnails)
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
    parts = [part for part in (small[start] for start in starts) if part is not None]
    whole = np.concatenate(parts) if len(parts) == len(starts) else None
    return {key: Shards([shards[start][key] for start in starts]) for key in wants}, unreadable, whole


def _stored(
    store: Store | None,
    inputs: Inputs,
    encoder: Encoder,
    digests: Sequence[bytes],
    rows: range,
    keys: Iterable[str],
) -> tuple[dict[str, np.ndarray | Stored], dict[int, str], np.ndarray | None]:
    """What the store holds of one shard, why rows in it are unreadable, and its thumbnails."""
    arrays: dict[str, np.ndarray | Stored] = {}
    unreadable: dict[int, str] = {}
    thumbnails: np.ndarray | None = None
    if store is None:
        return arrays, unreadable, thumbnails
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
            thumbnails = store.thumbnails(folder, key, len(rows)) if thumbnails is None else thumbnails
    return arrays, unreadable, thumbnails


def _made(
    inputs: Inputs, encoder: Encoder, missing: Mapping[int, frozenset[str | Request]], workers: int
) -> Iterator[tuple[int, dict[str, np.ndarray], dict[int, str], np.ndarray | None]]:
    """Shards computed one after the other, each with its unreadable rows and its thumbnails; reading runs ahead."""
    plan = [
        (start, range(first, min(first + BATCH, start + SHARD, len(inputs))))
        for start in missing
        for first in range(start, min(start + SHARD, len(inputs)), BATCH)
    ]
    blank: np.ndarray | None = None
    parts: dict[str, list[np.ndarray]] = {}
    reasons: dict[int, str] = {}
    small: list[np.ndarray | None] = []
    some = max(1, BATCH // (2 * workers))  # rows a task: small images are read in less time than a task takes
    with ThreadPoolExecutor(max_workers=workers) as pool:
        reading: deque[list[Future[list[_Prepared | str]]]] = deque()
        try:
            for number, (start, rows) in enumerate(plan):
                while len(reading) < AHEAD and number + len(reading) < len(plan):
                    ahead = plan[number + len(reading)][1]
                    reading.append(
                        [
                            pool.submit(_read_some, inputs, encoder, ahead[i : i + some])
                            for i in range(0, len(ahead), some)
                        ]
                    )
                images = [image for future in reading.popleft() for image in future.result()]
                if blank is None:
                    blank = np.zeros_like(encoder.prepare(np.zeros((8, 8, 3), dtype=np.uint8)))
                batch = np.stack(
                    [
                        *(blank if isinstance(image, str) else image.pixels for image in images),
                        *[blank] * (BATCH - len(images)),
                    ]
                )
                small += [_NOTHING if isinstance(image, str) else image.small for image in images]
                reasons.update(
                    {row - start: image for row, image in zip(rows, images, strict=True) if isinstance(image, str)}
                )
                for key, answer in encoder.answer(batch, missing[start]).items():
                    parts.setdefault(key, []).append(answer[: len(images)].cpu().numpy())
                if number + 1 == len(plan) or plan[number + 1][0] != start:
                    seen = [one for one in small if one is not None]
                    thumbnails = np.stack(seen) if len(seen) == len(small) else None
                    yield start, {key: np.concatenate(part) for key, part in parts.items()}, reasons, thumbnails
                    parts, reasons, small = {}, {}, []
        finally:
            for futures in reading:
                for future in futures:
                    future.cancel()


@dataclass(frozen=True)
class _Prepared:
    pixels: np.ndarray
    small: np.ndarray | None  # a thumbnail, where the pixels are a picture


_NOTHING = np.zeros(64, np.uint8)  # the thumbnail of what cannot be read


def _read_some(inputs: Inputs, encoder: Encoder, rows: range) -> list[_Prepared | str]:
    return [_read(inputs, encoder, row) for row in rows]


def _read(inputs: Inputs, encoder: Encoder, row: int) -> _Prepared | str:
    try:
        pixels = encoder.prepare(inputs.read(row))
    except Unreadable as error:
        return error.reason
    # Of what the encoder sees: its cost does not depend on the size of the file.
    picture = pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    return _Prepared(pixels, thumbnail(pixels) if picture else None)


def _support(
    inputs: Inputs,
    digests: Sequence[bytes],
    encoder: Encoder,
    columns: dict[str, Any],
    unreadable: dict[int, str],
    thumbnails: np.ndarray | None,
    more: _More | None,
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
    if thumbnails is not None:
        notes += _near(inputs, digests, unreadable, thumbnails)
    whole = Support(
        Signals(columns, more=more),
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


def _near(
    inputs: Inputs, digests: Sequence[bytes], unreadable: Mapping[int, str], thumbnails: np.ndarray
) -> Iterator[str]:
    """Nothing, or a note on images that look the same and are no exact copies, with an example.

    They are named and not grouped: how near is too near is for people to say, and a chain of frames of one scene
    could tie a whole class to one side of every split.
    """
    first: dict[bytes, int] = {}  # one row of each content
    for row, digest in enumerate(digests):
        if row not in unreadable:
            first.setdefault(digest, row)
    rows = np.array(sorted(first.values()), dtype=np.int64)
    sets = near_duplicates(thumbnails[rows])
    if sets:
        one, other = (inputs.keys[row] for row in rows[list(sets[0][:2])].tolist())
        surplus = sum(len(near) - 1 for near in sets)
        many = "1 near-duplicate" if surplus == 1 else f"{surplus:,} near-duplicates"
        yield (
            f"{many}, such as {one} and {other}: splits may part them, which flatters an audit; a manifest with one "
            "group for each keeps them together"
        )
