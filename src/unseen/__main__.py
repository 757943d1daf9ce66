"""``python -m unseen`` and the console script: one line for a user's mistake, a traceback for ours."""

from __future__ import annotations

import errno
import os
import sys
import traceback

from unseen.errors import NoRoom, UnseenError, one_line

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def main() -> None:
    """Run the command line and end with the documented exit code."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal has no letters for
    try:
        from unseen.cli import app

        code = app(prog_name="unseen", standalone_mode=False)
        sys.stdout.flush()  # so that a full disk is found here, and not by the interpreter as it ends
    except UnseenError as error:
        _end(str(error), error.exit_code)
    except KeyboardInterrupt:
        _end("interrupted", 130)
    except BrokenPipeError:  # the reader of our output went away; nothing is wrong
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        if hasattr(error, "format_message"):  # the option parser's: a slip in the command line
            where = getattr(getattr(error, "ctx", None), "command_path", None) or "unseen"
            message = " ".join(error.format_message().split())
            message += "" if message.endswith((".", "?")) or not message else "."
            if not message:  # no command was given, and the help is on the screen
                sys.exit(2)
            _end(f"{message} See {where} --help", 2)
        if _no_memory(error):
            _end("out of memory: use fewer inputs (--limit) or another detector", NoRoom.exit_code)
        if isinstance(error, OSError) and error.errno in _FULL:
            _end(f"no space left on the disk ({error.filename or error.strerror})", NoRoom.exit_code)
        traceback.print_exc()
        _end("this is a defect of unseen, please report it with the lines above", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _end(message: str, code: int) -> None:
    try:
        print(f"unseen: {one_line(message)}", file=sys.stderr, flush=True)
    except OSError:  # standard error is a file on the disk that is full: the exit code must tell
        os._exit(code)
    sys.exit(code)


def _no_memory(error: Exception) -> bool:
    # torch has an exception of its own on a GPU only; on the CPU it is a RuntimeError that says so. Python's own for a
    # thread without room for its stack is one too.
    signs = ("out of memory", "can't allocate memory", "can't start new thread")
    return (
        isinstance(error, MemoryError)
        or getattr(error, "errno", None) == errno.ENOMEM
        or (isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in signs))
    )


if __name__ == "__main__":
    main()
