"""Which rows each step reads, as a function of seed, epoch and step: there is no sampler whose state could be lost."""

from __future__ import annotations

import numpy as np

from unseen.data.batch import Rows


class Shuffled:
    """Every row once, in an order drawn for the epoch.

    An incomplete last batch is left out, as its few inputs would weigh more than others; where there are fewer rows
    than a batch, all of them are one.

    Args:
        rows: N.
        batch: rows a step.
        seed: of the order.
        epoch: likewise.

    >>> order = Shuffled(10, 4, seed=0, epoch=0)
    >>> len(order), sorted(np.concatenate([order[0].index, order[1].index]).tolist())[0] >= 0
    (2, True)
    """

    def __init__(self, rows: int, batch: int, seed: int, epoch: int) -> None:
        self._order = np.random.default_rng((seed, epoch)).permutation(rows).astype(np.int64)
        self._batch = min(batch, rows)

    def __len__(self) -> int:
        return len(self._order) // self._batch

    def __getitem__(self, step: int) -> Rows:
        if not 0 <= step < len(self):
            raise IndexError(step)
        return Rows(self._order[step * self._batch : (step + 1) * self._batch])
