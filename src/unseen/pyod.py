"""Detectors in PyOD's manner: outliers score high, and a share of the rows that are learnt from are outliers."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, check_is_fitted

from unseen.detectors.base import Detector
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.optional import require
from unseen.registry import create
from unseen.signals import Support

_Base: Any = require("pyod.models.base", "pyod").BaseDetector


class Outlier(_Base):  # type: ignore[misc] # PyOD is untyped
    """A detector as one of PyOD's, for its pipelines and comparisons: ``decision_function`` is the score, turned.

    PyOD takes a threshold from the scores of the rows that were learnt from. A detector scores those too high: a
    neighbour search finds the row itself, and the threshold would call far more new rows outliers than
    ``contamination``. So here ``decision_scores_`` are cross-fitted: the rows are dealt into ``folds``, equal rows
    together, and each row is scored by a detector that was fitted on the other folds; ``detector_``, which answers from
    then on, is fitted on all. (It knows more than they, so that if anything too few new rows are above the threshold.)
    Hence ``decision_function(X)`` of the same rows is lower than ``decision_scores_``, and ``labels_`` is not
    ``predict(X)``, as in PyOD's own neighbour search. For a threshold with a promise take
    `unseen.sklearn.NoveltyDetector`.

    Args:
        detector: an expression such as ``"knn(k=5)"``, or a `Detector`, of which copies are fitted. It reads
            ``features``, which are the columns of ``X``, and learns from no labels: PyOD's ``y`` would say which rows
            are outliers.
        contamination: share of outliers among the rows, in (0, 0.5], or a thresholder of PyThresh.
        folds: from 2; the detector is fitted once more than that.
        random_state: which row is in which fold, a number from 0.

    Attributes:
        detector_: the fitted `Detector`.
        decision_scores_: ``(N,)`` of the rows of the fit, cross-fitted, higher = outlier.
        threshold_: the ``1 - contamination`` quantile of them.
        labels_: ``(N,)``, 1 where a score is above it.
        n_features_in_: ``D``.

    Source: Zhao, Nasrullah, Li, "PyOD: A Python Toolbox for Scalable Outlier Detection", JMLR 2019, for the interface.
    ``predict``, ``predict_proba``, ``predict_confidence`` and the others are PyOD's.

    >>> rows = np.random.default_rng(0).normal(size=(200, 4))
    >>> outlier = Outlier("mahalanobis", contamination=0.05).fit(rows)
    >>> outlier.predict([[0.0, 0.0, 0.0, 0.0], [9.0, -9.0, 9.0, -9.0]]), outlier.labels_.sum()
    (array([0, 1]), np.int64(10))
    """

    detector_: Detector
    decision_scores_: NDArray[np.float64]

    def __init__(
        self,
        detector: str | Detector = "mahalanobis",
        contamination: Any = 0.1,
        folds: int = 5,
        random_state: int = 0,
    ) -> None:
        super().__init__(contamination=contamination)
        self.detector = detector
        self.folds = folds
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Score each row by what the other folds teach, take the threshold, then learn from all rows.

        Args:
            X: ``(N, D)`` rows, numbers; read as float64.
            y: ignored.

        Returns:
            The detector itself.

        Raises:
            WrongUse: an argument cannot work, or the detector reads something other than features or learns from
                labels.
            NotEnoughKnown: fewer different rows than folds, or fewer rows in the others than the detector needs.
            ValueError: from scikit-learn, when ``X`` is not a dense table of finite numbers.
        """
        detector = self._given()
        if not isinstance(self.folds, int) or self.folds < 2:
            raise WrongUse(f"folds={self.folds!r}: give a whole number from 2")
        if not isinstance(self.random_state, int | np.integer) or self.random_state < 0:
            raise WrongUse(f"random_state={self.random_state!r}: give a number from 0")
        support = Support.of({"features": check_array(X, dtype=np.float64)})
        self._set_n_classes(None)  # PyOD's: two
        fold = self._dealt(support)
        scores = np.empty(len(support))
        for k in range(self.folds):
            learnt = copy.deepcopy(detector).fit(support.take(fold != k))
            scores[fold == k] = -_scores(learnt, support.take(fold == k))
        self.detector_ = copy.deepcopy(detector).fit(support)
        self.n_features_in_ = support.signals.width("features")
        self.decision_scores_ = scores
        self._process_decision_scores()  # PyOD's: threshold_, labels_, and what its probabilities need
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """The detector's scores, turned.

        Args:
            X: ``(N, D)`` rows.

        Returns:
            ``(N,)`` float64, higher = outlier.

        Raises:
            BadInput: another number of columns than at the fit.
            ValueError: from scikit-learn: not fitted (its ``NotFittedError``), or not ``(N, D)`` finite numbers.
        """
        check_is_fitted(self, "detector_")
        return -_scores(self.detector_, {"features": check_array(X, dtype=np.float64)})

    def _given(self) -> Detector:
        """The detector of the argument, itself where it is one already."""
        made = create(self.detector) if isinstance(self.detector, str) else self.detector
        if not isinstance(made, Detector):
            raise WrongUse(f"{self.detector!r} is not a detector: give one, or text such as 'knn(k=5)'")
        if made.labels in ("required", "aligned"):
            raise WrongUse(f"{made.expression()} learns from labels of classes, and PyOD gives none: choose another")
        return made

    def _dealt(self, support: Support) -> NDArray[np.int64]:
        """The fold of each row, ``(N,)``; equal rows are in the same, as they know each other's score."""
        different, which = np.unique(support.gather("features").numpy(), axis=0, return_inverse=True)
        if len(different) < self.folds:
            raise NotEnoughKnown(
                f"{self.folds} folds need at least {self.folds} different rows, got {len(different)}: lower folds"
            )
        dealt = np.random.default_rng(self.random_state).permutation(len(different)) % self.folds
        folds: NDArray[np.int64] = dealt[which.ravel()]
        return folds


def _scores(detector: Detector, signals: Any) -> NDArray[np.float64]:
    return np.asarray(detector.score(signals), dtype=np.float64)
