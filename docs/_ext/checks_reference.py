"""The list of checks and of those who skip some, made from the checks themselves."""

from unseen.calibration import ClassConditional, SplitConformal
from unseen.checks import checks_for, registered
from unseen.encoders import open_encoder


def markdown() -> str:
    """Every check of every kind of part, and a table of who is excused from what."""
    kinds = {
        "Detectors, and steps before them": [*registered("detectors")],
        "Heads": [*registered("heads")],
        "Encoders": [open_encoder("pixels"), open_encoder("arrays")],
        "Calibrators": [SplitConformal(), ClassConditional()],
    }
    lists, excused = [], []
    for kind, parts in kinds.items():
        checks = checks_for(parts[0])
        lists.append(f"## {kind}\n\n" + "\n".join(f"- `{c.name}`: {c.demand}" for c in checks))
        for part in parts:
            for check in checks:
                why = check.excuse(part)
                if why:
                    name = getattr(part, "name", type(part).__name__)
                    excused.append(f"| `{name}` | `{check.name}` | {why.replace(chr(39), '`')} |")
    table = "\n".join(["| part | check that is skipped | because of its |", "| --- | --- | --- |", *excused])
    return "\n\n".join(
        [
            *lists,
            "## Who skips what\n\nA check is skipped only where the part declares the trait that excuses it.",
            table,
        ]
    )
