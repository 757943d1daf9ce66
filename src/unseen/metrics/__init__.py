"""How well scores separate known from unknown inputs: metrics, intervals and comparisons.

One sort gives every metric of one detector. All scores are higher where an input is more known.
"""

from unseen.metrics.comparison import Comparison as Comparison
from unseen.metrics.comparison import auroc_covariance as auroc_covariance
from unseen.metrics.comparison import compare as compare
from unseen.metrics.comparison import holm as holm
from unseen.metrics.counts import Counts as Counts
from unseen.metrics.counts import Floats as Floats
from unseen.metrics.evaluation import RULES as RULES
from unseen.metrics.evaluation import Evaluation as Evaluation
from unseen.metrics.evaluation import PrecisionRecall as PrecisionRecall
from unseen.metrics.evaluation import Roc as Roc
from unseen.metrics.evaluation import Rule as Rule
from unseen.metrics.evaluation import aupr_trapezoid as aupr_trapezoid
from unseen.metrics.evaluation import auroc as auroc
from unseen.metrics.evaluation import average_precision as average_precision
from unseen.metrics.evaluation import evaluate as evaluate
from unseen.metrics.evaluation import fpr_at_tpr as fpr_at_tpr
from unseen.metrics.open_set import TIES as TIES
from unseen.metrics.open_set import HScore as HScore
from unseen.metrics.open_set import Ties as Ties
from unseen.metrics.resampling import Bands as Bands
from unseen.metrics.resampling import bands as bands
from unseen.metrics.resampling import bootstrap as bootstrap
from unseen.metrics.scores import SIDES as SIDES
from unseen.metrics.scores import Side as Side
from unseen.metrics.units import mean_interval as mean_interval
from unseen.metrics.units import paired_difference as paired_difference
