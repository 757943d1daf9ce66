"""Optional dependencies: imported when used, with an error that says what to install.

``torchvision`` needs more: its wheel is built beside one build of torch, and next to another (a
CPU-only one, say) its import stops with ``operator torchvision::nms does not exist``. Nothing here
uses that operator, but timm, open_clip and parts of transformers import torchvision, so the schema of
the missing operators is declared and the import tried again.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from unseen.errors import MissingExtra

# Packages that import torchvision, which must be mended first.
NEED_TORCHVISION = {"open_clip", "timm", "torchvision", "transformers"}

# torch drops a library's declarations when the object dies, so it is kept for the process.
_DECLARED: list[Any] = []


def require(module: str, extra: str) -> ModuleType:
    """Import ``module``, which belongs to the optional dependencies ``extra``.

    Args:
        module: dotted name, such as ``"timm"``.
        extra: the name in ``pip install 'unseen[extra]'``.

    Raises:
        MissingExtra: when the module, or one that it imports, is not installed.

    >>> require("json", "packaged").__name__
    'json'
    >>> require("no_such_module", "timm")
    Traceback (most recent call last):
    unseen.errors.MissingExtra: this needs no_such_module: pip install 'unseen[timm]'
    """
    if module.split(".", maxsplit=1)[0] in NEED_TORCHVISION:
        _mend_torchvision()
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(f"this needs {error.name}: pip install 'unseen[{extra}]'") from error


def _mend_torchvision() -> None:
    if "torchvision" in sys.modules:
        return
    try:
        importlib.import_module("torchvision")
    except ModuleNotFoundError:
        return
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        import torch

        library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _DECLARED.append(library)
        importlib.import_module("torchvision")
