"""Train an objective on stored features of any encoder, or with the encoder on images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from unseen import api, encoders, registry
from unseen.api import learnt
from unseen.data import Inputs, Unreadable
from unseen.encoders import Encoder, open_encoder
from unseen.encoders._encode import MOST_WORKERS, usable_cores
from unseen.errors import BadInput, WrongUse
from unseen.files import replacing, to_json
from unseen.training import Augment, FeatureRows, ImageRows, Recipe, Shuffled, Source
from unseen.training import train as run

FORMAT = "unseen objective"
VERSION = "1"


@dataclass(frozen=True)
class Training:
    """A finished training.

    Attributes:
        objective: what was learnt, in evaluation mode.
        recipe: how.
        folder: where all of it lies: ``config.json``, ``log.csv``, checkpoints.
        weights: file of the objective's tensors.
        encoder: id of the encoder whose features it reads; of the trained one where images were learnt from.
        encoder_name: name under which that encoder opens.
        classes: names of the classes that it learnt from.
        inputs: how many inputs those were.
        steps: optimiser steps a phase.
        epochs: walks over the data.
        resumed: steps that were done when it was taken up; 0 where it began anew.
        last: the named numbers of the last step.
        skipped: ``(key, reason)`` of inputs that could not be read.
        notes: what was noticed about the inputs.
    """

    objective: Any
    recipe: Recipe
    folder: Path
    weights: Path
    encoder: str
    encoder_name: str
    classes: tuple[str, ...]
    inputs: int
    steps: int
    epochs: int
    resumed: int
    last: Mapping[str, float]
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything found, for JSON."""
        return {
            "objective": self.objective.name,
            "arguments": self.objective.arguments(),
            "recipe": self.recipe.describe(),
            "folder": str(self.folder),
            "weights": str(self.weights),
            "encoder": self.encoder,
            "encoder_name": self.encoder_name,
            "classes": list(self.classes),
            "inputs": self.inputs,
            "steps": self.steps,
            "epochs": self.epochs,
            "resumed": self.resumed,
            "last": dict(self.last),
            "skipped": [{"path": key, "reason": why} for key, why in self.skipped],
            "notes": list(self.notes),
        }


def train(
    objective: str,
    source: Any,
    out: str | os.PathLike[str],
    encoder: str | None = None,
    *,
    images: bool = False,
    steps: int | None = None,
    epochs: int | None = None,
    resume: bool = False,
    every: int = 500,
    tensorboard: bool = False,
    cache: api.Cache = None,
    limit: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    workers: int | None = None,
    progress: api.Progress | None = None,
    **recipe: Any,
) -> Training:
    """Train an objective, and keep all that is needed to go on exactly should it be interrupted.

    Args:
        objective: registered name or expression, such as ``"relational(ratio=1)"``.
        source: labelled inputs, as for `encode`.
        out: folder for checkpoints, ``log.csv``, ``config.json`` and, at the end, ``weights.safetensors``; with
            ``images`` also ``encoder.safetensors``.
        encoder: name; by default as for `encode`. Its features are made once and kept.
        images: train the encoder too, on augmented images; a network of ``torch:`` or ``timm:``.
        steps: optimiser steps; by default what the objective's source takes. A warm-up that is not given by itself
            shrinks with them.
        epochs: walks over the data, instead of ``steps``.
        resume: go on from the last checkpoint in ``out``, or begin where there is none.
        every: steps from one checkpoint to the next.
        tensorboard: also write TensorBoard's events.
        cache: as for `encode`.
        limit: as for `encode`.
        seed: of every draw.
        device: where networks run.
        workers: as for `encode`; the result does not depend on it.
        progress: called with (what is being done, done, in all).
        recipe: further arguments of `unseen.training.Recipe`, such as ``lr`` or ``optimizer``; by default what the
            objective's source takes.

    Raises:
        WrongUse: for arguments that cannot work, labels that are missing, or a folder with another training.
        BadInput: inputs that cannot be read.
        NotEnoughKnown: too few inputs or classes.
        DamagedFile: no checkpoint is whole.
        MissingExtra: without Accelerate, for more than float32 on the CPU.
    """
    learns = registry.create_objective(objective)
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise WrongUse(f"{folder}: is a file; give a folder for the training")
    if steps is not None and epochs is not None:
        raise WrongUse(f"steps={steps}, epochs={epochs}: give one of them")
    # A slip in an option is named before anything is encoded.
    made_recipe = Recipe(**{**_usual(learns, steps, epochs, recipe), "seed": seed, "device": device})
    inputs = api._inputs(source, limit, seed)
    if inputs.labels is None and learns.labels == "required":
        raise WrongUse(f"{learns.name} learns from labels and {inputs.source} has none: sort it into class folders")
    listed = learnt.Listed.of(inputs, workers)
    made = api._encoder(inputs, encoder, "cpu" if images else device)
    skipped: tuple[tuple[str, str], ...] = ()
    notes = inputs.notes
    rows: Source
    if images:
        if encoder is None:
            raise WrongUse("with images the encoder is trained too: name its network, torch:FILE.py:NET or timm:MODEL")
        network = _trainable(made)
        rows = _images(inputs, made, workers)
    else:
        support = encoders.encode(
            inputs,
            made,
            ["features"],
            cache=cache,
            progress=api._part(progress, "encoding"),
            workers=workers,
            digests=listed.digests,
        )
        skipped, notes = support.skipped, support.notes
        network, rows = nn.Identity(), FeatureRows(support.gather("features"), support.labels)
    made_recipe = _in_steps(made_recipe, learns, rows, warmup=recipe.get("warmup") is not None)
    sample = _sample(rows, inputs)
    with torch.no_grad():
        width = network.eval()(sample).shape[1]
    network.train()
    learns.build(width, len(inputs.classes), sample, seed=seed)
    about = {
        "objective": learns.describe(),
        "encoder": made.id,
        "images": images,
        "contents": learnt.contents(listed),
    }
    learns.train()
    done = run(
        learns,
        network,
        rows,
        made_recipe,
        folder,
        about=about,
        resume=resume,
        every=every,
        tensorboard=tensorboard,
        progress=api._part(progress, "training"),
    )
    learns.eval()
    name = encoder or made.name
    if images:
        assert encoder is not None
        name = _write_encoder(folder / "encoder.safetensors", encoder, made, network)
        made = open_encoder(name)
    weights = write_objective(folder / "weights.safetensors", learns, made.id, inputs.classes)
    return Training(
        objective=learns,
        recipe=made_recipe,
        folder=folder,
        weights=weights,
        encoder=made.id,
        encoder_name=name,
        classes=inputs.classes,
        inputs=len(rows),
        steps=done.steps,
        epochs=done.epochs,
        resumed=done.resumed,
        last=done.last,
        skipped=skipped,
        notes=notes,
    )


def write_objective(path: Path, objective: Any, encoder: str, classes: tuple[str, ...]) -> Path:
    """Write an objective's tensors, with what they are and whose features they read, to one safetensors file."""
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "encoder": encoder,
        "classes": to_json(list(classes), indent=None),
        "feature_dim": str(objective.feature_dim),
        **objective.metadata(),
    }
    with replacing(path) as file:
        file.write(to_safetensors(objective.tensors(), metadata))
    return path


def _usual(learns: Any, steps: int | None, epochs: int | None, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe of the objective's source with what was given instead."""
    usual = {**learns.recipe, **{name: value for name, value in recipe.items() if value is not None}}
    known = Recipe(steps=1).describe()
    for name in usual:
        if name not in known or (name in recipe and name in ("seed", "device", "steps", "epochs")):
            raise WrongUse(f"a recipe has no {name}: it takes {', '.join(known)}")
    if steps is None and epochs is None:
        if usual.get("steps") is None and usual.get("epochs") is None:
            raise WrongUse(f"{learns.name} does not say for how long it is trained: give steps or epochs")
        return usual
    return {**usual, "steps": steps, "epochs": epochs}


def _in_steps(recipe: Recipe, learns: Any, rows: Source, *, warmup: bool) -> Recipe:
    """The recipe with its epochs as steps, and a warm-up that keeps its share of them unless it was given."""
    held = recipe.describe()
    if recipe.epochs is not None:
        order = learns.order(rows.labels, len(rows), recipe.batch, recipe.seed, 0)
        each = len(order if order is not None else Shuffled(len(rows), recipe.batch, recipe.seed, 0))
        held |= {"steps": recipe.epochs * each, "epochs": None}
    usual = learns.recipe.get("steps")
    if not warmup and usual is not None and held["steps"] != usual:
        held["warmup"] = min(recipe.warmup, recipe.warmup * held["steps"] // usual)
    return Recipe(**held)


def _trainable(made: Encoder) -> nn.Module:
    """The encoder's network up to its last linear layer, free to learn."""
    try:
        network = made.differentiable()
    except WrongUse as error:
        raise WrongUse(
            f"the encoder {made.name} has no network to train: take torch:FILE.py:NET or timm:MODEL, or leave images "
            "out and train on its features"
        ) from error
    return network.requires_grad_(True)


def _images(inputs: Inputs, made: Encoder, workers: int | None) -> ImageRows:
    height, width = made.preprocessing()["size"]
    threads = min(usable_cores(), MOST_WORKERS) if workers is None else workers
    return ImageRows(inputs, Augment((height, width)), made.prepare, workers=threads)


def _sample(rows: Source, inputs: Inputs) -> Tensor:
    """Two inputs, from which modules take their shapes."""
    try:
        return rows.plain(np.arange(min(2, len(rows)), dtype=np.int64))
    except Unreadable as error:
        raise BadInput(f"{inputs.source}: {error}; leave it out to train on images") from error


def _write_encoder(path: Path, name: str, made: Encoder, trained: nn.Module) -> str:
    """Write a trained network under the names of its own tensors; the encoder's name with these weights."""
    state = trained.state_dict()
    tensors = {}
    network = made.module[1]  # type: ignore[index] # after the normalisation
    for key in network.state_dict():
        owner, _, leaf = key.rpartition(".")
        # The last linear layer was let through and did not learn: it lies a level deeper.
        deeper = ".".join(part for part in ("body", owner, "layer", leaf) if part)
        tensor = state[f"body.{key}"] if f"body.{key}" in state else state[deeper]
        tensors[key] = tensor.detach().cpu().contiguous().clone()
    metadata = {side: ",".join(map(repr, state[f"normalise.{side}"].flatten().tolist())) for side in ("mean", "std")}
    with replacing(path) as file:
        file.write(to_safetensors(tensors, metadata))
    kind, _, options = name.partition("?")
    others = [pair for pair in options.split("&") if pair and pair.partition("=")[0] != "weights"]
    return f"{kind}?{'&'.join([f'weights={quote(str(path))}', *others])}"
