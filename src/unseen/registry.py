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

ROOMS = ("detectors", "heads", "encoders")


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
    known = names(room)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
        raise WrongUse(f"no {room[:-1]} is called {name!r}: {hint}")
    module = importlib.import_module(f"unseen.{room}.{name}")
    wanted = name.replace("_", "")
    for value in vars(module).values():
        if inspect.isclass(value) and value.__module__ == module.__name__ and value.__name__.lower() == wanted:
            return value
    raise WrongUse(f"unseen/{room}/{name}.py holds no class of that name")


def create(name: str, **arguments: Any) -> Any:
    """A detector or a head by its registered name, or a pipeline by its expression.

    Args:
        name: ``"knn"``, or an expression such as ``"ridge(penalty=0.1) >> energy"``. Arguments inside it
            are Python literals; nothing is evaluated.
        arguments: constructor arguments of a single part.

    Raises:
        WrongUse: for an unknown name or argument, or text that is not such an expression.

    >>> create("knn", k=5)
    KNN(k=5)
    >>> create("ridge >> energy")
    Ridge(penalty=10.0) >> Energy(temperature=1.0)
    """
    try:
        tree = ast.parse(name.strip(), mode="eval").body
    except SyntaxError as error:
        raise WrongUse(f"{name!r} is not a detector: write a name, name(argument=value) or step >> detector") from error
    return _build(tree, name, arguments)


def _build(tree: ast.expr, text: str, arguments: dict[str, Any]) -> Any:
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.RShift):
        if arguments:
            raise WrongUse(f"{text!r} has several parts: write the arguments inside it")
        return _build(tree.left, text, {}) >> _build(tree.right, text, {})
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and not tree.args:
        try:
            inside = {keyword.arg: ast.literal_eval(keyword.value) for keyword in tree.keywords if keyword.arg}
        except ValueError as error:
            raise WrongUse(f"{text!r}: arguments must be plain values such as k=5 or name='cosine'") from error
        return _build(tree.func, text, {**inside, **arguments})
    if isinstance(tree, ast.Name):
        room = "heads" if tree.id in names("heads") else "detectors"
        part = find(room, tree.id)
        try:
            return part(**arguments)
        except TypeError as error:
            accepted = ", ".join(inspect.signature(part).parameters) or "no arguments"
            raise WrongUse(f"{tree.id} takes {accepted}; got {', '.join(arguments)}") from error
    raise WrongUse(f"{text!r} is not a detector: write a name, name(argument=value) or step >> detector")
