"""Papers as compositions: one file a source, its tables at three scales, the published numbers beside ours.

A file holds no mechanism: detectors, heads and protocols do the work. It has ``NAME``, ``TITLE``, ``SOURCE``,
``TABLES`` and ``run(table, scale, options) -> Reproduced``.

>>> [table["table"] for table in tables("plp")][:2]
['table-3', 'table-4']
>>> reproduce("plp", "table-3").columns
('world far', 'world near')
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import Any

from unseen.errors import WrongUse
from unseen.naming import did_you_mean, listed
from unseen.papers import _tables
from unseen.papers._embedding_world import EmbeddingWorld as EmbeddingWorld
from unseen.papers._tables import Options as Options
from unseen.papers._tables import Reproduced as Reproduced
from unseen.papers._tables import Scale as Scale


def names() -> tuple[str, ...]:
    """Names of all papers; the folder is the list.

    >>> "plp" in names()
    True
    """
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")))


def find(name: str) -> ModuleType:
    """The module of a paper.

    Raises:
        WrongUse: when there is none of this name.
    """
    if name not in names():
        raise WrongUse(f"there is no paper {name!r}; there are {listed(names())}{did_you_mean(name, names())}")
    return importlib.import_module(f"unseen.papers.{name}")


def tables(name: str) -> list[dict[str, Any]]:
    """What of a paper can be run, as plain JSON: each table with its scales and what these need."""
    return _tables.offered(find(name).TABLES)


def reproduce(name: str, table: str, scale: Scale = "tiny", options: Options | None = None) -> Reproduced:
    """Run one table of a paper.

    Args:
        name: of the paper.
        table: id of the table.
        scale: ``"tiny"`` (a made-up world), ``"small"`` or ``"paper"``.
        options: folder of the data sets, networks, seed and the like.

    Raises:
        WrongUse: when there is no such paper, table or scale, or an option is missing.
        BadInput: when no column can be run, as data sets are missing; the message says what belongs where.
    """
    found: Reproduced = find(name).run(table, scale, options or Options())
    return found
