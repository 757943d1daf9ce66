"""Settings of detectors chosen before a bench: on unknown inputs, as OpenOOD does, or on known classes held out.

What is chosen on unknown inputs has met such inputs, which a detector in use never does: its numbers say how good a
setting can be found with them at hand. A choice on held-out known classes needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from unseen.data import Progress
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.metrics import evaluate
from unseen.protocols.audit import inner_parts, recommend_setting
from unseen.protocols.candidates import Candidate, candidates
from unseen.signals import Climbed, Request, Support

ON_UNKNOWN = (
    "settings were chosen on unknown inputs for validation, which a detector in use never has: rows tuned on unknown "
    "are not to be compared with detectors that were not, nor expected of unknown inputs of other kinds"
)
ON_KNOWN = "settings were chosen on held-out known classes; no unknown input was touched"
OWN_HEAD = (
    "the network was trained on the classes that were held out, so this choice is made on features that have met them"
)


@dataclass(frozen=True)
class Choice:
    """What a search found.

    Attributes:
        on: ``"unknown"`` or ``"known"``.
        warning: what the reader must know.
        detectors: expressions to bench, with the chosen settings.
        rows: expression -> ``name`` (without the choice), ``setting`` (what differs from the default), ``tried`` (how
            many settings) and, on unknown inputs, ``auroc`` of the choice and ``settings``, all that were tried with
            theirs. Only detectors that had a choice.
        n_known: known inputs that the choice was made on; likewise ``n_unknown``, which is 0 for held-out classes.
    """

    on: str
    warning: str
    detectors: list[str]
    rows: dict[str, dict[str, Any]]
    n_known: int
    n_unknown: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; fractions."""
        return {
            "on": self.on,
            "warning": self.warning,
            "rows": self.rows,
            "n_known": self.n_known,
            "n_unknown": self.n_unknown,
        }


def search_on_unknown(
    fit: Support,
    known: Support,
    unknown: Support,
    detectors: Sequence[str] | None = None,
    *,
    progress: Progress | None = None,
) -> Choice:
    """For each detector the setting of its grid with the highest AUROC of known against unknown validation inputs.

    The first of equals is taken, and what the expression says comes first. Nothing here may be tested later.

    Args:
        fit: known inputs to learn from.
        known: other known inputs.
        unknown: unknown inputs for validation.
        detectors: names or expressions; all by default.
        progress: called with (detectors done, detectors in all).

    Raises:
        WrongUse: when a side is empty.
        NotEnoughKnown: when no detector can be tried.

    Source: the automatic parameter search of Zhang et al., "OpenOOD v1.5", 2023.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> known = Support.of(np.repeat(rng.normal(size=(60, 4)), 2, axis=0))
    >>> found = search_on_unknown(known, Support.of(rng.normal(size=(30, 4))), Support.of(np.zeros((9, 4))), ["knn"])
    >>> found.detectors, found.rows["knn(k=1)"]["tried"]
    (['knn(k=1)'], 3)
    """
    if not len(known) or not len(unknown):
        raise WrongUse("a search on unknown inputs needs known and unknown inputs for validation; one side is empty")

    def best(candidate: Candidate) -> tuple[dict[str, Any], dict[str, Any]]:
        tried: list[dict[str, Any]] = []
        reason: NotEnoughKnown | None = None
        for setting in candidate.settings():
            detector = candidate.build(setting)
            try:
                detector.fit(fit.asked(_before(detector.at_fit())))
            except NotEnoughKnown as error:
                reason = error
                continue
            sides = (side.asked(detector.needs).signals for side in (known, unknown))
            auroc = evaluate(*map(detector.score, sides)).auroc
            tried.append({"setting": setting, "auroc": auroc})
        if not tried:
            assert reason is not None
            raise reason
        chosen = max(tried, key=lambda one: float(one["auroc"]))  # the first of equals
        return chosen["setting"], {"auroc": chosen["auroc"], "settings": tried}

    chosen = _chosen(fit, detectors, best, progress)
    return Choice("unknown", ON_UNKNOWN, *chosen, n_known=len(known), n_unknown=len(unknown))


def _before(needs: Iterable[str | Request]) -> set[str | Request]:
    """What can be asked for before a fit."""
    return {need for need in needs if not isinstance(need, Climbed)}


def search_on_known(
    fit: Support, detectors: Sequence[str] | None = None, *, seed: int = 0, progress: Progress | None = None
) -> Choice:
    """For each detector the setting that notices held-out known classes best, as an audit chooses it.

    Args:
        fit: labelled known inputs to learn from; at most three of their classes are held out in turn.
        detectors: names or expressions; all by default.
        seed: of the classes and the split.
        progress: called with (detectors done, detectors in all).

    Raises:
        WrongUse: without labels of three classes or more.
        NotEnoughKnown: when no detector can be tried.
    """
    if fit.labels is None or len(fit.classes) < 3:
        raise WrongUse("a search on known inputs holds classes out, so it needs labels of three classes or more")
    # What a head says that knows the class held out can choose nothing, so its setting stays.
    told_apart, _ = candidates(fit, detectors, refit=True)
    names = {candidate.name for candidate in told_apart}
    built = (candidate.build({}) for candidate in told_apart)
    asked = fit.asked({need for detector in built for need in _before(detector.needs | detector.at_fit())})
    parts = cache(lambda: inner_parts(asked, seed))

    def best(candidate: Candidate) -> tuple[dict[str, Any], dict[str, Any]]:
        return recommend_setting(asked, candidate, seed, parts), {}

    warning = ON_KNOWN if fit.head is None else f"{ON_KNOWN}; {OWN_HEAD}"
    return Choice("known", warning, *_chosen(fit, detectors, best, progress, names), n_known=len(fit), n_unknown=0)


def _chosen(
    fit: Support,
    detectors: Sequence[str] | None,
    best: Callable[[Candidate], tuple[dict[str, Any], dict[str, Any]]],
    progress: Progress | None,
    only: Collection[str] | None = None,
) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Expressions with their settings, and what was chosen where there was a choice, of ``only`` these candidates."""
    tried, not_tried = candidates(fit, detectors)
    expressions: list[str] = []
    rows: dict[str, dict[str, Any]] = {}
    for done, candidate in enumerate(tried, start=1):
        settings = candidate.settings()
        if len(settings) == 1 or (only is not None and candidate.name not in only):
            expressions.append(candidate.name)
        else:
            try:
                setting, about = best(candidate)
            except (NotEnoughKnown, WrongUse):  # the bench says why, of the setting that it has by itself
                expressions.append(candidate.name)
            else:
                whole = candidate.build(setting).expression() if setting else candidate.name
                expressions.append(whole)
                rows[whole] = {"name": candidate.name, "setting": setting, "tried": len(settings), **about}
        if progress is not None:
            progress(done, len(tried))
    if not expressions:
        raise NotEnoughKnown("no detector can be tried: " + "; ".join(f"{n}: {r}" for n, r in not_tried.items()))
    # What cannot be tried on these signals is left to the bench, where it was asked for by name.
    return [*dict.fromkeys(expressions), *(not_tried if detectors else ())], rows
