"""A user's own network."""

from __future__ import annotations

import ast
import contextlib
import copy
import importlib
import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from unseen.data import Preprocess
from unseen.encoders._module import ModuleEncoder, load_weights, numbers, one_line
from unseen.errors import WrongUse
from unseen.files import fingerprint

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Torch(ModuleEncoder):
    """Any ``torch.nn.Module`` by import path: ``package.module:name`` or ``file.py:name``.

    ``name`` is a module, or something that gives one when called without arguments. It is imported: use only
    code that you trust. A saved classifier never imports it by itself; it asks for the encoder at load.

    Args:
        path: import path of the network, or the network itself.
        weights: safetensors file to load into it; without one it keeps the weights it comes with.
        size: height and width of its input, in pixels.
        mean: of each channel, in units of ``[0, 1]``; by default what the weights file's metadata says
            (``mean``), else ImageNet's.
        std: likewise.
        resize: ``"squash"`` or ``"crop"`` (short side, then centre).
        head: dotted name of the last linear layer, where it is not found by itself.
        classes: names of the outputs, in order.

    Raises:
        WrongUse: when the path does not lead to a network; the line that failed is named.
    """

    rebuildable = False

    def __init__(
        self,
        path: str | nn.Module,
        weights: str | None = None,
        size: int = 224,
        mean: Any = None,
        std: Any = None,
        resize: str = "squash",
        head: str | None = None,
        classes: str | Sequence[str] | None = None,
    ) -> None:
        self._path = path if isinstance(path, str) else type(path).__qualname__
        # A copy, as a caller may go on training the network, and what follows freezes it.
        module = copy.deepcopy(_network(path) if isinstance(path, str) else path)
        if not isinstance(module, nn.Module):
            raise WrongUse(f"torch takes an import path or a torch.nn.Module, got a {type(path).__name__}")
        metadata: Mapping[str, str] = load_weights(module, weights) if weights else {}
        self._code = _code(module)
        self.set_up(
            module,
            Preprocess(size, resize=resize, interpolation="bilinear"),  # type: ignore[arg-type]
            numbers(metadata.get("mean", IMAGENET_MEAN) if mean is None else mean, "mean"),
            numbers(metadata.get("std", IMAGENET_STD) if std is None else std, "std"),
            head=head,
            classes=classes.split(",") if isinstance(classes, str) else classes,
        )

    def _label(self) -> str:
        return f"torch:{self._path.rpartition(':')[2]}:{self._code[:8]}"

    def describe(self) -> dict[str, Any]:
        """Only the name: code is never loaded because a file says so."""
        return {"name": self.name, "arguments": {}}

    def state(self) -> dict[str, Tensor]:
        """Nothing: a file cannot rebuild the network, so it does not carry its weights."""
        return {}


def _network(path: str) -> nn.Module:
    where, sep, name = path.rpartition(":")
    if not sep or not where or not name:
        raise WrongUse(f"torch:{path}: write package.module:name or file.py:name")
    folder = Path(where).resolve().parent if where.endswith(".py") else Path.cwd()
    try:
        with _first_on_path(folder):
            found = getattr(_import(where), name, None)
            module = found() if callable(found) and not isinstance(found, nn.Module) else found
    except (Exception, SystemExit) as error:  # the user's own code may raise anything
        raise WrongUse(f"torch:{path}: {_place(error, folder)}{one_line(error)}") from error
    if found is None:
        raise WrongUse(f"torch:{path}: {where} has no {name!r}")
    if not isinstance(module, nn.Module):
        raise WrongUse(f"torch:{path}: {name} is not a torch.nn.Module and gives none when called")
    return module


@contextlib.contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    """Modules beside the user's are found, as by ``python file.py``; afterwards installed ones come first again."""
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the user's code took it away
            sys.path.remove(str(folder))
        if str(folder) not in sys.path:
            sys.path.append(str(folder))  # what is imported late is still found


def _import(where: str) -> Any:
    if not where.endswith(".py"):
        return importlib.import_module(where)
    path = Path(where).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {where}")
    # A name of its own, so that torch.py does not stand in for torch. It must be listed while it runs:
    # dataclasses, pickle and inspect look there.
    name = f"unseen_file_{path.stem}_{fingerprint(str(path))[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _place(error: BaseException, folder: Path) -> str:
    """``file.py line 3: `` of the deepest line below ``folder``; empty where the error was raised elsewhere."""
    if isinstance(error, SyntaxError):
        return f"{Path(error.filename or '').name} line {error.lineno}: "
    lines = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(folder)]
    return f"{Path(lines[-1].filename).name} line {lines[-1].lineno}: " if lines else ""


def _code(module: nn.Module) -> str:
    """A fingerprint of what the network computes apart from its tensors: settings of its layers, and its code.

    Without it an edited ``forward`` would be answered from the store by what the old one said. Comments and
    layout do not count; installed packages stand for themselves.
    """
    layers = [
        f"{name}:{type(layer).__qualname__}:{layer.extra_repr() if type(layer).__module__.startswith('torch.') else ''}"
        for name, layer in module.named_modules()
    ]
    kinds = {kind for layer in module.modules() for kind in type(layer).__mro__}
    homes = {getattr(sys.modules.get(kind.__module__), "__file__", None) or "" for kind in kinds}
    own = [Path(home) for home in homes if home.endswith(".py") and not _installed(Path(home))]
    return fingerprint(*layers, *sorted(ast.unparse(_without_texts(ast.parse(home.read_bytes()))) for home in own))


def _installed(path: Path) -> bool:
    return path.is_relative_to(sysconfig.get_path("stdlib")) or bool(
        {"site-packages", "dist-packages"}.intersection(path.parts)
    )


def _without_texts(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body[0] = ast.copy_location(ast.Pass(), first)
    return tree
