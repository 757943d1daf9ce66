"""A discriminator of known features against generated and real unknown ones."""

import math
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import batch_norm, leaky_relu, linear, softplus

from unseen.detectors._logistic import standard
from unseen.detectors.base import Detector
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.parts import Paper
from unseen.signals import BATCH, Support

LATENT = 100  # normal numbers that a feature is generated from
LEAK = 0.2
EPSILON = 1e-5  # added to variances of a batch
SPREAD = 0.02  # of random starts
BETAS = (0.5, 0.999)  # of Adam
SLOWER = 1.5  # by which the discriminator's rate is below the generator's
LEAST = 5  # inputs of each kind, of which one is held out and four make two batches


class OpenGAN(Detector):
    """An input is known when a network that was taught to tell known features from others says so.

    ``score(x) = D(f)``, the logit of a discriminator. It learns that known features are real, and that unknown inputs
    and what a generator ``G`` makes of noise are not, while ``G`` learns to make what ``D`` takes for real::

        D minimises  mean softplus(-D(f)) + mean softplus(D(u)) + generated * mean softplus(D(G(z)))
        G minimises  mean softplus(-D(G(z)))

    by one step of Adam each for every batch of known inputs ``f``, with as many unknown inputs ``u`` and noises ``z``.
    Such games swing, so that the last ``D`` may be a bad one. After each epoch ``D`` ranks known and unknown inputs
    that were held out of **those given to learn from**, and the one with the best AUROC is kept, the latest of equals.
    No input that is tested is ever among them.

    ``D`` has hidden layers of ``8, 4, 2, 1`` times ``width`` with leaky ReLU of slope 0.2, all but the first with batch
    normalisation; ``G`` has ``8, 4, 2, 4`` times ``width`` with ReLU, all with batch normalisation. At a query the
    normalisation is a part of the layers, so that the score of an input is its own. Features are standardised, known
    and unknown inputs counting alike. All draws come from one seed.

    Args:
        epochs: walks over the known inputs.
        batch: known inputs of a step, at least; the last ones of a walk are spread over its steps.
        lr: rate of the generator; that of the discriminator is this over 1.5.
        generated: weight of generated features against real unknown ones. With 0 there is no generator.
        width: of the smallest hidden layer.
        held_out: share of known and of unknown inputs by which the epoch is chosen.
        seed: of every draw.

    Reads: ``features (N, D)`` of known and unknown inputs; labels ignored.
    Returns: ``(N,)``, a logit (nats).
    Raises: WrongUse, without unknown inputs, for values out of range, or where training leaves the finite numbers;
    NotEnoughKnown, with fewer than 5 known or unknown inputs, or where no feature differs.
    Cost: about ``8 D w + 42 w^2`` numbers with the width ``w``, 0.43 million for 512 features. While it learns, all
    features of known and unknown inputs, and about ten products of that size for each known input and epoch.
    Source: Kong, Ramanan, "OpenGAN: Open-Set Recognition via Open Data Generation", ICCV 2021, section 3 and the
    authors' program, which has these layers, rates and starts. It chooses by a validation set of known and unknown
    inputs.
    Differs: the program normalises known, unknown and generated features each by themselves while it learns, which
    hides from ``D`` that they differ on the whole, and all by one measure when it is asked. Here they are in one batch,
    as they will be at a query. It also feeds features as they are.

    >>> rng = np.random.default_rng(0)
    >>> known, unknown = rng.normal(size=(60, 3)) + [3, 0, 0], rng.normal(size=(60, 3)) - [3, 0, 0]
    >>> detector = OpenGAN(epochs=5, batch=16, lr=0.01, width=4).fit(known, unknown=unknown)
    >>> bool(detector.score(rng.normal(size=(9, 3)) + [3, 0, 0]).min() > detector.score(unknown).mean())
    True
    """

    needs = frozenset({"features"})
    traits = frozenset({"uses_unknown", "sampled", "two_pass", "costly_fit"})
    small = {"epochs": 2, "batch": 96, "lr": 0.002, "width": 4}  # noqa: RUF012 - so soon games do not part over rounding
    paper = Paper("OpenGAN: Open-Set Recognition via Open Data Generation", "Kong, Ramanan", "ICCV", 2021)

    def __init__(
        self,
        epochs: int = 100,
        batch: int = 128,
        lr: float = 1e-4,
        generated: float = 1.0,
        width: int = 64,
        held_out: float = 0.2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.epochs = epochs
        self.batch = batch
        self.lr = lr
        self.generated = generated
        self.width = width
        self.held_out = held_out
        self.seed = seed
        for layer in range(5):
            self.register_buffer(f"weight{layer}", torch.empty(0))
            self.register_buffer(f"bias{layer}", torch.empty(0))

    def learn(self, support: Support) -> None:
        """Standardise, hold some out, play, and fold what was normalised into the layers of the best epoch."""
        self._check()
        assert support.unknown is not None
        sides = support.signals, support.unknown
        for kind, signals in zip(("known", "unknown"), sides, strict=True):
            if len(signals) < LEAST:
                raise NotEnoughKnown(
                    f"OpenGAN holds some inputs out and needs {LEAST} {kind} ones, got {len(signals)}: add inputs"
                )
        given = [signals.gather("features") for signals in sides]  # (N, D), (M, D)
        mean, scale, _ = standard(lambda: torch.split(given[0], BATCH), lambda: torch.split(given[1], BATCH), "OpenGAN")
        rng = np.random.default_rng(self.seed)
        learnt, asked = [], []
        for x in given:
            order = torch.from_numpy(rng.permutation(len(x))).to(x.device)
            out = min(max(1, round(self.held_out * len(x))), len(x) - 4)
            u = ((x.double() - mean) * scale).to(x.dtype)[order]
            asked.append(u[:out])
            learnt.append(u[out:])
        layers = self._played(learnt, asked, rng)
        weight, bias = (one.double() for one in layers[0])
        layers[0] = weight * scale, bias - (weight * scale) @ mean
        for number, (weight, bias) in enumerate(layers):
            setattr(self, f"weight{number}", weight.to(given[0].dtype))
            setattr(self, f"bias{number}", bias.to(given[0].dtype))

    def _played(
        self, learnt: list[Tensor], asked: list[Tensor], rng: np.random.Generator
    ) -> list[tuple[Tensor, Tensor]]:
        """The discriminator of the best epoch, as plain layers.

        The loop over minibatches of `unseen.heads` has one loss and one Adam; here two take turns.
        """
        known, unknown = learnt
        w, features = self.width, known.shape[1]
        critic = Network(rng, known, [features, 8 * w, 4 * w, 2 * w, w, 1], first=False, leak=LEAK)
        maker = Network(rng, known, [LATENT, 8 * w, 4 * w, 2 * w, 4 * w, features], first=True, leak=0.0)
        critic_step = torch.optim.Adam(critic.parameters, lr=self.lr / SLOWER, betas=BETAS)
        maker_step = torch.optim.Adam(maker.parameters, lr=self.lr, betas=BETAS)
        steps = max(1, len(known) // self.batch)  # no batch has a single row, which has no spread
        best, kept = -1.0, critic.folded()
        for _ in range(self.epochs):
            order = torch.from_numpy(rng.permutation(len(known))).to(known.device)
            for rows in order.tensor_split(steps):
                others = torch.from_numpy(rng.integers(len(unknown), size=len(rows))).to(known.device)
                noise = torch.from_numpy(rng.standard_normal((len(rows), LATENT))).to(known)
                real = torch.cat([known[rows], unknown[others]])
                with torch.enable_grad():  # `Part.fit` learns without gradients
                    made = maker(noise) if self.generated else real[:0]
                    answers = critic(torch.cat([real, made.detach()])).tensor_split((len(rows), len(real)))
                    here, there, fake = (softplus(x).sum() / len(rows) for x in (-answers[0], *answers[1:]))
                    critic_step.zero_grad()
                    (here + there + self.generated * fake).backward()  # type: ignore[no-untyped-call]
                    critic_step.step()
                    if self.generated:
                        maker_step.zero_grad()
                        softplus(-critic(torch.cat([real, made]))[len(real) :]).mean().backward()  # type: ignore[no-untyped-call]
                        maker_step.step()
            layers = critic.folded()
            if not all(bool(torch.isfinite(part).all()) for layer in layers for part in layer):
                raise WrongUse(f"OpenGAN: training left the finite numbers at lr={self.lr}: lower lr")
            found = _ranked(*(_answer(x, layers) for x in asked))
            if found >= best:
                best, kept = found, layers
        return kept

    def _check(self) -> None:
        for name, least in (("epochs", 1), ("batch", 2), ("width", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise WrongUse(f"OpenGAN({name}={value!r}): give a whole number from {least}")
        for name, word, below in (
            ("lr", "a number above 0", math.inf),
            ("generated", "a number from 0", math.inf),
            ("held_out", "a share between 0 and 1", 1.0),
        ):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0 <= value < below) or (value == 0 and name != "generated"):
                raise WrongUse(f"OpenGAN({name}={value!r}): give {word}")

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Logits ``(B,)``."""
        layers = [(getattr(self, f"weight{layer}"), getattr(self, f"bias{layer}")) for layer in range(5)]
        return _answer(signals["features"], layers)

    def numbers_per_query(self) -> int:
        """Two layers of hidden numbers."""
        return 12 * self.width


class Network:
    """Linear layers while they learn, batches normalised after each but the last, of the first only where asked.

    Args:
        rng: gives the weights of all layers, then the gains of all normalisations.
        like: a tensor of their precision and device.
        sizes: of the input, the hidden layers and the output.
        first: whether the first layer is normalised.
        leak: slope of negative numbers after a hidden layer.
    """

    def __init__(self, rng: np.random.Generator, like: Tensor, sizes: list[int], first: bool, leak: float) -> None:
        def drawn(centre: float, *shape: int) -> Tensor:
            return torch.from_numpy(rng.normal(centre, SPREAD, shape)).to(like).requires_grad_()

        # Normalised layers need no bias, and the authors' have none; the generator's last one does.
        self.weights = [drawn(0.0, high, low) for low, high in pairwise(sizes)]
        self.normal = range(0 if first else 1, len(self.weights) - 1)
        self.gains = {layer: drawn(1.0, sizes[layer + 1]) for layer in self.normal}
        self.shifts = {layer: like.new_zeros(sizes[layer + 1]).requires_grad_() for layer in self.normal}
        self.bias = like.new_zeros(sizes[-1]).requires_grad_() if first else None
        self.means = {layer: like.new_zeros(sizes[layer + 1]) for layer in self.normal}
        self.variances = {layer: like.new_ones(sizes[layer + 1]) for layer in self.normal}
        self.leak = leak

    @property
    def parameters(self) -> list[Tensor]:
        """All that is learnt."""
        bias = [] if self.bias is None else [self.bias]
        return [*self.weights, *self.gains.values(), *self.shifts.values(), *bias]

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs ``(B, E)``, each hidden layer in units of this batch, whose mean and spread are remembered."""
        last = len(self.weights) - 1
        for layer, weight in enumerate(self.weights):
            x = linear(x, weight, self.bias if layer == last else None)
            if layer in self.normal:
                held = self.means[layer], self.variances[layer], self.gains[layer], self.shifts[layer]
                x = batch_norm(x, *held, training=True, eps=EPSILON)
            if layer < last:
                x = leaky_relu(x, self.leak)
        return x

    def folded(self) -> list[tuple[Tensor, Tensor]]:
        """Weight and bias of each layer, with what was remembered of the batches in them."""
        layers = []
        for layer, weight in enumerate(self.weights):
            if layer in self.normal:
                gain = self.gains[layer] / (self.variances[layer] + EPSILON).sqrt()
                layers.append((weight * gain[:, None], self.shifts[layer] - gain * self.means[layer]))
            else:
                layers.append((weight.clone(), weight.new_zeros(len(weight))))
        return [(weight.detach(), bias.detach()) for weight, bias in layers]


def _answer(x: Tensor, layers: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The discriminator's logits ``(B,)``."""
    for weight, bias in layers[:-1]:
        x = leaky_relu(linear(x, weight, bias), LEAK)
    return linear(x, *layers[-1])[:, 0]


def _ranked(known: Tensor, unknown: Tensor) -> float:
    """AUROC: how often a known input is above an unknown one; equals count half."""
    order = unknown.sort().values
    below = torch.searchsorted(order, known) + torch.searchsorted(order, known, right=True)
    return float(below.double().mean()) / (2 * len(unknown))
