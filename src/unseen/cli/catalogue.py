"""``unseen list``: every part that there is."""

from __future__ import annotations

from unseen.cli.options import JsonOption
from unseen.cli.screen import finish, new_table, out


def catalogue(json: JsonOption = None) -> None:
    """Show every detector, head, encoder and declared protocol that there is.

    Example: `unseen list`
    """
    from unseen import api
    from unseen.api.declared import protocols_listed

    rooms, protocols = api.catalogue(), protocols_listed()

    def show() -> None:
        for room, parts in rooms.items():
            paper = any(part.get("source") for part in parts)
            table = new_table("name", "reads", "what it says", *(["source"] if paper else []))
            out.print(room, style="bold")
            for part in parts:
                row = [part["name"], ", ".join(part["reads"]), part["summary"].replace("`", "")]
                table.add_row(*row, *([part["source"] or ""] if paper else []))
            out.print(table)
            out.print()
        out.print("protocols", style="bold")
        for one in protocols:
            sets = "; ".join(f"{role}: {', '.join(one[role])}" for role in ("near", "far", "shifted") if one[role])
            out.print(f"{one['name']}: {one['classes']:,} classes; {sets}")
        out.print("What belongs where:  unseen bench --protocol NAME --what\n")
        out.print("Put together as step >> detector, options in brackets:  'ridge >> react >> energy(temperature=2)'")

    finish(json, rooms | {"protocols": protocols}, show)
