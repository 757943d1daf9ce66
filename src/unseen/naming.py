"""Names: what a label may be, classes and groups as integer codes, names in messages."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unseen.errors import BadInput, one_line

_INTEGER = re.compile(r"[0-9]+", re.ASCII)
_NEGATIVE = re.compile(r"-[0-9]+", re.ASCII)


def sort_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Distinct names in order: by number when all are integers, else by letter.

    >>> sort_classes(["10", "9", "10"]), sort_classes(["10", "9", "cat"])
    (('9', '10'), ('10', '9', 'cat'))
    """
    distinct = set(names)
    if all(_INTEGER.fullmatch(name) for name in distinct):
        # By length, then letters: the same order as int(), which refuses more than 4,300 digits.
        return tuple(sorted(distinct, key=lambda name: (len(name.lstrip("0")), name.lstrip("0"), name)))
    return tuple(sorted(distinct))


def encode_labels(names: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """``N`` class names -> sorted classes ``(C,)`` and codes ``(N,)`` into them."""
    classes = sort_classes(names)
    code = {name: number for number, name in enumerate(classes)}
    return classes, np.fromiter((code[name] for name in names), np.int64, len(names))


def encode_groups(names: Sequence[Any]) -> tuple[NDArray[np.int64], int]:
    """``N`` group names -> codes ``(N,)``; a row without a name (``None``) gets a group of its own.

    Returns: the codes, in the order of first appearance, and how many rows had no name.
    """
    seen: dict[Any, int] = {}
    alone = 0
    codes = np.empty(len(names), np.int64)
    for row, name in enumerate(names):
        alone += name is None
        codes[row] = seen.setdefault((row,) if name is None else name, len(seen))
    return codes, alone


def check_label(label: object, where: str) -> str:
    """A label as its class name.

    Raises:
        BadInput: negative, or neither a string nor an integer; ``where`` begins the message.
    """
    if isinstance(label, bool) or not isinstance(label, (str, int, np.integer)):
        raise BadInput(f"{where}: label {label!r} is neither a name nor an integer from 0")
    if not isinstance(label, str):
        if label < 0:
            raise BadInput(_negative(str(label), where))
        return str(label)
    name = printable(label.strip())
    if _NEGATIVE.fullmatch(name):
        raise BadInput(_negative(name, where))
    return name


def _negative(label: str, where: str) -> str:
    return (
        f"{where}: label {label} is negative; labels are names or integers from 0, "
        "and unlabelled rows need a source without labels"
    )


def printable(text: str) -> str:
    r"""The text on one line: controls, and what is no Unicode (bytes of a file name, lone surrogates), spelled out.

    >>> printable("caf\udce9"), printable("two\nlines")
    ('caf\\xe9', 'two\\nlines')
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        try:
            text = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
        except UnicodeEncodeError:
            text = text.encode(errors="backslashreplace").decode()
    return one_line(text)


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """``'; did you mean "label"?'`` for the nearest of the words, or nothing.

    >>> did_you_mean("lable", ["path", "label"])
    '; did you mean "label"?'
    """
    folded = {one.casefold(): one for one in words}
    near = difflib.get_close_matches(word.casefold(), folded, n=1)
    return f'; did you mean "{folded[near[0]]}"?' if near else ""


def listed(words: Iterable[str], most: int = 12) -> str:
    """Words with commas, the rest counted."""
    words = list(words)
    more = f" and {len(words) - most:,} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
