"""The contract of an objective: a training loss with the modules that only the loss needs."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Self

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unseen.data.batch import Batch, Rows
from unseen.errors import NotFitted, WrongUse
from unseen.files import to_json
from unseen.parts import Paper

Walk = Callable[[], Iterable[Batch]]
"""All inputs once, in their order and not augmented, in batches."""


class Objective(nn.Module, ABC):
    """A loss, its heads, and which inputs a step of it reads.

    The encoder gives features and belongs to somebody else; heads, prototypes and queues live here. ``loss`` calls the
    encoder on what it needs, so that inputs which batch norm must see together go through one pass. Where features are
    stored, the encoder is ``nn.Identity()``.

    A method writes `make`, `loss` and `outputs`, and where it differs from the usual `order`, `groups`, `on_epoch`.
    The constructor stores its arguments as given; tensors are the only other state, so that a checkpoint holds it.

    Attributes:
        needs: what a `Batch` must hold beside ``x`` and ``index``: ``"two_views"``, ``"pairs"`` (which its own `order`
            gives), ``"outliers"``, ``"unlabeled_pool"``, ``"aux_stream"``.
        phases: names of the parts of a step; each has its own optimiser, and they follow one another.
        labels: ``"required"`` or ``"ignored"``.
        default_score: the detector that the source puts behind it, as an expression.
        recipe: arguments of `unseen.training.Recipe` that the source takes.
        small: arguments that suit a few inputs; the checks take them.
        paper: the source.
        feature_dim: D, once it is built.
        num_classes: C, once it is built.
    """

    room = "objectives"
    needs: frozenset[str] = frozenset()
    phases: tuple[str, ...] = ("main",)
    labels: Literal["required", "ignored"] = "required"
    default_score: str = "energy"
    recipe: Mapping[str, Any] = {}
    small: Mapping[str, Any] = {}
    paper: Paper | None = None

    def __init__(self) -> None:
        super().__init__()
        self.feature_dim = 0
        self.num_classes = 0

    @property
    def name(self) -> str:
        """The registered name: that of the file."""
        return type(self).__module__.rsplit(".", 1)[-1]

    def arguments(self) -> dict[str, Any]:
        """Constructor arguments, as given."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def describe(self) -> dict[str, Any]:
        """Plain JSON from which `unseen.registry.find` and the arguments make the same objective, not built."""
        return {"room": self.room, "name": self.name, "arguments": self.arguments()}

    def build(self, feature_dim: int, num_classes: int, sample: Tensor | None = None, *, seed: int = 0) -> Self:
        """Make the heads; the same seed makes the same weights, and no global generator moves.

        Args:
            feature_dim: D, width of what the encoder gives.
            num_classes: C of the training data.
            sample: a few inputs ``(B, ...)``, for a method whose modules depend on their shape.
            seed: of the first weights.

        Raises:
            WrongUse: an argument of the constructor cannot work with these.
        """
        if feature_dim < 1:
            raise WrongUse(f"{self.name}: the encoder gives features of width {feature_dim}; from 1")
        self.feature_dim, self.num_classes = feature_dim, num_classes
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.make(feature_dim, num_classes, sample)
        return self

    @abstractmethod
    def make(self, feature_dim: int, num_classes: int, sample: Tensor | None) -> None:
        """What a method writes: its modules and buffers; torch's generator is seeded."""

    def order(
        self,
        labels: NDArray[Any] | None,
        rows: int,
        batch: int,
        seed: int,
        epoch: int,
    ) -> Sequence[Rows] | None:
        """Which rows each step of an epoch reads, a function of the arguments alone; every epoch has as many steps.

        None, the usual: every row once, shuffled.

        Args:
            labels: ``(N,)`` codes of classes, or None.
            rows: N.
            batch: what a step takes.
            seed: of the training.
            epoch: from 0.
        """
        return None

    def groups(self, phase: str, encoder: nn.Module, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """What an optimiser of a phase moves: parameters with their ``lr`` and ``weight_decay``.

        By default all that learns, of the encoder and of the objective, in every phase.
        """
        learns = [p for module in (encoder, self) for p in module.parameters() if p.requires_grad]
        return [{"params": learns, "lr": lr, "weight_decay": weight_decay}]

    @abstractmethod
    def loss(self, batch: Batch, encoder: nn.Module, phase: str) -> dict[str, Tensor]:
        """Named scalars of a batch. The first is called ``"loss"`` and is stepped on; the others are written down."""

    def on_epoch(self, epoch: int, epochs: int, encoder: nn.Module, walk: Walk) -> None:
        """Called before the first step of each epoch, for clusters, first prototypes, changes of weights."""

    @abstractmethod
    def outputs(self, x: Tensor, encoder: nn.Module) -> dict[str, Tensor]:
        """Signals of inputs ``(B, ...)``, in evaluation mode: ``features (B, D)``, and what the heads say of them.

        A row's signals do not depend on the other rows.
        """

    def tensors(self) -> dict[str, Tensor]:
        """What a file of finished weights holds."""
        return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.state_dict().items()}

    def metadata(self) -> dict[str, str]:
        """What such a file says of them, beside what all such files say."""
        return {"objective": self.name, "arguments": to_json(self.arguments(), indent=None)}

    def check_built(self) -> None:
        """Raise unless `build` was called."""
        if not self.feature_dim:
            raise NotFitted(f"{self.name} is not built: call build(feature_dim, num_classes) first")
