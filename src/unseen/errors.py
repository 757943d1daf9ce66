"""What can go wrong, each in one line: what, where, what to do.

The command line prints the message without a traceback and ends with ``exit_code``;
anything that is not an ``UnseenError`` is our bug (exit code 1).
"""


class UnseenError(Exception):
    """Base of every error that a user can mend."""

    exit_code = 2


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
