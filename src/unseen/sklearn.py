"""Detectors through scikit-learn's outlier API: pipelines, searches, clones."""

from __future__ import annotations

import copy
import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from unseen.calibration import SplitConformal
from unseen.classifier import set_aside
from unseen.detectors.base import Detector
from unseen.errors import BadInput, NotEnoughKnown, UnseenError, WrongUse
from unseen.registry import create
from unseen.signals import Support

LEARN_FROM_LABELS = ("required", "aligned")


class PromiseWarning(UserWarning):
    """Too few rows are set aside to promise ``alpha``; a larger share of false alarms is promised instead."""


class NoveltyDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn is untyped
    """A detector as a scikit-learn estimator: fitted on known rows only, it calls new rows known or unseen.

    Known rows are set aside before anything is learnt, and the threshold is taken from their scores, so that
    ``alpha`` is a promise about new rows (`SplitConformal`), where scikit-learn's ``contamination`` only
    describes the training rows. The promise holds for new known rows that are exchangeable with those of the fit:
    frames of one video or copies of one row on both sides of the split break it. It says nothing of how many
    unknown rows are caught.

    Args:
        detector: an expression such as ``"knn(k=5)"`` or ``"ridge >> energy"``, or a `Detector`, of which a copy is
            fitted. It reads ``features``, which are the columns of ``X``. The default needs two rows to learn from and
            weighs each column by its spread.
        alpha: share of known rows that may be called unseen, between 0 and 1.
        calibration: share of the rows set aside for the threshold; nothing is learnt from them. With 0 or None all
            rows are learnt from and the threshold is the ``alpha`` quantile of their own scores, as with
            ``contamination``. **This promises nothing**: a detector scores rows that it has learnt from too high (a
            neighbour search finds the row itself), and new known rows are called unseen more often than ``alpha``.
        random_state: which rows are set aside: a number from 0 (the same rows each time, and those of
            `OpenSetClassifier` with this seed), a ``RandomState`` to draw that number from, or None for other rows each
            time.

    Attributes:
        detector_: the fitted `Detector`.
        calibrator_: the `SplitConformal` of the scores set aside; None without calibration. Its ``p_value`` takes
            what `score_samples` gives.
        offset_: the threshold; a row that scores below it is unseen, one that scores the same is known.
        alpha_: the share promised: ``alpha``, or ``1 / (n + 1)`` where the ``n`` rows set aside are too few for it
            (the threshold is then the lowest of their scores, and a `PromiseWarning` is given); None without
            calibration.
        n_features_in_: ``D``.
        feature_names_in_: ``(D,)`` names of the columns, where ``X`` is a table whose columns have names.

    Source: Pedregosa and others, "Scikit-learn: Machine Learning in Python", JMLR 2011, for the interface; the
    threshold as in `SplitConformal`.

    >>> known = np.random.default_rng(0).normal(size=(200, 4))
    >>> novelty = NoveltyDetector("mahalanobis", alpha=0.05).fit(known)
    >>> novelty.predict([[0.0, 0.0, 0.0, 0.0], [9.0, -9.0, 9.0, -9.0]])
    array([ 1, -1])
    """

    detector_: Detector
    calibrator_: SplitConformal | None
    offset_: float
    alpha_: float | None

    def __init__(
        self,
        detector: str | Detector = "mahalanobis",
        *,
        alpha: float = 0.05,
        calibration: float | None = 0.2,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.detector = detector
        self.alpha = alpha
        self.calibration = calibration
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        """Says whether ``y`` is required."""
        tags = super().__sklearn_tags__()
        try:
            tags.target_tags.required = self._given().labels in LEARN_FROM_LABELS
        except UnseenError:  # a wrong argument is told at the fit, not to whoever asks for tags
            tags.target_tags.required = False
        return tags

    def fit(self, X: Any, y: Any = None) -> Self:
        """Set rows aside, learn from the others, take the threshold.

        Args:
            X: ``(N, D)`` known rows, numbers; read as float64. Rows known to be outliers do not belong here.
            y: ``(N,)`` class names or integers from 0 of the known rows. A detector whose ``labels`` are
                ``"ignored"`` never looks at them; where they are ``"optional"`` they are used when given.

        Returns:
            The estimator itself.

        Raises:
            WrongUse: a parameter cannot work, the detector reads something other than features, or it learns from
                labels and none are given.
            BadInput: NaN or infinity in ``X`` (the row is named), or a negative label, which marks an outlier
                elsewhere.
            NotEnoughKnown: fewer rows or classes are left to learn from than the detector needs.
            ValueError: from scikit-learn, when ``X`` is not a dense table of numbers with two rows or more.
        """
        alpha, share = self._shares()
        seed = _seed(self.random_state)
        detector = copy.deepcopy(self._given())
        support = self._support(detector, X, y)
        calibrator = promised = None
        if share:
            rest, aside = set_aside(support, share, seed)
            try:
                detector.fit(support.take(rest))
            except NotEnoughKnown as few:
                raise NotEnoughKnown(f"{few} ({len(aside)} of the {len(support)} rows are set aside)") from few
            calibrator = SplitConformal().fit(_scores(detector, support.take(aside)))
            promised = _promised(calibrator, alpha)
            offset = calibrator.threshold(promised)
        else:
            detector.fit(support)
            offset = float(np.quantile(_scores(detector, support), alpha))
        self.detector_, self.calibrator_, self.alpha_, self.offset_ = detector, calibrator, promised, offset
        return self

    def fit_predict(self, X: Any, y: Any = None) -> NDArray[np.int64]:
        """`fit`, then `predict` of the same rows; the promise is about new rows, not about these.

        Args:
            X: as in `fit`.
            y: as in `fit`.

        Returns:
            ``(N,)``, +1 known, -1 unseen.

        Raises:
            WrongUse, BadInput, NotEnoughKnown, ValueError: as `fit`.
        """
        # The mixin's drops y, which some detectors learn from.
        return self.fit(X, y).predict(X)

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """The detector's scores, in its own units.

        Args:
            X: ``(N, D)`` rows.

        Returns:
            ``(N,)`` float64, higher = more known.

        Raises:
            BadInput: NaN or infinity, with the row.
            ValueError: from scikit-learn: not fitted (its ``NotFittedError``), or not ``(N, D)`` numbers.
        """
        check_is_fitted(self)
        return _scores(self.detector_, {"features": self._table(X, reset=False)})

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """`score_samples` seen from the threshold.

        Args:
            X: ``(N, D)`` rows.

        Returns:
            ``(N,)`` float64, below 0 = unseen.

        Raises:
            BadInput, ValueError: as `score_samples`.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Known or unseen.

        Args:
            X: ``(N, D)`` rows.

        Returns:
            ``(N,)``, +1 known, -1 unseen.

        Raises:
            BadInput, ValueError: as `score_samples`.
        """
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def _shares(self) -> tuple[float, float]:
        """``alpha`` and ``calibration``, checked; 0 where nothing is set aside."""
        alpha: Any = self.alpha
        share: Any = 0.0 if self.calibration is None else self.calibration
        if not isinstance(alpha, int | float | np.number) or not 0 < alpha < 1:
            raise WrongUse(f"alpha={alpha!r}: give the share of known rows that may be called unseen, in (0, 1)")
        if not isinstance(share, int | float | np.number) or not 0 <= share < 1:
            raise WrongUse(
                f"calibration={share!r}: give the share of rows to set aside, from 0 (none, and no promise) to below 1"
            )
        return float(alpha), float(share)

    def _given(self) -> Detector:
        """The detector of the argument, itself where it is one already."""
        made = create(self.detector) if isinstance(self.detector, str) else self.detector
        if not isinstance(made, Detector):
            raise WrongUse(f"{self.detector!r} is not a detector: give one, or text such as 'knn(k=5)'")
        return made

    def _table(self, X: Any, *, reset: bool) -> NDArray[np.float64]:
        # float64, as scikit-learn asks that a row's score is the same to 1e-7 in any batch. NaN is left to the signals,
        # which name the row.
        least = 2 if reset else 1
        table: NDArray[np.float64] = validate_data(
            self, X, reset=reset, dtype=np.float64, ensure_min_samples=least, ensure_all_finite=False
        )
        return table

    def _support(self, detector: Detector, X: Any, y: Any) -> Support:
        needed = detector.labels in LEARN_FROM_LABELS
        if needed and y is None:
            raise WrongUse(
                f"{detector.expression()} requires y to be passed, but the target y is None: give the classes of the "
                "known rows, or choose a detector that ignores them"
            )
        table = self._table(X, reset=True)
        if y is None or detector.labels == "ignored":
            return Support.of({"features": table})
        labels = column_or_1d(y, warn=True)
        if labels.dtype.kind in "if" and (labels < 0).any():
            row = int(np.argmax(labels < 0))
            raise BadInput(
                f"y of row {row} is {labels[row]}: y holds the classes of known rows, names or integers from 0; "
                "leave rows out that are marked as outliers" + ("" if needed else ", or fit without y")
            )
        return Support.of({"features": table}, labels)


def _promised(calibrator: SplitConformal, alpha: float) -> float:
    """The share of false alarms that these calibration scores can promise, at least ``alpha``."""
    try:
        calibrator.threshold(alpha)
    except NotEnoughKnown as few:
        message = f"{few}; until then up to 1 in {len(calibrator.scores) + 1} known rows is called unseen"
        warnings.warn(message, PromiseWarning, stacklevel=3)
        return calibrator.smallest_alpha
    return alpha


def _scores(detector: Detector, signals: Any) -> NDArray[np.float64]:
    """Scores ``(N,)`` as float64, whatever precision the detector answers in."""
    return np.asarray(detector.score(signals), dtype=np.float64)


def _seed(random_state: Any) -> int:
    """The seed that ``random_state`` stands for; numpy's global generator is neither read nor moved."""
    if random_state is None:
        return int(np.random.default_rng().integers(2**31))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31, dtype=np.int64))
    if isinstance(random_state, int | np.integer) and random_state >= 0:
        return int(random_state)
    raise WrongUse(f"random_state={random_state!r}: give a number from 0, a RandomState, or None")
