"""Deviation of a network's Gram matrices from what they were for known inputs of the predicted class."""

from collections.abc import Mapping

import torch
from torch import Tensor

from unseen.detectors._layers import layers_of
from unseen.detectors.base import QUERY_NUMBERS, Detector
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.parts import Paper
from unseen.signals import GramStatistics, Support


class Gram(Detector):
    """An input is known when channels fire together as they do for known inputs that are called the same.

    ``g_lp`` are the row sums of the Gram matrix of order ``p`` of layer ``l``'s channels (`GramStatistics`). Of known
    inputs that are *predicted* ``c``, as the authors have it, the smallest and the largest value of each channel ``j``
    is kept, and with ``c`` the predicted class of ``x``::

        score(x) = -sum_l d_l(x) / E_l
        d_l(x)   = sum_pj max(low_cpj - g_pj, 0) / |low_cpj| + max(g_pj - high_cpj, 0) / |high_cpj|

    ``E_l`` is the mean ``d_l`` of known inputs that took no part in the bounds. The authors hold a tenth of them out;
    here each is held out in turn, which needs no draw and leaves all to the bounds: only the input that has the
    smallest or the largest value deviates without it, by its distance to the second one. A class that is predicted for
    fewer than two known inputs has the bounds of all.

    The published division explodes where a bound is next to 0, as that of a channel which is silent for a class. So
    bounds below ``floor`` of the mean bound of layer and order divide as that much.

    Args:
        layers: dotted names of layers, or stages from the back, with commas between them. The paper takes every
            convolution and activation.
        orders: highest power ``p``, from 1; the paper takes 10.
        floor: share of the mean bound, above 0.

    Reads: ``logits (N, C)`` and the Gram statistics of the layers; labels ignored.
    Returns: ``(N,)``, at most 0, in mean deviations of known inputs that were held out. Inputs within all bounds tie at
    0: of a network with a hundred channels half of the known, the fewer the more layers are asked.
    Raises: WrongUse, for other layers, orders or floors; NotEnoughKnown, when no class is predicted for two known
    inputs, or those that are predicted the same do not differ in a layer.
    Cost: ``2 C`` numbers for each channel and order, ``4 C`` while it learns; one walk over the known inputs.
    Source: Sastry, Oore, "Detecting Out-of-Distribution Examples with Gram Matrices", ICML 2020, section 3.
    Differs: OpenOOD and pytorch-ood keep bounds by label, and all statistics in memory while they do; OpenOOD takes 5
    orders and divides the score by the largest probability. oodeel goes by prediction, as is done here, with quantiles
    in the place of the smallest and the largest value, and takes the root before it sums rows. All of them divide by
    the bound, with 1e-6 added to it.

    >>> maps = GramStatistics("-1", orders=1).key
    >>> detector = Gram(layers="-1", orders=1).fit({"logits": [[1.0]] * 3, maps: [[2.0], [4.0], [3.0]]})
    >>> detector.score({"logits": [[1.0]] * 3, maps: [[1.0], [2.5], [6.0]]}).round(2).tolist()
    [-2.25, -0.0, -2.25]
    """

    traits = frozenset({"saturates"})
    paper = Paper("Detecting Out-of-Distribution Examples with Gram Matrices", "Sastry, Oore", "ICML", 2020)
    low: Tensor  # (C, W) smallest values, of all columns of all layers
    high: Tensor  # (C, W) largest values
    least: Tensor  # (W,) by which is divided at least
    share: Tensor  # (W,) 1 / E of the column's layer

    def __init__(self, layers: str = "-3,-2,-1", orders: int = 5, floor: float = 1e-3) -> None:
        super().__init__()
        self.layers = layers
        self.orders = orders
        self.floor = floor
        self._requests = [GramStatistics(layer, orders) for layer in layers_of("gram", layers)]
        self.needs = frozenset({"logits", *self._requests})
        for name in ("low", "high", "least", "share"):
            self.register_buffer(name, torch.empty(0))

    def learn(self, support: Support) -> None:
        """The two smallest and two largest values of each predicted class, in one walk."""
        if not self.floor > 0:
            raise WrongUse(f"Gram(floor={self.floor!r}): give a share above 0")
        keys = [request.key for request in self._requests]
        widths = [support.signals.width(key) for key in keys]
        classes, columns = support.signals.width("logits"), sum(widths)
        count = torch.zeros(classes, dtype=torch.long)
        # Of all known inputs together in the last row.
        low = torch.full(
            (classes + 1, 2, columns), torch.inf, dtype=support.dtype(keys[0]), device=support.signals.device
        )
        high = -low
        for batch in support.batches("logits", *keys, size=max(1, QUERY_NUMBERS // 4 // columns)):
            g = torch.cat([batch[key] for key in keys], dim=1)
            named = batch["logits"].argmax(dim=1)
            count += torch.bincount(named.cpu(), minlength=classes)
            for c in torch.bincount(named).nonzero()[:, 0].tolist():
                _update(low[c], high[c], g[named == c])
            _update(low[-1], high[-1], g)
        enough = count > 1
        if not enough.any():
            raise NotEnoughKnown(
                "Gram: no class is predicted for two known inputs, of which one could be held out: add inputs"
            )
        low, high = low.double(), high.double()
        size = torch.maximum(low[-1, 0].abs(), high[-1, 0].abs())
        precision = support.dtype(keys[0])
        least = torch.cat(_means(size, widths, self.orders)).mul(self.floor).clamp_min(torch.finfo(precision).tiny)
        (low_1, low_2), (high_1, high_2) = (bound[:-1][enough].unbind(dim=1) for bound in (low, high))
        held_out = (low_2 - low_1) / low_2.abs().maximum(least) + (high_1 - high_2) / high_2.abs().maximum(least)
        expected = [part.sum() / count[enough].sum() for part in held_out.split_with_sizes(widths, dim=1)]
        for request, deviation in zip(self._requests, expected, strict=True):
            if not deviation > 0:
                raise NotEnoughKnown(
                    f"Gram: known inputs that are predicted alike do not differ in layer {request.layer!r}: add inputs"
                )
        low[:-1][~enough], high[:-1][~enough] = low[-1], high[-1]
        self.low, self.high = low[:-1, 0].to(precision, copy=True), high[:-1, 0].to(precision, copy=True)
        self.least = least.to(precision)
        self.share = torch.cat([(1 / e).expand(w) for e, w in zip(expected, widths, strict=True)]).to(precision)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Negative deviations ``(B,)``."""
        named = signals["logits"].argmax(dim=1)
        g = torch.cat([signals[request.key] for request in self._requests], dim=1)  # (B, W)
        low, high = self.low[named], self.high[named]
        below = (low - g).clamp_min(0) / low.abs().maximum(self.least)
        above = (g - high).clamp_min(0) / high.abs().maximum(self.least)
        return -((below + above) @ self.share)

    def numbers_per_query(self) -> int:
        """Bounds and deviations of every column."""
        return 6 * self.low.shape[-1]


def _update(low: Tensor, high: Tensor, rows: Tensor) -> None:
    """Let ``rows (n, W)`` into the two smallest and the two largest values ``(2, W)``, in place."""
    low.copy_(torch.cat([low, rows]).topk(2, dim=0, largest=False).values)
    high.copy_(torch.cat([high, rows]).topk(2, dim=0).values)


def _means(size: Tensor, widths: list[int], orders: int) -> list[Tensor]:
    """For each column of each layer the mean of its order's."""
    found = []
    for part in size.split_with_sizes(widths):
        order = torch.arange(len(part), device=part.device) * orders // len(part)
        total = part.new_zeros(orders).index_add_(0, order, part)
        found.append((total / order.bincount(minlength=orders).clamp_min(1))[order])
    return found
