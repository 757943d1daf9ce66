"""What can go wrong, each in one line: what, where, what to do.

The command line prints the message without a traceback and ends with ``exit_code``;
anything that is not an ``UnseenError`` is our bug (exit code 1).
"""

import re

# Line breaks, what a terminal obeys, and what turns the direction of writing around; spaces and joiners are letters.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def one_line(text: str) -> str:
    r"""The text with controls spelled out, as names of files and classes may hold any.

    >>> one_line("two\nlines")
    'two\\nlines'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class UnseenError(Exception):
    """Base of every error that a user can mend."""

    exit_code = 2

    def __str__(self) -> str:
        return one_line(super().__str__())


class WrongUse(UnseenError, ValueError):
    """An argument, option or combination that cannot work (exit code 2)."""


class NotFitted(WrongUse):
    """A detector, head or calibrator was asked before it was fitted (exit code 2)."""


class BadInput(UnseenError, ValueError):
    """The data cannot be used: missing, empty, malformed, non-finite (exit code 3)."""

    exit_code = 3


class NotEnoughKnown(BadInput):
    """Too few known inputs or classes for what was asked (exit code 3)."""


class DamagedFile(UnseenError):
    """A saved file is truncated, altered, foreign or from a newer version (exit code 4)."""

    exit_code = 4


class MissingExtra(UnseenError, ImportError):
    """An optional dependency is not installed (exit code 5)."""

    exit_code = 5


class NoRoom(UnseenError, OSError):
    """The disk or the memory is full (exit code 6)."""

    exit_code = 6
