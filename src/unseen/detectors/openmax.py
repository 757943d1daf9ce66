"""Odds of the known classes against one of unknown inputs, made of what far logits lose."""

from collections.abc import Mapping

import torch
from torch import Tensor, log1p, logsumexp

from unseen.detectors.base import Detector
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.parts import Labels, Paper
from unseen.signals import Support

SHIFT = 1e4  # libMR, the library of the paper, moves every tail there before it fits
FEWEST = 3  # correct inputs from which a class gets a curve of its own
CERTAIN = 80.0  # exponent at which w is 1, and exp still finite in float32
CLOSE = 1e-12  # relative step of the shape at which Newton's method ends
STEPS = 50  # it takes about six


class OpenMax(Detector):
    """An input is known when its logits lie as near to the mean logits of its likeliest classes as known inputs do.

    Of each class ``c`` the known inputs that are *called c and are c* give the mean logits ``m_c``, and the largest of
    their distances to it a Weibull distribution. An input at distance ``d`` keeps of the logit of its ``i``-th
    likeliest class, ``i <= alpha``, the share ``1 - w`` and gives the share ``w`` to a class of the unknown::

        w_c = (1 - exp(-(t / s_c)^k_c)) (alpha + 1 - i) / alpha,    t = d - a_c + 10000
        l'_c = l_c - w_c max(l_c, 0),    l'_0 = sum_c w_c max(l_c, 0)

    with the smallest distance ``a_c`` of the tail. The score is ``log sum_c exp(l'_c) - l'_0``, the logarithm of the
    odds against the unknown class: it ranks as the paper's probability of that class with its sign turned, and does
    not saturate.

    The shift of 10,000 is that of libMR, with which the paper's curves were fitted. With it ``k`` is about 10,000 too,
    and the power of ``t`` would be lost in float32; ``exp(k log1p((d - a) / 10000) + const)`` is not. The authors' code
    moves negative logits as well, by which a far input becomes more known; here they stay.

    What the unknown gets is taken from the logits, so there must be some: where all are near 0, the unknown has one
    chance in ``C + 1``, as each class has, however far the input lies. `Energy` and `MSP` notice such inputs.

    A class with fewer than 3 correct inputs, or with a tail of equal distances, borrows the mean curve of the others; a
    class without one correct input gives all of its share of the logit to the unknown.

    Args:
        tail: how many of the largest distances of a class make its tail; the paper takes 20.
        alpha: how many of the likeliest classes are looked at; the paper takes 10; all, where there are fewer.

    Reads: ``logits (N, C)``; labels required, label ``i`` being column ``i``.
    Returns: ``(N,)``, a logarithm of odds; both signs occur.
    Raises: NotEnoughKnown, when no class has 3 correct inputs that differ; WrongUse, when the columns are not those of
    the labels, or for an argument below 1.
    Cost: two walks; ``C (C + 3)`` numbers; a query is compared with ``alpha`` means.
    Source: Bendale, Boult, "Towards Open Set Deep Networks", CVPR 2016, algorithms 1 and 2.
    Differs: OpenOOD's defaults are a tail of 20 and ``alpha = 3``, pytorch-ood's 25 and 10. pytorch-ood learns from all
    inputs of a class, right or wrong, and measures distances only for classes that some row of the batch is called, so
    that with ``alpha`` above 1 a score depends on its batch. Where OpenOOD rejects an input it answers with the last
    class.

    >>> known = [[4.0, 0.1], [4.1, 0.0], [4.3, 0.2], [0.0, 4.0], [0.2, 4.2], [0.1, 4.3]]
    >>> detector = OpenMax().fit(known, [0, 0, 0, 1, 1, 1])
    >>> [round(s, 1) for s in detector.score([[4.1, 0.1], [9.0, 3.0]]).tolist()]
    [3.9, -8.8]
    """

    needs = frozenset({"logits"})
    labels: Labels = "aligned"
    traits = frozenset({"two_pass", "blind_to_flat_logits"})
    small = {"tail": 5}  # noqa: RUF012 - a constant, shared on purpose
    grid = {"alpha": (1, 3, 10)}  # noqa: RUF012
    paper = Paper("Towards Open Set Deep Networks", "Bendale, Boult", "CVPR", 2016)
    means: Tensor  # (C, C) mean logits of the correct inputs of each class
    smallest: Tensor  # (C,) a
    shape: Tensor  # (C,) k
    level: Tensor  # (C,) k log(10000 / s), so that (t / s)^k = exp(k log1p((d - a) / 10000) + level)
    shares: Tensor  # (alpha,) (alpha + 1 - i) / alpha

    def __init__(self, tail: int = 20, alpha: int = 10) -> None:
        super().__init__()
        self.tail = tail
        self.alpha = alpha
        for name in ("means", "smallest", "shape", "level", "shares"):
            self.register_buffer(name, torch.empty(0))

    def learn(self, support: Support) -> None:
        """Means in one walk, distances to them in another, then all curves at once; in float64."""
        for name in ("tail", "alpha"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise WrongUse(f"OpenMax({name}={value!r}): give a whole number from 1")
        classes, device = len(support.classes), support.signals.device
        total = torch.zeros(classes, classes, dtype=torch.float64, device=device)
        count = torch.zeros(classes, dtype=torch.float64, device=device)
        for batch in support.batches("logits"):
            logits, labels = _correct(batch)
            total.index_add_(0, labels, logits)
            count += torch.bincount(labels, minlength=classes)
        means = total / count.clamp_min(1)[:, None]
        distances, named = [], []
        for batch in support.batches("logits"):
            logits, labels = _correct(batch)
            distances.append((logits - means[labels]).norm(dim=1))
            named.append(labels)
        tails, there = _tails(torch.cat(distances), torch.cat(named), classes, self.tail)
        smallest = tails.masked_fill(~there, torch.inf).amin(dim=1).nan_to_num(posinf=0.0)
        logs = log1p((tails - smallest[:, None]) / SHIFT)  # log(t / 10000)
        own = (count >= FEWEST) & (logs.masked_fill(~there, 0.0).amax(dim=1) > 0)
        if not own.any():
            raise NotEnoughKnown(
                f"OpenMax fits curves to distances of rightly classified inputs, and none of the {classes} classes has "
                f"{FEWEST} of them that differ: add inputs"
            )
        shape, log_scale = weibull(logs[own], there[own])
        level = -shape * log_scale
        curves = torch.stack([smallest[own], shape.log(), level])  # (3, own)
        every = curves.mean(dim=1, keepdim=True).expand(-1, classes).clone()  # (3, C): what is borrowed
        every[:, own] = curves
        every[:, count == 0] = every.new_tensor([[0.0], [0.0], [CERTAIN]])
        precision = support.dtype("logits")
        self.means = means.to(precision)
        self.smallest, self.shape, self.level = (
            every[0].to(precision),
            every[1].exp().to(precision),
            every[2].to(precision),
        )
        alpha = min(self.alpha, classes)
        self.shares = (torch.arange(alpha, 0, -1, dtype=precision, device=device)) / alpha

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Logarithms of the odds for the known ``(B,)``."""
        logits = signals["logits"]
        top = logits.topk(self.shares.shape[0], dim=1)  # (B, alpha)
        distance = (logits[:, None] - self.means[top.indices]).square().sum(dim=2).sqrt()  # (B, alpha, C) -> (B, alpha)
        beyond = ((distance - self.smallest[top.indices]) / SHIFT).clamp_min(-0.5)  # as far inside as there are numbers
        outside = -(-(self.shape[top.indices] * log1p(beyond) + self.level[top.indices]).exp()).expm1()
        moved = outside * self.shares * top.values.clamp_min(0)
        left = logits.scatter(1, top.indices, top.values - moved)
        return logsumexp(left, dim=1) - moved.sum(dim=1)

    def numbers_per_query(self) -> int:
        """The means of the likeliest classes, differences to them, and their squares."""
        return 3 * len(self.shares) * len(self.means)


def _correct(batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Logits ``(n, C)`` in float64 and labels ``(n,)`` of the inputs that are rightly classified."""
    logits = batch["logits"].double()
    labels = batch["labels"].to(logits.device)
    right = logits.argmax(dim=1) == labels
    return logits[right], labels[right]


def _tails(distances: Tensor, labels: Tensor, classes: int, tail: int) -> tuple[Tensor, Tensor]:
    """The largest distances of each class ``(C, tail)``, descending, and where there is one."""
    order = distances.argsort(descending=True)
    order = order[labels[order].argsort(stable=True)]  # by class, then descending
    distances, labels = distances[order], labels[order]
    count = torch.bincount(labels, minlength=classes)
    rank = torch.arange(len(labels), device=labels.device) - (count.cumsum(0) - count)[labels]
    kept = rank < tail
    tails = distances.new_zeros(classes, tail)
    tails[labels[kept], rank[kept]] = distances[kept]
    return tails, torch.arange(tail, device=labels.device) < count[:, None]


def weibull(logs: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """Shape and logarithm of the scale of the likeliest Weibull distribution of each row, its location being 0.

    Newton's method on the logarithm of the shape ``k``, for all rows at once: the likelihood is largest where
    ``sum x e^(k x) / sum e^(k x) - 1 / k`` is the mean of ``x``, and the left side rises with ``k``.

    Args:
        logs: ``(R, n)`` the logarithms ``x`` of the values, float64.
        there: ``(R, n)`` which of them count; two that differ in every row.

    Returns:
        Two of ``(R,)``.
    """
    n = there.sum(dim=1, keepdim=True)
    middle = (logs * there).sum(dim=1, keepdim=True) / n
    x = (logs - middle).masked_fill(~there, 0.0)  # a scale more or less: the shape stays
    k = torch.pi / (6 * x.square().sum(dim=1, keepdim=True) / n).sqrt()  # that of a sample with this spread
    for _ in range(STEPS):
        weight = (k * x).masked_fill(~there, -torch.inf).softmax(dim=1)
        mean = (weight * x).sum(dim=1, keepdim=True)
        slope = k * (weight * (x - mean).square()).sum(dim=1, keepdim=True) + 1 / k
        step = ((1 / k - mean) / slope).clamp(-1, 1)
        k = k * step.exp()
        if bool((step.abs() < CLOSE).all()):
            break
    powers = (k * x).masked_fill(~there, -torch.inf)
    log_scale = middle + (logsumexp(powers, dim=1, keepdim=True) - n.log()) / k
    return k.squeeze(1), log_scale.squeeze(1)
