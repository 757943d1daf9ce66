"""Looking at `unseen` costs no torch, and what it offers is what it says it offers."""

import ast
import importlib
import json
from pathlib import Path

import pytest

import unseen

HEAVY = ["torch", "sklearn", "scipy", "torchvision", "pandas", "altair", "timm", "matplotlib", "faiss", "safetensors"]
LOOK = f"import json, sys; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"


def test_import_loads_nothing_heavy(python):
    done = python(f"import unseen; dir(unseen); {LOOK}")
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("command", [["--help"], ["audit", "--help"], ["--version"], ["audit", "--bogus"]])
def test_help_loads_nothing_heavy(python, command):
    code = f"""
import atexit, json, sys
from unseen.__main__ import main
sys.argv = ["unseen", *{command!r}]
try:
    main()
finally:
    print("\\n" + json.dumps([m for m in {HEAVY!r} if m in sys.modules]))
"""
    assert json.loads(python(code).stdout.splitlines()[-1]) == []


def _type_checked() -> dict[str, str]:
    tree = ast.parse(Path(unseen.__file__).read_text())
    block = next(
        node
        for node in tree.body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    )
    found = {}
    for line in block.body:
        assert isinstance(line, ast.ImportFrom)
        for alias in line.names:
            assert alias.asname == alias.name, "exported again only under `as`"
            found[alias.name] = line.module
    return found


def test_the_three_lists_agree():
    assert _type_checked() == unseen._WHERE
    assert set(unseen.__all__) == {*unseen._WHERE, "__version__"}
    assert set(dir(unseen)) == set(unseen.__all__)


def test_misspelt_names_are_hidden_from_no_type_checker():
    tree = ast.parse(Path(unseen.__file__).read_text())
    at_top = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert "__getattr__" not in at_top  # else every misspelt name would pass the type checker
    guarded = [node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.UnaryOp)]
    assert [ast.unparse(node.test) for node in guarded] == ["not TYPE_CHECKING"]


@pytest.mark.parametrize("name", sorted(unseen._WHERE))
def test_every_name_is_there(name):
    assert getattr(unseen, name) is getattr(importlib.import_module(unseen._WHERE[name]), name)


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'adit'"):
        unseen.adit  # noqa: B018
