"""Which encoder to take: the accuracy of each on known inputs beside what its features notice of unknown ones."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unseen import api, encoders
from unseen.api import pages
from unseen.encoders import Encoder, open_encoder
from unseen.errors import WrongUse
from unseen.naming import did_you_mean
from unseen.protocols.backbones import TEMPERATURE, Backbones, Encoded, K
from unseen.protocols.backbones import backbones as measured
from unseen.signals import Support


def backbones(
    known: Any,
    unknown: Any,
    encoder: Sequence[str | Encoder] | Mapping[str, str | Encoder],
    *,
    known_test: Any = None,
    families: Mapping[str, Sequence[str]] | None = None,
    k: int = K,
    temperature: float = TEMPERATURE,
    confidence: float = 0.95,
    cache: api.Cache = None,
    limit: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    workers: int | None = None,
    progress: api.Progress | None = None,
) -> Backbones:
    """Ask many encoders about the same inputs, and whether the more accurate ones notice the unknown better.

    Of each encoder: the k-NN accuracy on known test inputs, and the AUROC of the distance to the nearest known feature.
    Nothing is trained. Through the encoders, and through each family of them, a least-squares line is drawn. Inputs of
    the unknown, or of the known test, that are exact copies of known ones are left out and counted.

    Args:
        known: labelled known inputs, as for `encode`; split 60/40 by class, groups whole, into those among which
            neighbours are looked for and those that are tested.
        unknown: unknown inputs, as for `encode`.
        encoder: encoders, by name or as objects; a mapping calls each by a name of its own.
        known_test: known inputs to test on; neighbours are then looked for among all of ``known``.
        families: name -> encoders of that family, as they are called here, or patterns of them such as ``"timm:*"``.
        k: neighbours that vote for a class.
        temperature: of their votes.
        confidence: of the intervals.
        cache: as for `encode`.
        limit: at most so many inputs of each source.
        seed: of every draw.
        device: where the networks run.
        workers: as for `encode`.
        progress: called with (what is being done, done, in all).

    Returns:
        A row for each encoder; one that fails is listed in ``failed`` with why, and the others go on.

    Raises:
        WrongUse: without labels or encoders, for a family of encoders that are not there, or where every encoder fails.
        BadInput: when a source cannot be listed, or nothing is left of it.

    >>> import numpy as np
    >>> image = np.random.default_rng(0).integers(0, 60, (80, 8, 8, 3)).astype(np.uint8)
    >>> image += np.array([[0, 0, 0], [90, 0, 0], [0, 90, 0], [0, 0, 90]], np.uint8)[np.arange(80) % 4][:, None, None]
    >>> sort = np.arange(80) % 4
    >>> known = {"images": image[sort < 3], "labels": sort[sort < 3]}
    >>> sizes = [f"pixels?size={size}" for size in (1, 2, 4)]
    >>> found = backbones(known, {"images": image[sort == 3]}, sizes, k=3, cache=False)
    >>> len(found.rows), found.rows[0].n_test, min(row.auroc for row in found.rows) > 0.9
    (3, 24, True)
    """
    named = _named(encoder)
    chosen = _families(families or {}, list(named))
    given = {"known": known, **({} if known_test is None else {"known test": known_test}), "unknown": unknown}
    inputs, left_out = api._without_copies({of: api._inputs(one, limit, seed) for of, one in given.items()})
    for of in ("known", "known test"):
        if of in inputs and inputs[of].labels is None:
            raise WrongUse(
                f"{inputs[of].source} has no labels, and the accuracy of an encoder needs them: put the images of each "
                "class into a folder of their own"
            )

    def encoding(name: str, one: str | Encoder) -> Callable[[], Encoded]:
        def encode() -> Encoded:
            made = open_encoder(one, device)
            seen: dict[str, Support] = {}
            for of, part in inputs.items():
                told = api._part(progress, f"encoding {of} by {name}")
                wanted = None if made.accepts == "arrays" else ["features"]
                seen[of] = encoders.encode(part, made, wanted, cache=cache, progress=told, workers=workers)
            return Encoded(seen["known"], seen["unknown"], seen.get("known test"))

        return encode

    return measured(
        {name: encoding(name, one) for name, one in named.items()},
        families=chosen,
        k=k,
        temperature=temperature,
        confidence=confidence,
        seed=seed,
        left_out=left_out,
        progress=api._part(progress, "encoders"),
    )


def backbones_page(found: Backbones, *, command: str | None = None) -> dict[str, Any]:
    """The page of a study of backbones.

    Args:
        found: what `backbones` returned.
        command: as it was typed, to be repeated.

    Returns:
        Results for `unseen.report.render`.
    """
    best, many = found.rows[0], len(found.rows)
    between = ""
    if best.auroc_interval is not None:
        low, high = map(pages._percent, best.auroc_interval)
        between = f" ({pages._level(found.confidence)} interval {low} to {high})"
    copies = [
        f"{count:,} {'input' if count == 1 else 'inputs'} of {name} left out: exact copies of known ones"
        for name, count in found.left_out.items()
    ]
    told = found.to_dict()
    return {
        "title": "unseen: backbones",
        "question": f"Which of {many} encoders notices the unknown, and does its accuracy on the known predict it?",
        "answer": f"{best.encoder} has the highest AUROC, {pages._percent(best.auroc)}{between}; {found.sentence}.",
        "backbones": told
        | {
            "notes": [*copies, *told["notes"]],
            "promise_title": "What the numbers say",
            "promise": f"{best.n_test:,} known inputs were tested against {best.n_unknown:,} unknown ones, and "
            f"neighbours looked for among {best.n_fit:,} other known ones, by every encoder alike. The accuracy is of "
            f"the votes of {found.k} neighbours, the AUROC of the distance to the nearest. Intervals of a row are for "
            "new inputs of these kinds; those of a line are over encoders, resampled.",
            "does_not_title": "What they do not say",
            "does_not_promise": "That an accurate encoder notices more because it is accurate: encoders were chosen by "
            "hand, and what made one accurate may have been these very classes, or the unknown ones. Versions of one "
            "network are not independent, so with them a line looks surer than it is. Other unknown inputs may order "
            "the encoders otherwise. The first row was named after all were seen.",
        },
        "reproduce": pages._reproduce(command, found.seed),
    }


def _named(given: Sequence[str | Encoder] | Mapping[str, str | Encoder]) -> dict[str, str | Encoder]:
    """Encoders by what they are called."""
    if isinstance(given, str):
        given = [given]
    pairs = list(given.items()) if isinstance(given, Mapping) else [(_name(one), one) for one in given]
    if not pairs:
        raise WrongUse("a study of backbones needs encoders: name some, such as packaged and pixels")
    named = dict(pairs)
    if len(named) < len(pairs):
        twice = next(name for at, (name, _) in enumerate(pairs) if name in dict(pairs[:at]))
        raise WrongUse(f"the encoder {twice!r} is given twice: name each once")
    return named


def _name(encoder: str | Encoder) -> str:
    return encoder if isinstance(encoder, str) else encoder.id


def _families(families: Mapping[str, Sequence[str]], names: Sequence[str]) -> dict[str, list[str]]:
    """Family -> its encoders, patterns replaced by what they fit."""
    chosen: dict[str, list[str]] = {}
    for family, members in families.items():
        chosen[family] = []
        for text in [members] if isinstance(members, str) else members:
            fit = [text] if text in names else [name for name in names if fnmatch.fnmatchcase(name, text)]
            if not fit:
                raise WrongUse(f"family {family!r}: {text!r} is none of the encoders{did_you_mean(text, names)}")
            chosen[family] += [name for name in fit if name not in chosen[family]]
    return chosen
