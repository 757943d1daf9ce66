"""Words that were thought of for these very classes: lists, what a language model once answered, a function."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from unseen.errors import BadInput
from unseen.language.lines import read_bytes, read_lines

# "12. red fox", "3) red fox", "- red fox", "* red fox".
_NUMBER = re.compile(r"^\s*(?:\(?\d+[.):]|[-*\u2022\u2013])\s+")
_AROUND = " \t\r\"'`*"


@runtime_checkable
class Proposer(Protocol):
    """Whatever names words that are no class's."""

    def propose(self, names: Sequence[str], count: int | None) -> Sequence[str]:
        """At most ``count`` words for classes of these names; None is all that there are."""


@dataclass(frozen=True)
class Listed:
    """A text file of words, one a line, the best first; numbers and bullets before them go, and what follows a tab.

    Attributes:
        path: of the file.
    """

    path: str | os.PathLike[str]

    def propose(self, names: Sequence[str], count: int | None) -> tuple[str, ...]:
        """The first ``count`` words of the file, whatever the names."""
        return tidy(line.split("\t")[0] for _, line in read_lines(self.path))[:count]


@dataclass(frozen=True)
class Recorded:
    """What a language model once answered, in a JSON file; nothing is asked again.

    Either a list of answers, or an object from class name to a list: then only those of the classes asked about count,
    and each must be there. An answer of several lines is several words.

    Attributes:
        path: of the file.
    """

    path: str | os.PathLike[str]

    def propose(self, names: Sequence[str], count: int | None) -> tuple[str, ...]:
        """The first ``count`` words of the record; of an object, the first of each class before the second of any.

        Raises:
            BadInput: for a file that is not there, holds something else, or lacks a class.
        """
        try:
            held = json.loads(read_bytes(self.path))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            where = f" line {error.lineno:,}" if isinstance(error, json.JSONDecodeError) else ""
            raise BadInput(f"{self.path}{where}: not JSON in UTF-8: a list of words, or lists by class name") from error
        if not isinstance(held, dict):
            return tidy(self._answers(held, "the record"))[:count]
        absent = [name for name in names if name not in held]
        if absent:
            raise BadInput(
                f"{self.path}: nothing is recorded for class {absent[0]!r} ({len(absent):,} classes lack words)"
            )
        lists = [tidy(self._answers(held[name], f"class {name!r}")) for name in names]
        longest = max(map(len, lists), default=0)
        return tidy(words[i] for i in range(longest) for words in lists if i < len(words))[:count]

    def _answers(self, held: Any, whose: str) -> list[str]:
        answers = [held] if isinstance(held, str) else held
        if not isinstance(answers, list) or not all(isinstance(one, str) for one in answers):
            raise BadInput(f"{self.path}: the words of {whose} must be a list of texts")
        return answers


@dataclass(frozen=True)
class Called:
    """A function, such as one that asks a language model; keep its answers in a file and use `Recorded` from then on.

    Attributes:
        function: ``(names, count)`` to words.
    """

    function: Callable[[Sequence[str], int | None], Sequence[str]]

    def propose(self, names: Sequence[str], count: int | None) -> tuple[str, ...]:
        r"""What the function says, tidied.

        >>> Called(lambda names, count: "1. Red fox.\n2. red fox\n3. elk").propose(["wolf"], 5)
        ('Red fox', 'elk')
        """
        return tidy(self.function(names, count))[:count]


def tidy(answers: str | Iterable[str]) -> tuple[str, ...]:
    """Words of answers: one a line, without number or bullet, quotes and the last full stop, each once.

    Of words that differ in capitals alone, the first stays.

    >>> tidy(["1. Dr. Pepper.", "- 'red fox'", "RED FOX", ""])
    ('Dr. Pepper', 'red fox')
    """
    lines = [line for text in ([answers] if isinstance(answers, str) else answers) for line in text.splitlines()]
    words = [_NUMBER.sub("", line).strip(_AROUND).removesuffix(".").strip(_AROUND) for line in lines]
    first: dict[str, str] = {}
    for word in words:
        if word:
            first.setdefault(word.casefold(), word)
    return tuple(first.values())
