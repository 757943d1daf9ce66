"""What a detector may ask of an encoder beyond features and logits.

A request is a small frozen value. It stands in ``needs`` beside plain signal names, an encoder answers it in
the pass that it makes anyway where that is possible, and the answer is kept under ``request.key``.

A layer is named as ``named_modules`` names it, or by a stage counted from the back: ``"-1"`` is the last one. A stage
is what a network computes at one resolution; see ``unseen.encoders._module``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, Protocol

from torch import Tensor

from unseen.errors import WrongUse
from unseen.files import fingerprint

Units = Literal["pixels", "normalised"]


@dataclass(frozen=True)
class Request:
    """Base of all requests; two equal requests have one answer.

    Attributes:
        passes: forward and backward passes through the network that an answer costs on its own (`Samples`: for each
            draw). ``(0, 0)`` comes with the pass that gives features; what has a backward pass shares its first forward
            pass with its like.
        version_of: the signal of which an answer is another version, where there is one: a step before the detector
            that rewrites this signal would not be heard.
        of_head: whether the answer depends on the network's own last layer, and so on every class that it was
            taught; a protocol that holds a class out may then not use it.
    """

    passes: ClassVar[tuple[int, int]] = (0, 0)
    of_head: ClassVar[bool] = False
    version_of: ClassVar[str | None] = None

    @property
    def key(self) -> str:
        """The name of the answer among the signals, the same in every process."""
        arguments = ",".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.compare)
        return f"{type(self).__name__}({arguments})"


@dataclass(frozen=True)
class LayerStatistics(Request):
    """Mean and standard deviation over positions of every channel of one inner layer: ``(N, 2 * channels)``.

    Reduced inside the encoder, so that whole feature maps never leave it.

    Attributes:
        layer: dotted name of the layer, or a stage from the back.

    >>> LayerStatistics("blocks.3").key
    "LayerStatistics(layer='blocks.3')"
    """

    layer: str

    def __post_init__(self) -> None:
        _check_layer(self)


@dataclass(frozen=True)
class GramStatistics(Request):
    """Row sums of the Gram matrices of one inner layer, of powers ``1 ... orders``: ``(N, orders * channels)``.

    With ``F (channels, positions)`` the layer's map and powers taken by element, order ``p`` gives
    ``sign(g) |g|^(1/p)`` of ``g = F^p (F^p' 1)``: rows are summed before the root, so that no Gram matrix is made. Maps
    are scaled by their largest value first and back afterwards, as powers of large values leave float32.
    Source: Sastry and Oore, "Detecting Out-of-Distribution Examples with Gram Matrices", ICML 2020, equation 3.

    Attributes:
        layer: dotted name of the layer, or a stage from the back.
        orders: highest power.

    >>> GramStatistics("-1", orders=2).key
    "GramStatistics(layer='-1',orders=2)"
    """

    layer: str
    orders: int = 5

    def __post_init__(self) -> None:
        _check_layer(self)
        _check_count(self, "orders")


@dataclass(frozen=True)
class Sensitivity(Request):
    """Activation times slope of every channel of one inner layer, averaged over positions: ``(N, channels)``.

    ``mean over positions of a * d KL(u || softmax(logits)) / d a`` with ``a`` the layer's output and ``u`` the uniform
    distribution. The layer must lie before the logits.
    Source: Liu et al., "Neuron Activation Coverage", ICLR 2024, equation 3.

    Attributes:
        layer: dotted name of the layer, or a stage from the back.
    """

    passes: ClassVar[tuple[int, int]] = (1, 1)
    of_head: ClassVar[bool] = True
    layer: str

    def __post_init__(self) -> None:
        _check_layer(self)


@dataclass(frozen=True)
class RankReduced(Request):
    """Logits with the largest singular component taken off one inner layer's map: ``(N, C)``.

    ``F - s_1 u_1 v_1'`` of each input's ``F (channels, positions)``, and the rest of the network after it.
    Source: Song, Sebe, Wang, "RankFeat", NeurIPS 2022, equation 4.

    Attributes:
        layer: dotted name of the layer, or a stage from the back.
    """

    passes: ClassVar[tuple[int, int]] = (1, 0)
    of_head: ClassVar[bool] = True
    version_of: ClassVar[str | None] = "logits"
    layer: str

    def __post_init__(self) -> None:
        _check_layer(self)


@dataclass(frozen=True)
class Samples(Request):
    """Logits of several thinned networks, by the network's own dropout layers: ``(N, passes, C)``.

    In each pass every dropout layer drops units by one mask for all inputs, drawn under the seed: the networks of the
    passes are fixed, and an answer depends neither on the batch nor on the call.
    Source: Gal and Ghahramani, "Dropout as a Bayesian Approximation", ICML 2016, section 3.

    Attributes:
        draws: how many networks.
        seed: of the masks.
    """

    passes: ClassVar[tuple[int, int]] = (1, 0)
    of_head: ClassVar[bool] = True
    version_of: ClassVar[str | None] = "logits"
    draws: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        _check_count(self, "draws")


@dataclass(frozen=True)
class Perturbed(Request):
    """Logits after one signed gradient step on the input towards a more confident answer: ``(N, C)``.

    ``x' = x - step * sign(d loss / d x)``, with ``x`` the normalised input of the network and as loss the cross-entropy
    of ``logits / temperature`` with the predicted class, or the predicted class's logit with its sign turned. Where a
    slope is 0 the input stays. Costs two forward passes and one backward pass.
    Source: Liang, Li, Srikant, "Enhancing the Reliability of Out-of-distribution Image Detection in Neural
    Networks", ICLR 2018, equation 2.

    Attributes:
        epsilon: length of the step.
        temperature: divides the logits before the cross-entropy; above 0.
        units: of the step: ``"pixels"`` are those of values in ``[0, 1]``, so that the step is divided by the standard
            deviation of each channel, as in the authors' code; ``"normalised"`` are those of the network's input, as in
            the formula of the paper.
        coordinates: move ``"all"`` values of the input, or only the one with the ``"largest"`` slope.
        towards: ``"confidence"`` for the cross-entropy, ``"logit"`` for the largest logit.

    Raises:
        WrongUse: for other than finite numbers, and other words.

    >>> Perturbed(temperature=10).key
    "Perturbed(epsilon=0.0014,temperature=10.0,units='pixels',coordinates='all',towards='confidence')"
    """

    passes: ClassVar[tuple[int, int]] = (2, 1)
    of_head: ClassVar[bool] = True
    version_of: ClassVar[str | None] = "logits"
    epsilon: float = 0.0014
    temperature: float = 1000.0
    units: Units = "pixels"
    coordinates: Literal["all", "largest"] = "all"
    towards: Literal["confidence", "logit"] = "confidence"

    def __post_init__(self) -> None:
        _check_numbers(self, "epsilon", "temperature")
        if self.temperature <= 0:
            raise WrongUse(f"Perturbed(temperature={self.temperature!r}): the temperature is above 0")
        _check_word(self, "units", ("pixels", "normalised"))
        _check_word(self, "coordinates", ("all", "largest"))
        _check_word(self, "towards", ("confidence", "logit"))


@dataclass(frozen=True)
class Nudged(Request):
    """Features after the values of the input that matter least were moved: ``(N, D)``.

    Of each input the ``share`` of values with the smallest ``|d logit / d x|``, for the logit of the predicted class,
    move by ``step * sign(d logit / d x)``. Costs two forward passes and one backward pass.
    Source: Regmi, "AdaSCALE: Adaptive Scaling for OOD Detection", 2025, section 3.

    Attributes:
        share: of the values, above 0 and at most 1.
        step: in units of the normalised input.
    """

    passes: ClassVar[tuple[int, int]] = (2, 1)
    of_head: ClassVar[bool] = True
    version_of: ClassVar[str | None] = "features"
    share: float = 0.05
    step: float = 0.5

    def __post_init__(self) -> None:
        _check_numbers(self, "share", "step")
        if not 0 < self.share <= 1:
            raise WrongUse(f"Nudged(share={self.share!r}): a share is above 0 and at most 1")


class Scoring(Protocol):
    """A fitted score of one signal, as `Climbed` needs it; every detector that reads one signal is one."""

    @property
    def needs(self) -> frozenset[str | Request]:
        """The one signal that it reads."""
        ...

    def expression(self) -> str:
        """Name and arguments."""
        ...

    def state_dict(self) -> Mapping[str, Any]:
        """What it learnt."""
        ...

    def __call__(self, signals: Mapping[str, Tensor], /) -> Tensor:
        """``(B,)``, differentiable."""
        ...


@dataclass(frozen=True)
class Climbed(Request):
    """The signal that a fitted score reads, after one signed gradient step on the input that raises the score.

    ``x' = x + step * sign(d score(signal(x)) / d x)``. Asked for after the fit only, as the score is part of it; its
    key holds a fingerprint of what the score learnt. Costs two forward passes and one backward pass.
    Source: Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial
    Attacks", NeurIPS 2018, section 2.2.

    Attributes:
        score: reads one signal: ``"features"``, ``"logits"``, or a request that costs no pass of its own.
        epsilon: length of the step.
        units: as for `Perturbed`.
        state: fingerprint of the score; made by itself.
    """

    passes: ClassVar[tuple[int, int]] = (2, 1)
    score: Scoring = field(compare=False)
    epsilon: float = 0.002
    units: Units = "pixels"
    state: str = field(init=False, default="")

    def __post_init__(self) -> None:
        _check_numbers(self, "epsilon")
        _check_word(self, "units", ("pixels", "normalised"))
        learnt = (
            part
            for name, tensor in sorted(self.score.state_dict().items())
            for part in (name, tensor.detach().cpu().contiguous().numpy().tobytes())
        )
        object.__setattr__(self, "state", f"{self.score.expression()}:{fingerprint(*learnt)[:16]}")

    @property
    def signal(self) -> str | Request:
        """What the score reads."""
        (only,) = self.score.needs
        return only


def key_of(wanted: str | Request) -> str:
    """The name under which a signal or an answer is stored."""
    return wanted if isinstance(wanted, str) else wanted.key


def _check_layer(request: Any) -> None:
    if not isinstance(request.layer, str):
        raise WrongUse(f"{type(request).__name__} takes the dotted name of a layer, got {request.layer!r}")


def _check_count(request: Any, name: str) -> None:
    value = getattr(request, name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise WrongUse(f"{type(request).__name__}({name}={value!r}): give a whole number from 1")


def _check_word(request: Any, name: str, words: tuple[str, ...]) -> None:
    value = getattr(request, name)
    if value not in words:
        raise WrongUse(f"{type(request).__name__}({name}={value!r}): give {' or '.join(map(repr, words))}")


def _check_numbers(request: Any, *names: str) -> None:
    # 10 and 10.0 are equal requests, so they must have one key as well.
    for name in names:
        given = getattr(request, name)
        try:
            value = float(given)
        except (TypeError, ValueError) as error:
            raise WrongUse(f"{type(request).__name__}({name}={given!r}) is not a number") from error
        if not math.isfinite(value):
            raise WrongUse(f"{type(request).__name__}({name}={value!r}) is not a finite number")
        object.__setattr__(request, name, value)
