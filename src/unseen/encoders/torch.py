"""A user's own network."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from unseen.data import Preprocess
from unseen.encoders._module import ModuleEncoder, load_weights, numbers
from unseen.errors import WrongUse

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
        WrongUse: when the path does not lead to a network.
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
        classes: Any = None,
    ) -> None:
        self._path = path if isinstance(path, str) else type(path).__qualname__
        module = _network(path) if isinstance(path, str) else path
        metadata: Mapping[str, str] = load_weights(module, weights) if weights else {}
        self.set_up(
            module,
            Preprocess(size, resize=resize, interpolation="bilinear"),  # type: ignore[arg-type]
            numbers(mean or metadata.get("mean", IMAGENET_MEAN), "mean"),
            numbers(std or metadata.get("std", IMAGENET_STD), "std"),
            head=head,
            classes=classes.split(",") if isinstance(classes, str) else classes,
        )

    def _label(self) -> str:
        return f"torch:{self._path.rpartition(':')[2]}"

    def describe(self) -> dict[str, Any]:
        """Only the name: code is never loaded because a file says so."""
        return {"name": self.name, "arguments": {}}

    def state(self) -> dict[str, Tensor]:
        """Nothing: a file cannot rebuild the network, so it does not carry its weights."""
        return {}


def _network(path: str) -> nn.Module:
    where, sep, name = path.rpartition(":")
    if not sep:
        raise WrongUse(f"torch:{path}: write package.module:name or file.py:name")
    try:
        found = getattr(_import(where), name, None)
    except (ImportError, FileNotFoundError) as error:
        raise WrongUse(f"torch:{path}: cannot import {where}: {error}") from error
    if found is None:
        raise WrongUse(f"torch:{path}: {where} has no {name!r}")
    module = found if isinstance(found, nn.Module) else found() if callable(found) else None
    if not isinstance(module, nn.Module):
        raise WrongUse(f"torch:{path}: {name} is not a torch.nn.Module and gives none when called")
    return module


def _import(where: str) -> Any:
    if not where.endswith(".py"):
        # A console script does not have the current folder on its path; `python -m` does.
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.insert(0, here)
        return importlib.import_module(where)
    spec = importlib.util.spec_from_file_location(Path(where).stem, where)
    if spec is None or spec.loader is None or not Path(where).is_file():
        raise FileNotFoundError(f"there is no file {where}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
