"""Detectors of PyOD by their names."""

from __future__ import annotations

import difflib
import inspect
import typing
from typing import Any, Literal

import numpy as np

from unseen.detectors._estimator import EstimatorDetector, Rows, check_seed, global_draws
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.optional import require
from unseen.parts import Paper

# Those that are fitted once, say of new rows what does not depend on other new rows, run on the CPU and need no further
# package. Left out: those that only score what they were fitted on (COF, LOCI, LMDD, ROD, RGraph, SOD, SOS) or one
# feature (MAD); that refit on the rows asked (CD), guess the sign (QMCD) or tie (HDBSCAN); networks, which draw from
# torch's global generator; ensembles that ask for more packages or for other detectors as arguments.
Method = Literal[
    "ABOD",
    "CBLOF",
    "COPOD",
    "ECOD",
    "GMM",
    "HBOS",
    "IForest",
    "INNE",
    "KDE",
    "KNN",
    "KPCA",
    "LODA",
    "LOF",
    "MCD",
    "OCSVM",
    "PCA",
    "Sampling",
]
METHODS: tuple[str, ...] = typing.get_args(Method)
# What they learn depends on a draw, and with it on the order of the rows; OCSVM's solver stops early.
DRAW = ("CBLOF", "GMM", "IForest", "INNE", "KPCA", "LODA", "MCD", "PCA", "Sampling", "OCSVM")
# They rank the rows that are asked together with the known ones, so that far rows asked together would vouch for each
# other; asked alone, each has a score of its own.
ALONE = ("COPOD", "ECOD")
# They change no score: a threshold that is not used here, the seed, which is an argument, threads, and progress.
NO_OPTIONS = ("self", "contamination", "random_state", "n_jobs", "verbose", "behaviour", "novelty")


class PyOD(EstimatorDetector):
    """An input is known when a detector of PyOD calls it no outlier: ``score(x) = -decision_function(x)``.

    Args:
        method: the name of PyOD's class. ``"ECOD"`` and ``"COPOD"`` rank each input among the known anew, one at a
            time, which sorts all known inputs for every query: slow beyond a few thousand.
        options: arguments of that class, plain values by name, such as ``{"n_neighbors": 20}``; None for its defaults.
        seed: for methods that draw.

    Reads: ``features (N, D)``; labels ignored, as PyOD's say which rows are outliers. Whether scales matter is up to
    the method.
    Returns: ``(N,)``, in units of the method.
    Raises: WrongUse, for a method, an option or a value that PyOD does not take; NotEnoughKnown, when it cannot learn
    from these known inputs; MissingExtra, without PyOD.
    Cost: ``N D`` numbers, from which the method is fitted again after loading; else that of the method.
    Source: Zhao, Nasrullah, Li, "PyOD: A Python Toolbox for Scalable Outlier Detection", JMLR 2019. ``INNE``, the
    default: Bandaragoda, Ting, Albrecht, Liu, Zhu, Wells, "Isolation-based Anomaly Detection Using Nearest-Neighbor
    Ensembles", Computational Intelligence 2018. PyOD's sign is turned.

    >>> known = [[x / 9, y / 9] for x in range(10) for y in range(10)]
    >>> detector = PyOD("KNN", {"n_neighbors": 1}).fit(known)
    >>> [round(s, 2) for s in detector.score([[0.0, -1.0], [3.0, 1.0]]).tolist()]
    [-1.0, -2.0]
    """

    # With other numbers than its default, so that leaving the options out has an effect.
    small = {"options": {"max_samples": 4}}  # noqa: RUF012 - a constant, shared on purpose
    paper = Paper("PyOD: A Python Toolbox for Scalable Outlier Detection", "Zhao, Nasrullah, Li", "JMLR", 2019)

    def __init__(self, method: Method = "INNE", options: dict[str, Any] | None = None, seed: int = 0) -> None:
        super().__init__()
        self.method = method
        self.options = options
        self.seed = seed
        if method in DRAW:
            self.traits = EstimatorDetector.traits | {"sampled"}

    def estimate(self, known: Rows) -> Any:
        """PyOD's detector, fitted."""
        kind, arguments = self._checked()
        if len(known) < 2:
            raise NotEnoughKnown(f"{self.expression()} needs at least two known inputs")
        try:
            detector = kind(**arguments)
        except (TypeError, ValueError) as error:
            raise WrongUse(f"{self.expression()}: PyOD does not take these options: {_said(error)}") from error
        from sklearn.utils._param_validation import InvalidParameterError

        # Divisions by 0 show in the scores, which are looked at.
        with global_draws(self.seed), np.errstate(all="ignore"):
            try:
                detector.fit(known)
            except InvalidParameterError as error:
                raise WrongUse(f"{self.expression()}: PyOD does not take these options: {_said(error)}") from error
            except (ValueError, TypeError, LookupError, ArithmeticError, np.linalg.LinAlgError) as error:
                raise NotEnoughKnown(
                    f"{self.expression()} cannot learn from these {len(known):,} known inputs: {_said(error)}"
                ) from error
        if not np.isfinite(detector.decision_scores_).all():
            raise NotEnoughKnown(
                f"{self.expression()} gives known inputs scores that are not finite, as where features never vary; "
                "choose another method"
            )
        return detector

    def ask(self, estimator: Any, asked: Rows) -> Any:
        """PyOD's scores, turned."""
        groups = asked[:, None] if self.method in ALONE else asked[None]
        with global_draws(self.seed), np.errstate(all="ignore"):
            return -np.concatenate([np.ravel(estimator.decision_function(rows)) for rows in groups])

    def numbers_per_query(self) -> int:
        """A distance to every known input, which is the most that the methods keep at a time."""
        return len(self.bank)

    def _checked(self) -> tuple[Any, dict[str, Any]]:
        """PyOD's class, and the arguments to make it with."""
        if self.method not in METHODS:
            raise WrongUse(f"no detector of PyOD is called {self.method!r}: {_hint(self.method, METHODS)}")
        check_seed(self.seed, "PyOD")
        options: Any = {} if self.options is None else self.options
        if not isinstance(options, dict):
            raise WrongUse(f"{self.expression()}: options are arguments by name, such as {{'n_neighbors': 20}}")
        kind = getattr(require(f"pyod.models.{self.method.lower()}", "pyod"), self.method)
        takes = tuple(inspect.signature(kind.__init__).parameters)
        free = tuple(name for name in takes if name not in NO_OPTIONS)
        for given in options:
            if given not in free:
                raise WrongUse(f"pyod: {self.method} has no option {given!r} that changes scores: {_hint(given, free)}")
        return kind, options | ({"random_state": self.seed} if "random_state" in takes else {})


def _hint(given: Any, names: tuple[str, ...]) -> str:
    lower = {name.lower(): name for name in names}
    close = difflib.get_close_matches(str(given).lower(), lower, n=1)
    return f"did you mean {lower[close[0]]!r}?" if close else f"there are {', '.join(names)}"


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
