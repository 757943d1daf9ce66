"""``python -m unseen`` and the console script: one line for a user's mistake, a traceback for ours."""

from __future__ import annotations

import sys
import traceback

from unseen.errors import NoRoom, UnseenError


def main() -> None:
    """Run the command line and end with the documented exit code."""
    from unseen.cli import app

    try:
        app()
    except UnseenError as error:
        print(f"unseen: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except MemoryError:
        print(
            "unseen: out of memory: encode fewer inputs at a time (--limit) or choose another detector",
            file=sys.stderr,
        )
        sys.exit(NoRoom.exit_code)
    except BrokenPipeError:  # the reader of our output went away; nothing is wrong
        sys.stderr.close()
        sys.exit(0)
    except Exception:
        traceback.print_exc()
        print("unseen: this is a defect of unseen, please report it with the lines above", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
