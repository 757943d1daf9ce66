"""What this machine can do at best, and what a call needs of its memory.

Import `timing` before this: it asks for one thread.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

PRODUCTS = ((2048, 2048, 2048), (10_000, 768, 1000))  # rows, inner, columns
COPIED = 1 << 26  # float32 numbers: 256 MB, far more than any cache
TRIES = 7
MMAP_THRESHOLD, ONE_MAPPING = -3, 1 << 16  # mallopt's number of the option, and bytes


def ceilings() -> dict[str, float]:
    """The fastest float32 product and the fastest copy seen: ``gflops`` and ``copy_gb_per_s``, one thread, CPU time.

    A copy moves its bytes twice, in and out, and both count.
    """
    fastest = 0.0
    for rows, inner, columns in PRODUCTS:
        a, b = torch.randn(rows, inner), torch.randn(inner, columns)
        out = torch.empty(rows, columns)
        seconds = _best(lambda a=a, b=b, out=out: torch.mm(a, b, out=out))
        fastest = max(fastest, 2 * rows * inner * columns / seconds)
    source, target = torch.ones(COPIED), torch.zeros(COPIED)
    moved = 2 * 4 * COPIED / _best(lambda: target.copy_(source))
    return {"gflops": round(fastest / 1e9, 1), "copy_gb_per_s": round(moved / 1e9, 2)}


def least_seconds(flops: float, numbers: float, found: dict[str, float]) -> float:
    """What a call takes at least that multiplies and adds ``flops`` times and moves ``numbers`` float32 numbers once.

    The slower of the two, as a machine can do both at the same time.
    """
    return max(flops / found["gflops"], 4 * numbers / found["copy_gb_per_s"]) / 1e9


def peak_mb(call: Callable[[], Any]) -> float | None:
    """The most memory that a call held beyond what was held before it, its answer included, in MB; Linux only.

    It runs in a forked child, where the kernel's high-water mark is set back first. The child's allocator gives every
    block of 64 KB or more back when it is freed: nothing that was held earlier can hide what is held now.
    """
    if not Path("/proc/self/clear_refs").exists():
        return None
    peak: float = in_a_child(lambda: _peak_here(call))
    return peak


def in_a_child(call: Callable[[], Any]) -> Any:
    """What the call gives in a forked child, as plain JSON.

    Only for a process without other threads: the child would wait for ever for what they hold.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, json.dumps(call()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    if not said:
        raise SystemExit("a child that measured memory died")
    return json.loads(said)


def _peak_here(call: Callable[[], Any]) -> float:
    call()  # pages of code and tables that are read for the first time are not the call's
    give_back()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmRSS")
    kept = call()
    after = _status("VmHWM")
    del kept
    return round((after - before) / 1024, 1)


def give_back() -> None:
    """Give freed memory back to the kernel, now and from now on at once: none of it hides what is taken next."""
    gc.collect()
    library = ctypes.CDLL(None)
    library.mallopt(MMAP_THRESHOLD, ONE_MAPPING)
    library.malloc_trim(0)


def _status(name: str) -> int:
    """In kB."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None
    return int(found[1])


def _best(call: Callable[[], Any]) -> float:
    call()
    spent = []
    for _ in range(TRIES):
        start = time.process_time()
        call()
        spent.append(time.process_time() - start)
    return min(spent)
