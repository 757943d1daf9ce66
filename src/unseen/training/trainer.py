"""The one trainer: batch, loss, backward, step. It knows no method, and can be killed at any time."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from unseen.data import Progress
from unseen.data.batch import Batch, Rows
from unseen.errors import BadInput, DamagedFile, WrongUse
from unseen.files import to_json, write_json
from unseen.optional import require
from unseen.training.checkpoints import (
    Checkpoint,
    optimiser_tensors,
    read_checkpoint,
    restore_optimiser,
    write_checkpoint,
)
from unseen.training.logs import Log
from unseen.training.order import Shuffled
from unseen.training.recipe import Recipe
from unseen.training.schedules import rate
from unseen.training.sources import Source

STREAMS = ("outliers", "unlabeled_pool", "aux_stream")
CONFIG = "config.json"
_WALK = 256  # rows of a batch that is read without training


class Trainable(Protocol):
    """What is trained: the part of an objective that the trainer asks for; `unseen.objectives.base` says it in full."""

    needs: frozenset[str]
    phases: tuple[str, ...]
    labels: str

    @property
    def name(self) -> str:
        """For messages."""

    def order(self, labels: Any, rows: int, batch: int, seed: int, epoch: int) -> Sequence[Rows] | None:
        """The rows of each step of an epoch; None: all, shuffled."""

    def groups(self, phase: str, encoder: nn.Module, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """What the optimiser of a phase moves."""

    def loss(self, batch: Batch, encoder: nn.Module, phase: str) -> dict[str, Tensor]:
        """Named scalars, the first of which is stepped on."""

    def on_epoch(self, epoch: int, epochs: int, encoder: nn.Module, walk: Callable[[], Iterable[Batch]]) -> None:
        """Called before the first step of each epoch."""


@dataclass(frozen=True)
class Trained:
    """What a training came to.

    Attributes:
        steps: optimiser steps a phase.
        epochs: walks over the data, the last one perhaps not to its end.
        resumed: after how many steps it was taken up; 0 where it began anew.
        last: the named scalars of the last step.
    """

    steps: int
    epochs: int
    resumed: int
    last: Mapping[str, float]


def train(
    objective: nn.Module,
    encoder: nn.Module,
    source: Source,
    recipe: Recipe,
    folder: str | os.PathLike[str],
    *,
    streams: Mapping[str, Source] | None = None,
    about: Mapping[str, Any] | None = None,
    resume: bool = False,
    every: int = 500,
    tensorboard: bool = False,
    progress: Progress | None = None,
) -> Trained:
    """Train an objective and the encoder under it, where they are.

    Each step reads one batch and, for each phase of the objective: takes the loss, its slopes, and a step of the
    phase's optimiser at the rate that the schedule says. Which rows a step reads, how they are augmented and what
    dropout draws depends on the seed and on the step alone. So a training that was killed and taken up again has, on
    one machine and one device, the weights of one that was not, bit for bit.

    Args:
        objective: built; see `unseen.objectives.base.Objective`.
        encoder: ``(B, ...)`` to features ``(B, D)``; ``nn.Identity()`` where inputs are stored features. Put it in
            training mode and free its parameters before, where it is to learn.
        source: what is learnt from.
        recipe: steps, optimiser, schedule and the like.
        folder: gets ``config.json``, ``log.csv`` and the checkpoints.
        streams: inputs beside, by name: ``outliers``, ``unlabeled_pool``, ``aux_stream``; those that the objective
            needs.
        about: what is trained on what, for ``config.json``; a training is taken up only under the same.
        resume: go on from the last checkpoint in ``folder``, or begin where there is none.
        every: steps from one checkpoint to the next.
        tensorboard: also write TensorBoard's events.
        progress: called with (steps done, steps in all).

    Returns:
        `Trained`. Both modules hold the result: the last weights, or their running mean. They are on the CPU.

    Raises:
        WrongUse: the folder holds a training and ``resume`` is not set, or another one; an objective that lacks labels
            or a stream; a loss that left the finite numbers; several processes.
        BadInput: an input that cannot be read.
        DamagedFile: no checkpoint is whole.
        MissingExtra: without Accelerate, for more than float32 on the CPU.
    """
    if every < 1:
        raise WrongUse(f"every={every}: give the steps from one checkpoint to the next, from 1")
    with contextlib.closing(_Device(recipe)) as device:
        run = _Run(cast(Any, objective), encoder, source, recipe, device, Path(folder), streams or {})
        begun = run.take_up({"recipe": recipe.describe(), **(about or {})}, resume)
        last = run.last
        with contextlib.closing(Log(run.folder, begun, tensorboard)) as log:
            if progress is not None:
                progress(begun, run.steps)
            for step, batch in run.batches(begun):
                last = run.step(step, batch)
                log.write(step, last)
                if (step + 1) % every == 0 or step + 1 == run.steps:
                    run.save(step + 1, last)
                if progress is not None:
                    progress(step + 1, run.steps)
        run.finish()
    return Trained(run.steps, run.epochs, begun, last)


class _Run:
    """One training: modules, optimisers and what a checkpoint holds of them."""

    def __init__(
        self,
        objective: Any,
        encoder: nn.Module,
        source: Source,
        recipe: Recipe,
        device: _Device,
        folder: Path,
        streams: Mapping[str, Source],
    ) -> None:
        what: Trainable = objective
        lacking = [name for name in STREAMS if name in what.needs and name not in streams]
        if lacking:
            raise WrongUse(f"{what.name} needs {lacking[0]} beside the inputs and there are none: give some")
        if what.labels == "required" and source.labels is None:
            raise WrongUse(f"{what.name} learns from labels and there are none: sort the inputs into class folders")
        if not len(source):
            raise BadInput("there are no inputs to train on")
        self.objective, self.encoder, self.source, self.recipe = what, encoder, source, recipe
        self.streams = {name: streams[name] for name in STREAMS if name in what.needs}
        self.folder = folder
        self.last: dict[str, float] = {}
        self._modules = {"encoder": encoder, "objective": objective}
        self._device = device
        for module in self._modules.values():
            module.to(self._device.device)
        first = self._order(0)
        self.per_epoch = len(first)
        self.steps = recipe.steps if recipe.steps is not None else cast(int, recipe.epochs) * self.per_epoch
        self.epochs = math.ceil(self.steps / self.per_epoch)
        if recipe.warmup >= self.steps:
            raise WrongUse(f"warmup={recipe.warmup} of {self.steps:,} steps: give fewer, or train for longer")
        self.optimisers: dict[str, torch.optim.Optimizer] = {}
        for phase in what.phases:
            groups = what.groups(phase, encoder, recipe.lr, recipe.weight_decay)
            if not any(group["params"] for group in groups):
                raise WrongUse(f"{what.name} has nothing to learn in phase {phase!r}: is the encoder frozen?")
            self.optimisers[phase] = recipe.optimiser({**group, "peak": group["lr"]} for group in groups)
        self._mean = None if recipe.ema is None else {n: t.detach().clone() for n, t in self._weights().items()}

    def take_up(self, config: Mapping[str, Any], resume: bool) -> int:
        """Steps that are done: those of the last checkpoint, which is put back, or none."""
        path = self.folder / CONFIG
        held = read_checkpoint(self.folder)
        if held is not None and not resume:
            raise WrongUse(f"{self.folder} holds a training already: go on with it (resume), or give another folder")
        if held is not None:
            try:
                before = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise DamagedFile(f"{path}: cannot be read, so nobody knows what was trained here") from error
            _check_same(before, json.loads(to_json(config)), self.folder)
            self._restore(held)
            return held.step
        write_json(path, config)
        return 0

    def batches(self, begun: int) -> Iterator[tuple[int, Batch]]:
        """Steps from ``begun`` on, each with its batch, which is read while the one before is learnt from."""
        with ThreadPoolExecutor(1) as ahead:
            order, epoch = self._order(begun // self.per_epoch), begun // self.per_epoch
            waiting = ahead.submit(self._read, begun, order) if begun < self.steps else None
            for step in range(begun, self.steps):
                assert waiting is not None
                batch = waiting.result()
                if (step + 1) // self.per_epoch != epoch and step + 1 < self.steps:
                    epoch = (step + 1) // self.per_epoch
                    order = self._order(epoch)
                waiting = ahead.submit(self._read, step + 1, order) if step + 1 < self.steps else None
                yield step, batch.to(self._device.device)

    def step(self, step: int, batch: Batch) -> dict[str, float]:
        """One optimiser step of each phase; the named scalars."""
        if step % self.per_epoch == 0:
            with self._drawing(step, "epoch"):
                self.objective.on_epoch(step // self.per_epoch, self.epochs, self.encoder, self._walk)
        said: dict[str, float] = {"epoch": float(step // self.per_epoch)}
        recipe = self.recipe
        for phase, optimiser in self.optimisers.items():
            before = f"{phase}." if len(self.optimisers) > 1 else ""
            for group in optimiser.param_groups:
                group["lr"] = rate(step, self.steps, group["peak"], recipe.schedule, recipe.warmup)
            for module in self._modules.values():
                module.zero_grad(set_to_none=True)
            with self._drawing(step, phase), self._device.products():
                scalars = self.objective.loss(batch, self.encoder, phase)
            loss = next(iter(scalars.values()))
            if not bool(torch.isfinite(loss)):
                raise WrongUse(f"the loss of step {step:,} is {float(loss.detach())}: lower lr, or clip the gradient")
            self._device.backward(loss)
            learnt = [p for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
            longest = math.inf if recipe.clip is None else recipe.clip
            length = nn.utils.clip_grad_norm_(learnt, longest)
            if not bool(torch.isfinite(length)):  # one step on would be too late: the weights would be lost
                raise WrongUse(f"the gradient of step {step:,} is {float(length)}: lower lr, or clip the gradient")
            optimiser.step()
            said |= {f"{before}{name}": float(value.detach()) for name, value in scalars.items()}
            said |= {f"{before}grad_norm": float(length), f"{before}lr": optimiser.param_groups[0]["lr"]}
        self._average()
        return said

    def save(self, step: int, last: Mapping[str, float]) -> None:
        """A checkpoint of everything that the next step depends on."""
        tensors = {f"weights.{name}": tensor for name, tensor in self._weights().items()}
        if self._mean is not None:
            tensors |= {f"mean.{name}": tensor for name, tensor in self._mean.items()}
        rest = {}
        for phase, optimiser in self.optimisers.items():
            held, rest[phase] = optimiser_tensors(optimiser)
            tensors |= {f"optimiser.{phase}.{name}": tensor for name, tensor in held.items()}
        write_checkpoint(self.folder, Checkpoint(step, tensors, {"optimisers": rest, "last": dict(last)}))

    def finish(self) -> None:
        """The result in the modules, on the CPU."""
        if self._mean is not None:
            with torch.no_grad():
                for name, tensor in self._weights().items():
                    tensor.copy_(self._mean[name])
        for module in self._modules.values():
            module.zero_grad(set_to_none=True)
            module.to("cpu")

    def _restore(self, held: Checkpoint) -> None:
        parts: dict[str, dict[str, Tensor]] = {}
        for key, tensor in held.tensors.items():
            kind, _, name = key.partition(".")
            parts.setdefault(kind, {})[name] = tensor
        try:
            for kind, module in self._modules.items():
                module.load_state_dict(_below(parts.get("weights", {}), kind))
            for phase, optimiser in self.optimisers.items():
                rest = held.position["optimisers"][phase]
                restore_optimiser(optimiser, _below(parts.get("optimiser", {}), phase), rest)
            if self._mean is not None:
                self._mean = {name: parts["mean"][name].to(t.device) for name, t in self._weights().items()}
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise DamagedFile(f"{self.folder}: its checkpoint is not of this training ({reason})") from error
        self.last = {name: math.nan if value is None else value for name, value in held.position["last"].items()}

    def _weights(self) -> dict[str, Tensor]:
        """All tensors of both modules, by name."""
        return {
            f"{kind}.{name}": tensor
            for kind, module in self._modules.items()
            for name, tensor in module.state_dict().items()
        }

    def _average(self) -> None:
        if self._mean is None or self.recipe.ema is None:
            return
        for name, tensor in self._weights().items():
            if tensor.is_floating_point():
                self._mean[name].lerp_(tensor, 1 - self.recipe.ema)
            else:  # counters and queues of numbers have no mean
                self._mean[name].copy_(tensor)

    def _order(self, epoch: int) -> Sequence[Rows]:
        recipe, rows = self.recipe, len(self.source)
        own = self.objective.order(self.source.labels, rows, recipe.batch, recipe.seed, epoch)
        return cast(Sequence[Rows], Shuffled(rows, recipe.batch, recipe.seed, epoch)) if own is None else own

    def _read(self, step: int, order: Sequence[Rows]) -> Batch:
        epoch, seed = step // self.per_epoch, self.recipe.seed
        rows = order[step % self.per_epoch]
        labels = self.source.labels
        beside = {name: self._beside(number, name, step) for number, name in enumerate(self.streams)}
        return Batch(
            self.source.read(rows, (seed, epoch, 0)),
            torch.from_numpy(rows.index),
            y=None if labels is None else torch.from_numpy(labels[rows.index]),
            view=self.source.read(rows, (seed, epoch, 1)) if "two_views" in self.objective.needs else None,
            pairs=None if rows.pairs is None else torch.from_numpy(rows.pairs),
            **beside,
        )

    def _beside(self, number: int, name: str, step: int) -> Tensor:
        """A batch of another stream, which has epochs of its own."""
        stream, seed = self.streams[name], self.recipe.seed
        length = len(Shuffled(len(stream), self.recipe.batch, seed, 0))
        epoch, at = divmod(step, length)
        # Another order than that of the inputs, should both be of one length.
        order = Shuffled(len(stream), self.recipe.batch, int(_mixed(seed, number + 1)), epoch)
        return stream.read(order[at], (seed, epoch, 2 + number))

    def _walk(self) -> Iterator[Batch]:
        """All inputs once, in their order and not augmented."""
        for start in range(0, len(self.source), _WALK):
            index = np.arange(start, min(start + _WALK, len(self.source)), dtype=np.int64)
            labels = None if self.source.labels is None else torch.from_numpy(self.source.labels[index])
            yield Batch(self.source.plain(index), torch.from_numpy(index), y=labels).to(self._device.device)

    @contextlib.contextmanager
    def _drawing(self, step: int, phase: str) -> Iterator[None]:
        """Dropout and the like draw from torch's own generators: seeded for the step, and put back after it."""
        device = self._device.device
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(int(_mixed(self.recipe.seed, step, *phase.encode())))
            yield


class _Device:
    """Where a training runs, and in which precision: plain float32 on the CPU, or what Accelerate does."""

    def __init__(self, recipe: Recipe) -> None:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise WrongUse("training runs in one process: start it without torchrun")
        self._accelerator: Any = None
        self.device = torch.device("cpu")
        if recipe.device == "cpu" and recipe.precision == "float32":
            return
        accelerate, state = require("accelerate", "train"), require("accelerate.state", "train")
        self._borrowed = state.is_initialized()
        try:
            self._accelerator = accelerate.Accelerator(
                cpu=recipe.device == "cpu", mixed_precision="bf16" if recipe.precision == "bfloat16" else "no"
            )
        except ValueError as error:  # of the settings, of which a process has one set
            raise WrongUse(f"Accelerate was set up otherwise before in this process: {error}") from error
        self.device = torch.device(self._accelerator.device)
        if self.device.type != recipe.device.partition(":")[0]:
            found = self.device.type
            self.close()
            raise WrongUse(f"device {recipe.device!r} cannot be used: there is {found} only")

    def close(self) -> None:
        """Forget Accelerate's settings, of which a process has one set, unless they were there before."""
        if self._accelerator is not None and not self._borrowed:
            require("accelerate.state", "train").AcceleratorState._reset_state(reset_partial_state=True)

    def products(self) -> contextlib.AbstractContextManager[Any]:
        """Around the loss: products in the precision that was asked for."""
        return contextlib.nullcontext() if self._accelerator is None else self._accelerator.autocast()

    def backward(self, loss: Tensor) -> None:
        """Slopes of the loss."""
        if self._accelerator is None:
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            self._accelerator.backward(loss)


def _mixed(*numbers: int) -> np.uint64:
    """One seed from several numbers."""
    return np.uint64(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def _below(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors under one name, without it."""
    return {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}


def _check_same(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Raise where a training would go on as another one."""
    flat_before, flat_now = dict(_flat(before)), dict(_flat(now))
    for name in {**flat_before, **flat_now}:
        had, has = flat_before.get(name), flat_now.get(name)
        if had != has:
            raise WrongUse(
                f"{folder} holds a training with {name} {had!r}, not {has!r}: go on with the same options, or give "
                "another folder"
            )


def _flat(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, held in value.items():
        if isinstance(held, Mapping):
            yield from _flat(held, f"{before}{name}.")
        else:
            yield f"{before}{name}", held
