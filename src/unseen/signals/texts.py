"""What class names, and words that name no class, look like to the text side of a model."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from unseen.errors import BadInput, DamagedFile, WrongUse
from unseen.files import fingerprint, replacing, to_json

FORMAT = "unseen texts"
VERSION = 1


@dataclass(frozen=True)
class TextBank:
    """Rows of unit length in the space of the signal ``embedding``: one a class, and one a word that is no class's.

    Whatever wrote the texts and mined the words is done by now; detectors meet arrays only.

    Attributes:
        positive: ``(K, E)`` float32, one row a class. Any length and precision is taken and brought to unit length.
        classes: K class names, all different.
        negative: ``(M, E)`` float32 of words that are no class's; ``(0, E)`` where there are none.
        words: M words.
        statistic: ``(M,)`` by which the words were chosen; see `unseen.language`. None where they were given.
        opposite: ``(K, E)`` of texts that deny each class ("no cat"), for `CLIPN`; None where there are none.
        scale: what the model multiplies cosines by (about 100 for CLIP), the inverse of its temperature; None where it
            is not known.
        encoder: id of the encoder that read the texts; empty where it is not known.
        about: how the texts were made, as plain JSON: prompts, order of averaging, rule of mining, hash of the lists.

    Raises:
        BadInput: for rows without a direction, NaN, or a number of rows that is not that of the names.

    >>> bank = TextBank([[2.0, 0.0], [0.0, 5.0]], ("cat", "dog"))
    >>> bank.positive, len(bank.words)
    (tensor([[1., 0.],
            [0., 1.]]), 0)
    """

    positive: Tensor
    classes: tuple[str, ...]
    negative: Tensor = field(default_factory=lambda: torch.empty(0, 0))
    words: tuple[str, ...] = ()
    statistic: Tensor | None = None
    opposite: Tensor | None = None
    scale: float | None = None
    encoder: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        classes, words = tuple(map(str, self.classes)), tuple(map(str, self.words))
        positive = _unit(self.positive, "text of class", classes)
        width = positive.shape[1]
        negative = _unit(self.negative, "word", words) if words or len(self.negative) else torch.empty(0, width)
        opposite = None if self.opposite is None else _unit(self.opposite, "opposite text of class", classes)
        statistic = None if self.statistic is None else torch.as_tensor(self.statistic).float()
        if not classes:
            raise BadInput("a text bank needs the name of at least one class")
        twice = (
            [name for name in dict.fromkeys(classes) if classes.count(name) > 1]
            if len(set(classes)) < len(classes)
            else []
        )
        if twice:
            raise BadInput(f"class {twice[0]!r} is named twice")
        for what, rows in (("words", negative), ("opposite texts", opposite)):
            if rows is not None and rows.shape[1] != width:
                raise BadInput(f"class texts have {width} numbers and {what} {rows.shape[1]}: of one model?")
        if statistic is not None and statistic.shape != (len(words),):
            raise BadInput(f"{len(words)} words came with a statistic of shape {tuple(statistic.shape)}")
        kept = {"positive": positive, "classes": classes, "negative": negative, "words": words}
        for name, value in {**kept, "statistic": statistic, "opposite": opposite}.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        words = f", {len(self.words):,} words" if self.words else ""
        return f"TextBank({len(self.classes):,} classes{words}, {self.positive.shape[1]} numbers each)"

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def width(self) -> int:
        """``E``, numbers of a text."""
        return self.positive.shape[1]

    @property
    def id(self) -> str:
        """Fingerprint of everything that a score depends on."""
        rows = [self.positive, self.negative, *([] if self.opposite is None else [self.opposite])]
        return fingerprint(*self.classes, *self.words, *(row.numpy().tobytes() for row in rows))

    def select(self, classes: Sequence[str]) -> Self:
        """The same bank with the texts of these classes only, in that order; words stay.

        Raises:
            WrongUse: when the bank has no text of a class.
        """
        place = {name: i for i, name in enumerate(self.classes)}
        absent = [name for name in classes if name not in place]
        if absent:
            raise WrongUse(
                f"there is no text of class {absent[0]!r} ({len(absent)} of {len(classes)} classes have none): "
                "name every class"
            )
        index = torch.tensor([place[name] for name in classes], dtype=torch.long)
        opposite = None if self.opposite is None else self.opposite[index]
        return replace(self, positive=self.positive[index], classes=tuple(classes), opposite=opposite)

    def without(self, name: str) -> Self:
        """The bank of somebody who never heard of the class; as it is where it has no such class.

        A word of that very name stays among the words, as it would if nobody knew that it will be asked about.
        """
        return self.select([c for c in self.classes if c != name]) if name in self.classes else self

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it to one safetensors file: float32 rows, and names and origin as JSON.

        Raises:
            NoRoom: when the disk is full.
        """
        held = {"positive": self.positive, "negative": self.negative}
        held |= {} if self.statistic is None else {"statistic": self.statistic}
        held |= {} if self.opposite is None else {"opposite": self.opposite}
        names = {name: getattr(self, name) for name in ("classes", "words", "scale", "encoder", "about")}
        metadata = {"format": FORMAT, "version": str(VERSION), "description": to_json(names, indent=None)}
        with replacing(path) as file:
            file.write(to_safetensors({k: v.contiguous().clone() for k, v in held.items()}, metadata))
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The bank that `save` wrote, or one in an ``.npz`` file of your own.

        Such a file holds ``positive (K, E)`` and ``classes (K,)``, and perhaps ``negative (M, E)`` with ``words (M,)``,
        ``opposite (K, E)`` and the number ``scale``.

        Raises:
            BadInput: when there is no such file, or it lacks an array.
            DamagedFile: when it is no such file, or not whole.
        """
        target = Path(path)
        if not target.is_file():
            raise BadInput(f"{target}: there is no such file of texts")
        try:
            return cls(**(_from_npz(target) if target.suffix == ".npz" else _from_safetensors(target)))
        except BadInput as error:
            raise BadInput(f"{target}: {error}") from error
        except OSError as error:
            raise BadInput(f"{target}: cannot be read: {error.strerror or error}") from error
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise DamagedFile(f"{target}: not a file of texts ({' '.join(str(error).split())})") from error


Embed = Callable[[Sequence[str]], Any]
"""Texts to their rows ``(n, E)``, as a model gives them, of any length."""


def _from_npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as file:
        held = {name: file[name] for name in file.files}
    absent = [name for name in ("positive", "classes") if name not in held]
    if absent:
        raise BadInput(f"there is no array {absent[0]!r}; it has {', '.join(held) or 'none'}")
    names: dict[str, Any] = {
        name: tuple(map(str, held.pop(name).tolist())) for name in ("classes", "words") if name in held
    }
    names |= {"scale": float(held["scale"])} if "scale" in held else {}
    return {name: held[name] for name in ("positive", "negative", "opposite", "statistic") if name in held} | names


def _from_safetensors(path: Path) -> dict[str, Any]:
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise DamagedFile(f"{path}: not a file of texts that unseen wrote")
        if not metadata["version"].isdecimal() or int(metadata["version"]) > VERSION:
            raise DamagedFile(f"{path}: written by a newer version of unseen: upgrade with pip install -U unseen")
        held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    named = json.loads(metadata["description"])
    return {**held, **named, "classes": tuple(named["classes"]), "words": tuple(named["words"])}


def _unit(rows: Any, what: str, names: Iterable[str]) -> Tensor:
    """Rows of unit length, float32."""
    listed = list(names)
    try:
        x = (rows.detach().cpu() if isinstance(rows, Tensor) else torch.from_numpy(np.array(rows))).double()
    except (TypeError, ValueError) as error:
        raise BadInput(f"texts must be rows of numbers: {' '.join(str(error).split())}") from error
    if x.ndim != 2 or len(x) != len(listed):
        raise BadInput(f"{len(listed)} names came with texts of shape {tuple(x.shape)}: give one row a name")
    length = x.norm(dim=1, keepdim=True)
    bad = (~torch.isfinite(length) | (length == 0)).flatten().nonzero().flatten().tolist()
    if bad:
        raise BadInput(f"{what} {listed[bad[0]]!r} has no direction ({len(bad)} such rows): zero, NaN or infinite")
    unit: Tensor = (x / length).float().contiguous()
    return unit
