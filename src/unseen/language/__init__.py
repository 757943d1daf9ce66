"""Names and words as texts: prompts, prototypes, mined words. It holds no model and does not score."""

from unseen.language.mining import INTERPOLATIONS as INTERPOLATIONS
from unseen.language.mining import RULES as RULES
from unseen.language.mining import Mined as Mined
from unseen.language.mining import mine as mine
from unseen.language.mining import statistic as statistic
from unseen.language.proposals import Called as Called
from unseen.language.proposals import Listed as Listed
from unseen.language.proposals import Proposer as Proposer
from unseen.language.proposals import Recorded as Recorded
from unseen.language.proposals import tidy as tidy
from unseen.language.prototypes import ORDERS as ORDERS
from unseen.language.prototypes import prototypes as prototypes
from unseen.language.templates import PROMPTS as PROMPTS
from unseen.language.templates import clean as clean
from unseen.language.templates import prompts as prompts
from unseen.language.texts import Texts as Texts
from unseen.language.words import Words as Words
from unseen.language.words import read_names as read_names
from unseen.language.words import read_words as read_words
