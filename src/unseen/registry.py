"""Name -> part. The folder is the list: ``detectors/knn.py`` holds ``KNN`` and is called ``"knn"``.

Nothing is imported until it is asked for, so listing names costs no torch. Files that start with an
underscore, and ``base.py``, hold contracts and shared code, not parts.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
from pathlib import Path
from typing import Any

from unseen.errors import WrongUse

ROOMS = ("detectors", "heads", "encoders", "objectives")


def names(room: str) -> tuple[str, ...]:
    """The registered names of one room, sorted.

    >>> "knn" in names("detectors")
    True
    """
    files = (Path(__file__).parent / room).glob("*.py")
    return tuple(sorted(f.stem for f in files if f.stem != "base" and not f.stem.startswith("_")))


def find(room: str, name: str) -> type[Any]:
    """The class called ``name`` in ``room``.

    Raises:
        WrongUse: when there is none; the message names the nearest one.

    >>> find("detectors", "knn").__name__
    'KNN'
    """
    if room not in ROOMS:  # a saved file may name a room; nothing outside these is ever imported
        raise WrongUse(f"there is no list {room!r} of parts: there are {', '.join(ROOMS)}")
    if name not in names(room):
        raise _unknown(room[:-1], name, names(room))
    module = importlib.import_module(f"unseen.{room}.{name}")
    wanted = name.replace("_", "")
    for value in vars(module).values():
        if inspect.isclass(value) and value.__module__ == module.__name__ and value.__name__.lower() == wanted:
            return value
    raise WrongUse(f"unseen/{room}/{name}.py holds no class of that name")


def create(name: str, **arguments: Any) -> Any:
    """A detector or a step by its registered name, or a pipeline by its expression.

    Args:
        name: ``"knn"``, or an expression such as ``"ridge(penalty=0.1) >> energy"``. Arguments inside it
            are Python literals; nothing is evaluated.
        arguments: constructor arguments of a single part.

    Raises:
        WrongUse: for an unknown name or argument, or text that is not such an expression.

    >>> create("energy", temperature=2.0)
    Energy(temperature=2.0)
    >>> create("ridge >> energy")
    Ridge(penalty=10.0) >> Energy(temperature=1.0)
    """
    try:
        tree = ast.parse(name.strip(), mode="eval").body
        return _build(tree, name, arguments)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # what `ast` raises for odd text
        if isinstance(error, WrongUse):
            raise
        raise _not_a_part(name) from error


def create_objective(name: str, **arguments: Any) -> Any:
    """A training objective, not built yet, by its registered name or as an expression.

    Args:
        name: ``"relational"``, or with arguments, ``"relational(ratio=1)"``.
        arguments: constructor arguments.

    Raises:
        WrongUse: as `create`.

    >>> create_objective("relational(ratio=1)").ratio
    1
    """
    try:
        tree = ast.parse(name.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _not_an_objective(name) from error
    if not isinstance(tree.func if isinstance(tree, ast.Call) else tree, ast.Name):
        raise _not_an_objective(name)
    return _build(tree, name, arguments, rooms=("objectives",))


def _not_an_objective(text: str) -> WrongUse:
    return WrongUse(f"{text!r} is not an objective: write a name, or name(argument=value)")


def _build(
    tree: ast.expr, text: str, arguments: dict[str, Any], rooms: tuple[str, ...] = ("detectors", "heads")
) -> Any:
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.RShift):
        if arguments:
            raise WrongUse(f"{text!r} has several parts: write the arguments inside it")
        *steps, last = [_build(part, text, {}) for part in _chain(tree)]
        # Only detectors score; heads and shapers are steps. Their classes are not known here.
        if not hasattr(last, "score") or any(hasattr(step, "score") for step in steps):
            raise WrongUse(f"{text!r}: steps come first and one detector last, as in ridge >> energy")
        for step in reversed(steps):
            last = step >> last
        return last
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
        given = [keyword.arg for keyword in tree.keywords]
        if tree.args or None in given or len(set(given)) < len(given):
            raise WrongUse(f"{text!r}: write each argument once and by name, such as knn(k=5)")
        try:
            inside = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in tree.keywords}
        except (ValueError, TypeError) as error:
            raise WrongUse(f"{text!r}: arguments must be plain values such as k=5 or name='cosine'") from error
        return _build(tree.func, text, {**inside, **arguments}, rooms)
    if isinstance(tree, ast.Name):
        return _part(tree.id, arguments, rooms)
    raise _not_a_part(text)


def _chain(tree: ast.expr) -> list[ast.expr]:
    """``a >> b >> c`` as its parts."""
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.RShift):
        return [*_chain(tree.left), *_chain(tree.right)]
    return [tree]


def _part(name: str, arguments: dict[str, Any], rooms: tuple[str, ...]) -> Any:
    known = {found: room for room in rooms for found in names(room)}
    if name not in known:
        raise _unknown("objective" if rooms == ("objectives",) else "detector, step or head", name, tuple(known))
    part = find(known[name], name)
    accepted = inspect.signature(part).parameters
    for given in arguments:
        if given not in accepted:
            raise WrongUse(f"{name} takes {', '.join(accepted) or 'no arguments'}; it has no {given}")
    try:
        return part(**arguments)
    except TypeError as error:
        values = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise WrongUse(f"{name}({values}) cannot be made: {error}") from error


def _unknown(what: str, name: str, known: tuple[str, ...]) -> WrongUse:
    close = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
    return WrongUse(f"no {what} is called {name!r}: {hint}")


def _not_a_part(text: str) -> WrongUse:
    return WrongUse(f"{text!r} is not a detector: write a name, name(argument=value) or step >> detector")
