"""Learn to say of two inputs whether they are of one class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from unseen.data.batch import Batch, Rows
from unseen.errors import WrongUse
from unseen.files import to_json
from unseen.networks.pair_mlp import PairMLP
from unseen.networks.relation import Relation
from unseen.objectives._pairs import PairsInBatch, SampledPairs
from unseen.objectives.base import Objective
from unseen.parts import Paper

PAIRINGS = ("sampled", "in_batch")
CRITERIA = ("mse", "ce")
AGGREGATIONS = ("transformer", "max", "sum", "concat")
INITS = ("paper", "zero")


def pair_loss(logits: Tensor, different: Tensor, scale: float = 10.0) -> Tensor:
    """Mean squared error of sharpened dissimilarities, stretched to ``[-1, 1]``.

    ``mean (2 sigmoid(scale o) - 1 - t)^2`` with ``t = 1`` for pairs of different classes and ``-1`` for others; four
    times the error of the paper's Eq. 1, in which similarity runs from 0 to 1, and its mean instead of its sum.

    Args:
        logits: ``o (P,)``, raw; higher = less alike.
        different: ``(P,)`` bool.
        scale: of the logits before the sigmoid.

    >>> round(pair_loss(torch.tensor([0.05, -0.1]).double(), torch.tensor([True, False])).item(), 6)
    0.429733
    """
    target = 2.0 * different.to(logits.dtype) - 1.0
    return (2.0 * torch.sigmoid(scale * logits) - 1.0 - target).square().mean()


class Relational(Objective):
    """A network reads the features of two inputs and learns to say "one class" or "two".

    What it learns is not which classes there are, so it can compare an input with classes that it was never taught.

    Args:
        ratio: pairs of different classes for one of the same. The authors' code takes 20, the paper 1.
        pairing: ``"sampled"``, the paper's: two inputs drawn for every pair; ``"in_batch"``: a few classes with a few
            inputs each, and the pairs among them, so that a trained encoder reads an input once for many pairs.
        each: inputs a class of ``"in_batch"``.
        balance: classes count alike, whatever their size. Code: yes; the paper does not say.
        exclude_self: never pair an input with itself, as the paper has it; the code does pair it. In a batch it never
            happens.
        criterion: ``"mse"``, see `pair_loss`; ``"ce"``: two logits, [same, different], and their cross-entropy, in
            which same pairs weigh ``ratio`` times as much.
        scale: of the logit in ``"mse"``.
        aggregation: ``"transformer"``; or the ``"max"``, ``"sum"`` or ``"concat"`` of both features before layers of
            about the same size.
        width: of the transformer's tokens.
        blocks: of the transformer.
        heads: of each block.
        hidden: width of a block's layers, in units of ``width``.
        head_init: ``"paper"``; ``"zero"``: the last layer begins at 0, so that no seed starts with all pairs alike far
            on one side of the sigmoid, where the slope is up to 200 times smaller.

    Needs: labels. ``batch`` of a recipe counts pairs where they are sampled, inputs where they are formed in a batch.
    Says: ``loss``; ``same_accuracy`` and ``different_accuracy``, the share of each kind that is told right (nan
    where a batch has none): with 20 to 1, "different" said of all is right in 95 % of the pairs; ``mean_s``, the mean
    dissimilarity in ``[0, 1]``, whose first value shows a saturated start.
    Raises: WrongUse, for arguments that cannot work; NotEnoughKnown, for fewer than two classes or a class of one.
    Source: Borlino, Bucci, Tommasi, "Semantic Novelty Detection via Relational Reasoning", ECCV 2022, section 3.
    Differs: the error is four times the paper's, as in the authors' code. Pairs are drawn under the seed.

    >>> Relational(aggregation="sum").aggregation
    'sum'
    """

    needs = frozenset({"pairs"})
    labels: Literal["required", "ignored"] = "required"
    default_score = "resend"
    recipe: Mapping[str, Any] = {
        "steps": 13_000,
        "batch": 4096,
        "optimizer": "lars",
        "lr": 0.008,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "schedule": "constant",
        "warmup": 500,
    }
    small: Mapping[str, Any] = {"width": 24, "blocks": 2, "heads": 2, "ratio": 1}
    paper = Paper("Semantic Novelty Detection via Relational Reasoning", "Borlino, Bucci, Tommasi", "ECCV", 2022)
    relation: nn.Module

    def __init__(
        self,
        ratio: int = 20,
        pairing: Literal["sampled", "in_batch"] = "sampled",
        each: int = 4,
        balance: bool = True,
        exclude_self: bool = True,
        criterion: Literal["mse", "ce"] = "mse",
        scale: float = 10.0,
        aggregation: Literal["transformer", "max", "sum", "concat"] = "transformer",
        width: int = 768,
        blocks: int = 4,
        heads: int = 12,
        hidden: int = 4,
        head_init: Literal["paper", "zero"] = "paper",
    ) -> None:
        super().__init__()
        self.ratio = ratio
        self.pairing = pairing
        self.each = each
        self.balance = balance
        self.exclude_self = exclude_self
        self.criterion = criterion
        self.scale = scale
        self.aggregation = aggregation
        self.width = width
        self.blocks = blocks
        self.heads = heads
        self.hidden = hidden
        self.head_init = head_init

    def make(self, feature_dim: int, num_classes: int, sample: Tensor | None) -> None:
        """The network of pairs, ``relation``."""
        self._check()
        self.relation = self.network(feature_dim, self._outputs)
        if self.head_init == "zero":
            last = [layer for layer in self.relation.modules() if isinstance(layer, nn.Linear)][-1]
            for tensor in last.parameters():
                nn.init.zeros_(tensor)

    def network(self, features: int, outputs: int) -> nn.Module:
        """``(B, D), (B, D) -> (B, outputs)``, raw logits of dissimilarity."""
        kind = Relation if self.aggregation == "transformer" else PairMLP
        made: nn.Module = kind(**self._network_arguments(features, outputs))
        return made

    def _network_arguments(self, features: int, outputs: int) -> dict[str, Any]:
        if self.aggregation != "transformer":
            return {"features": features, "mode": self.aggregation, "outputs": outputs}
        shape = {name: getattr(self, name) for name in ("width", "blocks", "heads", "hidden")}
        return {"features": features, **shape, "outputs": outputs}

    def tensors(self) -> dict[str, Tensor]:
        """The network of pairs, under its own names."""
        self.check_built()
        return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.relation.state_dict().items()}

    def metadata(self) -> dict[str, str]:
        """Also which network it is, with which arguments, and the factor of its logits."""
        self.check_built()
        return {
            **super().metadata(),
            "kind": "relation" if self.aggregation == "transformer" else "pair_mlp",
            "network": to_json(self._network_arguments(self.feature_dim, self._outputs), indent=None),
            "logit_scale": str(self.scale if self.criterion == "mse" else 1.0),
        }

    @property
    def _outputs(self) -> int:
        return 1 if self.criterion == "mse" else 2

    def order(
        self,
        labels: NDArray[Any] | None,
        rows: int,
        batch: int,
        seed: int,
        epoch: int,
    ) -> Sequence[Rows]:
        """A generation of pairs."""
        if labels is None:
            raise WrongUse("relational pairs inputs by their labels and there are none: sort them into class folders")
        self._check()
        options: dict[str, Any] = {"ratio": self.ratio, "balance": self.balance, "seed": seed, "generation": epoch}
        if self.pairing == "sampled":
            return SampledPairs(labels, batch, exclude_self=self.exclude_self, **options)  # type: ignore[return-value]
        return PairsInBatch(labels, batch, each=self.each, **options)  # type: ignore[return-value]

    def loss(self, batch: Batch, encoder: nn.Module, phase: str) -> dict[str, Tensor]:
        """The error over the pairs of a batch, and how each kind of pair is told."""
        self.check_built()
        if batch.pairs is None or batch.y is None:
            raise WrongUse("relational reads pairs of labelled inputs: take its own order")
        features = encoder(batch.x)  # one pass, so that batch norm sees both inputs of all pairs
        first, second = batch.pairs.unbind(dim=1)
        logits = self.relation(features[first], features[second]).float()  # (P, 1 or 2)
        different = batch.y[first] != batch.y[second]
        if self.criterion == "mse":
            error = pair_loss(logits[:, 0], different, self.scale)
            s = torch.sigmoid(self.scale * logits[:, 0])
        else:
            weight = torch.tensor([float(self.ratio), 1.0], device=logits.device)
            error = cross_entropy(logits, different.long(), weight=weight)
            s = logits.softmax(dim=1)[:, 1]
        right = ((s > 0.5) == different).float()
        return {
            "loss": error,
            "same_accuracy": right[~different].mean(),
            "different_accuracy": right[different].mean(),
            "mean_s": s.detach().mean(),
        }

    def outputs(self, x: Tensor, encoder: nn.Module) -> dict[str, Tensor]:
        """``features``; what the network says of an input depends on what it is compared with, see `dissimilarity`."""
        return {"features": encoder(x)}

    def dissimilarity(self, a: Tensor, b: Tensor) -> Tensor:
        """Raw logit of each pair of features ``(B, D)``: ``(B,)``, higher = less alike.

        With cross-entropy the logit of "different" less that of "same".
        """
        self.check_built()
        logits: Tensor = self.relation(a, b)
        return logits[:, 0] if self.criterion == "mse" else logits[:, 1] - logits[:, 0]

    def _check(self) -> None:
        for name, chosen, allowed in (
            ("pairing", self.pairing, PAIRINGS),
            ("criterion", self.criterion, CRITERIA),
            ("aggregation", self.aggregation, AGGREGATIONS),
            ("head_init", self.head_init, INITS),
        ):
            if chosen not in allowed:
                raise WrongUse(f"Relational({name}={chosen!r}): give one of {', '.join(allowed)}")
        for name, least in (("ratio", 1), ("each", 2), ("width", 1), ("blocks", 1), ("heads", 1), ("hidden", 1)):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < least:
                raise WrongUse(f"Relational({name}={getattr(self, name)!r}): give a whole number from {least}")
        if not self.scale > 0:
            raise WrongUse(f"Relational(scale={self.scale}): give a number above 0")
        # An option that changes nothing is a slip.
        idle = {
            "each": self.pairing == "sampled",
            "exclude_self": self.pairing == "in_batch",
            "scale": self.criterion == "ce",
            **dict.fromkeys(("width", "blocks", "heads", "hidden"), self.aggregation != "transformer"),
        }
        arguments, default = self.arguments(), type(self)().arguments()
        for name, without in idle.items():
            if without and arguments[name] != default[name]:
                raise WrongUse(
                    f"Relational({name}={arguments[name]!r}) changes nothing with pairing={self.pairing!r}, "
                    f"criterion={self.criterion!r}, aggregation={self.aggregation!r}: leave it out"
                )
        if self.width % self.heads:
            raise WrongUse(f"Relational(width={self.width}, heads={self.heads}): the width must be a multiple of heads")
