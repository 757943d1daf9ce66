"""Which pipelines a protocol tries: detectors as they are, or behind a head where they need one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unseen.detectors.base import Detector, Pipeline
from unseen.errors import WrongUse
from unseen.heads.base import Head
from unseen.parts import Step
from unseen.registry import create, names
from unseen.signals import Climbed, Request, Samples, Support

HEADS = ("own", "ridge", "prototypes")
OF_TEXTS = ("plp", "zero_shot")  # heads where class names are known and no labels
LOGITS_OF_NAMES = "relative_mahalanobis(on='logits')"  # which the paper of PLP puts behind it
COSTLY = frozenset({"rebuilt_on_load", "costly_fit"})  # traits of detectors that are tried where they are named
ALL = "all"  # among the names of detectors: every one, also those that need passes of their own


@dataclass(frozen=True)
class Candidate:
    """A pipeline that a protocol tries: an expression that ends in a detector, behind a head where it needs one."""

    expression: str
    head: str | None = None

    @property
    def name(self) -> str:
        """As one expression."""
        return f"{self.head} >> {self.expression}" if self.head else self.expression

    def build(self, setting: Mapping[str, Any]) -> Detector:
        """A fresh, unfitted pipeline with this setting of the detector."""
        whole: Detector = create(self.expression)
        if setting:
            whole = whole.with_arguments(**setting)
        return create(self.head) >> whole if self.head else whole

    def settings(self) -> list[dict[str, Any]]:
        """What the expression says first, then every other point of the detector's short grid.

        An argument that the expression gives is not varied.
        """
        part: Detector = create(self.expression)
        given = part.arguments()
        usual = (part.detector if isinstance(part, Pipeline) else part).defaults()
        grid = {name: values for name, values in part.grid.items() if given[name] == usual[name]}
        points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
        return [{}, *(p for p in points if p and any(given[k] != v for k, v in p.items()))]


def requests_of(wanted: Sequence[str] | None) -> tuple[frozenset[Request], frozenset[Request]]:
    """What the detectors ask the encoder for at a fit, and of a query; what depends on a fit is not among it.

    Args:
        wanted: as for `candidates`.

    >>> requests_of(["knn", "odin"])[1] == create("odin").needs
    True
    """
    parts = [create(expression) for _, expression in (_listed(wanted) if wanted else ())]
    fit, query = (
        frozenset(
            need for needs in some for need in needs if isinstance(need, Request) and not isinstance(need, Climbed)
        )
        for some in ([part.at_fit() for part in parts], [part.needs for part in parts])
    )
    return fit, query


def passes_of(detector: Detector) -> tuple[int, int]:
    """Forward and backward passes that a query costs on its own; what has slopes shares one forward pass."""
    requests = [need for need in detector.needs if isinstance(need, Request)]
    many = [r.draws if isinstance(r, Samples) else 1 for r in requests]
    forward = sum(times * r.passes[0] for times, r in zip(many, requests, strict=True))
    backward = sum(r.passes[1] for r in requests)
    return forward - max(0, sum(r.passes[1] > 0 for r in requests) - 1), backward


def _listed(wanted: Sequence[str] | None) -> Iterator[tuple[str, str]]:
    """What was asked for, and the whole expression: a step has its partner behind it."""
    everything = not wanted or ALL in wanted
    for text in dict.fromkeys([*(names("detectors") if everything else ()), *(wanted or ())]):
        if text == ALL:
            continue
        part = create(text)
        if not isinstance(part, Step):
            yield text, text
        elif part.labels != "aligned":
            yield text, f"{text} >> {part.partner}"
        elif text in (wanted or ()):
            raise WrongUse(f"{text} is a step: put a detector behind it, such as ridge >> {text} >> msp")


def _refusal(request: Request, support: Support, refit: bool) -> str | None:
    """Why a request cannot be used; None where it can."""
    if refit and request.of_head:
        return f"asks for {type(request).__name__} of the network's own head, which knows the class held out"
    why = support.signals.refusal(request)
    return None if why is None else f"asks the encoder for {type(request).__name__}: {why}"


def candidates(
    support: Support, wanted: Sequence[str] | None = None, *, refit: bool = False
) -> tuple[list[Candidate], dict[str, str]]:
    """Pipelines to try, and why the others are not.

    What reads logits alone is cheap and tried behind every head; what needs a linear layer besides features, behind the
    first that applies. A step is tried with the detector that its source puts behind it; one that learns from the
    labels of the logits only where it is asked for in a whole expression, as it must not learn from what the head
    learnt from. Where there are names and no labels, heads are those that read the names, and what needs labels learns
    from theirs. Logits that came with the inputs are read as they are, unless a head must be fitted anew.

    Args:
        support: known inputs, whose signals, labels and head decide what can be tried.
        wanted: registered names or expressions; by default all detectors and steps that need nothing but features and
            logits. ``"all"`` among them stands for these and for those that ask the encoder for more.
        refit: whether classes will be left out, so that only a head that is fitted without them may make logits.

    Returns:
        Candidates in the order of the names, and name -> reason of those that cannot be tried.

    Raises:
        WrongUse: for an unknown name, or a step by itself that needs a detector behind it.

    >>> support = Support.of([[0.0], [1.0], [2.0]])
    >>> tried, reasons = candidates(support, ["knn", "msp"])
    >>> [candidate.name for candidate in tried], reasons["msp"]
    (['knn'], 'reads logits, and a head that makes them needs labels of two classes or more')
    """
    known = set(support.head.classes or ()) if support.head is not None else set()
    told_apart = support.labels is not None and len(np.unique(support.labels)) > 1
    there = set(support.signals.names)
    heads = [head for head in HEADS if head != "own" or set(support.classes) <= known] if told_apart else []
    if support.level == "names" and {"features", "embedding"} <= there:
        heads = list(OF_TEXTS)
    given = "logits" in there and not refit
    tried: list[Candidate] = []
    not_tried: dict[str, str] = {}
    everything = not wanted or ALL in wanted
    beside = [(LOGITS_OF_NAMES, LOGITS_OF_NAMES)] if heads == [*OF_TEXTS] and everything else []
    for text, expression in [*_listed(wanted), *beside]:
        part = create(expression)
        needs = part.needs | part.at_fit()
        reads = {need for need in needs if isinstance(need, str)}
        requests = sorted((need for need in needs if isinstance(need, Request)), key=lambda request: request.key)
        refused = [why for r in requests if (why := _refusal(r, support, refit)) is not None]
        if not wanted and (requests or part.traits & COSTLY):
            what = "asks the encoder for more than features" if requests else "its fit takes long on many inputs"
            not_tried[text] = f"{what}: name it, or ask for all"
            continue
        if refused:
            not_tried[text] = refused[0]
            continue
        if "uses_unknown" in part.traits and (refit or support.unknown is None):
            lacking = "an audit has none" if refit else "none were given to learn from"
            not_tried[text] = f"learns from unknown inputs too, and {lacking}"
            continue
        if "text_bank" in part.traits:
            bank = support.text
            why_not = "reads class names as texts, and there are none" if bank is None else part.refuses(bank)
            if why_not is not None:
                not_tried[text] = why_not
                continue
        brings_head = isinstance(part, Pipeline) and any(isinstance(step, Head) for step in part.given[0])
        if part.availability == "labels" and support.level == "names":
            if brings_head or not heads:
                not_tried[text] = "learns from labels, and names are all that is known"
            else:  # those of a head that reads the names stand for the labels that it needs
                tried.append(Candidate(expression, heads[0]))
            continue
        if refit and part.availability == "labels" and support.labels is None:
            not_tried[text] = "learns from labels, and none may be learnt from"
            continue
        needs_head = not brings_head and ("logits" in reads or "linear_head" in part.traits)
        if "logits" in reads and "features" not in there and not given:
            why = "no head can be refitted for a held-out class" if refit else "no head can make them"
            not_tried[text] = f"reads logits, and without features {why}"
        elif not reads - {"logits"} <= there:
            plain = [name for name in support.signals.names if "(" not in name]  # and no answers to others' requests
            not_tried[text] = f"reads {', '.join(sorted(reads))}, the encoding has {', '.join(plain)}"
        elif not needs_head:
            tried.append(Candidate(expression))
        elif reads == {"logits"} and not requests:
            behind = heads if "features" in there else []
            tried.extend([*([Candidate(expression)] if given else []), *(Candidate(expression, h) for h in behind)])
            if not given and not behind:
                not_tried[text] = "reads logits, and a head that makes them needs labels of two classes or more"
        elif given or (not heads and support.head is not None):
            tried.append(Candidate(expression))
        elif heads:
            tried.append(Candidate(expression, heads[0]))
        else:
            not_tried[text] = "needs a linear layer, and fitting one needs labels of two classes or more"
    return tried, not_tried
