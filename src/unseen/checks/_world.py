"""A small world of signals whose answer is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from unseen.signals import (
    Climbed,
    GramStatistics,
    LayerStatistics,
    LinearHead,
    Nudged,
    Perturbed,
    RankReduced,
    Request,
    Samples,
    Sensitivity,
    Signals,
    Support,
    TextBank,
    key_of,
)

C, D, P, N = 6, 24, 4, 240
USED = D - D // 4  # coordinates of the features that some class uses
OWN_LOGIT = 6.0
STD = 0.25  # what the world's inputs were divided by, for steps in units of pixels
WORDS = 30  # that name no class
DOUBT = 3.5  # so that the head errs on one known input in some thirty, as real ones do


class World:
    """Six known classes, new inputs of them, and a far set that every published score ranks lower.

    Features of the known are non-negative clusters in the first coordinates. Far features are as long, and live in the
    coordinates that no class uses, so that neither length nor sign gives them away. A linear head answers 6 at the
    centre of the own class and 0 at those of others, and errs now and then; on far features it is flat.

    Attributes:
        labels: ``(N,)`` class codes of both `known` and `new`.
        head: weight ``(C, D)``, bias ``(C,)`` and class names.
    """

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.labels = np.arange(N) % C
        self.names = [f"class {code}" for code in range(C)]
        means = np.zeros((C, D))
        means[:, :USED] = 3 * np.abs(rng.normal(size=(C, USED)))
        self._features = {}
        for name in ("known", "new"):
            x = np.zeros((N, D))
            x[:, :USED] = np.abs(means[self.labels][:, :USED] + 0.5 * rng.normal(size=(N, USED)))
            self._features[name] = x
        far = np.zeros((N, D))
        far[:, USED:] = np.abs(rng.normal(size=(N, D - USED))) + 0.1
        lengths = np.linalg.norm(self._features["new"], axis=1)
        self._features["far"] = far * (lengths / np.linalg.norm(far, axis=1))[:, None]
        centres = np.stack([self._features["known"][self.labels == c].mean(axis=0) for c in range(C)])
        weight = OWN_LOGIT * np.linalg.pinv(centres).T  # (C, D): 6 at the own centre, 0 at the others
        _, _, across = np.linalg.svd(centres[:, :USED])
        within = rng.normal(size=(C, USED - C)) @ across[C:]  # along these no centre moves
        weight[:, :USED] += DOUBT * within / np.linalg.norm(within, axis=1, keepdims=True)
        weight[:, USED:] = 0.02 * rng.normal(size=(C, D - USED))
        self._weight, self._bias = weight, 0.05 * rng.normal(size=C)
        self._rng = rng.integers(1 << 31)
        other = (
            np.abs(rng.normal(size=(N, D - USED))) + 0.1
        )  # unknown inputs to learn from: like the far ones, not them
        self._features["unknown"] = np.zeros((N, D))
        self._features["unknown"][:, USED:] = other * (lengths / np.linalg.norm(other, axis=1))[:, None]

    def head(self, dtype: str = "float64") -> LinearHead:
        """The linear layer behind the logits."""
        kept = torch.float64 if dtype == "float64" else torch.float32
        return LinearHead(
            torch.tensor(self._weight, dtype=kept), torch.tensor(self._bias, dtype=kept), tuple(self.names)
        )

    def text(self) -> TextBank:
        """Class names as texts near the embeddings of their class, words near those of far inputs, and denials.

        A text points where its class does and a little elsewhere; a word points into the coordinates that no class
        uses, and a little towards the classes; a denial points away from the class and to where the words are.
        """
        rng = np.random.default_rng([int(self._rng), 7])
        own = np.stack([_unit(self._features["known"][self.labels == c]).mean(axis=0) for c in range(C)])
        texts = _unit(own + 0.05 * rng.normal(size=own.shape))
        elsewhere = np.zeros((WORDS, D))
        elsewhere[:, USED:] = np.abs(rng.normal(size=(WORDS, D - USED))) + 0.1
        words = _unit(_unit(elsewhere) + 0.2 * np.abs(rng.normal(size=(WORDS, D))))
        denials = _unit(words.mean(axis=0) - 0.3 * texts)
        named = tuple(f"word {j}" for j in range(WORDS))
        positive, negative, opposite = (torch.from_numpy(rows) for rows in (texts, words, denials))
        return TextBank(positive, tuple(self.names), negative, named, opposite=opposite, scale=100.0)

    def columns(self, which: str, wanted: Iterable[str | Request], dtype: str = "float32") -> dict[str, np.ndarray]:
        """Arrays by signal for ``"known"``, ``"new"`` or ``"far"`` inputs, or ``"unknown"`` ones to learn from.

        Args:
            which: of the sets.
            wanted: names and requests; anything that is not known here looks like features.
            dtype: of the arrays.
        """
        return {key_of(want): self._asked(which, want, dtype) for want in wanted}

    def _asked(self, which: str, want: str | Request, dtype: str) -> np.ndarray:
        if isinstance(want, Climbed):
            moved: np.ndarray = climbed(want, self._asked(which, want.signal, dtype))
            return moved
        column: np.ndarray = self._column(which, want).astype(dtype)
        return column

    def _column(self, which: str, want: str | Request) -> np.ndarray:
        x = self._features[which]
        logits: np.ndarray = x @ self._weight.T + self._bias
        if want == "logits":
            return logits
        if isinstance(want, Perturbed):
            moved: np.ndarray = (x + self._step(logits, want)) @ self._weight.T + self._bias
            return moved
        if isinstance(want, RankReduced):
            return logits * (1 + 0.05 * (sum(want.layer.encode()) % 7))  # each layer's are others
        rng = np.random.default_rng([int(self._rng), len(which)])
        if want == "local":
            return x[:, None] * (1 + 0.1 * rng.normal(size=(N, P, D)))  # (N, P, D), each in a direction of its own
        if want == "temperature":  # small where the head is sure
            sure: np.ndarray = np.exp(logits.max(axis=1, keepdims=True) - OWN_LOGIT / 2)
            return 0.05 + 0.5 / (1 + sure)
        if want == "samples":
            return logits[:, None] * (1 + 0.1 * rng.normal(size=(N, 5, C)))  # of five networks
        if want == "embedding":
            return _unit(x)
        if isinstance(want, LayerStatistics):
            means = x ** (1 - 0.1 * (sum(want.layer.encode()) % 7))  # each layer's are others
            return np.concatenate([means, 0.1 * means], axis=1)  # means, then deviations
        if isinstance(want, GramStatistics):
            powers = [x**order for order in range(1, want.orders + 1)]  # of a map with one position
            sums = [(power * power.sum(axis=1, keepdims=True)) ** (1 / p) for p, power in enumerate(powers, start=1)]
            return np.concatenate(sums, axis=1)
        if isinstance(want, Nudged):
            slope = self._weight[logits.argmax(axis=1)]
            rank = np.abs(slope).argsort(axis=1).argsort(axis=1)
            step = want.step * np.sign(slope) * (rank < max(1, round(want.share * D)))
            nudged: np.ndarray = np.abs(x + step @ np.random.default_rng(int(self._rng)).normal(size=(D, D)) / D)
            return nudged
        if isinstance(want, Samples):
            drawn = np.random.default_rng([int(self._rng), len(which), want.seed])
            return logits[:, None] * (1 + 0.1 * drawn.normal(size=(N, want.draws, C)))
        if isinstance(want, Sensitivity):
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            slope = (odds / odds.sum(axis=1, keepdims=True) - 1 / C) @ self._weight
            found: np.ndarray = x * slope * (1 + 0.05 * (sum(want.layer.encode()) % 7))  # each layer's are others
            return found
        return x

    def _step(self, logits: np.ndarray, want: Perturbed) -> np.ndarray:
        """Of the features, from which the head is the whole network, ``(N, D)``."""
        slope: np.ndarray = self._weight[logits.argmax(axis=1)]
        if want.towards == "confidence":
            odds = np.exp((logits - logits.max(axis=1, keepdims=True)) / want.temperature)
            slope = slope - odds / odds.sum(axis=1, keepdims=True) @ self._weight
        if want.coordinates == "largest":
            slope = slope * (np.abs(slope) == np.abs(slope).max(axis=1, keepdims=True))
        step: np.ndarray = want.epsilon * np.sign(slope) / (STD if want.units == "pixels" else 1.0)
        return step

    def support(
        self,
        wanted: Iterable[str | Request],
        dtype: str = "float32",
        *,
        head: bool = True,
        rows: Any = slice(None),
        which: str = "known",
        names: bool = True,
    ) -> Support:
        """The known inputs with their labels, as detectors learn from them."""
        # A fit that reads nothing has known inputs all the same.
        columns = {key: column[rows] for key, column in self.columns(which, [*wanted] or ["features"], dtype).items()}
        return Support(
            Signals(columns),
            labels=self.labels[rows],
            classes=tuple(self.names) if names else tuple(str(code) for code in range(C)),
            head=self.head(dtype) if head else None,
            unknown=Signals(self.columns("unknown", wanted, dtype)) if wanted else None,
            text=self.text() if names else None,
        )


def text_rows(bank: TextBank) -> dict[str, np.ndarray]:
    """The rows of a bank, float64, as an oracle gets them."""
    rows = {"positive": bank.positive, "negative": bank.negative, "opposite": bank.opposite}
    return {name: row.double().numpy() for name, row in rows.items() if row is not None}


def _unit(x: np.ndarray) -> np.ndarray:
    unit: np.ndarray = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return unit


def climbed(want: Climbed, x: Any) -> Any:
    """``x``, array or tensor, after the step, were it the network's input; as it is while the score learnt nothing."""
    held = next((tensor for tensor in want.score.state_dict().values() if tensor.is_floating_point()), None)
    if held is None or not held.numel():
        return x
    start = torch.tensor(np.asarray(x)) if not isinstance(x, torch.Tensor) else x.clone()
    start = start.to(held).requires_grad_(True)
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(want.score({key_of(want.signal): start}).sum(), start)
    step = want.epsilon * slope.sign() / (STD if want.units == "pixels" else 1.0)
    return x + step.to(x.dtype) if isinstance(x, torch.Tensor) else x + step.numpy().astype(x.dtype)


class InSmallBatches(Signals):
    """The same signals, read in batches of 17 rows."""

    def batches(self, *names: str, size: int = 17) -> Iterator[dict[str, torch.Tensor]]:
        """At most 17 rows at a time, whatever is asked for."""
        return super().batches(*names, size=min(size, 17))


def as_tensors(columns: Mapping[str, np.ndarray], dtype: torch.dtype | None = None) -> dict[str, torch.Tensor]:
    """Arrays as tensors that share no memory with them."""
    return {name: torch.tensor(column, dtype=dtype) for name, column in columns.items()}
