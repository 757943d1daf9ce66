"""The linear probe: a softmax classifier on standardised features, trained by minibatches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from unseen.errors import NotEnoughKnown, WrongUse
from unseen.heads._minibatch import minimise, warmup_cosine
from unseen.heads.base import Head
from unseen.parts import Paper
from unseen.signals import BATCH, Support

ADAM_ONLY = {"epochs": 100, "batch": 256, "lr": 1e-3, "lr_rule": "code"}  # and their defaults
ITERATIONS = 2000  # of L-BFGS, which takes some tens to some hundreds
FLAT = 1e-6  # largest slope that is taken for an optimum; it stops at 1e-8 where it can
HELD = 1 << 28  # numbers of standardised features up to which what lies on disk is copied into memory: 1 GB of float32

LrRule = Literal["code", "paper"]
Solver = Literal["adam", "lbfgs"]


class Probe(Head):
    """Softmax regression on the known classes, the features standardised first.

    ``logits = V u + a``, ``u_d = (f_d - m_d) / s_d`` with mean ``m`` and standard deviation ``s`` (of ``N - 1``) of the
    features that it learns from. ``V`` and ``a`` start uniform in ``[-D^-1/2, D^-1/2]`` and minimise cross-entropy
    by Adam with a coupled decay of both; the rate climbs over a tenth of the steps and falls along a cosine. Then the
    standardisation is folded into ``weight`` and ``bias``. So no scale or offset of a dimension matters, and a
    dimension that is constant up to rounding has weight 0. A class without inputs keeps its column, which learns only
    that it is never right. Features that are read from disk again and again give the same bits as those in memory,
    unless a step before makes them in a product.

    A step moves a weight by about the rate at most, so all steps together by ``lr / 2`` times their number, which is
    ``epochs * N / batch``. That is plenty for the paper's data; with a thousand inputs or fewer, of few dimensions,
    the layer stays near its random start: raise ``lr`` or ``epochs`` there, or lower ``batch``.

    Args:
        shots: learn from so many inputs of each class, drawn without replacement under the seed; from all by default.
            The paper's few-shot rows take 10. The standardisation too sees the drawn inputs alone.
        epochs: walks over the inputs.
        batch: inputs of a step. The paper takes 256 for CIFAR, 8192 for ImageNet.
        lr: the highest rate, before ``lr_rule``.
        lr_rule: ``"code"`` takes ``lr`` whatever the batch, as the authors' program does; ``"paper"`` takes
            ``lr * batch / 256``, as the text says. They part where ``batch`` is not 256.
        weight_decay: factor of the L2 penalty.
        solver: ``"adam"`` is the published recipe. ``"lbfgs"`` is not: it goes to the optimum of mean cross-entropy
            plus ``weight_decay / 2 * |V|^2``, the bias free, in float64, and refuses other values of ``epochs``,
            ``batch``, ``lr`` and ``lr_rule``, which it would not use. Adam divides the decay by the scale of the
            gradient, so that one ``weight_decay`` is another strength in each.
        seed: of the draw, the start and the order of inputs.

    Reads: ``features (N, D)``; labels required.
    Raises: NotEnoughKnown, when a class has fewer than ``shots`` inputs. WrongUse, for a value out of range, or where
        training runs to infinity or to no optimum.
    Cost: ``4 N D`` bytes of standardised features (8 for ``"lbfgs"``), and ``epochs`` walks over them, each two
        products of ``N x D`` with ``D x C``. Where features lie on disk and are more than 2^28 numbers, they stay
        there: each walk reads the rows of a batch as it needs them, and memory grows with ``N`` by the labels alone.
    Source: Adaloglou, Michels, Kaiser, Kollmann, "Adapting Contrastive Language-Image Pretrained (CLIP) Models for
        Out-of-Distribution Detection", TMLR 2023, section 4 and the authors' program. That fails on a constant
        dimension, and on a class with fewer inputs than are drawn.

    >>> head = Probe(lr=0.1).fit([[0.0], [1.0], [5.0], [6.0]], ["a", "a", "b", "b"])
    >>> head({"features": torch.tensor([[0.5], [5.5]])})["logits"].argmax(dim=1)
    tensor([0, 1])
    """

    paper = Paper(
        "Adapting Contrastive Language-Image Pretrained (CLIP) Models for Out-of-Distribution Detection",
        "Adaloglou, Michels, Kaiser, Kollmann",
        "TMLR",
        2023,
    )
    traits = frozenset({"sampled"})  # inputs come in an order drawn under the seed
    small = {"batch": 32, "lr": 0.01}  # noqa: RUF012 - a constant, shared on purpose

    def __init__(
        self,
        shots: int | None = None,
        epochs: int = 100,
        batch: int = 256,
        lr: float = 1e-3,
        lr_rule: LrRule = "code",
        weight_decay: float = 1e-3,
        solver: Solver = "adam",
        seed: int = 42,
    ) -> None:
        super().__init__()
        self.shots = shots
        self.epochs = epochs
        self.batch = batch
        self.lr = lr
        self.lr_rule = lr_rule
        self.weight_decay = weight_decay
        self.solver = solver
        self.seed = seed

    def solve(self, support: Support) -> tuple[Tensor, Tensor]:
        """Standardise, train, and fold the standardisation into the layer."""
        self._check()
        if self.shots is not None:
            support = self.drawn(support, self.shots)
        mean, scale = _standard(support)
        x = _Standardised(support, mean, scale, torch.float32 if self.solver == "adam" else torch.float64)
        y = torch.from_numpy(support.labels).to(x.device)
        classes = len(support.classes)
        weight, bias = self._trained(x, y, classes) if self.solver == "adam" else self._optimal(x, y, classes)
        weight = weight.double() * scale
        return weight, bias.double() - weight @ mean

    def drawn(self, support: Support, shots: int) -> Support:
        """``shots`` rows of each class."""
        return few_shot(support, shots, self.seed)

    def _trained(self, x: _Standardised, y: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """The published recipe. The generator gives the weight, the bias, then an order of rows each epoch."""
        generator = torch.Generator().manual_seed(self.seed)
        reach = x.width**-0.5
        weight, bias = (
            ((2 * torch.rand(shape, generator=generator) - 1) * reach).to(x.device).requires_grad_()
            for shape in ((classes, x.width), (classes,))
        )
        peak = self.lr * (self.batch / 256 if self.lr_rule == "paper" else 1.0)
        minimise(
            lambda rows: cross_entropy(linear(x[rows], weight, bias), y[rows]),
            [weight, bias],
            len(x),
            epochs=self.epochs,
            batch=self.batch,
            rate=lambda step, steps: warmup_cosine(step, steps, peak),
            weight_decay=self.weight_decay,
            generator=generator,
        )
        return weight.detach(), bias.detach()

    def _optimal(self, x: _Standardised, y: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """The optimum of the penalised loss, by L-BFGS from zero; logits of one batch at a time are held."""
        weight, bias = (
            torch.zeros(shape, dtype=torch.float64, device=x.device).requires_grad_()
            for shape in ((classes, x.width), (classes,))
        )
        optimiser = torch.optim.LBFGS(
            [weight, bias],
            max_iter=ITERATIONS,
            max_eval=2 * ITERATIONS,
            tolerance_grad=1e-8,
            tolerance_change=0.0,  # only the slope says that it is done
            history_size=20,
            line_search_fn="strong_wolfe",
        )

        def loss() -> Tensor:
            optimiser.zero_grad()
            total = 0.5 * self.weight_decay * weight.square().sum()
            total.backward()  # type: ignore[no-untyped-call]
            start = 0
            for inputs in x.batches():
                targets = y[start : start + len(inputs)]
                start += len(inputs)
                part = cross_entropy(linear(inputs, weight, bias), targets, reduction="sum") / len(x)
                part.backward()  # type: ignore[no-untyped-call]
                total = total.detach() + part.detach()
            return total

        with torch.enable_grad():
            optimiser.step(loss)  # type: ignore[no-untyped-call]
            loss()  # slopes where it stopped, which need not be where it looked last
        slope = max(float(p.grad.abs().max()) for p in (weight, bias) if p.grad is not None)
        if not slope <= FLAT:
            raise WrongUse(f"{self.expression()} found no optimum in {ITERATIONS} iterations: raise weight_decay")
        return weight.detach(), bias.detach()

    def _check(self) -> None:
        given, kind = self.arguments(), type(self).__name__
        for name, least in (("shots", 1), ("epochs", 1), ("batch", 1), ("seed", 0)):
            value = given[name]
            if not (isinstance(value, int) and least <= value < 2**63) and not (name == "shots" and value is None):
                raise WrongUse(f"{kind}({name}={value!r}): {name} must be a whole number from {least}")
        for name, word in (("lr", "above 0"), ("weight_decay", "0 or more")):
            value = given[name]
            if not (isinstance(value, int | float) and 0 <= value < math.inf) or (name == "lr" and value == 0):
                raise WrongUse(f"{kind}({name}={value!r}): {name} must be a number {word}")
        for name, choices in (("lr_rule", ("code", "paper")), ("solver", ("adam", "lbfgs"))):
            if given[name] not in choices:
                raise WrongUse(f"{kind}({name}={given[name]!r}): {name} must be {' or '.join(map(repr, choices))}")
        if self.solver == "lbfgs":
            unused = [f"{name}={given[name]!r}" for name, default in ADAM_ONLY.items() if given[name] != default]
            if unused:
                raise WrongUse(f"{kind}({', '.join(unused)}, solver='lbfgs'): only solver='adam' uses {unused[0]}")
            if self.weight_decay == 0:
                raise WrongUse(f"{kind}(weight_decay=0, solver='lbfgs'): separable classes have no optimum; raise it")


class _Standardised:
    """Standardised features ``(N, D)`` of a support: held in memory, or read for each batch from where they lie."""

    def __init__(self, support: Support, mean: Tensor, scale: Tensor, precision: torch.dtype) -> None:
        self._signals, self._mean, self._scale, self._precision = support.signals, mean, scale, precision
        self.width, self.device = len(mean), mean.device
        self._held: Tensor | None = None
        if support.signals.in_memory("features") or len(support) * self.width <= HELD:
            self._held = support.gather("features", self._of)

    def __len__(self) -> int:
        return len(self._signals)

    def __getitem__(self, rows: Tensor) -> Tensor:
        if self._held is not None:
            return self._held[rows]
        return self._signals.take(rows.numpy(force=True)).gather("features", self._of)

    def batches(self) -> Iterator[Tensor]:
        """All rows once, in order."""
        if self._held is not None:
            yield from torch.split(self._held, BATCH)
            return
        for batch in self._signals.batches("features", size=BATCH):
            yield self._of(batch["features"])

    def _of(self, features: Tensor) -> Tensor:
        return ((features.double() - self._mean) * self._scale).to(self._precision)


def few_shot(support: Support, shots: int, seed: int, *, empty: bool = False) -> Support:
    """``shots`` rows of each class, drawn without replacement; all classes kept, rows in their old order.

    Args:
        support: N rows with labels.
        shots: how many of each class, from 1.
        seed: of the draw.
        empty: whether a class may have no row at all, and then gets none.

    Raises:
        NotEnoughKnown: when a class has fewer rows; the message names the class that has fewest.

    >>> from unseen.signals import Signals
    >>> support = Support(Signals({"features": [[0.0], [1.0], [2.0]]}), np.array([0, 1, 0]), ("a", "b"))
    >>> sorted(few_shot(support, 1, seed=0).labels.tolist())
    [0, 1]
    """
    labels = support.labels
    assert labels is not None
    count = np.bincount(labels, minlength=len(support.classes))
    asked = count > 0 if empty else np.ones(len(count), dtype=bool)  # (C,)
    fewest = int(np.where(asked, count, len(labels)).argmin())
    if count[fewest] < shots:
        remedy = f"lower shots to {count[fewest]}, or add inputs" if count[fewest] else "add inputs, or leave it out"
        raise NotEnoughKnown(
            f"class {support.classes[fewest]!r} has {count[fewest]} inputs and shots={shots} draws {shots} of each "
            f"({(asked & (count < shots)).sum()} of {len(count)} classes have fewer): {remedy}"
        )
    # Rows in a random order, then sorted by class without changing that order: the first of each class are its draw.
    mixed = np.random.default_rng(seed).permutation(len(labels))
    mixed = mixed[np.argsort(labels[mixed], kind="stable")]
    first = (np.cumsum(count) - count)[asked]
    return support.take(np.sort(mixed[(first[:, None] + np.arange(shots)).ravel()]))


def _standard(support: Support) -> tuple[Tensor, Tensor]:
    """Mean ``(D,)`` and 1 over standard deviation ``(D,)`` of the features, float64, from one walk over the batches.

    The scale of a constant dimension is 0. The update is that of `Moments`, of the diagonal alone.
    """
    count, mean, square, rounding = 0, torch.zeros(()).double(), torch.zeros(()).double(), 0.0
    for batch in support.batches("features"):
        x = batch["features"].double()
        rounding = torch.finfo(batch["features"].dtype).eps
        own = x.mean(dim=0)
        gap = own - mean
        whole = count + len(x)
        square = square + (x - own).square().sum(dim=0) + gap.square() * (count * len(x) / whole)
        mean = mean + gap * (len(x) / whole)
        count = whole
    deviation = (square / max(1, count - 1)).sqrt()
    # Standardising noise of the last digits would make it as loud as the rest; some such digits are lost by the mean.
    constant = deviation <= 10 * rounding * mean.abs()
    return mean, torch.where(constant, 0.0, 1.0 / deviation)
