"""The thing that ships: encoder, detector and calibrator in one file, answering `known` or `unseen`."""

from __future__ import annotations

import csv
import datetime
import importlib.metadata
import io
import json
import math
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from unseen.calibration import SplitConformal
from unseen.data import Progress, split
from unseen.detectors.base import Detector, Pipeline
from unseen.encoders import Encoder, encode, open_encoder
from unseen.errors import BadInput, DamagedFile, NotEnoughKnown, NotFitted, WrongUse
from unseen.files import fingerprint, replacing, to_json, write_text
from unseen.heads.base import Head
from unseen.parts import rebuild
from unseen.registry import create, find
from unseen.signals import Request, Signals, Support

FORMAT = "unseen classifier"
VERSION = 1


def set_aside(support: Support, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to learn from and rows to calibrate on: stratified by class, groups whole, the same for the same seed.

    Raises:
        WrongUse: when ``share`` is not between 0 and 1.
        NotEnoughKnown: with fewer than two inputs.
    """
    if not 0 < share < 1:
        raise WrongUse(f"calibration={share}: give the share of inputs to set aside, between 0 and 1")
    if len(support) < 2:
        raise NotEnoughKnown(f"{len(support)} known input is too few to set some aside for calibration")
    return split(support.labels, support.groups, 1 - share, seed, rows=len(support))


@dataclass(frozen=True)
class Verdicts:
    """What a classifier said about N inputs.

    Attributes:
        keys: N names.
        p_value: ``(N,)`` conformal p-values; small = unlike the known.
        familiarity: ``(N,)`` the detector's score, higher = more known.
        nearest: N names of the likeliest known class; None where nothing tells classes apart.
        unseen: ``(N,)`` bool, ``p_value <= alpha``.
        alpha: share of known inputs that may be called unseen.
        expected: range of how many of N known inputs would be called unseen, at 95 % confidence.
        truth: N class names where the inputs came labelled, else None.
        classes: the known classes.
        skipped: ``(key, reason)`` of unreadable inputs.
    """

    keys: list[str]
    p_value: np.ndarray
    familiarity: np.ndarray
    nearest: list[str | None]
    unseen: np.ndarray
    alpha: float
    expected: tuple[int, int]
    truth: list[str] | None
    classes: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        found = int(self.unseen.sum())
        return f"Verdicts({found:,} of {len(self):,} unseen, alpha={self.alpha:g}, {len(self.skipped):,} skipped)"

    def records(self) -> list[dict[str, Any]]:
        """One dict an input: path, verdict, label (None when unseen), nearest class, p-value, familiarity."""
        return [
            {
                "path": key,
                "verdict": "unseen" if unseen else "known",
                "label": None if unseen else nearest,
                "nearest": nearest,
                "p_value": float(p),
                "familiarity": float(score),
            }
            for key, unseen, nearest, p, score in zip(
                self.keys, self.unseen, self.nearest, self.p_value, self.familiarity, strict=True
            )
        ]

    def summary(self) -> dict[str, Any]:
        """Counts, the share found unseen against the share promised and, for labelled inputs, how it went."""
        n, found = len(self), int(self.unseen.sum())
        about: dict[str, Any] = {
            "n": n,
            "unseen": found,
            "share_unseen": found / n if n else None,
            "alpha": self.alpha,
            "expected_if_all_known": list(self.expected),
            "skipped": len(self.skipped),
        }
        if self.truth is not None and self.classes:
            known = np.array([name in self.classes for name in self.truth], dtype=bool)
            about["labelled"] = {
                "known": int(known.sum()),
                "known_called_unseen": int(self.unseen[known].sum()),
                "other": int((~known).sum()),
                "other_called_unseen": int(self.unseen[~known].sum()),
            }
            right = [t == c for t, c, k in zip(self.truth, self.nearest, known, strict=True) if k]
            if right and len(self.classes) > 1 and any(name is not None for name in self.nearest):
                about["labelled"]["accuracy_on_known"] = float(np.mean(right))
        return about

    def to_dict(self) -> dict[str, Any]:
        """The summary, ``records`` and ``skipped``."""
        return {
            **self.summary(),
            "records": self.records(),
            "skipped": [{"path": key, "reason": reason} for key, reason in self.skipped],
            "notes": list(self.notes),
        }

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the records: one JSON object a line where the name ends in ``.jsonl``, else CSV."""
        target, records = Path(path), self.records()
        if target.suffix == ".jsonl":
            return write_text(target, "".join(to_json(record, indent=None) + "\n" for record in records))
        text = io.StringIO()
        writer = csv.DictWriter(text, ["path", "verdict", "label", "nearest", "p_value", "familiarity"])
        writer.writeheader()
        writer.writerows(records)
        return write_text(target, text.getvalue())


class OpenSetClassifier:
    """Says of an input which known class it is, or that it is unseen, at a promised false-alarm rate.

    Args:
        encoder: an `Encoder` or the name of one.
        detector: a `Detector`, or its expression such as ``"knn(k=10)"`` or ``"ridge >> energy"``.
        alpha: share of known inputs that may be called unseen.
        calibration: share of the known inputs set aside for p-values; nothing is learnt from them.
        seed: of that split.

    The promise (split conformal): an input exchangeable with the known ones is called unseen with probability at most
    ``alpha``, over the draw of calibration rows and input together. It says nothing of how many unknown inputs are
    caught, nor of known inputs that look otherwise than those given.

    >>> import numpy as np
    >>> known = np.random.default_rng(0).normal(size=(200, 4)).astype("float32") + 5
    >>> guard = OpenSetClassifier("arrays", "mahalanobis").fit(known)
    >>> guard.predict(np.float32([[5, 5, 5, 5], [-5, 5, -5, 5]])).unseen.tolist()
    [False, True]
    """

    def __init__(
        self,
        encoder: str | Encoder,
        detector: str | Detector = "knn",
        *,
        alpha: float = 0.05,
        calibration: float = 0.2,
        seed: int = 0,
    ) -> None:
        if not 0 < alpha < 1:
            raise WrongUse(f"alpha={alpha}: give the share of known inputs that may be called unseen, between 0 and 1")
        if not 0 < calibration < 1:
            raise WrongUse(f"calibration={calibration}: give the share of inputs to set aside, between 0 and 1")
        if seed < 0:
            raise WrongUse(f"seed={seed}: give a number from 0")
        self.encoder: Encoder | None = open_encoder(encoder)
        self.encoder_id = self.encoder.id
        self.detector: Detector = create(detector) if isinstance(detector, str) else detector
        if not isinstance(self.detector, Detector):
            raise WrongUse(f"{detector!r} is not a detector: put one behind it, such as {detector} >> energy")
        self.alpha, self.calibration, self.seed = alpha, calibration, seed
        self.calibrator = SplitConformal()
        self.head: Head | None = None
        self.classes: tuple[str, ...] = ()
        self.about: dict[str, Any] = {}

    def __repr__(self) -> str:
        fitted = f"{len(self.calibrator.scores)} calibration scores" if len(self.calibrator.scores) else "not fitted"
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return (
            f"{type(self).__name__}({short_id(self.encoder_id)} >> {self.detector.expression()}, "
            f"alpha={self.alpha:g}{classes}, {fitted})"
        )

    def fit(
        self,
        known: Any,
        labels: Any = None,
        *,
        cache: str | os.PathLike[str] | bool | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Encode, set calibration rows aside, learn from the others, calibrate.

        Args:
            known: what `encode` takes, or a `Support` that the same encoder made.
            labels: N class names where ``known`` brings none.
            cache: folder of the store.
            progress: called with (rows done, rows in all) while encoding.

        Raises:
            NotEnoughKnown: when too few rows are left to promise ``alpha``; the message says how many are needed.
            WrongUse: when the detector reads what the encoder does not give.
        """
        support = self._support(known, labels, cache, progress)
        rest_rows, aside_rows = self.set_aside(support)
        rest, aside = support.take(rest_rows), support.take(aside_rows)
        self.detector.fit(rest)
        self.calibrator.fit(self.detector.score(aside))
        self.classes = support.classes if support.labels is not None else ()
        self.head = self._class_head(rest)
        self.about = {
            "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            "n_fit": len(rest),
            "n_calibration": len(aside),
            "n_skipped": len(support.skipped),
            "inputs_per_class": _counts(support),
            "accuracy": self._accuracy(aside),
        }
        return self

    def set_aside(self, support: Support) -> tuple[np.ndarray, np.ndarray]:
        """Rows to learn from and rows to calibrate on, when the latter are enough to promise ``alpha``.

        Raises:
            NotEnoughKnown: when they are not; the message says how many are needed.
        """
        rest, aside = set_aside(support, self.calibration, self.seed)
        needed = math.ceil(round(1 / self.alpha, 9)) - 1
        if len(aside) < needed:
            kept = len(aside) < self.calibration * len(support) - 1
            whole = ", since groups and exact copies stay together" if kept and support.groups is not None else ""
            raise NotEnoughKnown(
                f"alpha {self.alpha:g} needs {needed:,} known inputs set aside for calibration; "
                f"{self.calibration:g} of these {len(support):,} are {len(aside):,}{whole}: give about "
                f"{math.ceil(needed / self.calibration):,} inputs, set a larger share aside, or take a larger alpha"
            )
        return rest, aside

    def predict(
        self,
        inputs: Any,
        *,
        alpha: float | None = None,
        cache: str | os.PathLike[str] | bool | None = False,
        progress: Progress | None = None,
    ) -> Verdicts:
        """Verdicts on inputs, in their order.

        Args:
            inputs: what `encode` takes, or a `Support` that the same encoder made.
            alpha: another false-alarm rate than that of the fit.
            cache: folder of a store for the encoding; nothing is kept by default.
            progress: called with (rows done, rows in all) while encoding.

        Raises:
            NotFitted: before `fit`.
            NotEnoughKnown: when the calibration rows are too few for ``alpha``.
        """
        if not len(self.calibrator.scores):
            raise NotFitted("the classifier is not fitted: call fit(known) first")
        level = self.alpha if alpha is None else alpha
        self.calibrator.threshold(level)
        support = self._support(inputs, None, cache, progress)
        scores = self.detector.score(support)
        p_values = self.calibrator.p_value(scores)
        truth = None
        if support.labels is not None:
            truth = [support.classes[code] for code in support.labels.tolist()]
        return Verdicts(
            keys=list(support.keys) or [str(i) for i in range(len(support))],
            p_value=np.asarray(p_values),
            familiarity=np.asarray(scores),
            nearest=self._nearest(support),
            unseen=np.asarray(self.calibrator.rejects(scores, level)),
            alpha=level,
            expected=self.calibrator.expected_alarms(level, len(support)),
            truth=truth,
            classes=self.classes,
            skipped=support.skipped,
            notes=support.notes,
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write everything to one safetensors file: tensors, arguments as JSON, a hash over both; no code.

        Raises:
            NotFitted: before `fit`.
            NoRoom: when the disk is full.
        """
        if not len(self.calibrator.scores):
            raise NotFitted("the classifier is not fitted: there is nothing to save")
        modules: dict[str, nn.Module] = {"detector": self.detector, "calibrator": self.calibrator}
        if self.head is not None:
            modules["head"] = self.head
        tensors = {f"{part}.{name}": t for part, module in modules.items() for name, t in module.state_dict().items()}
        encoder: dict[str, Any] = {"id": self.encoder_id}
        if self.encoder is not None and self.encoder.rebuildable:
            encoder |= self.encoder.describe()
            tensors |= {f"encoder.{name}": tensor for name, tensor in self.encoder.state().items()}
        description = to_json(
            {
                "encoder": encoder,
                "detector": self.detector.describe(),
                "head": None if self.head is None else self.head.describe(),
                "classes": self.classes,
                "alpha": self.alpha,
                "calibration": self.calibration,
                "seed": self.seed,
                "about": self.about,
            },
            indent=None,
        )
        # safetensors refuses tensors that share memory or are not contiguous.
        plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        metadata = {"format": FORMAT, "version": str(VERSION), "description": description}
        metadata["sha256"] = _content_hash(metadata, plain)
        with replacing(path) as file:
            file.write(to_safetensors(plain, metadata))
        return Path(path)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, encoder: str | Encoder | None = None, device: str | None = None
    ) -> Self:
        """The classifier that `save` wrote; it answers with the same bits on the same machine.

        Args:
            path: the file.
            encoder: needed where the file cannot hold it (a user's own network); its id must be the one fitted with.
            device: where the encoder's network runs; an encoder that is given stays where it is by default.

        Raises:
            BadInput: when there is no such file.
            DamagedFile: truncated, altered, foreign, or written by a newer version.
            WrongUse: when ``encoder`` is not the one that the classifier was fitted with.
        """
        guard, description, tensors = cls._read(Path(path))
        if encoder is not None:
            guard.encoder = open_encoder(encoder, device)
            if guard.encoder.id != guard.encoder_id:
                raise WrongUse(f"{path} was fitted with the encoder {guard.encoder_id}, this one is {guard.encoder.id}")
        elif "name" in description["encoder"]:
            guard.encoder = _restored(path, description["encoder"], _below("encoder", tensors)).to(device or "cpu")
        return guard

    @classmethod
    def read_info(cls, path: str | os.PathLike[str]) -> dict[str, Any]:
        """What `info` says of a saved classifier; its encoder is not built, so nothing that it needs is missed."""
        return cls._read(Path(path))[0].info()

    @classmethod
    def _read(cls, path: Path) -> tuple[Self, dict[str, Any], dict[str, Tensor]]:
        """The classifier without its encoder, and all that the file holds."""
        description, tensors = _read(path)
        try:
            guard = cls.__new__(cls)
            guard.alpha, guard.calibration, guard.seed = (description[k] for k in ("alpha", "calibration", "seed"))
            guard.classes, guard.about = tuple(description["classes"]), dict(description["about"])
            guard.encoder, guard.encoder_id = None, description["encoder"]["id"]
            guard.detector = rebuild(description["detector"])
            guard.head = None if description["head"] is None else rebuild(description["head"])
            guard.calibrator = SplitConformal()
            guard.detector.load_state_dict(_below("detector", tensors))
            guard.calibrator.load_state_dict(_below("calibrator", tensors))
            if guard.head is not None:
                guard.head.load_state_dict(_below("head", tensors))
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise DamagedFile(f"{path}: its contents do not fit together ({_first_line(error)})") from error
        return guard, description, tensors

    def info(self) -> dict[str, Any]:
        """What the classifier is and was made of, as plain JSON."""
        n = len(self.calibrator.scores)
        low, high = self.calibrator.false_alarm_interval(self.alpha)
        return {
            "encoder": self.encoder_id,
            "detector": self.detector.expression(),
            "numbers_held": self.detector.size(),
            "classes": list(self.classes),
            "alpha": self.alpha,
            "smallest_alpha": 1 / (n + 1),
            "threshold": float(self.calibrator.threshold(self.alpha)),
            "false_alarm_interval": [low, high],
            "seed": self.seed,
            **self.about,
        }

    def _support(self, inputs: Any, labels: Any, cache: Any, progress: Progress | None) -> Support:
        """Signals of the inputs, from this classifier's encoder: those given, or made now."""
        support = Support(inputs) if isinstance(inputs, Signals) else inputs
        if not isinstance(support, Support):
            if self.encoder is None:
                raise WrongUse(
                    f"the classifier was fitted with the encoder {short_id(self.encoder_id)}, which its file cannot "
                    "hold: give it, as load(path, encoder=...) or --encoder"
                )
            support = encode(inputs, self.encoder, self.wanted(), cache=cache, progress=progress)
        elif support.encoder and support.encoder != self.encoder_id:
            raise WrongUse(f"these signals are of the encoder {support.encoder}, the classifier's is {self.encoder_id}")
        return Support.of(support, labels)

    def wanted(self) -> frozenset[str | Request] | None:
        """What the encoder is asked for: the detector's needs, and features for the head that names classes.

        None for arrays, which give all that there is, and where there is no encoder.

        Raises:
            WrongUse: when the detector reads what the encoder does not give.
        """
        if self.encoder is None or self.encoder.accepts == "arrays":
            return None
        missing = {need for need in self.detector.needs if isinstance(need, str)} - self.encoder.provides
        if missing:
            raise WrongUse(
                f"{self.detector.name} reads {', '.join(sorted(missing))}, which the encoder "
                f"{short_id(self.encoder_id)} does not give: put a head before it, such as ridge >> "
                f"{self.detector.name}"
            )
        return self.detector.needs | {"features"}

    def _class_head(self, support: Support) -> Head | None:
        """The head that names the class of a known input: the pipeline's, the model's own, or ridge."""
        if isinstance(self.detector, Pipeline) and isinstance(self.detector.steps[0], Head):
            return self.detector.steps[0]
        if support.labels is None or len(support.classes) < 2 or "features" not in support.signals:
            return None
        aligned = support.head is not None and set(support.classes) <= set(support.head.classes or ())
        head: Head = create("own" if aligned else "ridge").fit(support)
        return head

    def _nearest(self, support: Support) -> list[str | None]:
        if self.head is None:
            only = self.classes[0] if len(self.classes) == 1 else None
            return [only] * len(support)
        self.head.check_ready(support.signals)
        with torch.no_grad():
            codes = [self.head.apply_to(batch)["logits"].argmax(dim=1) for batch in support.signals.batches("features")]
        return [self.classes[code] for batch in codes for code in batch.tolist()]

    def _accuracy(self, aside: Support) -> float | None:
        if self.head is None or aside.labels is None:
            return None
        names = self._nearest(aside)
        return float(np.mean([name == self.classes[code] for name, code in zip(names, aside.labels, strict=True)]))


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    return {
        "unseen": importlib.metadata.version("unseen"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def short_id(encoder: str) -> str:
    """The id of an encoder as people read it: without the JSON of its preprocessing.

    >>> short_id('timm:resnet18:0123456789abcdef:{"size": [224, 224]}')
    'timm:resnet18:0123456789abcdef'
    """
    return encoder.split(":{", 1)[0]


def _counts(support: Support) -> dict[str, int]:
    if support.labels is None:
        return {}
    counts = np.bincount(support.labels, minlength=len(support.classes)).tolist()
    return dict(zip(support.classes, counts, strict=True))


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: t for name, t in tensors.items() if name.startswith(prefix + ".")}


def _restored(path: str | os.PathLike[str], description: Mapping[str, Any], state: Mapping[str, Tensor]) -> Encoder:
    """The encoder that a file describes: of a registered kind that imports no code of the file's choosing."""
    try:
        kind: type[Encoder] = find("encoders", description["name"])
        if not kind.rebuildable:
            raise DamagedFile(f"{path}: names the encoder {description['name']!r}, which a file may not ask for")
        encoder = kind.restore(description, state)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise DamagedFile(f"{path}: its encoder cannot be rebuilt ({_first_line(error)})") from error
    if encoder.id != description["id"]:
        raise DamagedFile(f"{path}: its encoder {description['id']} comes out as {encoder.id} with this installation")
    return encoder


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _content_hash(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    parts: list[bytes | str] = [metadata[name] for name in ("format", "version", "description")]
    for name in sorted(tensors):
        tensor = tensors[name].flatten()
        parts += [
            f"{name} {tuple(tensors[name].shape)} {tensor.dtype}",
            tensor.view(torch.uint8).numpy().tobytes(),
        ]
    return fingerprint(*parts)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Description and tensors of a saved file, as they were when it was saved."""
    try:
        path.open("rb").close()
    except FileNotFoundError as error:
        raise BadInput(f"{path}: there is no such file") from error
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from error
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise DamagedFile(f"{path}: not a file that `unseen fit` saved")
            if not metadata["version"].isdecimal() or int(metadata["version"]) > VERSION:
                raise DamagedFile(f"{path}: written by a newer version of unseen: upgrade with pip install -U unseen")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        if _content_hash(metadata, tensors) != metadata["sha256"]:
            raise DamagedFile(f"{path}: its contents are not those that were saved; take another copy or fit again")
        description = json.loads(metadata["description"])
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise DamagedFile(f"{path}: not a whole file that `unseen fit` saved ({_first_line(error)})") from error
    return description, tensors
