"""From a score to a promise: p-values, thresholds and whole batches at a stated rate of false alarms."""

from unseen.calibration.batch import discoveries, fewest_discoveries, q_values
from unseen.calibration.class_conditional import ClassConditional
from unseen.calibration.conformal import SplitConformal

__all__ = ["ClassConditional", "SplitConformal", "discoveries", "fewest_discoveries", "q_values"]
