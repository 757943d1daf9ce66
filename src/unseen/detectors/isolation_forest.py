"""How few random cuts separate an input from known ones."""

from typing import Any

from unseen.detectors._estimator import EstimatorDetector, Rows, check_seed
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.parts import Paper


class IsolationForest(EstimatorDetector):
    """An input is known when many random cuts are needed to separate it from known inputs.

    ``score(x) = -2^(-E[h(x)] / c(n))``: ``h`` is the depth at which ``x`` arrives in a tree of random cuts through
    ``n`` known inputs, each at a random value of a random feature, and ``c(n)`` the mean depth of a binary search tree.
    No cut is made through a feature in which the known inputs of a tree are all alike, so what is unusual only there is
    not noticed. The trees are scikit-learn's, which cut in float32.

    Args:
        trees: how many.
        subsample: ``n``, known inputs that a tree sees, from 2; all of them where there are fewer.
        seed: of the draws.

    Reads: ``features (N, D)``, any scale of each; labels ignored.
    Returns: ``(N,)`` in ``[-1, 0)``, no unit; about -0.5 where no input stands out. Steps of a forest, so ties occur.
    Raises: WrongUse, for a count that there cannot be; NotEnoughKnown, with fewer than two inputs.
    Cost: ``N D`` numbers, from which the forest is grown again after loading; a query walks every tree. Growing
    takes no longer for more inputs.
    Source: Liu, Ting, Zhou, "Isolation Forest", ICDM 2008, equation 2. The paper's sign is turned.

    >>> known = [[x / 9, y / 9] for x in range(10) for y in range(10)]
    >>> inside, outside = IsolationForest().fit(known).score([[0.5, 0.5], [4.0, 4.0]]).tolist()
    >>> inside > -0.5 > outside
    True
    """

    traits = EstimatorDetector.traits | {"sampled"}
    small = {"trees": 50}  # noqa: RUF012 - a constant, shared on purpose
    paper = Paper("Isolation Forest", "Liu, Ting, Zhou", "ICDM", 2008)

    def __init__(self, trees: int = 100, subsample: int = 256, seed: int = 0) -> None:
        super().__init__()
        self.trees = trees
        self.subsample = subsample
        self.seed = seed

    def estimate(self, known: Rows) -> Any:
        """scikit-learn's forest."""
        from sklearn.ensemble import IsolationForest as Forest

        if not isinstance(self.trees, int) or self.trees < 1:
            raise WrongUse(f"IsolationForest(trees={self.trees!r}): give a whole number from 1")
        if not isinstance(self.subsample, int) or self.subsample < 2:
            raise WrongUse(f"IsolationForest(subsample={self.subsample!r}): give a whole number from 2")
        check_seed(self.seed, "IsolationForest")
        if len(known) < 2:
            raise NotEnoughKnown("IsolationForest needs at least two known inputs to cut between")
        forest = Forest(n_estimators=self.trees, max_samples=min(self.subsample, len(known)), random_state=self.seed)
        return forest.fit(known)
