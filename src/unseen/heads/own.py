"""The model's own last layer."""

from torch import Tensor

from unseen.errors import WrongUse
from unseen.heads.base import Head
from unseen.signals import Support


class Own(Head):
    """The linear layer that the encoder came with, its outputs put in the order of the known classes.

    A class that the support leaves out loses its column, so that a held-out class is not answered by its
    own weights. The features still remember it: the network met the class in training.

    Reads: ``features (N, D)`` and the support's head.
    Raises: WrongUse, when there is no head, or it has no output for one of the classes.
    """

    def solve(self, support: Support) -> tuple[Tensor, Tensor]:
        """Select columns by class name."""
        if support.head is None:
            raise WrongUse("own needs the model's linear head and this encoder has none: use ridge or prototypes")
        head = support.head.select(support.classes)
        return head.weight.double(), head.bias.double()
