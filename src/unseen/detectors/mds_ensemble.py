"""Mahalanobis distances in several layers of a network, in units of what they are for known inputs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from unseen.detectors._layers import layers_of
from unseen.detectors._logistic import PENALTY, discriminate
from unseen.detectors.base import Detector
from unseen.detectors.mahalanobis import Mahalanobis
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.parts import Paper
from unseen.signals import Climbed, LayerStatistics, Request, Support
from unseen.signals.requests import Units
from unseen.statistics import Moments


class MDSEnsemble(Detector):
    """An input is known when it is close to some class mean in every layer, measured by the spread that classes share.

    ``score(x) = mean_l (M_l(x_l') - a_l) / s_l,  x_l' = x + epsilon sign(dM_l(x) / dx)``: ``M_l`` is the score of
    `Mahalanobis` on the mean over positions of every channel of layer ``l``, and the input is moved for each layer by
    itself. ``a_l`` and ``s_l`` are the mean and the standard deviation of ``M_l`` over the known inputs, each held out
    in turn: distances that an input helped to learn are too small, the more so the wider the layer is.

    With ``combine="sum"`` the distances are added as they are, and wide layers outweigh others. The paper's weights are
    ``combine="logistic"``: ``score(x) = sum_l alpha_l (M_l(x_l') - a_l)`` by a logistic regression of known inputs,
    each held out in turn, against unknown ones, which this way alone has to be given; both sides count alike, with a
    small penalty on the weights of standardised distances. In the regression no input is moved.

    Args:
        layers: dotted names of layers, or stages from the back, with commas between them.
        epsilon: length of the step; with 0 nothing is moved, and all layers come with the one pass that gives features.
        units: of the step: ``"pixels"`` are those of values in ``[0, 1]``, whatever each channel was divided by, as in
            the authors' code; ``"normalised"`` are those of the network's input, as in the formula of the paper.
        combine: ``"standardised"`` as above, ``"sum"`` or ``"logistic"``.
        floor: ridge added to the covariance of a layer, as a share of its mean eigenvalue.

    Reads: ``LayerStatistics(layer)`` of each layer at the fit, labels optional: without them all known inputs are one
    class. At a query the same of moved inputs, which a network gives (stored arrays only without a step).
    Returns: ``(N,)``, in standard deviations of known inputs; of ``"sum"`` at most 0, squared standard deviations; of
    ``"logistic"`` log odds (nats) against those of the mean known input.
    Raises: WrongUse, for other layers, steps, units or ways to combine, or where ``"logistic"`` has no unknown inputs;
    NotEnoughKnown, with fewer than two inputs, or where known inputs do not differ in a layer.
    Cost: for a layer of ``D`` channels ``D^2 + 2 C D`` numbers, and ``4 D^2`` while it learns; a query costs a backward
    pass and a forward pass for each layer and one forward pass before, known inputs two walks and no pass of their own.
    Source: Lee, Lee, Lee, Shin, "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial
    Attacks", NeurIPS 2018, algorithm 1. The paper takes every residual stage, chooses ``epsilon`` by unknown inputs and
    learns the weights from inputs of validation that were moved; 0.0014 is that of OpenOOD.

    >>> known = {LayerStatistics("-1").key: [[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]]}  # one channel: mean, deviation
    >>> detector = MDSEnsemble(layers="-1", epsilon=0.0, floor=0.0).fit(known)
    >>> [round(s, 2) for s in detector.score({LayerStatistics("-1").key: [[2.0, 9.0], [7.0, 1.0]]}).tolist()]
    [1.41, -0.8]
    """

    labels = "optional"
    traits = frozenset({"two_pass"})
    grid = {"layers": ("-1", "-2,-1")}  # noqa: RUF012 - a constant, shared on purpose
    paper = Paper(
        "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks",
        "Lee, Lee, Lee, Shin",
        "NeurIPS",
        2018,
    )
    center: Tensor  # (L,) a
    scale: Tensor  # (L,) 1 / s

    def __init__(
        self,
        layers: str = "-3,-2,-1",
        epsilon: float = 0.0014,
        units: Units = "pixels",
        combine: Literal["standardised", "sum", "logistic"] = "standardised",
        floor: float = 1e-6,
    ) -> None:
        super().__init__()
        if combine not in ("standardised", "sum", "logistic"):
            raise WrongUse(f"MDSEnsemble(combine={combine!r}): give 'standardised', 'sum' or 'logistic'")
        self.layers = layers
        self.epsilon = epsilon
        self.units = units
        self.combine = combine
        self.floor = floor
        self.distances = nn.ModuleList(Layer(layer, floor) for layer in layers_of("MDSEnsemble", layers))
        self.learns = frozenset(distance.statistics for distance in self._distances())
        if combine == "logistic":
            self.traits = type(self).traits | {"uses_unknown"}
        for name in ("center", "scale"):
            self.register_buffer(name, torch.empty(0))
        self._climbs()  # names a wrong argument at once

    def _distances(self) -> list["Layer"]:
        return list(self.distances)  # type: ignore[arg-type] # of Modules

    def _climbs(self) -> list[Climbed]:
        return [Climbed(distance, self.epsilon, self.units) for distance in self._distances()]

    @property
    def needs(self) -> frozenset[str | Request]:  # type: ignore[override] # of what was learnt
        """Statistics of each layer after a step that goes by its distances; as they are where there is no step."""
        return frozenset(self._climbs()) if self.epsilon else self.at_fit()

    def learn(self, support: Support) -> None:
        """Distances in each layer, then what they are for inputs that are held out, and for unknown ones."""
        precision = support.dtype(self._distances()[0].key)
        for distance in self._distances():
            distance.fit(support)
        if self.combine == "logistic":
            self.center, self.scale = (found.to(precision) for found in self._weighted(support))
            return
        spreads = [self._spread(distance, support) for distance in self._distances()]
        self.center = torch.tensor([center for center, _ in spreads], dtype=precision)
        self.scale = torch.tensor([scale for _, scale in spreads], dtype=precision)

    def _weighted(self, support: Support) -> tuple[Tensor, Tensor]:
        """What is taken off the scores of each layer, and their weights, each ``(L,)``."""
        unknown = support.unknown
        assert unknown is not None
        held_out = torch.stack([one.held_out(support) for one in self._distances()], dim=1)  # (N, L)
        there = torch.stack([torch.as_tensor(one.score(unknown)) for one in self._distances()], dim=1).to(held_out)
        weight, _ = discriminate(lambda: [held_out], lambda: [there], PENALTY, "MDSEnsemble")
        # Not the bias: beside it nothing would be left of known inputs where unknown ones lie a million times as far.
        return held_out.mean(dim=0), weight

    def _spread(self, distance: "Layer", support: Support) -> tuple[float, float]:
        """What is taken off the scores of a layer, and the weight that they have then."""
        if self.combine == "sum":
            return 0.0, 1.0
        scores = distance.held_out(support)
        center, spread = float(scores.mean()), float(scores.std(correction=0))
        if not spread > 1e-9 * abs(center):
            raise NotEnoughKnown(
                f"MDSEnsemble: all known inputs are as far from their class in layer {distance.layer!r}; add inputs"
            )
        return center, 1 / (spread * len(self.distances))

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Mean deviations, log odds, or sums of negative squared distances ``(B,)``."""
        # Keys after a step hold fingerprints, which a graph has no values for, but what is before those sorts them.
        distances = self._distances()
        order = sorted(distances, key=lambda one: f"{one.expression()}:" if self.epsilon else one.key)
        found = {one.layer: one({one.key: signals[key]}) for one, key in zip(order, sorted(signals), strict=True)}
        return (torch.stack([found[one.layer] for one in distances], dim=1) - self.center) @ self.scale


class Layer(Detector):
    """`Mahalanobis` on the mean over positions of every channel of one layer.

    Args:
        layer: its name.
        floor: of the covariance.
    """

    labels = "optional"

    def __init__(self, layer: str, floor: float) -> None:
        super().__init__()
        self.layer = layer
        self.floor = floor
        self.statistics = LayerStatistics(layer)
        self.needs = frozenset({self.statistics})
        self.distance = Mahalanobis(floor)

    @property
    def key(self) -> str:
        """Of what it reads."""
        return self.statistics.key

    def learn(self, support: Support) -> None:
        """From the part of the moments that is of means, so that a class can be taken away from them."""
        self.distance.fit(self._means(support))

    def _means(self, support: Support) -> Support:
        moments = support.moments(self.key)
        half = moments.mean.shape[1] // 2
        of_means = Moments(moments.count, moments.mean[:, :half], moments.within[:half, :half])
        return replace(support.through(_Means(self.key)), _moments={"features": of_means})

    def held_out(self, support: Support) -> Tensor:
        """The scores ``(N,)``, float64, of the known inputs when each is left out of what was learnt.

        Without an input the scatter lacks ``n / (n - 1) g g'``, with its difference ``g`` to the mean of its class of
        ``n``, so that the inverse follows from the one that is there (Sherman and Morrison). The ridge stays.
        """
        means = self._means(support)
        moments = means.moments("features")
        there, total = moments.count > 0, len(moments)
        place = (there.cumsum(0) - 1) if support.labels is not None else torch.zeros(1, dtype=torch.long)
        count = moments.count[there]
        alone = count == 1
        grows = torch.where(alone, 1.0, count / (count - 1).clamp_min(1))  # n / (n - 1)
        whiten, origin = self.distance.whiten.double(), self.distance.origin.double()
        centers = (moments.mean[there] - origin) @ whiten  # (C, D)
        found = []
        for batch in means.batches("features"):
            x = (batch["features"].double() - origin) @ whiten
            codes = place[batch["labels"]] if "labels" in batch else torch.zeros(len(x), dtype=torch.long)
            g = x - centers[codes]
            length, a = g.square().sum(dim=1), grows[codes]
            missing = a / total / (1 - a * length / total).clamp_min(torch.finfo(x.dtype).eps)
            along = (g * x).sum(dim=1, keepdim=True) - g @ centers.T  # (B, C): g' of the difference to each mean
            squares = torch.cdist(x, centers).square() + missing[:, None] * along.square()
            own = torch.where(alone[codes], torch.inf, a.square() * (length + missing * length.square()))
            found.append(squares.scatter(1, codes[:, None], own[:, None]).amin(dim=1))
        return -torch.cat(found) * (total - 1) / total

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Negative squared distances ``(B,)``."""
        return self.distance({"features": _first_half(signals[self.key])})  # type: ignore[no-any-return]


class _Means:
    """Means of channels as features, of statistics that hold deviations as well."""

    writes = frozenset({"features"})

    def __init__(self, key: str) -> None:
        self.key = key

    def reads(self) -> frozenset[str]:
        return frozenset({self.key})

    def __call__(self, batch: dict[str, Tensor]) -> Mapping[str, Tensor]:
        return {"features": _first_half(batch[self.key])}


def _first_half(statistics: Tensor) -> Tensor:
    return statistics[:, : statistics.shape[1] // 2]
