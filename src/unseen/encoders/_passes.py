"""Requests answered by a network: what is kept of a pass, what is changed in it, and where its input is moved."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from unseen.errors import WrongUse
from unseen.signals import (
    Climbed,
    GramStatistics,
    LayerStatistics,
    Nudged,
    Perturbed,
    RankReduced,
    Request,
    Samples,
    Sensitivity,
    key_of,
)

STAGE = re.compile(r"-[1-9]\d*")
DEPTHS = 4  # stages of a network of equal blocks, such as a transformer
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)

Alteration = Callable[[Tensor], Tensor]
"""What a pass does to the output of a layer before the next layer sees it."""


class Passes:
    """A network with its linear head, and the passes through it.

    Inputs are normalised, ``(B, 3, H, W)``; every answer is about one input alone.

    Args:
        module: the network, in evaluation mode.
        head: dotted name of its last linear layer, whose output is the network's; None where there is none.
        std: ``(1, 3, 1, 1)``, what the pixels were divided by.
        probe: an input of some rows, by which stages are found.

    Attributes:
        stages: dotted names of the layers at which stages end, in the order in which they run: the last module that
            gives a map of each resolution, and in a network of numbered blocks at one resolution, such as a
            transformer, the blocks at four equal depths.
    """

    def __init__(self, module: nn.Module, head: str | None, std: Tensor, probe: Tensor) -> None:
        self.module, self.head, self.std = module, head, std
        self.layers = dict(module.named_modules())
        self.stages = self._find_stages(probe)

    def layer(self, name: str) -> str:
        """The dotted name of a layer, which may be given as a stage from the back.

        Raises:
            WrongUse: when there is no such layer or stage.
        """
        if STAGE.fullmatch(name):
            if int(name[1:]) > len(self.stages):
                raise WrongUse(
                    f"the network has {len(self.stages)} stages and {name} was asked for: name a layer, such as "
                    + ", ".join(list(self.layers)[1:4])
                )
            return self.stages[int(name)]
        if name not in self.layers:
            close = difflib.get_close_matches(name, self.layers, n=3) or list(self.layers)[1:6]
            raise WrongUse(f"the network has no layer {name!r}; it has {', '.join(close)}, ...")
        return name

    def refusal(self, request: Request) -> str | None:
        """Why a request cannot be answered; None where it can."""
        if not isinstance(request, HANDLED):
            return f"no network answers {type(request).__name__}"
        if request.of_head and self.head is None:
            return f"{type(request).__name__} needs logits, and the network has no classifier"
        if isinstance(request, Samples) and not self._dropouts():
            return "the network has no dropout layer; the detector dropout drops features before the last layer"
        if isinstance(request, Climbed) and isinstance(request.signal, str):
            there = ("features",) if self.head is None else ("features", "logits")
            return None if request.signal in there else f"the network gives no {request.signal}"
        inner = request.signal if isinstance(request, Climbed) else request
        if hasattr(inner, "layer"):
            try:
                self.layer(inner.layer)
            except WrongUse as error:
                return str(error)
        return None

    def answers(self, x: Callable[[], Tensor], wanted: Iterable[str | Request]) -> dict[str, Tensor]:
        """Every answer, by key.

        Args:
            x: makes the input anew, as networks may write to it.
            wanted: ``"features"``, ``"logits"`` and requests that are not refused.
        """
        wants = list(wanted)
        plain = [want for want in wants if isinstance(want, (str, LayerStatistics, GramStatistics))]
        graded = [want for want in wants if isinstance(want, (Perturbed, Nudged, Sensitivity, Climbed))]
        found: dict[str, Tensor] = {}
        with torch.inference_mode():
            if plain:
                found.update(self._pass(x(), plain))
            for want in wants:
                if isinstance(want, RankReduced):
                    ran: list[str] = []
                    change = partial(_without_largest, want.layer, ran)
                    found[want.key] = self._pass(x(), ["logits"], {self.layer(want.layer): change})["logits"]
                    if not ran:
                        raise WrongUse(f"the layer {want.layer!r} is part of the network but is not run by it")
                elif isinstance(want, Samples):
                    found[want.key] = self._samples(x, want)
        if graded:
            found.update(self._graded(x, graded))
        return found

    def _pass(
        self,
        x: Tensor,
        wanted: Iterable[str | Request],
        altered: Mapping[str, Alteration] | None = None,
        kept: dict[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """One pass.

        Args:
            x: the input, which may be written to.
            wanted: what is kept of it: signals, and requests that reduce a layer.
            altered: layer -> what is done to its output.
            kept: layers as keys; filled with their outputs as they were.
        """
        found: dict[str, Tensor] = {}
        reductions = [want for want in wanted if isinstance(want, (LayerStatistics, GramStatistics))]
        watched = [(self.layer(request.layer), _reduce(found, request)) for request in reductions]
        if kept is not None:
            watched += [(name, _keep(kept, name)) for name in kept]
        watched += [(name, _alter(change)) for name, change in (altered or {}).items()]
        hooks = [self.layers[name].register_forward_hook(hook) for name, hook in watched]
        try:
            if self.head is not None:
                hooks.append(self.layers[self.head].register_forward_pre_hook(_keep_input(found, "features")))
            output: Tensor = self.module(x)
        finally:
            for hook in hooks:
                hook.remove()
        for request in reductions:
            if request.key not in found:
                raise WrongUse(f"the layer {request.layer!r} is part of the network but is not run by it")
        if self.head is None:
            return {**found, "features": output.flatten(1)}
        return {**found, "logits": output}

    def _graded(self, x: Callable[[], Tensor], requests: Sequence[Graded]) -> dict[str, Tensor]:
        """What needs slopes: one differentiable pass for all, a backward pass for each slope, a pass for each move."""
        # A caller's inference mode would forbid gradients, which are needed here and nowhere else.
        with torch.inference_mode(False), torch.enable_grad():
            found, moves = self._moves(x(), requests)
        with torch.inference_mode():
            for key, want, step in moves:
                found[key] = self._pass(x() + step, [want])[key_of(want)]
        return found

    def _moves(
        self, x: Tensor, requests: Sequence[Graded]
    ) -> tuple[dict[str, Tensor], list[tuple[str, str | Request, Tensor]]]:
        """Answers that are slopes themselves; and for each other key what is asked after which step of the input."""
        kept = {self.layer(r.layer): torch.empty(0) for r in requests if isinstance(r, Sensitivity)}
        climbs = [r.signal for r in requests if isinstance(r, Climbed)]
        start = x.clone().requires_grad_(True)
        seen = self._pass(start.clone(), climbs, kept=kept)  # a leaf cannot be written to
        slopes: dict[str, Tensor] = {}

        def slope(name: str, value: Callable[[], Tensor]) -> Tensor:
            if name not in slopes:
                (slopes[name],) = torch.autograd.grad(value().sum(), start, retain_graph=True)
            return slopes[name]

        found: dict[str, Tensor] = {}
        moves: list[tuple[str, str | Request, Tensor]] = []
        want: str | Request
        for request in requests:
            if isinstance(request, Sensitivity):
                layer = kept[self.layer(request.layer)]
                if not layer.requires_grad:
                    raise WrongUse(f"the layer {request.layer!r} is not run by the network before its logits")
                found[request.key] = _sensitivity(request.layer, layer, seen["logits"])
            elif isinstance(request, Nudged):
                up = slope("logit", lambda: seen["logits"].amax(dim=1))
                moves.append((request.key, "features", request.step * _smallest(up, request.share) * up.sign()))
            else:
                if isinstance(request, Perturbed):
                    up, want = slope(*_loss(seen["logits"], request)), "logits"
                    if request.coordinates == "largest":
                        up = _only_largest(up)
                else:
                    up, want = slope(request.state, partial(_scored, request, seen)), request.signal
                step = request.epsilon * up.sign()
                moves.append((request.key, want, step / self.std if request.units == "pixels" else step))
        return found, moves

    def _samples(self, x: Callable[[], Tensor], request: Samples) -> Tensor:
        """``(B, draws, C)``: every dropout layer multiplies by one mask for all inputs of a draw."""
        names = self._dropouts()
        logits = []
        for draw in range(request.draws):
            generator = torch.Generator().manual_seed(request.seed * 1_000_003 + draw)
            altered = {name: _masked(self.layers[name].p, generator) for name in names}
            logits.append(self._pass(x(), ["logits"], altered)["logits"])
        return torch.stack(logits, dim=1)

    def _dropouts(self) -> list[str]:
        return [name for name, layer in self.layers.items() if isinstance(layer, DROPOUTS) and 0 < layer.p < 1]

    def _find_stages(self, probe: Tensor) -> tuple[str, ...]:
        shapes: dict[str, torch.Size] = {}
        hooks = [layer.register_forward_hook(_keep_shape(shapes, name)) for name, layer in self.layers.items() if name]
        try:
            with torch.inference_mode():
                self.module(probe)
        finally:
            for hook in hooks:
                hook.remove()
        # A later layer of one resolution takes the place of an earlier one.
        maps = {tuple(shape[2:]): name for name, shape in shapes.items() if len(shape) == 4 and max(shape[2:]) > 1}
        if len(maps) > 1:
            return tuple(name for name in shapes if name in maps.values())
        blocks = [re.fullmatch(r"(.*?)(\d+)", name) for name, shape in shapes.items() if len(shape) in (3, 4)]
        families = Counter(found[1] for found in blocks if found is not None)
        if not families:
            return tuple(maps.values())
        family, many = families.most_common(1)[0]
        numbered = [found[0] for found in blocks if found is not None and found[1] == family]
        depths = sorted({max(1, round(many * part / DEPTHS)) for part in range(1, DEPTHS + 1)})
        return tuple(numbered[depth - 1] for depth in depths)


Graded = Perturbed | Nudged | Sensitivity | Climbed
HANDLED = (LayerStatistics, GramStatistics, Sensitivity, RankReduced, Samples, Perturbed, Nudged, Climbed)


def _loss(logits: Tensor, request: Perturbed) -> tuple[str, Callable[[], Tensor]]:
    """What falls along the move's opposite: its name, so that requests share slopes, and its value turned upwards."""
    if request.towards == "logit":
        return "logit", lambda: logits.amax(dim=1)
    top = logits.argmax(dim=1)
    temperature = request.temperature
    return f"confidence {temperature}", lambda: -cross_entropy(logits / temperature, top, reduction="none")


def _scored(request: Climbed, seen: Mapping[str, Tensor]) -> Tensor:
    key = key_of(request.signal)
    return request.score({key: seen[key]})


def _only_largest(slope: Tensor) -> Tensor:
    """``slope (B, ...)`` with all but the value of largest size of each row at 0."""
    flat = slope.flatten(1)
    at = flat.abs().argmax(dim=1, keepdim=True)
    return torch.zeros_like(flat).scatter(1, at, flat.gather(1, at)).view_as(slope)


def _smallest(slope: Tensor, share: float) -> Tensor:
    """1 at the ``share`` of values of each row that are smallest in size, at least one; else 0. ``(B, ...)``."""
    flat = slope.flatten(1).abs()
    count = max(1, round(share * flat.shape[1]))
    at = flat.topk(count, dim=1, largest=False).indices
    return torch.zeros_like(flat).scatter(1, at, 1.0).view_as(slope)


def _sensitivity(name: str, layer: Tensor, logits: Tensor) -> Tensor:
    """Activation times the slope of ``KL(u || p)``, averaged over positions: ``(B, channels)``."""
    # KL(u || p) = -mean log p - log C, whose slope in the logits is p - 1/C.
    divergence = -logits.log_softmax(dim=1).mean(dim=1).sum()
    (slope,) = torch.autograd.grad(divergence, layer, retain_graph=True, allow_unused=True)
    if slope is None:
        raise WrongUse(f"the layer {name!r} is run, but the logits do not depend on it")
    return _positions(layer.detach() * slope).mean(dim=2)


def _positions(output: Tensor) -> Tensor:
    """``(B, C, H, W)`` maps, ``(B, P, C)`` tokens or ``(B, C)`` values as ``(B, C, positions)``."""
    if output.ndim == 4:
        return output.flatten(2)
    return output.transpose(1, 2) if output.ndim == 3 else output[:, :, None]


def _channel_statistics(output: Tensor, _request: Any) -> Tensor:
    """``(B, 2C)`` means and deviations over positions."""
    maps = _positions(output)
    return torch.cat([maps.mean(dim=2), maps.std(dim=2, correction=0)], dim=1)


def _gram_statistics(output: Tensor, request: Any) -> Tensor:
    """``(B, orders * C)``; see `GramStatistics`."""
    maps: Tensor = _positions(output)
    scale: Tensor = maps.abs().amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny)
    unit, power, found = maps / scale, None, []
    for order in range(1, request.orders + 1):
        power = unit if power is None else power * unit
        sums = (power * power.sum(dim=1, keepdim=True)).sum(dim=2)  # F^p (F^p' 1)
        found.append(sums.sign() * sums.abs() ** (1 / order) * scale[:, :, 0] ** 2)
    return torch.cat(found, dim=1)


REDUCTIONS: dict[type[Request], Callable[[Tensor, Any], Tensor]] = {
    LayerStatistics: _channel_statistics,
    GramStatistics: _gram_statistics,
}


def _without_largest(layer: str, ran: list[str], output: Any) -> Tensor:
    """A map less its largest singular component, for each input alone; ``ran`` gets the name of the layer."""
    ran.append(layer)
    maps = _positions(_checked(output, layer))
    if maps.shape[2] <= maps.shape[1]:
        _, vectors = torch.linalg.eigh(maps.transpose(1, 2) @ maps)
        right = vectors[:, :, -1:]  # (B, positions, 1)
        rest = maps - (maps @ right) @ right.transpose(1, 2)
    else:
        _, vectors = torch.linalg.eigh(maps @ maps.transpose(1, 2))
        left = vectors[:, :, -1:]  # (B, C, 1)
        rest = maps - left @ (left.transpose(1, 2) @ maps)
    whole: Tensor = rest if output.ndim == 4 else rest.transpose(1, 2)  # (B, C) values have one position
    return whole.reshape(output.shape)


def _masked(p: float, generator: torch.Generator) -> Alteration:
    def change(output: Tensor) -> Tensor:
        mask = (torch.rand(output.shape[1:], generator=generator) >= p).to(output)
        return output * mask / (1 - p)

    return change


def _reduce(into: dict[str, Tensor], request: LayerStatistics | GramStatistics) -> Any:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Tensor | None:
        # At once: the next layer may write to the output (an in-place ReLU does), and maps are large.
        into[request.key] = REDUCTIONS[type(request)](_checked(output, request.layer), request)
        # A slope of the reduction needs the output as it was.
        return output.clone() if torch.is_grad_enabled() else None

    return hook


def _checked(output: Any, layer: str) -> Tensor:
    if not isinstance(output, Tensor) or output.ndim not in (2, 3, 4):
        what = f"{output.ndim} axes" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise WrongUse(f"the layer {layer!r} gives {what}: statistics need (B, C), (B, P, C) or (B, C, H, W)")
    return output


def _keep(into: dict[str, Tensor], name: str) -> Any:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Tensor:
        into[name] = _checked(output, name)
        return into[name].clone()  # as the next layer may write to it

    return hook


def _alter(change: Alteration) -> Any:
    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        return change(output)

    return hook


def _keep_input(into: dict[str, Tensor], name: str) -> Any:
    def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        into[name] = inputs[0].clone()

    return hook


def _keep_shape(into: dict[str, torch.Size], name: str) -> Any:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        into.pop(name, None)  # a layer that runs twice counts where it runs last
        if isinstance(output, Tensor):
            into[name] = output.shape

    return hook
