"""What every command shows in the same way: progress, tables, notes, the result itself."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from unseen.errors import BadInput
from unseen.files import to_json, write_json

if TYPE_CHECKING:
    from unseen.api import Progress as Report

# What people named (paths, classes) is printed as it is: no markup, no emoji, no guessed colours.
out = Console(markup=False, emoji=False, highlight=False)
err = Console(markup=False, emoji=False, highlight=False, stderr=True)
DELAY = 2.0  # seconds before progress is worth showing
EVERY = 10.0  # seconds between its lines in a log
PASSES = (
    "encoding",
    "passes of their own",
    "pixels",
    "pixel Gaussians",
    "edges",
)  # what goes through inputs one by one
LONG = 60.0  # seconds from which a log says beforehand how long it will take
SHOWN = 10  # lines of a list that a person reads; the rest is in the JSON


@contextmanager
def progress(kept: bool = True) -> Iterator[Report]:
    """Progress with time left on standard error, once the work has taken two seconds; a sentence at Ctrl-C.

    A bar where a person looks on. In a log now and then a line, and before more than a minute's work one that says how
    long it will take, judged by its first part.
    """
    start = time.monotonic()
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    bar = Progress(*columns, console=err, transient=True)
    tasks: dict[str, Any] = {}
    first: dict[str, tuple[float, int]] = {}  # when each thing was first heard of, and how far it was
    spoken = start
    judged: set[str] = set()

    def report(what: str, done: int, total: int) -> None:
        nonlocal spoken
        now = time.monotonic()
        begun, before = first.setdefault(what, (now, done))
        if now - start < DELAY:
            return
        if err.is_terminal:
            bar.start()
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total, completed=done)
            bar.update(tasks[what], completed=done, total=total)
        elif done > before:
            left = (now - begun) * (total - done) / (done - before)
            if what not in judged and left >= LONG:
                spoken = now
                err.print(f"{what}: {_long(now - begun + left, total - before, what)}", soft_wrap=True)
            elif now - spoken >= EVERY:
                spoken = now
                err.print(f"{what}: {done:,} of {total:,}, {left:.0f} s left")
            judged.add(what)

    try:
        yield report
    except KeyboardInterrupt:
        if bar.live.is_started:
            bar.stop()
        err.print(
            "unseen: interrupted; what is encoded stays, the same command goes on from there"
            if kept
            else "unseen: interrupted; nothing was written (with --cache, what is encoded stays)",
            soft_wrap=True,
        )
        raise typer.Exit(130) from None
    finally:
        if bar.live.is_started:
            bar.stop()


def _long(seconds: float, parts: int, what: str) -> str:
    """How long work will take, in words.

    >>> _long(700, 40_000, "encoding"), _long(9000, 60, "holding out classes")
    ('about 12 minutes for 40,000 inputs on this machine', 'about 2.5 hours on this machine')
    """
    minutes = round(seconds / 60)
    words = f"{seconds / 3600:.1f} hours" if minutes >= 90 else f"{minutes} minutes" if minutes > 1 else "1 minute"
    each = f" for {parts:,} inputs" if what.startswith(PASSES) else ""
    return f"about {words}{each} on this machine"


def finish(json: Path | None, result: Mapping[str, Any], show: Callable[[], None]) -> None:
    """Show a result to a person, or write it for a program; nothing but JSON goes to standard output with ``-``."""
    if json is not None and str(json) == "-":
        sys.stdout.write(to_json(result) + "\n")
        return
    show()
    if json is not None:
        write_json(json, result)


def check_skipped(strict: bool, skipped: Sequence[Any]) -> None:
    """Raise where inputs were skipped and ``--strict`` was given: the last thing a command does."""
    if strict and len(skipped):
        raise BadInput(f"{len(skipped):,} inputs were skipped and --strict was given")


def new_table(*columns: str, numbers: Sequence[str] = ()) -> Table:
    """A table whose numbers keep their width at 80 columns; names are folded instead."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        number = column in numbers
        table.add_column(column, justify="right" if number else "left", no_wrap=number, overflow="fold")
    return table


def show_facts(facts: Mapping[str, str]) -> None:
    """Names and what is said of them, side by side; a name of which there is nothing to say is left out."""
    table = Table(show_header=False, show_edge=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in facts.items():
        if text:
            table.add_row(name, text)
    out.print(table)


def show_notes(warnings: Sequence[str], notes: Sequence[str]) -> None:
    """Each warning and each note on a line."""
    for text in warnings:
        out.print(f"Warning: {text}", style="yellow")
    for text in notes:
        out.print(f"Note: {text}")


def show_skipped(skipped: Sequence[tuple[str, str]]) -> None:
    """The first of the inputs that could not be read with why, and how many there are."""
    for key, reason in list(skipped)[:SHOWN]:
        out.print(f"Skipped {key}: {reason}")
    if skipped:
        more = ", all listed in the JSON (--json FILE)" if len(skipped) > SHOWN else ""
        out.print(f"{len(skipped):,} {'input was' if len(skipped) == 1 else 'inputs were'} skipped{more}")


def show_page(page: Path | None) -> None:
    """Where the page lies, if one was written."""
    if page is not None:
        out.print(f"Page: {page}", style="bold", soft_wrap=True)


def show_next(*words: object, **options: object) -> None:
    """The command that a person runs next, ready to be copied."""
    given = [word for name, value in options.items() if value is not None for word in (name, value)]
    out.print(f"Next:  {shlex.join(map(str, [*words, *given]))}", soft_wrap=True)


def percent(share: float) -> str:
    """A share as people read it."""
    return f"{100 * share:.1f} %"


def size(number: float) -> str:
    """Bytes as people read them."""
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:,.0f} {unit}"
        number /= 1000
    return f"{number:,.1f} GB"
