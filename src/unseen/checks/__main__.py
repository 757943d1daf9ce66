"""``python -m unseen.checks``: every registered detector, step, head, and the calibrators, asked everything."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from unseen.calibration import ClassConditional, SplitConformal
from unseen.checks import CheckFailed, check_calibrator, check_detector, check_encoder, check_head, registered
from unseen.encoders import open_encoder


def main() -> int:
    """Print a line a part and the totals; 1 where a check failed."""
    ask: list[tuple[Callable[[Any], Any], list[Any]]] = [
        (check_detector, list(registered("detectors"))),
        (check_head, list(registered("heads"))),
        (check_encoder, [open_encoder("pixels"), open_encoder("arrays")]),
        (check_calibrator, [SplitConformal(), ClassConditional()]),
    ]
    passed = skipped = failed = 0
    for check, parts in ask:
        for part in parts:
            try:
                outcome = check(part)
            except CheckFailed as error:
                failed += 1
                print(f"FAILED {error}", flush=True)
            else:
                passed, skipped = passed + len(outcome.passed), skipped + len(outcome.skipped)
                print(outcome, flush=True)
    print(f"{passed:,} checks passed, {skipped} skipped for a declared trait, {failed} parts failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
