"""Benches with more around them: a declared protocol with its published numbers, settings that a search chose."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np

from unseen import api, protocols
from unseen.data import Inputs, split
from unseen.data.joined import join
from unseen.encoders import Encoder
from unseen.errors import WrongUse
from unseen.naming import listed
from unseen.protocols import leaderboard, openood
from unseen.protocols.audit import FIT_SHARE
from unseen.protocols.search import ON_KNOWN, OWN_HEAD, Choice, search_on_known, search_on_unknown
from unseen.signals import Support

Search = Literal["unknown", "known"]


@dataclass(repr=False)
class DeclaredBench(protocols.Bench):
    """A bench, and what it was declared to be.

    Attributes:
        protocol: ``name``, ``title``, ``root``, ``full_spectrum``, ``parts`` (as `protocols.openood.Located` has them)
            and ``missing`` (those that took no part); None for sets that were named by hand.
        published: as `protocols.leaderboard.published`, and ``sentence``; None where there is nothing published.
        search: how settings were chosen before, as `protocols.search.Choice` has it; None where none were.
    """

    protocol: dict[str, Any] | None = None
    published: dict[str, Any] | None = None
    search: dict[str, Any] | None = None
    beside: dict[str, dict[str, Any]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; fractions.

        Of each detector also ``published``, the row of the same detector in the published table; of these and of
        baselines ``tuned_on``, ``"unknown"`` or ``"known"`` where a search chose the setting. Both else None.
        """
        told = super().to_dict()
        rows = {} if self.search is None else self.search["rows"]
        for row in told["detectors"]:
            row["published"] = self.beside.get(row["name"])
        for row in (*told["detectors"], *told["baselines"]):
            chosen = row["name"].removeprefix("pixels: ") in rows
            row["tuned_on"] = self.search["on"] if self.search is not None and chosen else None
        return told | {"protocol": self.protocol, "published": self.published, "search": self.search}


def bench_protocol(
    protocol: str,
    root: str | os.PathLike[str],
    encoder: str | Encoder | None = None,
    *,
    full_spectrum: bool = False,
    partial: bool = False,
    search: Search | None = None,
    detectors: Sequence[str] | None = None,
    confidence: float = 0.95,
    cache: api.Cache = None,
    limit: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    workers: int | None = None,
    progress: api.Progress | None = None,
) -> DeclaredBench:
    """Run a declared protocol of OpenOOD v1.5 on your own copies of its data sets, beside its published numbers.

    Detectors learn from the protocol's training images and meet its known test images and its near and far sets, as in
    `bench`. A network whose outputs are as many as the known classes is taken to have them in their usual order; its
    own head is then a head among others. Rows that read it, or features alone, have the published numbers of the same
    detector beside them, which are of another network.

    Args:
        protocol: ``"openood/cifar10"``, ``"openood/cifar100"``, ``"openood/imagenet200"`` or ``"openood/imagenet1k"``.
        root: folder of the data sets; ``unseen bench --protocol NAME --what`` says what belongs where.
        encoder: as for `encode`.
        full_spectrum: known inputs with another look join the known test.
        partial: go on without the sets that are missing, as long as a near or a far one is there.
        search: choose settings before: on ``"unknown"`` inputs for validation, as OpenOOD does, or by holding out
            ``"known"`` classes. By default every detector has its default setting.
        detectors: as for `bench`.
        confidence: as for `bench`.
        cache: as for `encode`.
        limit: at most so many inputs of each set; numbers are then not those of the protocol.
        seed: of every draw.
        device: where the network runs.
        workers: as for `encode`.
        progress: called with (what is being done, done, in all).

    Raises:
        WrongUse: for an unknown protocol, or the full spectrum of one that has none.
        BadInput: when a set is missing; the message says what was found, what is missing and what belongs where.

    Source: Zhang et al., "OpenOOD v1.5: Enhanced Benchmark for Out-of-Distribution Detection", 2023.
    """
    declared = openood.find(protocol)
    _check_search(search)
    located = openood.locate(declared, root, full_spectrum=full_spectrum, validation=search == "unknown")
    gaps = openood.usable(declared, located, root, partial=partial)
    made, about_head = _named(api._encoder(_only(located, "known"), encoder, device), declared)
    common: dict[str, Any] = {"cache": cache, "limit": limit, "seed": seed, "workers": workers, "progress": progress}
    choice = None
    if search is not None:
        part = api._part(progress, "choosing settings")
        fit = _encoded("known", _only(located, "known"), made, **common)
        if search == "unknown":
            known, unknown = (
                _encoded(role, _only(located, role), made, **common)
                for role in ("known validation", "unknown validation")
            )
            choice = search_on_unknown(fit, known, unknown, detectors, progress=part)
        else:
            choice = search_on_known(fit, detectors, seed=seed, progress=part)
    found = api.bench(
        _only(located, "known"),
        located.group("near"),
        located.group("far"),
        made,
        known_test=join({declared.test.name: _only(located, "known test"), **located.group("shifted")}),
        detectors=detectors if choice is None else choice.detectors,
        confidence=confidence,
        **common,
    )
    file = declared.published_full_spectrum if full_spectrum else declared.published
    table = None if file is None else leaderboard.published(file)
    few = [] if limit is None else [f"at most {limit:,} inputs of a set took part, so numbers are not the protocol's"]
    return _declared(
        found,
        choice,
        warnings=[*gaps, *_other_inputs(located), *few, *_order(found)],
        notes=about_head,
        protocol={
            "name": declared.name,
            "title": declared.title,
            "root": str(root),
            "full_spectrum": full_spectrum,
            "parts": located.found,
            "missing": [openood.called(one["role"], one["name"]) for one in located.missing],
        },
        published=None if table is None else table | {"sentence": _caveat(table)},
        beside={} if table is None else leaderboard.beside([row.name for row in found.rows], table),
    )


def bench_searched(
    known: Any,
    near: Mapping[str, Any] | None = None,
    far: Mapping[str, Any] | None = None,
    encoder: str | Encoder | None = None,
    *,
    search: Search,
    unknown_validation: Mapping[str, Any] | None = None,
    known_test: Any = None,
    detectors: Sequence[str] | None = None,
    confidence: float = 0.95,
    cache: api.Cache = None,
    limit: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    workers: int | None = None,
    progress: api.Progress | None = None,
) -> DeclaredBench:
    """`bench` with settings that were chosen before, on other inputs than those that are tested.

    The choice is made within the known inputs that detectors learn from: on ``"known"`` classes held out in turn, or on
    two fifths of these inputs against ``unknown_validation``. Inputs of it that are exact copies of tested unknown ones
    are left out. Then every detector is fitted on all known inputs to learn from.

    Args:
        known: as for `bench`.
        near: as for `bench`.
        far: as for `bench`.
        encoder: as for `bench`.
        search: what the choice is made on.
        unknown_validation: name -> unknown inputs for validation; needed for a search on unknown inputs.
        known_test: as for `bench`.
        detectors: as for `bench`.
        confidence: as for `bench`.
        cache: as for `encode`.
        limit: as for `bench`.
        seed: of every draw.
        device: where the network runs.
        workers: as for `encode`.
        progress: called with (what is being done, done, in all).

    Raises:
        WrongUse: when inputs for validation are missing, or given for a search that does not look at them.
        BadInput: when nothing is left of them.

    >>> random = np.random.default_rng(0)
    >>> rows = random.normal(size=(200, 4)) + 4 * np.eye(4)[np.arange(200) % 4]
    >>> known = {"features": rows, "labels": np.arange(200) % 4}
    >>> found = bench_searched(known, far={"noise": {"features": 9 * random.normal(size=(50, 4))}}, detectors=["knn"],
    ...                        search="known")
    >>> found.search["on"], len(found.search["rows"]), found.search["n_unknown"]
    ('known', 1, 0)
    """
    _check_search(search)
    if (search == "unknown") != bool(unknown_validation):
        raise WrongUse(
            "a search on unknown inputs needs some for validation that are not tested: give unknown_validation "
            "(--unknown-validation NAME=SOURCE)"
            if search == "unknown"
            else "a search on known inputs looks at no unknown ones: leave unknown_validation out"
        )
    sources = {"known": api._inputs(known, limit, seed)}
    made = api._encoder(sources["known"], encoder, device)
    common: dict[str, Any] = {"cache": cache, "limit": limit, "seed": seed, "workers": workers, "progress": progress}
    whole = _encoded("known", sources["known"], made, **common)
    fit = whole if known_test is not None else _part_of(whole, seed)[0]
    part = api._part(progress, "choosing settings")
    notes: list[str] = []
    if search == "unknown":
        tested = [api._inputs(source, limit, seed) for source in {**(near or {}), **(far or {})}.values()]
        copies = {digest for one in (*tested, sources["known"]) for digest in one.digests()}
        supports = []
        for name, source in (unknown_validation or {}).items():
            inputs = api._inputs(source, limit, seed)
            apart = np.array([digest not in copies for digest in inputs.digests()], dtype=bool)
            if not apart.any():
                raise WrongUse(f"unknown validation {name}: all its inputs are exact copies of tested or known ones")
            if not apart.all():
                notes.append(f"unknown validation {name}: {int((~apart).sum()):,} copies of other inputs left out")
            supports.append(_encoded(f"unknown validation {name}", inputs.take(apart), made, **common))
        inner, validation = _part_of(fit, seed + 1)
        choice = search_on_unknown(inner, validation, _stacked(supports), detectors, progress=part)
    else:
        choice = search_on_known(fit, detectors, seed=seed, progress=part)
    found = api.bench(
        known,
        near,
        far,
        made,
        known_test=known_test,
        detectors=choice.detectors,
        confidence=confidence,
        **common,
    )
    return _declared(found, choice, warnings=[], notes=notes)


def protocols_listed() -> list[dict[str, Any]]:
    """Every declared protocol: ``name``, ``title``, ``classes``, and names of its ``near``, ``far`` and ``shifted``."""
    return [
        {
            "name": one.name,
            "title": one.title,
            "classes": len(one.classes),
            **{role: [part.name for part in getattr(one, role)] for role in openood.GROUPS},
        }
        for one in openood.PROTOCOLS.values()
    ]


def _declared(
    found: protocols.Bench, choice: Choice | None, *, warnings: Sequence[str], notes: Sequence[str], **more: Any
) -> DeclaredBench:
    held = {one.name: getattr(found, one.name) for one in fields(found)}
    if choice is not None:
        if choice.on == "unknown":
            warnings = [choice.warning, *warnings]
        else:
            notes = [ON_KNOWN, *notes]
            warnings = [OWN_HEAD, *warnings] if choice.warning != ON_KNOWN else warnings
        # Heads of the network are none on raw pixels; by name they were asked for by the search, not by a person.
        held["not_tried"] = {n: why for n, why in found.not_tried.items() if not n.startswith("pixels: own >> ")}
    held["warnings"] = [*warnings, *found.warnings]
    held["notes"] = (*notes, *found.notes)
    return DeclaredBench(**held, search=None if choice is None else choice.to_dict(), **more)


def _check_search(search: str | None) -> None:
    if search not in (None, "unknown", "known"):
        raise WrongUse(f"search={search!r}: choose settings on 'unknown' or on 'known' inputs, or not at all")


def _only(located: openood.Located, role: str) -> Inputs:
    return next(iter(located.group(role).values()))


def _named(encoder: Encoder, declared: openood.Protocol) -> tuple[Encoder, list[str]]:
    """The encoder with the protocol's classes as names of its outputs, and what was assumed, in words."""
    head, classes = encoder.head, declared.classes
    if head is None or set(classes) <= set(head.classes or ()):
        return encoder, []
    outputs = len(head.bias)
    if outputs != len(classes):
        return encoder, [
            f"the network has {outputs:,} outputs, {declared.name} {len(classes):,} classes: its own head is not used, "
            "so rows behind a head have no published numbers beside them"
        ]
    named = copy.copy(encoder)
    named.head = replace(head, classes=classes)
    return named, [
        f"the network's {outputs:,} outputs are taken for the classes in their usual order ({listed(classes, 3)})"
    ]


def _other_inputs(located: openood.Located) -> list[str]:
    """One warning for all parts that are not those of the lists."""
    if not located.notes:
        return []
    return [
        f"these are not the inputs of OpenOOD's lists, so numbers are not the protocol's: {'; '.join(located.notes)}"
    ]


def _order(found: protocols.Bench) -> list[str]:
    """A warning where the network's own head names far fewer inputs right than a head fitted on its features."""
    right = {row.name.split(" >> ")[0]: row.accuracy for row in found.rows if row.accuracy is not None}
    own, ridge = right.get("own"), right.get("ridge")
    if own is None or ridge is None or own >= ridge / 2:
        return []
    return [
        f"the network's own head names {100 * own:.1f} % of the known test right, a ridge head on its features "
        f"{100 * ridge:.1f} %: are its outputs in another order, or of other classes?"
    ]


def _caveat(table: Mapping[str, Any]) -> str:
    runs = "means of 3 training runs" if any(row["near_std"] is not None for row in table["rows"]) else "one network"
    return (
        f"Published: {table['benchmark']}, {table['architecture']} of plain cross-entropy training, {runs}; another "
        "network than this one, so a difference is not the detector's alone. Those marked T had their setting chosen "
        "on unknown inputs for validation."
    )


def _encoded(of: str, inputs: Inputs, encoder: Encoder, **options: Any) -> Support:
    """As `bench` encodes it, so that the store answers the second time."""
    progress = options.pop("progress")
    report = None if progress is None else (lambda _, done, total: progress(f"encoding {of}", done, total))
    wanted = None if encoder.accepts == "arrays" else ["features"]
    return api.encode(inputs, encoder, wanted, progress=report, **options)


def _part_of(support: Support, seed: int) -> tuple[Support, Support]:
    """Three fifths and two fifths by class, groups whole, as a bench parts its known inputs."""
    fit, rest = split(support.labels, support.groups, FIT_SHARE, seed, rows=len(support))
    return support.take(fit), support.take(rest)


def _stacked(supports: Sequence[Support]) -> Support:
    """The rows of several sets of unknown inputs, one after the other."""
    if len(supports) == 1:
        return supports[0]
    names = [name for name in supports[0].signals.names if all(name in one.signals for one in supports)]
    return Support.of({name: np.concatenate([one.gather(name).numpy() for one in supports]) for name in names})
