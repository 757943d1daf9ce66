"""Paired timing: medians of per-pair ratios, agreement of the answers, and where it was measured.

Import this before NumPy: it asks for one thread, which the libraries read when they load. Absolute times on a
shared machine drift by tens of per cent within a minute; the ratio of two runs taken back to back is steadier.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import numpy as np

RESULTS = Path(__file__).parent / "results"


def paired(ours: Callable[[], Any], theirs: Callable[[], Any], pairs: int = 15) -> dict[str, Any]:
    """How many times faster ``ours`` is than ``theirs``.

    Both run once unmeasured, then ``pairs`` times in turn, the order swapped every time.

    Returns:
        ``wall_ratio`` and ``cpu_ratio`` as medians of the per-pair ratios theirs / ours, each with ``_min``,
        ``_max`` and ``_interval`` (see `median_interval`); the median milliseconds of each; ``pairs``,
        ``threads``. CPU time counts all threads and is blind to neighbours.
    """
    threads = _one_thread()
    ours()
    theirs()
    spent = np.empty((pairs, 2, 2))  # pair, (ours, theirs), (wall, CPU)
    for i in range(pairs):
        for which in (0, 1) if i % 2 else (1, 0):
            spent[i, which] = _clock((ours, theirs)[which])
    ratios = spent[:, 1] / spent[:, 0]
    result: dict[str, Any] = {"pairs": pairs, "threads": threads}
    for column, name in enumerate(("wall", "cpu")):
        each = ratios[:, column]
        result |= {
            f"{name}_ratio": _short(np.median(each)),
            f"{name}_ratio_interval": median_interval(each),
            f"{name}_ratio_min": _short(each.min()),
            f"{name}_ratio_max": _short(each.max()),
            f"ours_{name}_ms": _short(1e3 * np.median(spent[:, 0, column])),
            f"theirs_{name}_ms": _short(1e3 * np.median(spent[:, 1, column])),
        }
    return result


def median_interval(values: Sequence[float], confidence: float = 0.95) -> dict[str, float]:
    """Two order statistics around the median, whatever the distribution.

    How many of ``n`` values lie below the true median is binomial with one half, so the ``k``-th smallest and
    ``k``-th largest hold it with probability ``1 - 2 P(B < k)``. The largest ``k`` that reaches
    ``confidence`` is taken; with five values or fewer none does, and the range is given with what it holds.

    >>> median_interval(range(1, 16))
    {'low': 4.0, 'high': 12.0, 'confidence': 0.9648}
    """
    n, ascending = len(values), np.sort(np.asarray(values, float))
    k, tail = 1, 0.5**n
    while 2 * k < n and 1 - 2 * (wider := tail + math.comb(n, k) * 0.5**n) >= confidence:
        k, tail = k + 1, wider
    return {
        "low": _short(ascending[k - 1]),
        "high": _short(ascending[n - k]),
        "confidence": round(1 - 2 * tail, 4),
    }


def agreement(a: Any, b: Any) -> dict[str, float]:
    """How far two answers differ: a fast wrong answer is no result.

    Args:
        a: numbers, an array, or a mapping from names to numbers.
        b: the same shape or names.
    """
    if isinstance(a, Mapping):
        if a.keys() != b.keys():
            raise ValueError(f"names differ: {sorted(a)} and {sorted(b)}")
        a, b = list(a.values()), [b[name] for name in a]
    x, y = np.asarray(a, float), np.asarray(b, float)
    if x.shape != y.shape:
        raise ValueError(f"shapes differ: {x.shape} and {y.shape}")
    return {"numbers": x.size, "largest_difference": float(np.abs(x - y).max())}


def environment() -> dict[str, Any]:
    """Versions, processor and date."""
    torch = sys.modules.get("torch")
    versions = {
        name: module.__version__
        for name in ("numpy", "scipy", "sklearn", "torch", "pytorch_ood")
        if (module := sys.modules.get(name)) is not None and hasattr(module, "__version__")
    }
    return {
        "python": platform.python_version(),
        **versions,
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads() if torch else int(os.environ["OMP_NUM_THREADS"]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def write(name: str, result: Mapping[str, Any], argv: Sequence[str]) -> Path:
    """Write ``results/NAME.json`` beside this file, with the command and the environment."""
    command = " ".join(["python", f"benchmarks/{Path(argv[0]).name}", *argv[1:]])
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {"command": command, "environment": environment(), **result}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def _clock(call: Callable[[], Any]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def _one_thread() -> int:
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
    return int(os.environ["OMP_NUM_THREADS"])


def _cpu() -> str:
    """The processor's name; ``platform`` gives only its family on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _short(value: float) -> float:
    """Four significant digits."""
    return float(f"{value:.4g}")
