"""The thing that ships: encoder, detector and calibrator in one file, answering `known` or `unseen`."""

from __future__ import annotations

import copy
import csv
import datetime
import importlib.metadata
import io
import json
import math
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from unseen.calibration import ClassConditional, SplitConformal, fewest_discoveries, q_values
from unseen.calibration import discoveries as discovered
from unseen.data import Inputs, Progress, split
from unseen.detectors.base import Detector, Pipeline
from unseen.encoders import Encoder, encode, open_encoder
from unseen.errors import BadInput, DamagedFile, NotEnoughKnown, NotFitted, WrongUse
from unseen.files import fingerprint, replacing, to_json, write_text
from unseen.heads.base import Head
from unseen.parts import rebuild
from unseen.registry import create, find
from unseen.signals import Request, Signals, Support, TextBank, joined

FORMAT = "unseen classifier"
VERSION = 2  # of guards by class; one threshold for all is still written as version 1, which every version reads
CALIBRATORS: dict[str, type[SplitConformal | ClassConditional]] = {
    kind.__name__: kind for kind in (SplitConformal, ClassConditional)
}


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
        unseen: ``(N,)`` bool, ``p_value <= alpha``; with ``discoveries`` what `unseen.calibration.discoveries` calls.
        alpha: share of known inputs that may be called unseen; None where ``discoveries`` decided.
        expected: range of how many of N known inputs would be called unseen, at 95 % confidence; None where
            ``discoveries`` decided.
        truth: N class names where the inputs came labelled, else None.
        classes: the known classes.
        skipped: ``(key, reason)`` of unreadable inputs.
        notes: what people should know.
        discoveries: expected share of known inputs among those called unseen; None where ``alpha`` decided.
        by_class: whether the p-values compare each input with the known inputs of its nearest class.
    """

    keys: list[str]
    p_value: np.ndarray
    familiarity: np.ndarray
    nearest: list[str | None]
    unseen: np.ndarray
    alpha: float | None
    expected: tuple[int, int] | None
    truth: list[str] | None
    classes: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    discoveries: float | None = None
    by_class: bool = False

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        found = int(self.unseen.sum())
        rule = f"alpha={self.alpha:g}" if self.discoveries is None else f"discoveries={self.discoveries:g}"
        return f"Verdicts({found:,} of {len(self):,} unseen, {rule}, {len(self.skipped):,} skipped)"

    def records(self) -> list[dict[str, Any]]:
        """One dict an input: path, verdict, label (None when unseen), nearest class, p-value, familiarity.

        Where ``discoveries`` decided also ``q_value``, the smallest level at which the input would be called unseen.
        """
        records: list[dict[str, Any]] = [
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
        if self.discoveries is not None:
            for record, q in zip(records, q_values(self.p_value).tolist(), strict=True):
                record["q_value"] = q
        return records

    def summary(self) -> dict[str, Any]:
        """Counts, the rule that decided, what it promises and, for labelled inputs, how it went."""
        n, found = len(self), int(self.unseen.sum())
        about: dict[str, Any] = {
            "n": n,
            "unseen": found,
            "share_unseen": found / n if n else None,
            "alpha": self.alpha,
            "discoveries": self.discoveries,
            "by_class": self.by_class,
            "expected_if_all_known": None if self.expected is None else list(self.expected),
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

    def queue(self) -> list[dict[str, Any]]:
        """What a person should look at first: one dict an input, the newest first, with a label to be filled in.

        Sorted by p-value, then by familiarity; ``rank`` is from 1, and ``label`` is empty. `unseen.api.queue` writes it
        as a manifest and reads it back.
        """
        order = np.lexsort((self.familiarity, self.p_value))  # stable: equals stay in the order of the inputs
        return [
            {
                "path": self.keys[row],
                "rank": rank,
                "p_value": float(self.p_value[row]),
                "nearest": self.nearest[row],
                "label": "",
            }
            for rank, row in enumerate(order.tolist(), start=1)
        ]

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
        columns = ["path", "verdict", "label", "nearest", "p_value", "familiarity"]
        writer = csv.DictWriter(text, columns if self.discoveries is None else [*columns, "q_value"])
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
        by_class: compare an input with the calibration rows that are taken for the same class (`ClassConditional`),
            so that the promise holds within each. Needs labels of two classes or more. Classes of fewer than
            ``1 / alpha - 1`` such rows are pooled: compared with all rows, and nothing is promised for them alone.

    The promise (split conformal): an input exchangeable with the known ones is called unseen with probability at most
    ``alpha``, over the draw of calibration rows and input together; by class, of those that are taken for any one
    class. It says nothing of how many unknown inputs are caught, nor of known inputs that look otherwise than those
    given.

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
        by_class: bool = False,
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
        self.calibrator: SplitConformal | ClassConditional = (
            ClassConditional(minimum=_needed(alpha)) if by_class else SplitConformal()
        )
        self.head: Head | None = None
        self.classes: tuple[str, ...] = ()
        self.about: dict[str, Any] = {}

    def __repr__(self) -> str:
        fitted = f"{len(self.calibrator.scores)} calibration scores" if len(self.calibrator.scores) else "not fitted"
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return (
            f"{type(self).__name__}({short_id(self.encoder_id)} >> {self.detector.expression()}, "
            f"alpha={self.alpha:g}{' by class' if self.by_class else ''}{classes}, {fitted})"
        )

    @property
    def by_class(self) -> bool:
        """Whether each class has a threshold of its own."""
        return isinstance(self.calibrator, ClassConditional)

    def fit(
        self,
        known: Any,
        labels: Any = None,
        *,
        unknown: Any = None,
        text: TextBank | None = None,
        cache: str | os.PathLike[str] | bool | None = None,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Encode, set calibration rows aside, learn from the others, calibrate.

        Args:
            known: what `encode` takes, or a `Support` that the same encoder made.
            labels: N class names where ``known`` brings none.
            unknown: unknown inputs in the same forms, for a detector that learns from some; their labels are not read.
            text: the class names as texts, for a detector or head that reads them. Without labels they also name the
                class of an input.
            cache: folder of the store.
            workers: threads that read and decode, as for `encode`.
            progress: called with (rows done, rows in all) while encoding.

        Raises:
            NotEnoughKnown: when too few rows are left to promise ``alpha``; the message says how many are needed.
            WrongUse: when the detector reads what the encoder does not give; by class, when nothing tells two classes
                apart.
        """
        support = self._support(known, labels, cache, progress, workers, fitting=True, text=text)
        if unknown is not None:
            beside = self._support(unknown, None, cache, progress, workers, fitting=True)
            support = replace(support, unknown=beside.signals)
        self._learn(support, *self.set_aside(support))
        self.about["learnt"] = [{"inputs": len(support)}]
        return self

    def extend(
        self,
        new: Any,
        known: Any,
        labels: Any = None,
        *,
        cache: str | os.PathLike[str] | bool | None = None,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """A guard that also knows the new inputs, of new classes or of old ones; this one stays as it is.

        The detector learns again from all inputs, so that any detector will do; what the store holds of the known ones
        is not encoded again. Each source is split by itself under the guard's seed: of the known inputs the same rows
        as before are set aside and no other, and the same share of the new ones joins them. The result is that of a
        fresh fit on all inputs with this split. Classes keep their numbers, and new ones come after them.

        Args:
            new: known inputs as for `fit`, with labels where the guard was fitted with labels.
            known: what the guard learnt from: the inputs that `fit` was given, or after an earlier extension a tuple of
                all sources, in the order in which they came.
            labels: N class names where ``new`` brings none.
            cache: folder of the store.
            workers: threads that read and decode, as for `encode`.
            progress: called with (rows done, rows in all) while encoding.

        Raises:
            NotFitted: before `fit`.
            BadInput: when ``known`` has not as many inputs as the guard learnt from.
            WrongUse: when ``new`` has labels and ``known`` has none, or the other way round.
            NotEnoughKnown: as `fit`.

        >>> rng = np.random.default_rng(0)
        >>> known = {"features": rng.normal(size=(200, 4)) + 5, "labels": np.arange(200) % 2}
        >>> guard = OpenSetClassifier("arrays", "mahalanobis").fit(known)
        >>> wider = guard.extend({"features": rng.normal(size=(50, 4)) - 5, "labels": ["new"] * 50}, known)
        >>> wider.classes, wider.about["n_calibration"], guard.predict(np.full((1, 4), -5.0)).unseen.tolist()
        (('0', '1', 'new'), 50, [True])
        >>> wider.predict(np.full((1, 4), -5.0)).nearest
        ['new']
        """
        if not len(self.calibrator.scores):
            raise NotFitted("the classifier is not fitted: call fit(known) first")
        if "uses_unknown" in self.detector.traits:
            raise WrongUse(
                f"{self.detector.name} also learnt from unknown inputs, which the guard does not keep: fit again"
            )
        if "texts" in self.about:
            raise WrongUse("the guard was fitted with class names as texts, which it does not keep: fit again with all")
        sources = known if isinstance(known, tuple) else (known,)
        total = self.about["n_fit"] + self.about["n_calibration"]
        learnt = self.about.get("learnt", [{"inputs": total}])  # by an earlier version, which could not extend
        if len(sources) != len(learnt):
            raise WrongUse(
                f"{len(sources)} sources are given as known and the guard learnt from {len(learnt)}: give each, in the "
                "order in which they came"
            )
        supports = [self._support(source, None, cache, progress, workers, fitting=True) for source in sources]
        for support, before in zip(supports, learnt, strict=True):
            if len(support) != before["inputs"]:
                raise BadInput(
                    f"the guard learnt from {before['inputs']:,} inputs, and {len(support):,} are given as known: give "
                    "those of the fit, and new ones apart, or fit again"
                )
        supports.append(self._support(new, labels, cache, progress, workers, fitting=True))
        supports = [support.at_level(self.about.get("labels", "labels")) for support in supports]
        parts = [set_aside(support, self.calibration, self.seed) for support in supports]
        starts = np.cumsum([0, *map(len, supports)])
        rest, aside = (
            np.concatenate([part[side] + start for part, start in zip(parts, starts.tolist(), strict=False)])
            for side in (0, 1)
        )
        whole = joined(supports)
        self.check_classes(whole)
        self._check_aside(whole, aside)
        wider = copy.copy(self)
        wider.detector = copy.deepcopy(self.detector)
        wider.calibrator = (
            ClassConditional(minimum=self.calibrator.minimum)
            if isinstance(self.calibrator, ClassConditional)
            else SplitConformal()
        )
        wider._learn(whole, rest, aside)
        wider.about = {**self.about, **wider.about, "learnt": [*learnt, {"inputs": len(supports[-1])}]}
        return wider

    def _learn(self, support: Support, rest_rows: np.ndarray, aside_rows: np.ndarray) -> None:
        rest, aside = support.take(rest_rows), support.take(aside_rows)
        self.detector.fit(rest)
        self.head = self._class_head(rest)
        named = () if self.head is None else self.head.named(rest)
        self.classes = named or (support.classes if support.labels is not None else ())
        scores, codes = self.detector.score(aside), self._codes(aside)
        if isinstance(self.calibrator, SplitConformal):
            self.calibrator.fit(scores)
        else:
            if codes is None:
                raise WrongUse(
                    "by class needs a head that names the class of an input, and a head reads features: give features "
                    "beside the other signals, or fit without by_class"
                )
            self.calibrator.fit(scores, codes, len(self.classes))
        self.about = {
            "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            "n_fit": len(rest),
            "n_calibration": len(aside),
            "n_skipped": len(support.skipped),
            **({} if support.unknown is None else {"n_unknown_learnt": len(support.unknown)}),
            "inputs_per_class": _counts(support),
            "availability": support.level,
            **({} if support.text is None else {"texts": _about(support.text)}),
            "accuracy": self._accuracy(codes, aside),
        }

    def _accuracy(self, codes: np.ndarray | None, aside: Support) -> float | None:
        """Share of the inputs set aside whose class the head names; None where nobody can say."""
        if codes is None or aside.labels is None:
            return None
        place = {name: code for code, name in enumerate(self.classes)}
        true = np.array([place.get(name, -1) for name in aside.classes], dtype=np.int64)[aside.labels]
        return float(np.mean(codes == true))

    def set_aside(self, support: Support) -> tuple[np.ndarray, np.ndarray]:
        """Rows to learn from and rows to calibrate on, when the latter are enough to promise ``alpha``.

        Raises:
            NotEnoughKnown: when they are not; the message says how many are needed.
            WrongUse: as `check_classes`.
        """
        self.check_classes(support)
        rest, aside = set_aside(support, self.calibration, self.seed)
        self._check_aside(support, aside)
        return rest, aside

    def _check_aside(self, support: Support, aside: np.ndarray) -> None:
        needed = _needed(self.alpha)
        if len(aside) < needed:
            kept = len(aside) < self.calibration * len(support) - 1
            whole = ", since groups and exact copies stay together" if kept and support.groups is not None else ""
            raise NotEnoughKnown(
                f"alpha {self.alpha:g} needs {needed:,} known inputs set aside for calibration; "
                f"{self.calibration:g} of these {len(support):,} are {len(aside):,}{whole}: give about "
                f"{math.ceil(needed / self.calibration):,} inputs, set a larger share aside, or take a larger alpha"
            )
        if self.by_class and support.labels is not None and (most := np.bincount(support.labels[aside]).max()) < needed:
            raise NotEnoughKnown(
                f"by class, alpha {self.alpha:g} needs {needed:,} known inputs set aside in a class, and no class has "
                f"more than {most:,}: give about {math.ceil(needed / self.calibration):,} inputs a class, set a larger "
                "share aside, take a larger alpha, or fit without by_class"
            )

    def check_classes(self, known: Support | Inputs) -> None:
        """Raise when this guard is to be by class and the known inputs, encoded or not, are not of several.

        Raises:
            WrongUse: when they have no labels, or of one class only.
        """
        if self.by_class and (known.labels is None or len(known.classes) < 2):
            there = "have no labels" if known.labels is None else "are of one class"
            raise WrongUse(f"by class needs labels of two classes or more, and these inputs {there}: fit without it")

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of the calibration: which classes are pooled."""
        if not isinstance(self.calibrator, ClassConditional) or not self.calibrator.pooled.any():
            return ()
        names = [name for name, pooled in zip(self.classes, self.calibrator.pooled.tolist(), strict=True) if pooled]
        listed = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        return (
            f"{len(names)} of {len(self.classes)} classes are pooled ({listed}): fewer than {self.calibrator.minimum} "
            "inputs set aside were taken for each. They are compared with all inputs set aside; nothing is promised "
            f"for each alone, and {2 * self.alpha:g} for all classes together: give more inputs, or set a larger share "
            "aside",
        )

    def predict(
        self,
        inputs: Any,
        *,
        alpha: float | None = None,
        discoveries: float | None = None,
        cache: str | os.PathLike[str] | bool | None = False,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> Verdicts:
        """Verdicts on inputs, in their order.

        Args:
            inputs: what `encode` takes, or a `Support` that the same encoder made.
            alpha: another false-alarm rate than that of the fit.
            discoveries: decide over all inputs together instead (Benjamini-Hochberg): of those called unseen at most
                this share is expected to be known. A verdict then depends on the other inputs.
            cache: folder of a store for the encoding; nothing is kept by default.
            workers: threads that read and decode, as for `encode`.
            progress: called with (rows done, rows in all) while encoding.

        Raises:
            NotFitted: before `fit`.
            NotEnoughKnown: when the calibration rows are too few for ``alpha``, or too few for any discovery.
            WrongUse: when ``alpha`` and ``discoveries`` are both given, or one is not within 0 and 1.
        """
        if not len(self.calibrator.scores):
            raise NotFitted("the classifier is not fitted: call fit(known) first")
        if alpha is not None and discoveries is not None:
            raise WrongUse("alpha and discoveries are two rules for one verdict: give one of them")
        rule, level = "discoveries", discoveries
        if level is None:
            rule, level = "alpha", self.alpha if alpha is None else alpha
        self._check_level(level, rule)
        support = self._support(inputs, None, cache, progress, workers)
        scores, codes = self.detector.score(support), self._codes(support)
        beside = self._beside(codes)
        p_values = np.asarray(self.calibrator.p_value(scores, *beside))
        expected: tuple[int, int] | None = None
        if discoveries is None:
            unseen = self.calibrator.rejects(scores, *(*beside, level))
            expected = self.calibrator.expected_alarms(level, *(beside or (len(support),)))
        else:
            unseen = discovered(p_values, level)
        truth = None
        if support.labels is not None:
            truth = [support.classes[code] for code in support.labels.tolist()]
        return Verdicts(
            keys=list(support.keys) or [str(i) for i in range(len(support))],
            p_value=p_values,
            familiarity=np.asarray(scores),
            nearest=self._nearest(codes, len(support)),
            unseen=np.asarray(unseen),
            alpha=level if discoveries is None else None,
            expected=expected,
            truth=truth,
            classes=self.classes,
            skipped=support.skipped,
            notes=(*support.notes, *self.notes, *self._fewest(discoveries, codes, len(support))),
            discoveries=discoveries,
            by_class=self.by_class,
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
        arguments = {"minimum": self.calibrator.minimum} if isinstance(self.calibrator, ClassConditional) else {}
        description = to_json(
            {
                "encoder": encoder,
                "detector": self.detector.describe(),
                "calibrator": {"name": type(self.calibrator).__name__, "arguments": arguments},
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
        metadata = {"format": FORMAT, "version": str(VERSION if self.by_class else 1), "description": description}
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
            calibrator = description.get("calibrator", {"name": "SplitConformal", "arguments": {}})
            guard.calibrator = CALIBRATORS[calibrator["name"]](**calibrator["arguments"])
            guard.detector.load_state_dict(_below("detector", tensors))
            guard.calibrator.load_state_dict(_below("calibrator", tensors))
            if guard.head is not None:
                guard.head.load_state_dict(_below("head", tensors))
            if isinstance(guard.calibrator, ClassConditional):
                thresholds, named = len(guard.calibrator.counts), 0 if guard.head is None else len(guard.head.bias)
                if not thresholds == named == len(guard.classes):
                    raise ValueError(f"{thresholds} thresholds, {named} logits, {len(guard.classes)} classes")
            guard.info()  # the hash may fit and the numbers make no sense all the same
            _try_out(guard.detector, guard.head)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
            raise DamagedFile(f"{path}: its contents do not fit together ({_first_line(error)})") from error
        return guard, description, tensors

    def info(self) -> dict[str, Any]:
        """What the classifier is and was made of, as plain JSON.

        By class, ``threshold`` and ``false_alarm_interval`` are None, as there is one a class: ``per_class`` lists
        them, with None for the interval of a pooled class.
        """
        return {
            "encoder": self.encoder_id,
            "detector": self.detector.expression(),
            "numbers_held": self.detector.size(),
            "classes": list(self.classes),
            "alpha": self.alpha,
            "by_class": self.by_class,
            "smallest_alpha": 1 / (int(self._held().min()) + 1),
            "threshold": None if self.by_class else float(self.thresholds()[0]),
            "false_alarm_interval": None if self.by_class else list(self.calibrator.false_alarm_interval(self.alpha)),
            "per_class": self._per_class(),
            "seed": self.seed,
            **self.about,
        }

    def thresholds(self, alpha: float | None = None) -> np.ndarray:
        """Scores below which an input is called unseen: ``(C,)`` by class, else ``(1,)``; see the calibrators.

        Raises:
            NotEnoughKnown: when the calibration rows are too few for ``alpha``, which is that of the fit by default.
        """
        level = self.alpha if alpha is None else alpha
        if isinstance(self.calibrator, ClassConditional):
            return self.calibrator.thresholds(level)
        return np.array([self.calibrator.threshold(level)])

    def _per_class(self) -> list[dict[str, Any]]:
        """What `info` says of each class; nothing where all share one threshold."""
        if not isinstance(self.calibrator, ClassConditional):
            return []
        low, high = self.calibrator.false_alarm_interval(self.alpha)
        rows = zip(
            self.classes,
            self.calibrator.counts.tolist(),
            self.calibrator.pooled.tolist(),
            self.thresholds().tolist(),
            np.stack([low, high], axis=1).tolist(),
            strict=True,
        )
        return [
            {
                "class": name,
                "n_calibration": count,
                "pooled": pooled,
                "threshold": threshold,
                "false_alarm_interval": None if pooled else interval,
            }
            for name, count, pooled, threshold, interval in rows
        ]

    def _beside(self, codes: np.ndarray | None) -> tuple[Any, ...]:
        """What the calibrator is asked with beside scores: by class the codes of the classes, else nothing."""
        return (codes,) if self.by_class else ()

    def _held(self) -> np.ndarray:
        """How many scores an input is compared with: ``(C,)`` by class, else ``(1,)``."""
        return np.rint(1 / np.atleast_1d(self.calibrator.smallest_alpha)).astype(np.int64) - 1

    def _check_level(self, level: float, name: str) -> None:
        """Raise, before anything is encoded, when inputs of some class could never be called unseen."""
        if not 0 < level < 1:
            raise WrongUse(f"{name} must be within 0 and 1, got {level}")
        held, needed = self._held(), _needed(level)
        scarcest = int(held.argmin())
        if (n := int(held[scarcest])) < needed:
            whose = f"class {self.classes[scarcest]!r}: " if self.by_class else ""
            pool = f", or fit with alpha {level:g}, which pools such classes" if self.by_class else ""
            raise NotEnoughKnown(
                f"{whose}{name} {level:g} needs {needed} calibration scores, there are {n}: fit on more known inputs "
                f"or take {name} {math.ceil(1e4 / (n + 1)) / 1e4:g} or more{pool}"
            )

    def _fewest(self, level: float | None, codes: np.ndarray | None, inputs: int) -> list[str]:
        """Notes for a batch whose discoveries come in numbers or not at all, or without a promise."""
        if level is None or not inputs:
            return []
        held = self._held()
        fewest = fewest_discoveries(inputs, level, int(held[codes].max() if self.by_class else held[0]))
        notes = []
        if fewest > 1:
            notes.append(
                f"with these calibration scores, discoveries among {inputs:,} inputs are none or at least {fewest:,}: "
                "to find fewer, score fewer inputs at a time or fit on more"
            )
        if self.notes:
            notes.append("the level of discoveries is promised only where no class is pooled")
        return notes

    def check_encoder(self) -> None:
        """Raise when this guard was loaded without its encoder, so that it can take signals only.

        Raises:
            WrongUse: the file could not hold the encoder and none was given.
        """
        if self.encoder is None:
            raise WrongUse(
                f"the classifier was fitted with the encoder {short_id(self.encoder_id)}, which its file cannot hold: "
                "give it, as load(path, encoder=...) or --encoder"
            )

    def _support(
        self,
        inputs: Any,
        labels: Any,
        cache: Any,
        progress: Progress | None,
        workers: int | None,
        *,
        fitting: bool = False,
        text: TextBank | None = None,
    ) -> Support:
        """Signals of the inputs, from this classifier's encoder: those given, or made now."""
        support = Support(inputs) if isinstance(inputs, Signals) else inputs
        if not isinstance(support, Support):
            self.check_encoder()
            assert self.encoder is not None
            wanted = self.wanted(fitting=fitting, texts=text is not None)
            support = encode(inputs, self.encoder, wanted, cache=cache, progress=progress, workers=workers)
        elif support.encoder and support.encoder != self.encoder_id:
            raise WrongUse(f"these signals are of the encoder {support.encoder}, the classifier's is {self.encoder_id}")
        return Support.of(support, labels, text=text)

    def wanted(self, *, fitting: bool = False, texts: bool = False) -> frozenset[str | Request] | None:
        """What the encoder is asked for: what the detector reads, and what the head reads that names classes.

        None for arrays, which give all that there is, and where there is no encoder. A fit does not ask for what only
        queries read: of the inputs set aside it is asked for when they are scored.

        Args:
            fitting: for a fit.
            texts: whether the fit will know class names as texts, which may make the head that names classes.

        Raises:
            WrongUse: when the detector reads what the encoder does not give.
        """
        if self.encoder is None or self.encoder.accepts == "arrays":
            return None
        needs, learns = self.detector.needs, self.detector.at_fit()
        there = self.encoder.provides | self.encoder.when_named
        missing = {need for need in needs | learns if isinstance(need, str)} - there
        if missing:
            raise WrongUse(
                f"{self.detector.name} reads {', '.join(sorted(missing))}, which the encoder "
                f"{short_id(self.encoder_id)} does not give: put a head before it, such as ridge >> "
                f"{self.detector.name}"
            )
        for need in needs | learns:
            if isinstance(need, Request) and (why := self.encoder.refusal(need)) is not None:
                raise WrongUse(f"{self.detector.name} asks the encoder for {need.key}: {why}")
        if fitting:
            plain = {need for need in needs if isinstance(need, str)}  # what is set aside is scored at once
            return learns | plain | {"features"} | ({"embedding"} & there if texts else set())
        return needs | ({"features"} if self.head is None else self.head.reads())

    def _class_head(self, support: Support) -> Head | None:
        """The head that names the class of a known input: the pipeline's, the model's own, ridge, or the texts'."""
        if isinstance(self.detector, Pipeline) and isinstance(self.detector.steps[0], Head):
            return self.detector.steps[0]
        if support.level == "names" and "embedding" in support.signals and len(support.bank("the guard")) > 1:
            texts: Head = create("zero_shot").fit(support)
            return texts
        if support.labels is None or len(support.classes) < 2 or "features" not in support.signals:
            return None
        aligned = support.head is not None and set(support.classes) <= set(support.head.classes or ())
        head: Head = create("own" if aligned else "ridge").fit(support)
        return head

    def _codes(self, support: Support) -> np.ndarray | None:
        """``(N,)`` codes of the likeliest classes; None where no head tells classes apart."""
        if self.head is None:
            return None
        self.head.check_ready(support.signals)
        with torch.no_grad():
            batches = support.signals.batches(*sorted(self.head.reads()))
            codes = [self.head.apply_to(batch)["logits"].argmax(dim=1) for batch in batches]
        return np.concatenate([batch.cpu().numpy() for batch in codes]) if codes else np.zeros(0, dtype=np.int64)

    def _nearest(self, codes: np.ndarray | None, inputs: int) -> list[str | None]:
        """Names of the likeliest classes."""
        if codes is None:
            return [self.classes[0] if len(self.classes) == 1 else None] * inputs
        return [self.classes[code] for code in codes.tolist()]


def _needed(alpha: float) -> int:
    """How many calibration scores promise ``alpha``; 1 / 0.1 and the like are a digit off."""
    return math.ceil(round(1 / alpha, 9)) - 1


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


def _about(text: TextBank) -> dict[str, Any]:
    counts = {"n_classes": len(text), "n_words": len(text.words)}
    return {**counts, "encoder": text.encoder, "id": text.id[:16], **text.about}


def _try_out(detector: Detector, head: Head | None) -> None:
    """Ask one row of zeros, so that tensors whose shapes do not fit fail at load and not at the first input."""
    flat = ("features", "logits", "embedding")  # other signals have axes of which only the product is known
    for part in (detector, head):
        if part is None:
            continue
        widths = dict(zip(sorted(part.reads()), part.widths.tolist(), strict=True))
        if set(widths) <= set(flat):
            row = {name: torch.zeros(1, width) for name, width in widths.items()}
            with torch.inference_mode():
                part(part.prepared(row))


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
