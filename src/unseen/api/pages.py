"""What a command found, composed into what `unseen.report.render` draws; every number of a page is made here.

>>> import tempfile
>>> import numpy as np
>>> from unseen.classifier import OpenSetClassifier
>>> from unseen.report import render
>>> known = np.random.default_rng(0).normal(size=(200, 4)).astype("float32") + 5
>>> guard, new = OpenSetClassifier("arrays", "mahalanobis").fit(known), np.float32([[5, 5, 5, 5], [-5, 5, -5, 5]])
>>> page = score_page(guard.predict(new), guard, new, known)
>>> page["answer"]
'1 of 2 inputs is unseen; were all known, 0 to 1 would be called so.'
>>> with tempfile.TemporaryDirectory() as folder:
...     render(page, f"{folder}/page.html").name
'page.html'
"""

from __future__ import annotations

import copy
import datetime
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from unseen.api.learnt import known_sources
from unseen.classifier import OpenSetClassifier, Verdicts, set_aside, short_id, versions
from unseen.data import Inputs, Unreadable, open_inputs
from unseen.encoders import encode
from unseen.encoders.base import check_kind
from unseen.errors import BadInput, WrongUse
from unseen.metrics import bands, evaluate
from unseen.protocols import Audit
from unseen.report import thumbnail
from unseen.report.page import MAX_RECORDS
from unseen.signals import Support

if TYPE_CHECKING:
    from unseen.api import Cache, Progress

PICTURES = 12  # of each kind
POINTS = 300  # of a curve
CONFIDENCE = 0.95
REPLICATES = 400  # resamples behind a band
NOVEL = "The most novel"
BORDER = "The most borderline: the last to be called unseen, and the first that were not"


def audit_page(found: Audit, source: Any = None, *, command: str | None = None) -> dict[str, Any]:
    """The page of an audit.

    Args:
        found: what `unseen.audit` returned.
        source: the known inputs, to be named.
        command: as it was typed, to be repeated.

    Returns:
        Results for `unseen.report.render`.
    """
    told = found.to_dict()
    pick = told["recommended"]
    row = next(one for one in told["detectors"] if one["name"] == pick["name"])
    hardest, many = told["held_out"][0], len(told["held_out"])
    low, high = row["auroc_interval"]
    between = "" if low is None else f" ({_level(found.confidence)} interval {_percent(low)} to {_percent(high)})"
    each = "each held out in turn" if many > 1 else "held out"
    named = f"classes, {each}," if many > 1 else f"class, {each},"
    of = f" of {_name(source)}" if _name(source) else ""
    splits = f"{found.repeats} random splits, averaged" if found.repeats > 1 else "one random split"
    return {
        "title": "unseen: audit",
        "question": f"Which detector should guard these {found.n:,} inputs{of}, and how well will it notice a class "
        "that nobody has collected?",
        "answer": f"{pick['name']} told {many} {named} from the others with a mean AUROC of "
        f"{_percent(pick['auroc'])}{between}; the hardest was {hardest['class']} "
        f"({_percent(hardest['auroc'][pick['name']])}).",
        "audit": told
        | {
            "encoder": short_id(found.encoder),
            "band": _over_classes(found.confidence, many),
            "promise_title": "What the numbers say",
            "promise": f"Each class was held out: detectors learnt the others ({splits}) and met it beside new inputs "
            "of the classes they had learnt. Means and intervals are over held-out classes, so they speak of "
            f"further classes of this kind, on average. {found.n_calibration:,} inputs were set aside for the "
            "threshold and never looked at.",
            "does_not_title": "What they do not say",
            "does_not_promise": "How unknown inputs of another kind fare, such as another place, a broken camera, "
            "or things unlike all of your classes; nor how any single new class fares: the strips above show how "
            "much classes differ. The recommended detector was chosen on these very classes, which flatters it a "
            "little. No threshold is set here: the fit of a guard does that.",
        },
        "reproduce": _reproduce(command, found.seed),
    }


def _over_classes(confidence: float, many: int) -> str:
    """What the curves of an audit are a mean of, and what their band is over."""
    if many < 2:
        return "One class was held out, so nobody can tell how the curves vary from class to class: no band is drawn."
    return (
        f"Each curve is the mean over {many:,} held-out classes at each rate from left to right; it belongs to no "
        "threshold, since at one and the same score classes lie at different rates. Shaded: the "
        f"{_level(confidence)} interval of that mean over held-out classes (Student's t), so for further classes of "
        "this kind on average. The band is for each point by itself, not for the whole curve; it is not where the "
        "curve of any single new class will lie, nor does it speak of more inputs of these classes. Where it has no "
        "width, these classes agree, which does not mean that further ones will."
    )


def bench_page(found: Any, *, command: str | None = None) -> dict[str, Any]:
    """The page of a bench.

    Args:
        found: what `unseen.bench` returned, or its ``to_dict``.
        command: as it was typed, to be repeated.

    Returns:
        Results for `unseen.report.render`.
    """
    told: dict[str, Any] = dict(found if isinstance(found, dict) else found.to_dict())
    parts = []
    for kind, about in told["groups"].items():
        between = ""
        if about["auroc_interval"] is not None:
            low, high = about["auroc_interval"]
            between = f" ({_level(told['confidence'])} interval {_percent(low)} to {_percent(high)})"
        many = len(about["sets"])
        on = f"mean AUROC over {many} {kind} sets" if many > 1 else f"AUROC on the {kind} set"
        parts.append(f"{about['best']} has the highest {on}, {_percent(about['auroc'])}{between}")
    named = [f"{kind}: {', '.join(about['sets'])}" for kind, about in told["groups"].items()]
    banded = any(one["roc"].get("band") for lines in told["curves"].values() for one in lines)
    copies = [
        f"{count:,} {'input' if count == 1 else 'inputs'} of {name} left out: exact copies of known ones"
        for name, count in (told.get("left_out") or {}).items()
    ]
    protocol, searched = told.get("protocol"), told.get("search")
    under = f"{protocol['title']}: how" if protocol else "How"
    setting = "with its default setting"
    if searched:
        on = "unknown inputs for validation" if searched["on"] == "unknown" else "held-out known classes"
        setting = f"where it is marked as tuned with a setting chosen before on {on}, else {setting}"
    return {
        "title": "unseen: bench",
        "question": f"{under} well does each detector tell the known inputs from sets of unknown ones "
        f"({'; '.join(named)})?",
        "answer": "; ".join(parts) + ".",
        "bench": told
        | {
            "encoder": short_id(told["encoder"]),
            "notes": [*copies, *(told.get("notes") or [])],
            "band": f"Shaded around a curve: where {_level(told['confidence'])} of {REPLICATES} resamples of inputs, "
            "whole groups where there are any, known and unknown ones separately, have it (bootstrap). The band is for "
            "each point by itself, not for the whole curve, and for new inputs of that very set; where it has no "
            "width, no resample differed, which does not mean that new inputs will not. Where a side is a single input "
            "or group there is none."
            if banded
            else None,
            "promise_title": "What the numbers say",
            "promise": f"Every detector was fitted once on known inputs, {setting}, and then met other "
            "known inputs and every unknown set. Intervals are for new inputs of these very sets; inputs of one group "
            "count as one draw. Baselines that use no network stand beside: where they do as well, a set says little "
            "about new meaning.",
            "does_not_title": "What they do not say",
            "does_not_promise": "How other unknown inputs fare: sets were "
            f"{'declared beforehand' if protocol else 'chosen by hand'}, and no interval covers that. "
            "The best row was named after all were seen.",
        },
        "reproduce": _reproduce(command, told["seed"]),
    }


def known_inputs(guard: OpenSetClassifier, *sources: Any) -> tuple[Inputs, ...]:
    """The known inputs to show beside new ones; nothing but names is read.

    Args:
        guard: a fitted classifier.
        sources: where they are; by default where they were when the guard learnt from them.

    Returns:
        One listing a source; none where no sources are given and a recorded one is not there any more, or cannot be
        used.

    Raises:
        BadInput: when a given source cannot be listed, or the guard's encoder reads another kind of input.
    """
    if sources:
        given = tuple(open_inputs(source) for source in sources)
        for inputs in given:
            if guard.encoder is not None:
                check_kind(guard.encoder, inputs.kind, inputs.source)
        return given
    recorded = [before.get("source") for before in guard.about.get("learnt") or [guard.about]]
    if guard.encoder is None or not all(source and Path(source).exists() for source in recorded):
        return ()
    try:
        found = tuple(open_inputs(source) for source in recorded)
    except BadInput:
        return ()
    return found if {inputs.kind for inputs in found} == {guard.encoder.accepts} else ()


def score_page(
    verdicts: Verdicts,
    guard: OpenSetClassifier,
    source: Any = None,
    known: Any = None,
    *,
    cache: Cache = None,
    seed: int = 0,
    workers: int | None = None,
    command: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The page of verdicts: counts, familiarity, curves where labels tell, and the inputs to look at.

    Inputs that are looked at are encoded again, and the known ones too unless the store has them, so that beside each
    stands the known input whose features point in the most similar direction (cosine).

    Args:
        verdicts: what ``guard`` said.
        guard: the classifier, with its encoder.
        source: the inputs that were scored, as for `unseen.score`; without them nothing is shown beside anything.
        known: known inputs, as for `unseen.score`, or a tuple of several such sources; by default those that the guard
            learnt from, where they still are: `known_inputs`.
        cache: a store for the encoding of the known inputs; None is the user's cache folder, False keeps nothing.
        seed: the seed of the command.
        workers: threads that read and decode, as for `unseen.encode`.
        command: as it was typed, to be repeated.
        progress: called with (what is being done, done, in all).

    Returns:
        Results for `unseen.report.render`.

    Raises:
        BadInput: as `known_inputs`.
    """
    inputs = None if source is None else open_inputs(source)
    told, records = verdicts.summary(), verdicts.records()
    n, found = len(verdicts), told["unseen"]
    are = f"{found:,} of {n:,} {'input' if n == 1 else 'inputs'} {'is' if found == 1 else 'are'} unseen"
    if verdicts.expected is not None:
        low, high = verdicts.expected
        answer = f"{are}; were all known, {low:,} to {high:,} would be called so."
    else:
        answer = f"{are}; of these, at most {_percent(verdicts.discoveries or 0)} are expected to be known."
    novel, border = _looked_at(verdicts)
    rows = list(dict.fromkeys([*_most_novel(verdicts, MAX_RECORDS), *novel, *border]))
    given = known if isinstance(known, tuple) else () if known is None else (known,)
    at_hand = known_inputs(guard, *given)
    reading = _Reading(guard, cache, workers, progress)
    neighbours, beside = _neighbours(verdicts, reading, inputs, at_hand, rows)
    for row, neighbour in neighbours.items():
        records[row]["nearest_known"] = neighbour.path
    page: dict[str, Any] = {
        "title": "unseen: score",
        "question": f"Which of {'these' if inputs is None else 'the'} {n:,} inputs"
        f"{f' of {_name(source)}' if _name(source) else ''} are unlike everything that the guard was taught?",
        "answer": answer,
        "score": {key: told[key] for key in ("alpha", "n", "unseen", "share_unseen")}
        | {
            "records": records,
            "skipped": [{"path": key, "reason": reason} for key, reason in verdicts.skipped],
            "notes": list(verdicts.notes),
            "labelled": told.get("labelled"),
            "expected_range": told["expected_if_all_known"],
            "distributions": _distributions(verdicts, guard),
            "curves": _curves(verdicts, inputs),
            "thumbnails": _thumbnails(records, verdicts, inputs, neighbours, novel, border),
            "beside": beside,
        },
        "calibration": _calibration(verdicts, guard),
        "reproduce": _reproduce(command, seed),
    }
    if verdicts.discoveries is not None:
        page["score"]["discoveries"] = verdicts.discoveries
    else:
        thresholds = guard.thresholds(verdicts.alpha)
        one = not guard.by_class
        page["score"] |= {"threshold": float(thresholds[0])} if one else {"thresholds": thresholds.tolist()}
    return page


def _most_novel(verdicts: Verdicts, many: int) -> list[int]:
    rows: list[int] = np.lexsort((verdicts.familiarity, verdicts.p_value))[:many].tolist()
    return rows


def _looked_at(verdicts: Verdicts) -> tuple[list[int], list[int]]:
    """Rows of the most novel inputs, and of those on either side of the verdict, none of them twice."""
    novel = _most_novel(verdicts, PICTURES)
    order = np.lexsort((verdicts.familiarity, verdicts.p_value))
    order = order[~np.isin(order, novel)]
    unseen = verdicts.unseen[order]
    half = PICTURES // 2
    return novel, [*order[unseen][-half:].tolist(), *order[~unseen][:half].tolist()]


@dataclass(frozen=True)
class _Neighbour:
    """A known input beside a new one, and where it lies."""

    path: str
    label: str | None
    similarity: float
    inputs: Inputs
    place: int


@dataclass(frozen=True)
class _Reading:
    """How inputs are encoded for a page."""

    guard: OpenSetClassifier
    cache: Cache
    workers: int | None
    progress: Progress | None

    def known(self, inputs: Inputs) -> Support:
        """Features of known inputs, from the store where it has them."""
        progress = self.progress
        part = None if progress is None else (lambda done, total: progress("encoding the known", done, total))
        return self._encoded(inputs, self.cache, part)

    def new(self, inputs: Inputs) -> Support:
        """Features of the few inputs that are looked at."""
        return self._encoded(inputs, False, None)

    def _encoded(self, inputs: Inputs, cache: Cache, progress: Callable[[int, int], None] | None) -> Support:
        assert self.guard.encoder is not None
        wanted = None if self.guard.encoder.accepts == "arrays" else ["features"]
        return encode(inputs, self.guard.encoder, wanted, cache=cache, progress=progress, workers=self.workers)


def _neighbours(
    verdicts: Verdicts, reading: _Reading, inputs: Inputs | None, known: tuple[Inputs, ...], rows: Sequence[int]
) -> tuple[dict[int, _Neighbour], str]:
    """For rows of the verdicts the nearest known input, and a sentence about what these are, or why there are none."""
    if inputs is None or not rows:
        return {}, ""
    guard, encoder = reading.guard, reading.guard.encoder
    without = "Only the name of the nearest class stands beside each: "
    if encoder is None:
        return {}, f"{without}the guard came without its encoder."
    if not known:
        recorded = guard.about.get("source")
        why = f"the known inputs of the fit, {recorded}, are not there any more"
        why = why if recorded else "the guard does not say where its known inputs are"
        return {}, f"{without}{why}. Name them with --known to see the nearest known input."
    places = {key: place for place, key in enumerate(inputs.keys)}
    shown = {verdicts.keys[row]: row for row in rows if verdicts.keys[row] in places}
    if not shown:
        return {}, f"{without}{inputs.source} holds none of the inputs that were scored."
    if encoder.accepts == "images" and "features" not in encoder.provides:
        return {}, f"{without}there are no features to compare by."
    new = reading.new(inputs.take([places[key] for key in shown]))
    those, whose = _fitted(guard, known, reading)
    if not all("features" in support.signals for support in (new, *those.values())):
        return {}, f"{without}there are no features to compare by."
    queries = new.gather("features")
    nearest: dict[int, _Neighbour] = {}
    for source, support in those.items():
        there = {key: place for place, key in enumerate(source.keys)}
        at, similarity = _nearest(queries, support)
        for key, row, cosine in zip(new.keys, at.tolist(), similarity.tolist(), strict=True):
            before = nearest.get(shown[key])
            if before is None or cosine > before.similarity:
                label = None if support.labels is None else support.classes[int(support.labels[row])]
                path = support.keys[row]
                nearest[shown[key]] = _Neighbour(path, label, cosine, source, there[path])
    return nearest, (
        f"Beside each stands the nearest of {whose}: the one whose features point in the most similar direction "
        "(cosine in brackets, 1 is the same)."
    )


def _fitted(
    guard: OpenSetClassifier, known: tuple[Inputs, ...], reading: _Reading
) -> tuple[dict[Inputs, Support], str]:
    """The rows of each source that the guard was fitted on, or all where these are others; and what they are."""
    try:
        then = known_sources(
            guard, known, lambda source, limit, seed: open_inputs(source, limit=limit, seed=seed), None
        )
        sources = tuple(one.inputs for one in then)
    except (BadInput, WrongUse):  # they changed since
        sources, then = known, []
    supports = {source: reading.known(source) for source in sources}
    if then and all(len(support) > 1 for support in supports.values()):
        parts = {source: set_aside(support, guard.calibration, guard.seed) for source, support in supports.items()}
        fit, aside = (sum(len(part[side]) for part in parts.values()) for side in (0, 1))
        if (fit, aside) == (guard.about.get("n_fit"), guard.about.get("n_calibration")):
            rest = {source: support.take(parts[source][0]) for source, support in supports.items()}
            return rest, f"the {fit:,} inputs that the guard was fitted on"
    total = sum(map(len, supports.values()))
    return supports, f"these {total:,} known inputs, which are not the same as at the fit"


def _nearest(queries: Tensor, known: Support) -> tuple[np.ndarray, np.ndarray]:
    """Row of the known input with the largest cosine to each query, and that cosine; both ``(B,)``."""
    unit = torch.nn.functional.normalize(queries.double(), dim=1)
    best = torch.full((len(unit),), -torch.inf, dtype=torch.float64)
    where = torch.zeros(len(unit), dtype=torch.int64)
    start = 0
    for batch in known.signals.batches("features"):
        rows = torch.nn.functional.normalize(batch["features"].double(), dim=1)
        cosine, at = (unit @ rows.T).max(dim=1)  # (B, N) -> (B,)
        nearer = cosine > best
        best, where = torch.where(nearer, cosine, best), torch.where(nearer, at + start, where)
        start += len(rows)
    return where.numpy(), best.numpy()


def _thumbnails(
    records: Sequence[dict[str, Any]],
    verdicts: Verdicts,
    inputs: Inputs | None,
    neighbours: Mapping[int, _Neighbour],
    novel: Sequence[int],
    border: Sequence[int],
) -> list[dict[str, Any]]:
    """Pictures of the inputs to look at, the most novel and the most borderline in turn beside their neighbours."""
    if inputs is None or inputs.kind != "images":
        return []
    places = {key: place for place, key in enumerate(inputs.keys)}
    pictures = []
    for row, kind in [*((row, NOVEL) for row in novel), *((row, BORDER) for row in border)]:
        image = _picture(inputs, places.get(verdicts.keys[row]))
        if image is None:
            continue
        picture: dict[str, Any] = records[row] | {"image": image, "kind": kind}
        if row in neighbours:
            beside = neighbours[row]
            picture["beside"] = {
                "path": beside.path,
                "label": beside.label,
                "similarity": beside.similarity,
                "image": _picture(beside.inputs, beside.place),
            }
        pictures.append(picture)
    return pictures


def _picture(inputs: Inputs, place: int | None) -> str | None:
    """A thumbnail; None where there is no such input, or its file went away since it was scored."""
    if place is None:
        return None
    try:
        return thumbnail(inputs.read(place))
    except Unreadable:
        return None


def _sides(verdicts: Verdicts) -> np.ndarray | None:
    """Which inputs are labelled with a known class; None unless both sides are there."""
    if verdicts.truth is None or not verdicts.classes:
        return None
    known = np.isin(np.array(verdicts.truth), np.array(verdicts.classes))
    return known if known.any() and not known.all() else None


def _distributions(verdicts: Verdicts, guard: OpenSetClassifier) -> list[dict[str, Any]]:
    groups = [{"name": "known, set aside", "scores": guard.calibrator.scores.tolist()}]
    known = _sides(verdicts)
    if known is None:
        return [*groups, {"name": "these inputs", "scores": verdicts.familiarity.tolist()}]
    return [
        *groups,
        {"name": "labelled as known", "scores": verdicts.familiarity[known].tolist()},
        {"name": "labelled otherwise", "scores": verdicts.familiarity[~known].tolist()},
    ]


def _curves(verdicts: Verdicts, inputs: Inputs | None) -> dict[str, Any]:
    """Curves of familiarity against the labels, with bands; empty where labels do not tell both sides."""
    known = _sides(verdicts)
    if known is None:
        return {}
    scores, unseen = verdicts.familiarity, verdicts.unseen
    groups = None if inputs is None else _groups(verdicts, inputs)
    result = evaluate(scores[known], scores[~known])
    roc, precision = result.roc("unknown", POINTS), result.precision_recall("unknown", POINTS)
    told: dict[str, Any] = {
        "positive": "unknown",
        "roc": np.stack([roc.fpr, roc.tpr], axis=1).tolist(),
        "precision_recall": np.stack([precision.recall, precision.precision], axis=1).tolist(),
        "share_unknown": result.n_unknown / (result.n_known + result.n_unknown),
        "auroc": result.auroc,
        "auroc_interval": list(result.auroc_interval(CONFIDENCE)),
        "ap_unknown": result.average_precision("unknown"),
        "at": {"roc": [float(unseen[known].mean()), float(unseen[~known].mean())]},
    }
    if unseen.any():
        told["at"]["precision_recall"] = [float(unseen[~known].mean()), float((~known)[unseen].mean())]
    pair, how = None, "inputs, known and unknown ones separately"
    if groups is not None:
        of_known, of_unknown = groups[known], groups[~known]
        if min(len(np.unique(of_known)), len(np.unique(of_unknown))) < 2:
            told["auroc_interval"] = None
            told["band"] = "One side is a single group, so nobody can tell how the curves vary: no band is drawn."
            return told
        pair, how = (of_known, of_unknown), "whole groups, of known and of unknown inputs separately"
    drawn = bands(scores[known], scores[~known], groups=pair, confidence=CONFIDENCE, replicates=REPLICATES)
    told["roc_band"] = np.column_stack([drawn.levels, drawn.tpr]).tolist()
    # Nothing is found at recall 0, where a precision of 1 is a convention.
    told["precision_recall_band"] = np.column_stack([drawn.levels, drawn.precision])[1:].tolist()
    told["ap_interval"] = list(drawn.ap_unknown)
    if groups is not None:
        told["auroc_interval"] = list(drawn.auroc)
    told["band"] = (
        f"Shaded: where {100 * CONFIDENCE:.0f} % of {REPLICATES} resamples of {how}, as many of each as here, have the "
        "curve (bootstrap). The band is for each point by itself, not for the whole curve; where it has no width, "
        "no resample differed, which does not mean that new inputs will not."
    )
    return told


def _groups(verdicts: Verdicts, inputs: Inputs) -> np.ndarray | None:
    """``(N,)`` group codes of the inputs that got a verdict; None where each is its own."""
    if inputs.groups is None:
        return None
    code = dict(zip(inputs.keys, inputs.groups.tolist(), strict=True))
    if not all(key in code for key in verdicts.keys):
        return None
    return np.array([code[key] for key in verdicts.keys])


def _calibration(verdicts: Verdicts, guard: OpenSetClassifier) -> dict[str, Any]:
    """How the verdicts were decided, what that promises and what it does not."""
    n = int(guard.about["n_calibration"])
    aside = f"{n:,} known inputs were set aside; nothing was learnt from them. "
    beyond = (
        "How many unknown inputs are caught: no unknown input was used. Nor anything about known inputs that look "
        "otherwise than those, from another camera, say."
    )
    if verdicts.discoveries is not None:
        level = _percent(verdicts.discoveries)
        return {
            "n": n,
            "how": "All inputs were decided together: the smallest p-values are called unseen, as many as keep the "
            f"expected share of known inputs among them at {level} (Benjamini-Hochberg).",
            "promise": f"{aside}Of the inputs called unseen at most {level} are known, averaged over such batches; "
            f"were all known, any would be called unseen in at most {level} of batches.",
            "does_not_promise": f"{beyond} And a verdict depends on the other inputs of its batch.",
        }
    assert verdicts.alpha is not None
    held = copy.copy(guard)
    held.alpha = verdicts.alpha  # what is said is said of the level that decided, which may not be the fit's
    about = held.info()
    level = _percent(verdicts.alpha)
    if guard.by_class:
        pooled = [row["class"] for row in about["per_class"] if row["pooled"]]
        return {
            "n": n,
            "alpha": verdicts.alpha,
            "per_class": about["per_class"],
            "promise": f"{aside}Of new known inputs taken for any one class, at most {level} are called unseen, "
            "averaged over such fits; the table says where the rate of this guard lies, with 95 % confidence each.",
            "does_not_promise": beyond
            + (
                f" Nor anything for {len(pooled):,} pooled classes, which had too few inputs set aside."
                if pooled
                else ""
            ),
        }
    low, high = about["false_alarm_interval"]
    return {
        "n": n,
        "alpha": verdicts.alpha,
        "promise": f"{aside}The threshold is the score below which at most {level} of new known inputs fall, averaged "
        f"over such fits; for this guard the rate lies between {_percent(low)} and {_percent(high)} with 95 % "
        "confidence.",
        "does_not_promise": beyond,
    }


def _reproduce(command: str | None, seed: int) -> dict[str, Any]:
    return {
        **({} if command is None else {"command": command}),
        "versions": versions(),
        "seed": seed,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
    }


def _name(source: Any) -> str:
    """A source as people gave it; nothing for arrays in memory."""
    if isinstance(source, Inputs):
        return source.source
    return os.fspath(source) if isinstance(source, str | os.PathLike) else ""


def _level(confidence: float) -> str:
    return f"{100 * confidence:g}\u00a0%"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}\u00a0%"  # never a number at the end of a line without its sign
