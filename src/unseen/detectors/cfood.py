"""How far one must go out from known inputs until the input is among their nearest."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from unseen.detectors.base import Detector
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.parts import Paper
from unseen.signals import Support

KNOTS = 256  # of the distances kept for each reference; ranks between them are interpolated
FEWEST = 3  # references: two have no neighbour that is nearer than another
BLOCK = 1 << 24  # distances held at once while they are sorted


class CFOOD(Detector):
    """An input is known when it is soon met on the way out from a few known inputs.

    Of the known inputs some are references. For each of them, ``F_r(d)`` is the share of the others that are nearer to
    it than ``d``. ``score(x) = -(the m-th smallest of F_r(||z - z_r||) over the references r)``, ``z = f / ||f||``: the
    smallest neighbourhood, as a share of the references, in which the input lies for ``m`` of them. Distances are ranks
    among those of the same reference, so that a loose region and a dense one count alike, and ranks do not draw
    together in high dimension as distances do.

    ``F_r`` is linear between the distances of two neighbours, where the authors' code takes the next of 230 grid
    points, which leaves at most 231 scores. Beyond the farthest reference ``d_n`` it goes on as ``d / d_n``, where the
    authors' code has 1 for all.

    Args:
        share: of the known inputs, the references that are drawn; the authors take 0.1.
        least: ``m`` as a share of the references, rounded up; the authors take 0.01.
        seed: of the draw.

    Reads: ``features (N, D)``, any scale; labels ignored.
    Returns: ``(N,)``, at most 0; from -1 on an input is farther than all references.
    Raises: WrongUse, for shares outside ``(0, 1]``; NotEnoughKnown, with fewer than three references.
    Cost: for ``n`` references ``n (D + 256)`` numbers, and ``n^2`` comparisons while it learns; a query compares with
    all references.
    Source: Angiulli, "CFOF: A Concentration Free Measure for Anomaly Detection", ACM TKDD 2020, hard CFOF;
    Angiulli, Fassetti, Zupi, "CF-OOD: Concentration-Free Density Estimation for Reliable Out-of-Distribution
    Detection", 2026, for unit features and a drawn share.
    Differs: OpenOOD and the authors' code answer with one of 231 numbers, and with 1 beyond the farthest reference. Of
    more references than 256, ours keeps the distances at 256 ranks and goes linearly between them. The draw is seeded
    here.

    >>> known = [[1.0, 0.0], [1.0, 0.1], [1.0, 0.2], [1.0, 0.3]]
    >>> near, far = CFOOD(share=1.0).fit(known).score([[2.0, 0.1], [0.0, 1.0]]).tolist()
    >>> round(near, 2), far < -1
    (-0.17, True)
    """

    needs = frozenset({"features"})
    traits = frozenset({"sampled"})
    small = {"share": 0.5, "least": 0.05}  # noqa: RUF012 - a constant, shared on purpose; a tenth of 240 is 24
    paper = Paper("CFOF: A Concentration Free Measure for Anomaly Detection", "Angiulli", "ACM TKDD", 2020)
    references: Tensor  # (n, D), unit rows
    distances: Tensor  # (n, K) from each reference to the others, ascending, from 0
    ranks: Tensor  # (K,) shares of the others that are nearer, from 0 to 1

    def __init__(self, share: float = 0.1, least: float = 0.01, seed: int = 0) -> None:
        super().__init__()
        self.share = share
        self.least = least
        self.seed = seed
        for name in ("references", "distances", "ranks"):
            self.register_buffer(name, torch.empty(0))

    def learn(self, support: Support) -> None:
        """Draw references, and sort the distances from each to the others, in float64."""
        if not (0 < self.share <= 1 and 0 < self.least <= 1):
            raise WrongUse(f"CFOOD(share={self.share}, least={self.least}): give shares above 0, up to 1")
        n = int(self.share * len(support))
        if n < FEWEST:
            raise NotEnoughKnown(
                f"CFOOD(share={self.share}) needs at least {FEWEST} references, and this share of the {len(support):,} "
                f"known inputs is {n}: raise share or add inputs"
            )
        references = _drawn(support, np.random.default_rng(self.seed).permutation(len(support))[:n])
        ranks = _ranks(n)
        z, rows = normalize(references.double()), max(1, BLOCK // n)
        found = [
            _distances(z[start : start + rows], z).sort(dim=1).values[:, ranks]  # the first is its own, 0
            for start in range(0, n, rows)
        ]
        distances = torch.cat(found)
        distances[:, 0] = 0.0  # not the rounding of 1 - cos
        if not distances[:, -1].min() > 0:
            raise NotEnoughKnown("CFOOD: the references all have one direction, so nothing is nearer than another")
        kept = support.dtype("features")
        self.references, self.distances = references, distances.to(kept).contiguous()
        self.ranks = (ranks / (n - 1)).to(kept)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Negative shares ``(B,)``."""
        z = normalize(signals["features"])
        n, knots = self.distances.shape
        d = _distances(z, self.references)  # (B, n)
        table, first = self.distances.flatten(), torch.arange(0, n * knots, knots, device=d.device)
        # The last knot that is not farther, by halving: searchsorted has no operator in ONNX.
        low = torch.zeros_like(d, dtype=torch.long)
        for step in (2**i for i in reversed(range((knots - 1).bit_length()))):
            probe = (low + step).clamp_max(knots - 1)
            low = torch.where(table[first + probe] <= d, probe, low)
        share = self._share(d, low, table[first + low], table[first + (low + 1).clamp_max(knots - 1)])
        # The m-th smallest; rounded down by less than a reference first, so that 0.05 of 120 is 6.
        chosen = share.topk(max(1, math.ceil(self.least * n - 1e-6)), dim=1, largest=False).indices[:, -1]
        # Its distance is measured by difference, as sqrt(2 - 2 cos) loses half the digits, and neighbours are close.
        d = (z - self.references.index_select(0, chosen)).norm(dim=1, keepdim=True)  # (B, 1)
        row = self.distances.index_select(0, chosen)  # (B, K)
        low = ((row <= d).sum(dim=1, keepdim=True) - 1).clamp_min(0)
        return -self._share(d, low, row.gather(1, low), row.gather(1, (low + 1).clamp_max(knots - 1))).squeeze(1)

    def _share(self, d: Tensor, low: Tensor, below: Tensor, above: Tensor) -> Tensor:
        """``F_r(d)``, where ``d`` lies from the knot ``low`` on, between the distances ``below`` and ``above``."""
        last = len(self.ranks) - 1
        between = ((d - below) / (above - below).clamp_min(torch.finfo(d.dtype).tiny)).clamp(0, 1)
        inside = self.ranks[low] + (self.ranks[(low + 1).clamp_max(last)] - self.ranks[low]) * between
        return torch.where(low < last, inside, d / above)

    def numbers_per_query(self) -> int:
        """What the search holds for every reference, and the distances of one."""
        return 12 * len(self.references) + 3 * len(self.ranks)


def _distances(queries: Tensor, references: Tensor) -> Tensor:
    """Between unit rows, ``(B, n)``."""
    squares: Tensor = (2 - 2 * queries @ references.T).clamp_min(0)
    return squares.sqrt()


def _drawn(support: Support, rows: np.ndarray) -> Tensor:
    """Directions of some rows, in their order in the support; all are read, so that NaN is named wherever it is."""
    chosen = torch.zeros(len(support), dtype=torch.bool)
    chosen[torch.from_numpy(rows)] = True
    kept, start = [], 0
    for batch in support.batches("features"):
        x = batch["features"]
        kept.append(normalize(x[chosen[start : start + len(x)].to(x.device)]))
        start += len(x)
    return torch.cat(kept)


def _ranks(n: int) -> Tensor:
    """The ranks whose distances are kept, from 0 to ``n - 1``: all of few, of many the denser the nearer."""
    if n <= KNOTS:
        return torch.arange(n)
    return torch.from_numpy(np.unique(np.round(np.linspace(0, 1, KNOTS) ** 2 * (n - 1)).astype(np.int64)))
