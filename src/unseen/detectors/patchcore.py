"""Distance of the strangest patch to known patches."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from unseen.detectors.base import Detector
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.parts import Paper
from unseen.signals import Support

BLOCK = 1 << 24  # distances held at once while neighbours are sought
COPY = 1e-12  # of the largest squared length: the square of a distance below which a patch is one that is kept already


class PatchCore(Detector):
    """An input is known when each of its patches is near to some known patch, wherever that was.

    Of all known patches a bank is kept that leaves none far away: each next one is that which is farthest from those
    that are kept, seen in a random projection. With ``x*`` the patch of an input that is farthest from its nearest
    ``m*`` in the bank, ``score(x) = -w ||x* - m*||``, and ``w`` grows where the bank is thin around ``m*``::

        w = 1 - exp ||x* - m*|| / sum_m exp ||x* - m||    over the b patches of the bank nearest to m*, itself included

    As ``m*`` is the nearest of them, ``w`` lies between ``1 - 1 / b`` and 1.

    Args:
        share: of the known patches, how many are kept; fewer, where all others are copies of those. The paper takes
            0.01, 0.1 and 0.25.
        neighbours: ``b``, from 1. With 1 the weight is left out. The paper does not name its number; later
            implementations take 9.
        projection: how many random directions patches are seen in while the bank is chosen; with as many features or
            fewer they are seen as they are. The authors take 128.
        seed: of the projection, and of the patch that is kept first.

    Reads: ``local (N, P, D)``; labels ignored.
    Returns: ``(N,)``, at most 0, in units of the patch features.
    Raises: WrongUse, for a share outside ``(0, 1]``, or no neighbours or directions; NotEnoughKnown, when the bank has
    fewer than ``b`` patches.
    Cost: for ``M`` patches in the bank ``M (D + b)`` numbers; a query compares each of its patches with all of them.
    While it learns, the projections of all known patches, and ``M`` walks over them.
    Source: Roth, Pemula, Zepeda, Schölkopf, Brox, Gehler, "Towards Total Recall in Industrial Anomaly Detection", CVPR
    2022, equations 5 to 7. How patches are pooled from a network's layers is not part of it.
    Differs: the authors' released code leaves the weight out. OpenOOD weights by the farthest of the patches nearest to
    ``x*``, and squares distances.

    >>> known = [[[0.0], [5.0]], [[1.0], [6.0]]]
    >>> detector = PatchCore(share=1.0, neighbours=1).fit({"local": known})
    >>> detector.score({"local": [[[6.0], [0.0]], [[1.0], [8.0]]]}).tolist()
    [-0.0, -2.0]
    """

    needs = frozenset({"local"})
    traits = frozenset({"sampled", "two_pass"})
    small = {"share": 0.4, "projection": 16}  # noqa: RUF012 - a constant, shared on purpose
    paper = Paper(
        "Towards Total Recall in Industrial Anomaly Detection",
        "Roth, Pemula, Zepeda, Schölkopf, Brox, Gehler",
        "CVPR",
        2022,
    )
    bank: Tensor  # (M, D)
    near: Tensor  # (M, b) int64, rows of the bank that are nearest to each of its rows, itself first

    def __init__(self, share: float = 0.1, neighbours: int = 9, projection: int = 128, seed: int = 0) -> None:
        super().__init__()
        self.share = share
        self.neighbours = neighbours
        self.projection = projection
        self.seed = seed
        self.register_buffer("bank", torch.empty(0, 0))
        self.register_buffer("near", torch.empty(0, 0, dtype=torch.int64))

    def learn(self, support: Support) -> None:
        """Choose patches by their projections, in float64; then read those, and find the neighbours of each."""
        if not 0 < self.share <= 1:
            raise WrongUse(f"PatchCore(share={self.share}): give a share above 0, up to 1")
        for name in ("neighbours", "projection"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise WrongUse(f"PatchCore({name}={value!r}): give a whole number from 1")
        rng = np.random.default_rng(self.seed)
        first = rng.random()
        width = next(support.batches("local", size=1))["local"].shape[2]
        seen_in: Tensor | None = None
        if self.projection < width:
            seen_in = torch.from_numpy(rng.normal(size=(width, self.projection)))

        def projected(x: Tensor) -> Tensor:
            return x.double() if seen_in is None else x.double() @ seen_in.to(x.device)

        patches = support.gather("local", projected).flatten(0, 1)  # (N P, d)
        chosen = _spread(patches, int(first * len(patches)), max(1, int(self.share * len(patches))))
        if len(chosen) < self.neighbours:
            raise NotEnoughKnown(
                f"PatchCore(share={self.share}, neighbours={self.neighbours}): the bank has {len(chosen)} different "
                "patches; raise share, lower neighbours or add inputs"
            )
        kept, start = torch.zeros(len(patches), dtype=torch.bool), 0
        kept[chosen.cpu()] = True
        bank = []
        for batch in support.batches("local"):
            x = batch["local"].flatten(0, 1)
            bank.append(x[kept[start : start + len(x)].to(x.device)])
            start += len(x)
        self.bank = torch.cat(bank)
        self.near = _neighbours(self.bank.double(), self.neighbours)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Negative distances ``(B,)``."""
        x = signals["local"]
        patches = x.flatten(0, 1)  # (B P, D)
        nearest = torch.addmm(-0.5 * self.bank.square().sum(dim=1), patches, self.bank.T).argmax(dim=1)  # (B P,)
        # Found by one product, measured by difference: sqrt(x^2 - 2 x m + m^2) loses the digits that its terms share.
        apart = (patches - self.bank.index_select(0, nearest)).square().sum(dim=1).sqrt()
        apart = apart.view(-1, x.shape[1])  # (B, P)
        far = apart.max(dim=1, keepdim=True)
        if self.neighbours == 1:
            return -far.values.squeeze(1)
        strangest = x.gather(1, far.indices[:, :, None].expand(-1, -1, x.shape[2]))  # (B, 1, D)
        row = nearest.view(-1, x.shape[1]).gather(1, far.indices).squeeze(1)  # (B,)
        around = self.bank[self.near.index_select(0, row)]  # (B, b, D)
        others = (strangest - around).square().sum(dim=2).sqrt()  # (B, b)
        weight = 1 - 1 / (others - far.values).exp().sum(dim=1)
        return -weight * far.values.squeeze(1)

    def numbers_per_query(self) -> int:
        """For each patch one product with every row of the bank; the neighbours of one."""
        patches = int(self.widths.sum()) // self.bank.shape[1]
        return patches * (len(self.bank) + 2 * self.bank.shape[1]) + 2 * self.neighbours * self.bank.shape[1]


def _spread(patches: Tensor, first: int, number: int) -> Tensor:
    """Rows of which each is farthest from those before it, ``(M,)``; fewer, where the rest are copies of those."""
    chosen, squares = [first], patches.square().sum(dim=1)
    apart = torch.full_like(squares, torch.inf)  # squared distances from the nearest that is chosen
    while len(chosen) < number:
        # One product, 13 times as fast as the squares of differences; what it loses counts for copies alone.
        last = patches[chosen[-1]]
        torch.minimum(apart, torch.addmv(squares + squares[chosen[-1]], patches, last, alpha=-2), out=apart)
        farthest = int(apart.argmax())
        if apart[farthest] <= COPY * squares.max():
            break
        chosen.append(farthest)
    return torch.tensor(chosen)


def _neighbours(bank: Tensor, b: int) -> Tensor:
    """The ``b`` rows of the bank that are nearest to each, ``(M, b)``, itself first."""
    squares, rows, found = bank.square().sum(dim=1), max(1, BLOCK // len(bank)), []
    for start in range(0, len(bank), rows):
        some = bank[start : start + rows]
        distance = squares - 2 * some @ bank.T
        distance.diagonal(start).fill_(-torch.inf)  # itself, whatever the rounding
        found.append(distance.topk(b, dim=1, largest=False).indices)
    return torch.cat(found)
