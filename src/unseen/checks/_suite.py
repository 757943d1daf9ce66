"""How checks are listed, excused, run and counted."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unseen.encoders import Encoder
from unseen.errors import MissingExtra, WrongUse
from unseen.heads.base import Head
from unseen.optional import require
from unseen.parts import Part
from unseen.registry import create, find, names


class CheckFailed(AssertionError):
    """A part does not do what every part of its kind must do."""


@dataclass(frozen=True)
class Check:
    """One demand on a part.

    Attributes:
        name: what is demanded, with underscores.
        demand: the same as a sentence.
        run: raises `AssertionError`, or anything else, where the part does not meet it.
        unless: the trait that excuses a part from it.
        extra: the optional dependencies that it needs.
    """

    name: str
    demand: str
    run: Callable[[Any], None]
    unless: str | None = None
    extra: str | None = None

    def excuse(self, part: Any) -> str | None:
        """Why ``part`` need not meet it; None where it must."""
        if self.unless is not None and self.unless in getattr(part, "traits", frozenset()):
            return f"trait {self.unless!r}"
        return None

    def __call__(self, part: Any) -> None:
        """Ask it of ``part``, which is copied first.

        Raises:
            CheckFailed: when it is not met; the cause says where.
        """
        try:
            self.run(copy.deepcopy(part))
        except MissingExtra:
            raise
        except Exception as error:
            said = " ".join(str(error).split()) or type(error).__name__
            raise CheckFailed(f"{_named(part)}: {self.name}: {said[:600]}") from error

    def __repr__(self) -> str:
        return self.name


@dataclass
class Checks:
    """The list of demands on one kind of part, filled by `demand`."""

    listed: list[Check] = field(default_factory=list)

    def demand(self, *, unless: str | None = None, extra: str | None = None) -> Callable[[Any], Any]:
        """Put a function into the list; its docstring is the demand."""

        def put(function: Callable[[Any], None]) -> Callable[[Any], None]:
            text = " ".join((function.__doc__ or "").split())
            self.listed.append(Check(function.__name__, text, function, unless, extra))
            return function

        return put


@dataclass(frozen=True)
class Outcome:
    """How a part did.

    Attributes:
        part: its name.
        passed: names of the checks that it met.
        skipped: name of a check -> why it was not asked.
    """

    part: str
    passed: tuple[str, ...]
    skipped: Mapping[str, str]

    def __str__(self) -> str:
        left = "; ".join(f"{name} ({why})" for name, why in self.skipped.items())
        return f"{self.part}: {len(self.passed)} checks passed, {len(self.skipped)} skipped" + (left and f": {left}")


def check_detector(part: Part | str, oracle: Callable[..., Any] | None = None) -> Outcome:
    """Ask everything of a detector, a step before one, or an expression such as ``"ridge >> energy"``.

    Args:
        part: unfitted; it is copied and not changed. Give small arguments: the world of the checks has 240 known
            inputs of 6 classes.
        oracle: an independent computation, ``oracle(known, labels, asked, head, **arguments) -> scores``: ``known`` and
            ``asked`` are float64 arrays by signal, ``labels`` ``(N,)`` codes, ``head`` a pair of weight and bias; where
            the detector reads texts, ``text`` holds ``positive``, ``negative`` and ``opposite``. The detector's scores
            must be its to 1e-6, and to 1e-4 in float32.

    Returns:
        What was passed and what was skipped.

    Raises:
        CheckFailed: naming every check that is not met.

    >>> from unseen.detectors.energy import Energy
    >>> print(check_detector(Energy()))  # doctest: +ELLIPSIS
    energy: ... checks passed, ... skipped: ...
    """
    made = create(part) if isinstance(part, str) else part
    if isinstance(made, Head) or not isinstance(made, Part):
        raise WrongUse(f"{made!r} is neither a detector nor a step before one")
    return _run(made, [*checks_for(made), *_golden(oracle)])


def check_head(part: Head | str) -> Outcome:
    """Ask everything of a head: features to logits.

    Raises:
        CheckFailed: naming every check that is not met.
    """
    made = create(part) if isinstance(part, str) else part
    if not isinstance(made, Head):
        raise WrongUse(f"{made!r} is not a head")
    return _run(made, checks_for(made))


def check_encoder(encoder: Encoder) -> Outcome:
    """Ask everything of an encoder of images or of arrays.

    Raises:
        CheckFailed: naming every check that is not met.
    """
    if not isinstance(encoder, Encoder):
        raise WrongUse(f"{encoder!r} is not an encoder")
    return _run(encoder, checks_for(encoder))


def check_calibrator(calibrator: Any) -> Outcome:
    """Ask everything of a calibrator: scores of known inputs to p-values.

    Args:
        calibrator: unfitted. One that calibrates by class has the trait ``"by_class"`` and takes classes as a second
            argument.

    Raises:
        CheckFailed: naming every check that is not met.
    """
    return _run(calibrator, checks_for(calibrator))


def checks_for(part: Any) -> list[Check]:
    """Every check that belongs to the kind of ``part``, excused ones included."""
    from unseen.checks import calibrators, detectors, encoders, heads

    if isinstance(part, Head):
        return heads.CHECKS.listed
    if isinstance(part, Part):
        return detectors.CHECKS.listed
    if isinstance(part, Encoder):
        return encoders.CHECKS.listed
    return calibrators.CHECKS.listed


def parametrize_with_checks(parts: Sequence[Any]) -> Any:
    """A pytest decorator: one test for each part and check, excused ones skipped with the reason.

    Args:
        parts: unfitted detectors, steps, heads, encoders, calibrators, or expressions.

    Example::

        @parametrize_with_checks([MyDetector(k=3), "ridge >> my_detector"])
        def test_contract(part, check):
            check(part)
    """
    pytest: Any = require("pytest", "dev")
    params = []
    for given in parts:
        part = create(given) if isinstance(given, str) else given
        for check in checks_for(part):
            why = check.excuse(part)
            marks = [pytest.mark.skip(reason=f"{check.name}: {why}")] if why else []
            params.append(pytest.param(part, check, id=f"{_named(part)}-{check.name}", marks=marks))
    return pytest.mark.parametrize(("part", "check"), params)


def registered(room: str) -> list[Part]:
    """Every part of ``detectors`` or ``heads``, with the arguments that suit the small world of the checks."""
    return [create(name, **find(room, name).small) for name in names(room)]


def _run(part: Any, checks: Sequence[Check]) -> Outcome:
    passed, skipped, failed = [], {}, []
    for check in checks:
        why = check.excuse(part)
        try:
            if why is None:
                check(part)
                passed.append(check.name)
        except MissingExtra as error:
            why = str(error)
        except CheckFailed as error:
            failed.append(error)
        if why is not None:
            skipped[check.name] = why
    if failed:
        raise CheckFailed("\n".join(map(str, failed))) from failed[0]
    return Outcome(_named(part), tuple(passed), skipped)


def _golden(oracle: Callable[..., Any] | None) -> list[Check]:
    if oracle is None:
        return []
    from unseen.checks.detectors import scores_are_those_of_the_oracle

    doc = "Scores are those of an independent float64 computation."
    return [Check("golden_values", doc, lambda part: scores_are_those_of_the_oracle(part, oracle))]


def _named(part: Any) -> str:
    if isinstance(part, Part):
        return part.expression()
    return str(getattr(part, "name", None) or type(part).__name__)
