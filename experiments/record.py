"""One JSON a run: what was asked, what came out, on which machine, with which versions."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unseen.files import write_json

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("unseen", "torch", "numpy", "scipy", "pillow", "timm")


def record(name: str, result: Mapping[str, Any]) -> Path:
    """Write ``results/NAME.json`` with the command line and the environment before the result."""
    command = " ".join(["python", f"experiments/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    path = write_json(RESULTS / f"{name}.json", {"command": command, "environment": environment(), **result})
    print(path)
    return path


def environment() -> dict[str, Any]:
    """Date, versions, processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in PACKAGES},
        "cpu": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
    }
