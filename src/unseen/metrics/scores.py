"""What may be a score, a flag or a confidence: checks on the way in."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unseen.errors import BadInput, WrongUse
from unseen.metrics.counts import Floats

Side: TypeAlias = Literal["known", "unknown"]

SIDES: tuple[Side, ...] = ("known", "unknown")


def numbers(values: Any, name: str) -> NDArray[Any]:
    """An array or tensor of real numbers as ``(N,)`` NumPy; half precision becomes float32."""
    if hasattr(values, "detach"):  # a torch tensor, recognised without importing torch
        values = values.detach().cpu()
        if values.is_floating_point() and values.element_size() < 4:
            values = values.float()  # bfloat16 and smaller: NumPy has no such type
        values = values.numpy()
    try:
        x = np.asarray(values)
    except ValueError as ragged:
        raise BadInput(f"{name}: not an array of numbers ({ragged})") from ragged
    if x.dtype.kind not in "fiub" and x.size:
        raise BadInput(f"{name}: expected real numbers, got {x.dtype}")
    if x.ndim != 1:
        raise BadInput(f"{name}: expected shape (N,), got {x.shape}: pass one number an input")
    if x.dtype.kind == "b":
        return x.astype(np.uint8)
    return x.astype(np.float32) if x.dtype == np.float16 else x


def both_sides(known: ArrayLike, unknown: ArrayLike, of: str = "") -> tuple[NDArray[Any], NDArray[Any]]:
    """Both sides' scores, checked, in one type that holds every value of either exactly; ``of`` begins an error."""
    sides = [(f"{of}known scores", known), (f"{of}unknown scores", unknown)]
    read = [(name, _ranked(numbers(scores, name), name)) for name, scores in sides]
    dtype = np.result_type(*(x for _, x in read))
    for name, x in read:
        wide = dtype.kind == "f" and x.dtype.kind in "iu" and x.itemsize == 8
        if wide and (int(x.max()) > 2**53 or int(x.min()) < -(2**53)):
            raise BadInput(
                f"{name}: integers beyond 2**53 cannot be compared with {dtype} exactly: pass both sides in one type"
            )
    return read[0][1].astype(dtype, copy=False), read[1][1].astype(dtype, copy=False)


def _ranked(x: NDArray[Any], name: str) -> NDArray[Any]:
    """Numbers that have an order: at least one, and none of them NaN."""
    if not x.size:
        raise BadInput(f"{name}: there are none, at least one is needed")
    if x.dtype.kind == "f" and (missing := np.isnan(x)).any():
        bad = np.flatnonzero(missing)
        raise BadInput(f"{name}: {bad.size} of {x.size} are NaN, the first in row {bad[0]}: mend or drop these inputs")
    return x


def flags(correct: ArrayLike, n: int, of: str = "") -> NDArray[np.bool_]:
    """Which known inputs were classified correctly, one flag an input.

    Only booleans: numbers here are more likely predicted classes than flags.
    """
    values: Any = correct
    x = values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)
    if x.dtype != np.bool_ or x.shape != (n,):
        raise BadInput(
            f"{of}correct: expected {n} of True and False in the order of the known scores, "
            f"got {x.dtype} of shape {x.shape}"
        )
    return x


def finite(values: ArrayLike, name: str, least: int = 2) -> Floats:
    """One finite float64 a unit; a mean's interval needs two units."""
    x = numbers(values, name).astype(np.float64, copy=False)
    if x.size < least:
        raise BadInput(f"{name}: at least {least} are needed, got {x.size}")
    bad = np.flatnonzero(~np.isfinite(x))
    if bad.size:
        raise BadInput(f"{name}: {bad.size} of {x.size} are not finite, the first in row {bad[0]}: drop these units")
    return x


def check_side(positive: str) -> str:
    """One of the two sides."""
    if positive not in SIDES:
        raise WrongUse(f'positive must be "known" or "unknown", got {positive!r}')
    return positive


def check_confidence(confidence: float) -> None:
    """A share strictly between none and all."""
    if not 0 < confidence < 1:
        raise WrongUse(f"confidence must be within 0 and 1, got {confidence}")
