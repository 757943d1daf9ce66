"""How dense the known inputs lie around an input, against how dense they lie around those neighbours."""

from typing import Any

import numpy as np

from unseen.detectors._estimator import EstimatorDetector, Rows
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.parts import Paper


class LocalOutlierFactor(EstimatorDetector):
    """An input is known when the known ones lie as dense around it as around its nearest neighbours.

    ``score(x) = -mean_o r(o) / r(x)`` over the ``k`` nearest known inputs ``o``, with the density ``r(x) = 1 / mean_o
    max(|x - o|, d_k(o))`` and ``d_k(o)`` the distance from ``o`` to its own ``k``-th neighbour. So a loose class may
    have its members further apart than a tight one. Copies among the known count once. The search is scikit-learn's.

    Args:
        k: neighbours, from 1. The paper advises 10 at least.

    Reads: ``features (N, D)``, scales matter; labels ignored.
    Returns: ``(N,)`` below 0, no unit; about -1 within the known.
    Raises: WrongUse, for another ``k``; NotEnoughKnown, with ``k`` different known inputs or fewer.
    Cost: ``N D`` numbers, a query compares with all of them. The fit compares them with each other, and does so again
    after loading: ``N^2 D`` products.
    Source: Breunig, Kriegel, Ng, Sander, "LOF: Identifying Density-Based Local Outliers", SIGMOD 2000, definitions 3
    to 7, and the remark on copies after definition 6. The paper's sign is turned.
    Differs: scikit-learn counts each copy, so that where more than ``k`` inputs are the same, these are all but
    infinitely dense and everything beside them is unknown.

    >>> known = [[0.0], [1.0], [2.0], [3.0], [4.0]]
    >>> [round(s, 2) for s in LocalOutlierFactor(k=2).fit(known).score([[2.0], [9.0]]).tolist()]
    [-0.83, -3.67]
    """

    paper = Paper("LOF: Identifying Density-Based Local Outliers", "Breunig, Kriegel, Ng, Sander", "SIGMOD", 2000)

    def __init__(self, k: int = 20) -> None:
        super().__init__()
        self.k = k

    def estimate(self, known: Rows) -> Any:
        """scikit-learn's search, on rows that differ."""
        from sklearn.neighbors import LocalOutlierFactor as Factor

        if not isinstance(self.k, int) or self.k < 1:
            raise WrongUse(f"LocalOutlierFactor(k={self.k!r}): k counts neighbours, a whole number from 1")
        different = np.unique(known, axis=0)
        if len(different) <= self.k:
            raise NotEnoughKnown(
                f"LocalOutlierFactor(k={self.k}) needs at least {self.k + 1} different known inputs, got "
                f"{len(different)}: lower k or add inputs"
            )
        return Factor(self.k, novelty=True).fit(different)

    def numbers_per_query(self) -> int:
        """One distance for every row of the bank."""
        return len(self.bank)
