"""Words to mine from: text files, tables, WordNet's database; in one order, whatever order they came in."""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Self

from unseen.errors import BadInput, DamagedFile, WrongUse
from unseen.files import fingerprint
from unseen.language.lines import numbered, read_bytes, read_lines
from unseen.language.templates import clean
from unseen.naming import printable, sort_classes
from unseen.optional import require

WORDNET = "wordnet"
"""Stands for WordNet's database, where NLTK or a Linux distribution left it."""

BY_NLTK = "nltk"
"""Stands for WordNet as NLTK reads it, of the corpus that ``nltk.download("wordnet")`` leaves on the machine."""

NLTK = ("/usr/share/nltk_data", "/usr/local/share/nltk_data", "/usr/lib/nltk_data", "/usr/local/lib/nltk_data")
SYSTEM = ("/usr/share/wordnet", "/usr/local/WordNet-3.0/dict")

# Lexicographer files, by the numbers that lexnames(5WN) gives those of nouns and adjectives.
_NOUNS = (
    "Tops", "act", "animal", "artifact", "attribute", "body", "cognition", "communication", "event", "feeling", "food",
    "group", "location", "motive", "object", "person", "phenomenon", "plant", "possession", "process", "quantity",
    "relation", "shape", "state", "substance", "time",
)  # fmt: skip
_FILES = {0: "adj.all", 1: "adj.pert", 44: "adj.ppl"} | {3 + i: f"noun.{name}" for i, name in enumerate(_NOUNS)}
_CATEGORY = re.compile(r"(noun|adj)\.[A-Za-z]+")
_ADJECTIVES = re.compile(r"(^|[._-])adj(ectives?)?([._-]|$)", re.IGNORECASE)
_SUFFIXES = {".txt", ".tsv", ".gz"}
_MARKER = re.compile(r"\((p|a|ip)\)$")  # where an adjective may stand in a sentence

Entry = tuple[str, str, str]
"""Word, ``"noun"`` or ``"adjective"``, category or nothing."""


@dataclass(frozen=True)
class Words:
    """Distinct words, sorted by letter.

    Of words that differ in capitals alone, the one with fewer capitals in front stays. A word that is both a noun and
    an adjective counts as a noun.

    Attributes:
        words: M0 words.
        kinds: ``"noun"`` or ``"adjective"`` of each.
        categories: of each, all that were said of it, such as ``("noun.act", "noun.person")``; empty where none was.
        sources: names of the files, without their folders.
        dropped: how many lines or words were not kept, by reason.
    """

    words: tuple[str, ...]
    kinds: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    sources: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, words: Iterable[str], *, sources: Sequence[str] = ()) -> Self:
        """Words at hand, as nouns.

        >>> Words.of(["fox", "Elk", "elk", ""])
        Words(2 nouns, 0 adjectives)
        """
        return cls.collect(((word.strip(), "noun", "") for word in words), sources=sources)

    @classmethod
    def collect(cls, entries: Iterable[Entry], *, sources: Sequence[str] = ()) -> Self:
        """Entries in any order; blank ones and repetitions are counted under ``dropped``."""
        spelling: dict[str, str] = {}
        said: dict[str, tuple[set[str], set[str]]] = {}
        blank = repeated = 0
        for word, kind, category in entries:
            if not word:
                blank += 1
                continue
            folded = word.casefold()
            repeated += folded in said
            # "turkey" comes after "Turkey": the order of letters decides, and not that of files.
            spelling[folded] = max(word, spelling.get(folded, word))
            kinds, categories = said.setdefault(folded, (set(), set()))
            kinds.add(kind)
            categories |= {category} if category else set()
        dropped = {"blank": blank, "repeated": repeated}
        rows = sorted((spelling[folded], *said[folded]) for folded in said)
        return cls(
            tuple(word for word, _, _ in rows),
            tuple("noun" if "noun" in kinds else "adjective" for _, kinds, _ in rows),
            tuple(tuple(sorted(categories)) for _, _, categories in rows),
            tuple(sources),
            {reason: number for reason, number in dropped.items() if number},
        )

    def __repr__(self) -> str:
        return f"Words({self.kinds.count('noun'):,} nouns, {self.kinds.count('adjective'):,} adjectives)"

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def id(self) -> str:
        """Fingerprint of the words and what they are."""
        return fingerprint(*(f"{word}\t{kind}" for word, kind in zip(self.words, self.kinds, strict=True)))

    def keep(self, wanted: Callable[[str, tuple[str, ...]], bool], reason: str) -> Self:
        """Those of which ``wanted(word, categories)`` is true; the others are counted under ``reason``."""
        rows = [i for i in range(len(self)) if wanted(self.words[i], self.categories[i])]
        lost = len(self) - len(rows)
        return replace(
            self,
            words=tuple(self.words[i] for i in rows),
            kinds=tuple(self.kinds[i] for i in rows),
            categories=tuple(self.categories[i] for i in rows),
            dropped={**self.dropped, **({reason: lost} if lost else {})},
        )

    def respell(self, write: Callable[[str, str], str]) -> Self:
        """Each word as ``write(word, kind)`` puts it, without categories; those that become alike are one."""
        made = self.collect((write(word, kind), kind, "") for word, kind in zip(self.words, self.kinds, strict=True))
        dropped = dict(self.dropped)
        for reason, number in made.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + number
        return replace(made, sources=self.sources, dropped=dropped)

    def without(self, categories: Sequence[str]) -> Self:
        """Without the words that are of these categories alone.

        >>> Words.collect([("fox", "noun", "noun.animal"), ("king", "noun", "noun.person")]).without(["noun.person"])
        Words(1 nouns, 0 adjectives)
        """
        gone = set(categories)
        return self.keep(lambda _, said: not said or not gone.issuperset(said), "of a category left out")


def read_words(*paths: str | os.PathLike[str]) -> Words:
    """The words of some files, sorted and each once, so that the order of files and lines changes nothing.

    A file is text, packed by gzip or not: a word a line, or ``word<TAB>category``, perhaps with more columns after it.
    A category begins with ``noun.`` or ``adj.``, as WordNet's do; a file that is named like one (``noun.animal.txt``)
    gives it to all its words, and other files with ``adj`` or ``adjectives`` as a part of their name hold adjectives.

    A folder holds WordNet's database (``data.noun``) or such files; a ``.zip`` holds the database. ``"wordnet"`` is the
    database where NLTK or a Linux distribution left it, read without a library; ``"nltk"`` has NLTK read its own copy.

    Raises:
        MissingExtra: for ``"nltk"`` without NLTK.
        WrongUse: when no path is given.
        BadInput: for a file that is not there, not UTF-8, or has a line that is no word; or when there is no word.
        DamagedFile: for a packed file, or a database, that is not whole.
    """
    if not paths:
        raise WrongUse("there is no file of words: give at least one")
    entries: list[Entry] = []
    sources: set[str] = set()
    for path in paths:
        found, name = _entries(path)
        entries += found
        sources.add(name)
    words = Words.collect(entries, sources=sorted(sources))
    if not words:
        raise BadInput(f"{', '.join(sorted(sources))}: there is no word in it: write one a line")
    return words


def read_names(given: str | os.PathLike[str] | Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """Class names, each with what the class is called in texts: mostly the same.

    Args:
        given: a folder of class folders; a file with a name a line, or ``class<TAB>called``; names with commas between
            them; a list; or a mapping from class to what it is called, with which two classes may be called the same.

    Raises:
        BadInput: for a file that is not there, a class that is named twice, or no names.

    >>> read_names("ant, bee")
    {'ant': 'ant', 'bee': 'bee'}
    """
    if isinstance(given, Mapping):
        pairs = [(str(name), called) for name, called in given.items()]
        if not all(isinstance(called, str) for _, called in pairs):
            raise BadInput("a mapping of class names says what each class is called, as text")
    elif not isinstance(given, str | os.PathLike):
        pairs = [(str(name), str(name)) for name in given]
    elif Path(given).is_dir():
        names = sort_classes(p.name for p in Path(given).iterdir() if p.is_dir() and not p.name.startswith("."))
        pairs = [(name, name) for name in names]
    elif not Path(given).is_file() and (isinstance(given, os.PathLike) or os.sep in given or _looks_like_a_file(given)):
        raise BadInput(f"{given}: there is no such file or folder of class names")
    elif Path(given).is_file():
        pairs = []
        for _, line in read_lines(given):
            name, _, called = line.partition("\t")
            pairs.append((name.strip(), called.split("\t")[0].strip() or name.strip()))
    else:
        pairs = [(name.strip(), name.strip()) for name in str(given).split(",") if name.strip()]
    names = tuple(name for name, _ in pairs)
    if not all(names) or not pairs:
        raise BadInput("a class has no name" if pairs else f"there are no class names in {given!r:.60}")
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise BadInput(
            f"class {twice!r} is named twice: name each class once and write what it is called beside it, "
            "class<TAB>called a line"
        )
    return dict(pairs)


def _looks_like_a_file(text: str) -> bool:
    return Path(text).suffix in _SUFFIXES | {".csv"}


def _entries(path: str | os.PathLike[str]) -> tuple[list[Entry], str]:
    target = Path(path)
    if str(path) == BY_NLTK and not target.exists():
        return _by_nltk(), WORDNET
    if str(path) == WORDNET and not target.exists():
        target = _find_wordnet()
    if target.is_dir():
        if (target / "data.noun").is_file():
            return _database(target, lambda name: read_bytes(target / name)), WORDNET
        files = sorted(p for p in target.iterdir() if p.is_file() and p.suffix in _SUFFIXES)
        if not files:
            raise BadInput(
                f"{target}: neither data.noun of WordNet's database nor a file of words (.txt, .tsv, .gz) is here"
            )
        return [entry for file in files for entry in _text(file)], target.name
    if target.suffix == ".zip":
        return _packed(target), WORDNET
    return _text(target), target.name


def _text(path: Path) -> list[Entry]:
    of_file = _CATEGORY.match(path.name)
    kind = "adjective" if _ADJECTIVES.search(path.name) else "noun"
    found: list[Entry] = []
    data = read_bytes(path)
    for number, line in numbered(data, path):
        word, *others = (part.strip() for part in line.split("\t"))
        if printable(word) != word:
            raise BadInput(
                f"{path} line {number:,}: {printable(word)!r:.60} is no word: it has control characters in it"
            )
        category = others[0] if others and _CATEGORY.fullmatch(others[0]) else of_file[0] if of_file else ""
        found.append((word, ("adjective" if category.startswith("adj") else "noun") if category else kind, category))
    blank = data.count(b"\n") + (not data.endswith(b"\n")) - len(found)
    return found + [("", kind, "")] * max(blank, 0)


def _by_nltk() -> list[Entry]:
    corpus = require("nltk.corpus", "text").wordnet
    try:
        corpus.ensure_loaded()
    except (LookupError, OSError) as error:  # not there, or not whole
        raise BadInput(
            "NLTK has no whole WordNet on this machine: run nltk.download('wordnet') where there is a network"
        ) from error
    return [
        (lemma.name().lower(), kind, synset.lexname())
        for part, kind in (("n", "noun"), ("a", "adjective"))
        for synset in corpus.all_synsets(part)
        for lemma in synset.lemmas()
    ]


def _find_wordnet() -> Path:
    homes: list[str | Path] = [*os.environ.get("NLTK_DATA", "").split(os.pathsep), Path.home() / "nltk_data"]
    homes += NLTK
    nltk = [Path(home, "corpora", name) for home in homes if str(home) for name in ("wordnet", "wordnet.zip")]
    for place in (os.environ.get("WNSEARCHDIR"), *nltk, *SYSTEM):
        target = Path(place or "no folder of that name")
        if place and ((target / "data.noun").is_file() or (target.suffix == ".zip" and target.is_file())):
            return target
    raise BadInput(
        "WordNet's database is not on this machine: install wordnet-base (Debian), or run nltk.download('wordnet') "
        "where there is a network, or give the folder that holds data.noun"
    )


def _packed(path: Path) -> list[Entry]:
    data = read_bytes(path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            inside = {Path(name).name: name for name in archive.namelist()}
            if "data.noun" not in inside:
                raise BadInput(f"{path}: data.noun of WordNet's database is not in it")
            return _database(path, lambda name: archive.read(inside[name]) if name in inside else b"")
    except zipfile.BadZipFile as error:
        raise DamagedFile(f"{path}: not a whole .zip file ({error})") from error


def _database(where: Path, read: Callable[[str], bytes]) -> list[Entry]:
    """Words of the files that wndb(5WN) describes, in lower case."""
    found: list[Entry] = []
    for name, kind in (("data.noun", "noun"), ("data.adj", "adjective")):
        for number, line in _synsets(where, name, read):
            fields = line.split(" ")
            try:
                category = _FILES[int(fields[1])]
                words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]  # each word is followed by a number
                if not words:
                    raise IndexError
            except (KeyError, ValueError, IndexError) as error:
                raise DamagedFile(f"{where / name} line {number:,}: not a line of WordNet's database") from error
            found += [(_MARKER.sub("", word).lower(), kind, category) for word in words]
    return found


def _synsets(where: Path, name: str, read: Callable[[str], bytes]) -> list[tuple[int, str]]:
    # The licence stands on top; its lines begin with a number too, but that is no offset of eight digits.
    return [row for row in numbered(read(name), where / name) if re.match(r"\d{8} ", row[1])]


def shared_words(names: Iterable[str]) -> Callable[[str], bool]:
    """Whether a word shares a part with one of the names: what spaces and underscores divide, whatever its capitals.

    >>> list(map(shared_words(["golden_retriever"]), ["Golden eagle", "gold"]))
    [True, False]
    """
    known = {part for name in names for part in clean(name).casefold().split()}
    return lambda word: not known.isdisjoint(clean(word).casefold().split())
