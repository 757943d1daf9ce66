"""Write the tables of choosing.md from what was measured and from the docstrings: python docs/choosing.py.

Numbers come from the committed ``docs/tables/*.md`` alone. A test writes the tables again and compares.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path

from unseen import registry

HERE = Path(__file__).parent
PAGE = HERE / "choosing.md"
COST = re.compile(r"^Cost: (.+?)(?=\n[A-Z][a-z]+: |\n\n|\Z)", re.MULTILINE | re.DOTALL)


def networks() -> str:
    """Mean AUROC of every detector on near and far sets, behind each of the two networks."""
    small, large = (_first_table(f"cifar10_{name}.md") for name in ("resnet20", "resnet56"))
    rows = [[f"`{name}`", cells[0], large[name][0], cells[2], large[name][2]] for name, cells in small.items()]
    return _table(["detector", "near, ResNet-20", "near, ResNet-56", "far, ResNet-20", "far, ResNet-56"], rows)


def held_out() -> str:
    """Mean AUROC over held-out classes with the packaged encoder, on two sets of images."""
    photos, small = (_first_table(f"audit_{name}.md") for name in ("photos", "small"))
    names = [name for name in dict.fromkeys([*photos, *small]) if not name.startswith("pixels")]
    rows = [[f"`{name}`", *(found[name][0] if name in found else "" for found in (photos, small))] for name in names]
    return _table(["detector", "photographs, 7 classes", "small images, 10 classes"], rows)


def costs() -> str:
    """What each detector, step and head reads and keeps, in the words of its docstring."""
    rows = []
    for room in ("detectors", "heads"):
        for name in registry.names(room):
            part = registry.create(name)
            found = COST.search(inspect.getdoc(type(part)) or "")
            cost = " ".join(found[1].replace("``", "`").split()) if found else ""
            if "stateless" in part.traits:
                cost = f"nothing is learnt or kept; {cost}".rstrip("; ")
            if cost:
                rows.append([f"`{name}`", ", ".join(sorted(part.reads())), part.labels, cost])
    return _table(["part", "reads", "labels", "cost"], rows)


TABLES: dict[str, Callable[[], str]] = {"networks": networks, "held out": held_out, "costs": costs}


def filled(page: str) -> str:
    """The page with every table written again between its marks."""
    for name, write in TABLES.items():
        begin, end = f"<!-- {name}, by docs/choosing.py -->", f"<!-- end of {name} -->"
        head, _, rest = page.partition(begin)
        _, _, tail = rest.partition(end)
        page = f"{head}{begin}\n{write()}\n\n{end}{tail}"
    return page


def _first_table(name: str) -> dict[str, list[str]]:
    """Cells of the first table of a file, by the first cell without its backquotes."""
    lines = (HERE / "tables" / name).read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| ---")) + 1
    rows: dict[str, list[str]] = {}
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        first, *others = (cell.strip() for cell in line.strip("|").split("|"))
        rows[first.strip("`")] = others
    return rows


def _table(head: list[str], rows: list[list[str]]) -> str:
    numbers = all(re.fullmatch(r"[\d.]*", cell) for row in rows for cell in row[1:])
    lines = [head, ["---", *(["---:" if numbers else "---"] * (len(head) - 1))], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
