"""Networks of pairs from the files that training writes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from unseen.errors import BadInput, DamagedFile
from unseen.networks.pair_mlp import PairMLP
from unseen.networks.relation import Relation

KINDS: dict[str, type[Relation] | type[PairMLP]] = {"relation": Relation, "pair_mlp": PairMLP}


@dataclass(frozen=True)
class Stored:
    """A network of pairs and what its file says of it.

    Attributes:
        network: in evaluation, its slopes off.
        encoder: id of the encoder whose features it learnt from; empty where the file names none.
        logit_scale: what its logits were multiplied by while it learnt: ``sigmoid(-logit_scale r)`` is a similarity.
    """

    network: Relation | PairMLP
    encoder: str
    logit_scale: float


def load_relation(path: str | Path) -> Stored:
    """Read a network of pairs, as training with the objective ``relational`` wrote it (``weights.safetensors``).

    Raises:
        BadInput: when there is no such file, it holds something else, or its tensors are not those of the network that
            it names.
        DamagedFile: when it is not a whole safetensors file; others are never opened, as a pickle runs code.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"{path}: there is no such weights file")
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise DamagedFile(f"{path}: not a whole safetensors file ({error})") from error
    network = _network(path, about)
    _load(path, network, tensors)
    try:
        scale = float(about.get("logit_scale", "1"))
    except ValueError:
        scale = math.nan
    if not (math.isfinite(scale) and scale > 0):
        raise BadInput(f"{path}: logit_scale={about['logit_scale']!r} is not a number above 0: train it again")
    return Stored(network.eval().requires_grad_(False), about.get("encoder", ""), scale)


def _network(path: Path, about: dict[str, str]) -> Relation | PairMLP:
    """The network that the file describes; its numbers are not drawn, as the file's follow."""
    kind = KINDS.get(about.get("kind", ""))
    if kind is None:
        is_that = f"holds {about['kind']!r}" if "kind" in about else "does not say what it holds"
        raise BadInput(f"{path}: {is_that}: give the weights of a network of pairs ({', '.join(KINDS)})")
    try:
        arguments: dict[str, Any] = json.loads(about["network"])
        # Without storage a size costs nothing, so that a made-up one cannot fill the memory either.
        with torch.device("meta"):
            return kind(**arguments)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BadInput(f"{path}: its description of the network cannot be read: train it again") from error


def _load(path: Path, network: nn.Module, tensors: dict[str, Tensor]) -> None:
    expected = network.state_dict()
    missing = [name for name in expected if name not in tensors]
    extra = [name for name in tensors if name not in expected]
    other = [name for name in tensors if name in expected and tensors[name].shape != expected[name].shape]
    for what, names in (("lack", missing), ("have an unknown", extra), ("have another shape for", other)):
        if names:
            raise BadInput(f"{path}: the weights {what} {names[0]} ({len(names)} such tensors): another network?")
    raised = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    bad = [name for name, tensor in raised.items() if not bool(tensor.isfinite().all())]
    if bad:
        raise BadInput(f"{path}: {bad[0]} holds a number that is not finite: train it again")
    network.load_state_dict(raised, assign=True)
