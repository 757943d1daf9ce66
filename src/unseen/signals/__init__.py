"""What is said about inputs: signals, the support made of them, requests, and the store on disk."""

from unseen.signals.joined import joined as joined
from unseen.signals.requests import Climbed as Climbed
from unseen.signals.requests import GramStatistics as GramStatistics
from unseen.signals.requests import LayerStatistics as LayerStatistics
from unseen.signals.requests import Nudged as Nudged
from unseen.signals.requests import Perturbed as Perturbed
from unseen.signals.requests import RankReduced as RankReduced
from unseen.signals.requests import Request as Request
from unseen.signals.requests import Samples as Samples
from unseen.signals.requests import Sensitivity as Sensitivity
from unseen.signals.requests import key_of as key_of
from unseen.signals.shelves import Shelf as Shelf
from unseen.signals.shelves import clear as clear
from unseen.signals.shelves import shelves as shelves
from unseen.signals.signals import BATCH as BATCH
from unseen.signals.signals import Answers as Answers
from unseen.signals.signals import Column as Column
from unseen.signals.signals import Signals as Signals
from unseen.signals.signals import Transform as Transform
from unseen.signals.store import Shards as Shards
from unseen.signals.store import Store as Store
from unseen.signals.support import LinearHead as LinearHead
from unseen.signals.support import Support as Support
from unseen.signals.support import as_signals as as_signals
from unseen.signals.support import coded as coded
