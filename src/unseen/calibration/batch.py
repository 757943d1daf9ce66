"""A whole batch at once: which inputs to call unseen so that few of the calls are false."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from unseen.calibration._numbers import as_tensor, like, refuse
from unseen.calibration._ranks import exact, rounded_up
from unseen.errors import NotEnoughKnown, WrongUse

Correction = Literal["storey"]

ABOVE = 0.5  # Storey's lambda: p-values above it tell how many inputs are known, and are never called


def discoveries(
    p_values: Any, level: float, correction: Correction | None = None, calibration: int | None = None
) -> Any:
    """Which inputs of a batch are called unseen so that, of those called, few are known (Benjamini-Hochberg).

    A threshold ``p <= alpha`` calls a share ``alpha`` of the known inputs, so in a batch of mostly known inputs most
    calls may be false. Here the expected share of false calls among all calls is at most ``level``, whatever the
    batch holds: the ``j`` smallest p-values are called, for the largest ``j`` with ``p_(j) <= level j / m``.

    Neither the fit nor the calibration may have used inputs of the batch. The p-values may share one calibration
    set, as those of `SplitConformal.p_value` do, and those of `ClassConditional.p_value` where no class is pooled.
    The promise is about the average over batches and calibration sets; an answer depends on the whole batch, unlike
    a verdict by threshold.

    Args:
        p_values: ``m`` p-values in ``[0, 1]``, of any shape: a list, an array or a tensor.
        level: accepted expected share of false calls among the calls, in ``(0, 1)``.
        correction: None counts all inputs as if they were known, which is on the safe side. ``"storey"`` estimates
            from the p-values above 0.5, none of which is called, how many are; it finds more where many inputs are
            unknown.
        calibration: number of calibration scores behind the smallest p-value, to be told when they are so few
            that no batch of this size could hold a discovery (see `fewest_discoveries`).

    Returns:
        Booleans of the same shape, in the kind of container that came in; equal p-values get equal answers.

    Raises:
        BadInput: when a p-value is NaN or not within 0 and 1.
        NotEnoughKnown: when ``calibration`` is too small for the batch; the message says how many would do.
        WrongUse: for a ``level`` not within ``(0, 1)``, or another ``correction``.

    Source: Benjamini, Hochberg, "Controlling the False Discovery Rate", JRSS B 1995; for p-values of one
    calibration set: Bates, Candes, Lei, Romano, Sesia, "Testing for Outliers with Conformal p-values", Annals of
    Statistics 2023; the correction: Storey, Taylor, Siegmund, JRSS B 2004.

    >>> discoveries([0.01, 0.02, 0.9, 0.04], level=0.05)
    [True, True, False, False]
    """
    exact(level, "level")
    values, q = _adjusted(p_values, correction)
    if calibration is not None and values.numel():
        fewest_discoveries(values.numel(), level, calibration, correction)
    # p-values are ranks over N + 1: where q should equal the level, rounding of their own type must not decide.
    slack = 4 * torch.finfo(torch.promote_types(values.dtype, torch.float32)).eps
    return like(p_values, q <= level * (1 + slack))


def q_values(p_values: Any, correction: Correction | None = None) -> Any:
    """Adjusted p-values: the smallest level at which each input would be among the `discoveries`.

    ``q_(j) = min over i >= j of p_(i) m / i``, at most 1.

    Args:
        p_values: ``m`` p-values in ``[0, 1]``, of any shape: a list, an array or a tensor.
        correction: as in `discoveries`; ``"storey"`` multiplies by the estimated share of known inputs,
            ``2 (1 + #{p > 0.5}) / m``, which is left above 1 where it comes out so, and leaves p-values above 0.5
            at 1, both as the proof needs.

    Returns:
        float64 values in ``[0, 1]`` of the same shape, in the kind of container that came in.

    Raises:
        BadInput, WrongUse: as `discoveries`.

    >>> q_values([0.01, 0.02, 0.9, 0.04])
    [0.04, 0.04, 0.9, 0.05333333333333334]
    """
    return like(p_values, _adjusted(p_values, correction)[1])


def fewest_discoveries(inputs: int, level: float, calibration: int, correction: Correction | None = None) -> int:
    """How many inputs of a batch are called unseen at least, if any is.

    N calibration scores give no p-value below ``1 / (N + 1)``, so `discoveries` at ``level`` among ``m`` inputs are
    none or at least ``m / (level (N + 1))``. A lone unknown input can be found only if this is 1: if
    ``N + 1 >= m / level``. Split a batch, or add calibration inputs, where it is too large.

    Args:
        inputs: ``m``, from 1.
        level: as in `discoveries`.
        calibration: ``N``, from 1.
        correction: as in `discoveries`; for ``"storey"`` it is the count where no p-value is above 0.5, else there
            are more.

    Returns:
        The count, from 1 to ``inputs``.

    Raises:
        NotEnoughKnown: when even a batch of nothing but unknown inputs would hold no discovery.
        WrongUse: for numbers below 1, a ``level`` not within ``(0, 1)``, or another ``correction``.

    >>> fewest_discoveries(inputs=1000, level=0.1, calibration=999)
    10
    >>> fewest_discoveries(inputs=100, level=0.1, calibration=999)
    1
    """
    share = exact(level, "level")
    for name, value in (("inputs", inputs), ("calibration", calibration)):
        if value < 1:
            raise WrongUse(f"{name} must be at least 1, got {value}")
    # How many inputs are taken for known: all, or the fewest that the estimate can come to.
    taken_for_known = inputs if _checked(correction) is None else round(1 / (1 - ABOVE))
    fewest = math.ceil(taken_for_known / (share * (calibration + 1)))
    if fewest > inputs:
        needed = math.ceil(taken_for_known / (share * inputs)) - 1
        smallest = rounded_up(taken_for_known / (inputs * (calibration + 1)))
        advice = f" or take level {smallest:g} or more" if smallest < 1 else ""
        raise NotEnoughKnown(
            f"level {level:g} needs {needed} calibration scores to find anything among {inputs} inputs, there are "
            f"{calibration}: add known inputs{advice}"
        )
    return fewest


def _adjusted(p_values: Any, correction: Correction | None) -> tuple[Tensor, Tensor]:
    """The p-values as they are and their q-values, float64, of the same shape."""
    corrected = _checked(correction) is not None
    values = as_tensor(p_values, "p-values")
    refuse(~((values >= 0) & (values <= 1)), "p-values", "not within 0 and 1")
    p, order = values.double().flatten().sort()
    m = len(p)
    known = (1 + int((p > ABOVE).sum())) / (1 - ABOVE) if corrected else float(m)
    ratios = p * known / torch.arange(1, m + 1, dtype=p.dtype, device=p.device)
    if corrected:
        ratios[p > ABOVE] = 1.0
    # From the largest down, so that equal p-values share the smallest ratio of theirs.
    q = ratios.flip(0).cummin(0).values.flip(0) if m else ratios
    return values, torch.empty_like(q).scatter(0, order, q).reshape(values.shape)


def _checked(correction: str | None) -> str | None:
    if correction not in (None, "storey"):
        raise WrongUse(f"correction={correction!r}: there is 'storey', or None for none")
    return correction
