"""What a training says of each step: a table that grows, and TensorBoard where it is wanted."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unseen.files import write_text
from unseen.optional import require


class Log:
    """Named numbers of each step in ``log.csv``, one row a step, and in ``tensorboard/``.

    The table grows at its end; a new name makes it wider. Numbers have all their digits, so that two trainings that are
    equal write equal tables. Opened again, it loses what was said after the step that is gone on from.

    Args:
        folder: of the training.
        step: steps that are done.
        tensorboard: also write TensorBoard's events.

    Raises:
        MissingExtra: without TensorBoard where it is wanted.
    """

    def __init__(self, folder: Path, step: int = 0, tensorboard: bool = False) -> None:
        self._path = folder / "log.csv"
        self._columns: list[str] = ["step"]
        self._rewrite(step)
        self._events: Any = None
        if tensorboard:
            require("tensorboard", "train")
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=step)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """One row; numbers that are not finite are left blank."""
        new = [name for name in scalars if name not in self._columns]
        if new:
            self._columns += new
            self._rewrite(step)
        with self._path.open("a", encoding="utf-8", newline="") as file:
            row = {name: repr(value) for name, value in scalars.items() if math.isfinite(value)}
            csv.DictWriter(file, self._columns, restval="", lineterminator="\n").writerow({"step": step, **row})
        if self._events is not None:
            for name, value in scalars.items():
                if math.isfinite(value):
                    self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """Write out what TensorBoard still holds."""
        if self._events is not None:
            self._events.close()

    def _rewrite(self, step: int) -> None:
        """The rows before ``step`` under all columns; a row cut off by a kill is one after the last checkpoint."""
        rows: list[dict[str, str]] = []
        if self._path.is_file():
            with self._path.open(encoding="utf-8", newline="") as file:
                table = csv.DictReader(file)
                self._columns = [*(table.fieldnames or ["step"]), *self._columns]
                self._columns = list(dict.fromkeys(self._columns))
                for row in table:
                    if len(rows) >= step or row["step"] != str(len(rows)):
                        break
                    rows.append({name: value for name, value in row.items() if name is not None and value is not None})
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self._path, text.getvalue())
