"""From names and words to a text bank: everything that is decided before a model reads a text."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unseen.errors import BadInput, WrongUse
from unseen.files import fingerprint
from unseen.language import templates
from unseen.language.mining import BLOCK, FRACTION, check_quantile, check_rule, mine
from unseen.language.proposals import Called, Listed, Proposer, Recorded
from unseen.language.prototypes import check_order, prototypes
from unseen.language.words import Words, read_names, read_words, shared_words
from unseen.naming import listed
from unseen.signals import Embed, TextBank

Names = str | os.PathLike[str] | Sequence[str] | Mapping[str, str]
Negatives = (
    str
    | os.PathLike[str]
    | Sequence[str]
    | Sequence[os.PathLike[str]]
    | Words
    | Proposer
    | Callable[..., Sequence[str]]
)

CSP_DROPS = ("noun.person", "noun.quantity", "noun.group", "adj.pert")
"""Categories of WordNet that CSP leaves out."""

SUPERCLASSES = (
    "environment", "space", "object", "scene", "place", "item", "area",
    "view", "thing", "pattern", "structure", "landscape", "vista", "creature",
)  # fmt: skip
"""What CSP puts behind an adjective, one of them drawn for each."""


@dataclass(frozen=True)
class Texts:
    """How class names, and words that are no class's, become rows of a `TextBank`.

    Attributes:
        names: the classes: see `read_names`. None takes the class names of the data.
        prompts: how a name becomes texts: a registered list (``plp``, ``imagenet``, ``mcm``, ``neglabel``, ``csp``,
            ...), a file, one prompt, or a list.
        order: of averaging; see ``ORDERS``.
        clean: underscores in names and words as spaces. Off, as published results used lists as they were.
        negatives: words to mine from: a file, several (as `Path`), a folder, ``"wordnet"``, or the words; or words
            thought of for these classes: a ``.json`` record, a `Proposer` or a function. A text in a list is a word; a
            text alone is a path.
        mine: rule; see ``RULES``. With ``csp``, CSP's categories are left out, underscores go, and a word of the kind
            "creature" or "scene" is put behind each adjective.
        fraction: of nouns and of adjectives that are kept; 0.15 by default.
        count: keep so many words instead; of ``all``, the first so many that were proposed.
        quantile: of the cosines with the names; see `statistic`.
        interpolation: of the quantile.
        word_prompts: for nouns, and words without a kind; those of the names by default. Sentences take ``name``.
        adjective_prompts: for adjectives; by default what belongs to ``word_prompts``.
        distinct: leave out words that share a part with a class name ("golden eagle" beside "golden retriever").
        opposite: prompts of texts that deny a class, such as ``"a photo without {}"`` or ``"no"``, for `CLIPN`.
        seed: of ``random``, and of the word behind an adjective.

    Raises:
        WrongUse: for an unknown prompt, order or rule, shares or quantiles out of range, or options of mining without
            words to mine from.

    >>> embed = lambda texts: [[len(text), 1.0] for text in texts]
    >>> bank = Texts(["ox", "wasp"], negatives=["a very long word", "bee"], count=1).bank(None, embed)
    >>> bank.words, bank.about["candidates"]
    (('a very long word',), {'noun': 2})
    """

    names: Names | None = None
    prompts: templates.Prompts = "plp"
    order: str = "norm-mean-norm"
    clean: bool = False
    negatives: Negatives | None = None
    mine: str = "neglabel"
    fraction: float | None = None
    count: int | None = None
    quantile: float = 0.95
    interpolation: str = "linear"
    word_prompts: templates.Prompts | None = None
    adjective_prompts: templates.Prompts | None = None
    distinct: bool = False
    opposite: templates.Prompts | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        self._prompts()
        check_order(self.order)
        check_rule(self.mine, self.fraction, self.count)
        check_quantile(self.quantile, self.interpolation)
        of_words = ("fraction", "count", "word_prompts", "adjective_prompts", "distinct")
        given = [name for name in of_words if getattr(self, name) not in (None, False)]
        if self.negatives is None and given:
            raise WrongUse(f"{given[0]} is of words, and there are none: give negatives")

    def bank(
        self,
        names: Names | None,
        embed: Embed,
        scale: float | None = None,
        encoder: str = "",
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> TextBank:
        """Read all texts and keep the rows.

        Args:
            names: the classes; None takes ``self.names``.
            embed: texts to rows ``(n, E)``, as a model gives them.
            scale: what the model multiplies cosines by.
            encoder: id of the model.
            progress: called with (texts read, texts in all).

        Returns:
            A bank whose words stand in the order of their statistic, lowest first; ``about`` says how it was made.

        Raises:
            WrongUse: when nobody names the classes.
            BadInput: for names or files that cannot be used, or when no word is kept.
        """
        given = self.names if names is None else names
        if given is None:
            raise WrongUse("nobody names the classes: give their names")
        called = read_names(given)
        candidates = self.candidates(list(called.values()))
        of_names, of_kind, of_opposite = self._prompts()
        kinds = {} if candidates is None else {
            kind: [word for word, k in zip(candidates.words, candidates.kinds, strict=True) if k == kind]
            for kind in sorted(set(candidates.kinds), reverse=True)
        }  # fmt: skip
        tasks = [(list(called.values()), of_names), *((words, of_kind[kind]) for kind, words in kinds.items())]
        tasks += [] if of_opposite is None else [(list(called.values()), of_opposite)]
        rows = self._read_all(tasks, embed, progress)
        about = self._about(called, of_names, of_opposite)
        opposite = rows.pop() if of_opposite is not None else None
        held: dict[str, Any] = {"classes": tuple(called), "opposite": opposite, "scale": scale, "encoder": encoder}
        if candidates is None:
            return TextBank(rows[0], **held, about=about)

        words = [word for kind in kinds.values() for word in kind]
        of_word = [kind for kind, some in kinds.items() for _ in some]
        read = torch.cat(rows[1:])
        found = mine(
            words,
            read,
            rows[0],
            rule=self.mine,
            kinds=of_word,
            fraction=self.fraction,
            count=None if self.mine == "all" else self.count,
            quantile=self.quantile,
            interpolation=self.interpolation,
            seed=self.seed,
            block=BLOCK,
        )
        kept = found.index.tolist()
        chosen = tuple(words[i] for i in kept)
        about |= {
            "word_prompts": {kind: list(of_kind[kind]) for kind in kinds},
            "mine": self.mine,
            "share": self._share(),
            "quantile": self.quantile,
            "interpolation": self.interpolation,
            "distinct": self.distinct,
            "seed": self.seed,
            "words": candidates.id,
            "sources": list(candidates.sources),
            "dropped": dict(candidates.dropped),
            "candidates": {kind: len(some) for kind, some in kinds.items()},
            "kept": {kind: sum(of_word[i] == kind for i in kept) for kind in kinds},
            "near": found.near,
        }
        about["notes"] += _named_among(chosen, called)
        return TextBank(
            rows[0],
            negative=read[found.index],
            words=chosen,
            statistic=found.statistic[found.index],
            **held,
            about=about,
        )

    def candidates(self, names: Sequence[str]) -> Words | None:
        """The words to mine from, as they will be read; None where no negatives were given.

        Args:
            names: what the classes are called.
        """
        if self.negatives is None:
            return None
        words = self._open(names)
        if self.mine == "csp":
            words = words.without(CSP_DROPS).respell(lambda word, kind: _phrase(templates.clean(word), kind, self.seed))
        elif self.clean:
            words = words.respell(lambda word, _: templates.clean(word))
        if self.distinct:
            shares = shared_words(names)
            words = words.keep(lambda word, _: not shares(word), "sharing a part with a class name")
        if not words:
            raise BadInput("no word is left to mine from: give more, or leave out distinct")
        return words

    def _open(self, names: Sequence[str]) -> Words:
        assert self.negatives is not None
        whole = self.mine == "all"
        source = _source(self.negatives, whole)
        if not isinstance(source, Words):
            path = getattr(source, "path", None)
            proposed = source.propose(names, self.count if whole else None)
            return Words.of(proposed, sources=() if path is None else (Path(path).name,))
        if whole and self.count is not None:
            raise WrongUse("'all' counts the first words of a list, and these come in no order: leave out the count")
        return source

    def _prompts(self) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]], tuple[str, ...] | None]:
        """Of names, of each kind of word, of opposite texts."""
        of_words = self.prompts if self.word_prompts is None else self.word_prompts
        if self.adjective_prompts is not None:
            adjectives = templates.prompts(self.adjective_prompts)
        elif self.mine == "csp":  # an adjective with a noun behind it
            adjectives = templates.PROMPTS["csp_adjective"]
        else:
            adjectives = templates.adjective_prompts(of_words)
        return (
            templates.prompts(self.prompts),
            {"noun": templates.prompts(of_words), "adjective": adjectives},
            None if self.opposite is None else templates.prompts(self.opposite),
        )

    def _read_all(
        self,
        tasks: Sequence[tuple[list[str], tuple[str, ...]]],
        embed: Embed,
        progress: Callable[[int, int], None] | None,
    ) -> list[Tensor]:
        """Rows of each task, names and their prompts, with one progress over all."""
        sizes = [len(set(self._read(names))) * len(written) for names, written in tasks]
        rows: list[Tensor] = []

        def tell(done: int, _whole: int = 0) -> None:
            if progress is not None:
                progress(sum(sizes[: len(rows)]) + done, sum(sizes))

        tell(0)
        for names, written in tasks:
            rows.append(prototypes(names, embed, written, self.order, clean=self.clean, progress=tell))
        return rows

    def _read(self, words: Sequence[str]) -> list[str]:
        return [templates.clean(word) for word in words] if self.clean else list(words)

    def _share(self) -> dict[str, float | int]:
        if self.count is not None:
            return {"count": self.count}
        return {} if self.mine == "all" else {"fraction": FRACTION if self.fraction is None else self.fraction}

    def _about(
        self, called: Mapping[str, str], prompts: Sequence[str], opposite: Sequence[str] | None
    ) -> dict[str, Any]:
        read = dict(zip(called, self._read(list(called.values())), strict=True))
        same = {text: [name for name in read if read[name] == text] for text in dict.fromkeys(read.values())}
        same = {text: names for text, names in same.items() if len(names) > 1}
        notes = [
            f"the classes {listed(names)} are all called {text!r}, so no text tells them apart"
            for text, names in same.items()
        ]
        return {
            "prompts": list(prompts),
            "order": self.order,
            "clean": self.clean,
            "names": fingerprint(*read.values()),
            "called": {name: text for name, text in read.items() if name != text},
            "opposite_prompts": None if opposite is None else list(opposite),
            "notes": notes,
        }


def _source(given: Negatives, whole: bool) -> Proposer | Words:
    """What was given, as words or as what proposes some; ``whole`` where all of a list are taken, in its order."""
    if isinstance(given, Words | Proposer):
        return given
    if callable(given):
        return Called(given)
    parts = [Path(given)] if isinstance(given, str | os.PathLike) else list(given)
    words = [part for part in parts if isinstance(part, str)]
    if len(words) == len(parts):
        return Called(lambda _names, _count: words)
    if words:
        raise WrongUse("negatives are words (texts) or files (paths), not both in one list")
    paths = [Path(part) for part in parts if isinstance(part, os.PathLike)]
    records = [path for path in paths if path.suffix == ".json"]
    if records and len(paths) > 1:
        raise WrongUse(f"{records[0]}: a record is given alone, not beside other files")
    if records:
        return Recorded(records[0])
    if whole and len(paths) == 1 and paths[0].is_file() and paths[0].suffix != ".zip":
        return Listed(paths[0])
    return read_words(*paths)


def _phrase(word: str, kind: str, seed: int) -> str:
    if kind != "adjective":
        return word
    # By the word itself, so that neither other words nor their order change what is drawn for this one.
    return f"{word} {SUPERCLASSES[int(fingerprint(str(seed), word)[:12], 16) % len(SUPERCLASSES)]}"


def _named_among(words: Sequence[str], called: Mapping[str, str]) -> list[str]:
    """A note where a word that was kept is a class name."""
    names = {templates.clean(text).casefold() for text in called.values()}
    both = [word for word in words if templates.clean(word).casefold() in names]
    if not both:
        return []
    few = listed(both, 5)
    return [f"{len(both):,} of the words are class names ({few}): mine with csp, or leave them out with distinct"]
