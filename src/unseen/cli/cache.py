"""``unseen cache``: what the store holds."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from unseen.cli.options import JsonOption, writable
from unseen.cli.screen import err, finish, new_table, out, size
from unseen.errors import WrongUse


def cache(
    folder: Annotated[
        Path | None,
        typer.Option(
            "--cache", metavar="DIR", help="Folder of the store. Default: the user's cache folder.", show_default=False
        ),
    ] = None,
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder", "-e", metavar="PART", help="Only encoders with this in their id.", show_default=False
        ),
    ] = "",
    older_than: Annotated[
        float,
        typer.Option(min=0, metavar="DAYS", help="Only what nobody has used for so many days.", show_default=False),
    ] = 0.0,
    clear: Annotated[bool, typer.Option("--clear", help="Remove what is shown.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove without asking.")] = False,
    json: JsonOption = None,
) -> None:
    """Show what the store holds of each encoder, or remove it.

    What is removed is encoded again when it is needed. Only files that the store wrote are removed, and a shard that is
    being written stays.

    Example: `unseen cache --clear --older-than 30`
    """
    writable(json)
    from unseen import api

    held = api.cache(folder, encoder=encoder, older_than=older_than)
    if clear and held["shards"]:
        if not yes and not _agreed(f"Remove {size(held['bytes'])} in {held['folder']}?"):
            err.print("unseen: nothing was removed", soft_wrap=True)
            raise typer.Exit(0)
        held = api.cache(folder, encoder=encoder, older_than=older_than, clear=True)
    finish(json, held, lambda: _show_cache(held))


def _show_cache(held: Mapping[str, Any]) -> None:
    from unseen.classifier import short_id

    shelves = held["encoders"]
    if not shelves:
        out.print(
            f"{'Nothing to remove' if held['removed'] else 'Nothing is kept'} in {held['folder']}", soft_wrap=True
        )
        return
    columns = ("inputs", "shards", "size", "last used")
    table = new_table("encoder", *columns, numbers=columns)
    for shelf in shelves:
        when = shelf["last_used"][:16].replace("T", " ")
        table.add_row(
            short_id(shelf["encoder"]).partition("|")[0],
            f"{shelf['inputs']:,}",
            f"{shelf['shards']:,}",
            size(shelf["bytes"]),
            when,
        )
    out.print(table)
    done = "removed from" if held["removed"] else "kept in"
    out.print(f"{size(held['bytes'])} {done} {held['folder']}", style="bold", soft_wrap=True)


def _agreed(question: str) -> bool:
    """Whether a person says yes."""
    if not sys.stdin.isatty():
        raise WrongUse("--clear asks before it removes anything, and there is nobody to answer: give --yes")
    err.print(f"{question} [y/N] ", end="", soft_wrap=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
