"""Checkpoints: tensors in safetensors, the rest in JSON, each whole or absent."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from unseen.errors import DamagedFile
from unseen.files import replacing, write_json

FORMAT = "unseen training 1"
KEPT = 2  # the one before stays until the next is whole
_NAME = re.compile(r"checkpoint-(\d{9})\.json")


@dataclass(frozen=True)
class Checkpoint:
    """A training after some steps.

    Attributes:
        step: how many are done.
        tensors: of the encoder, the objective, the optimisers and the running mean, by name.
        position: everything else, for JSON.
    """

    step: int
    tensors: Mapping[str, Tensor]
    position: Mapping[str, Any]


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write both files of a checkpoint and remove those before the last two; returns the JSON's path.

    The JSON holds a hash of the tensors and comes last, so that a training that is killed in between is taken up from
    the checkpoint before.
    """
    stem = folder / f"checkpoint-{checkpoint.step:09}"
    # A tensor of its own for each name: safetensors refuses memory that is shared, as tied layers do.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in checkpoint.tensors.items()}
    data = to_safetensors(plain, {"format": FORMAT})
    with replacing(stem.with_suffix(".safetensors")) as file:
        file.write(data)
    about = {"format": FORMAT, "step": checkpoint.step, "sha256": hashlib.sha256(data).hexdigest()}
    path = write_json(stem.with_suffix(".json"), about | {"position": checkpoint.position})
    for old in steps_in(folder)[:-KEPT]:
        for suffix in (".json", ".safetensors"):  # without its JSON the other file means nothing
            (folder / f"checkpoint-{old:09}{suffix}").unlink(missing_ok=True)
    return path


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """The latest whole checkpoint in a folder; None where there is none at all.

    Raises:
        DamagedFile: when there are some and none is whole.
    """
    steps = steps_in(folder)
    for step in reversed(steps):
        stem = folder / f"checkpoint-{step:09}"
        try:
            about = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
            data = stem.with_suffix(".safetensors").read_bytes()
            if about["format"] != FORMAT or about["sha256"] != hashlib.sha256(data).hexdigest():
                continue
            return Checkpoint(step, from_safetensors(data), about["position"])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            continue
    if steps:
        raise DamagedFile(f"{folder}: none of the {len(steps)} checkpoints is whole: start again in another folder")
    return None


def steps_in(folder: Path) -> list[int]:
    """After how many steps there are checkpoints, in order."""
    if not folder.is_dir():
        return []
    return sorted(int(found[1]) for path in folder.iterdir() if (found := _NAME.fullmatch(path.name)))


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimiser's state as tensors by name, and the rest of it as plain values."""
    state = optimiser.state_dict()
    tensors = {
        f"{number}.{name}": value
        for number, held in state["state"].items()
        for name, value in held.items()
        if isinstance(value, Tensor)
    }
    plain = {
        str(number): {name: value for name, value in held.items() if not isinstance(value, Tensor)}
        for number, held in state["state"].items()
    }
    return tensors, {"groups": state["param_groups"], "plain": plain}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> None:
    """What `optimiser_tensors` gave, back into an optimiser of the same groups."""
    state: dict[int, dict[str, Any]] = {int(number): dict(held) for number, held in rest["plain"].items()}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    groups = [
        {name: tuple(value) if name == "betas" else value for name, value in group.items()} for group in rest["groups"]
    ]
    optimiser.load_state_dict({"state": state, "param_groups": groups})
