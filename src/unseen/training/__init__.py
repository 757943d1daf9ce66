"""One trainer for all objectives: recipes, optimisers, schedules, exact checkpoints. It knows no method."""

from unseen.training.augment import Augment as Augment
from unseen.training.lars import LARS as LARS
from unseen.training.order import Shuffled as Shuffled
from unseen.training.recipe import Recipe as Recipe
from unseen.training.schedules import rate as rate
from unseen.training.sources import FeatureRows as FeatureRows
from unseen.training.sources import ImageRows as ImageRows
from unseen.training.sources import Source as Source
from unseen.training.trainer import Trained as Trained
from unseen.training.trainer import train as train
