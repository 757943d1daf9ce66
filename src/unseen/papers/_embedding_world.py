"""A made-up world of concepts, texts and images, in which claims about texts can be tried without a model."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from unseen.errors import WrongUse
from unseen.language import Texts
from unseen.protocols import Sources
from unseen.signals import Signals, Support, TextBank

Rows = NDArray[np.float64]
Side = Literal["known", "near", "far"]

CONCEPTS: dict[str, int] = {"known": 20, "near": 20, "far": 30}
SUPERS = 10  # the first half has the known and the near concepts, the second half the far ones
BACKGROUNDS = 12
# Kinds of words and their shares of the list.
KINDS = {"far": 0.35, "synonym": 0.10, "known super": 0.10, "random": 0.45}
TEXT_NOISE = 0.35
SYNONYM_NOISE = 0.5
PATCH_NOISE = 2.2
OBJECT_SHARE = 0.12  # of the patches; each image has one at least
FAINTEST = 0.35  # an image shows its concept with a strength between this and 1
DENIAL = 0.5  # how far the text that denies a class turns away from it
RAW_LENGTH = 10.0  # of a text before it is brought to unit length: about CLIP's
NAMED = re.compile(r"\b(known|near|far|word)-(\d+)\b")


@dataclass(frozen=True)
class EmbeddingWorld:
    """Images and texts of concepts that are random directions, with a gap between the two as CLIP has one.

    Ten super-concepts are random unit vectors. A concept is ``unit(alike * super + sqrt(1 - alike^2) * private)``: 20
    known and 20 near ones below the first five supers, 30 far ones below the others. With ``g ~ N(0, I / width)``,
    whose length is about 1, and two fixed directions ``u`` and ``v``:

    - an image of concept ``c`` is ``unit(a c + noise g + gap u)``, ``a`` uniform in ``[0.35, 1]``;
    - a text about it is ``unit(c + 0.35 g + gap v)``, where ``g`` depends on the whole text, so that each prompt is
      another draw;
    - with ``patches`` an image is ``unit(mean of its patches)``. A patch shows the concept with probability 0.12, at
      least one does, and else one of 12 backgrounds; it is ``unit(c + 2.2 g + gap u)``.

    The list of ``words`` has concepts below the far supers (35 %), noisy synonyms of the known ones (10 %), other
    concepts below their supers (10 %) and random ones (45 %). Names are ``known-00``, ``near-00``, ``far-00`` and
    ``word-0000``; `embed` reads any text that has one of them.

    What holds here is an ordering of methods, and a check of programs. The noise is Gaussian with one covariance for
    all classes, which is what `Mahalanobis` assumes, so that this detector is better here than on images.

    Args:
        seed: of everything.
        images: of each tested set: known, near and far.
        shots: training images of each known concept.
        noise: deviation of images, as the length of ``noise g``.
        gap: length of the modality gap.
        alike: what concepts have of their super.
        patches: of an image; 0 makes images without patches.
        words: of the list.
        backbone: width of the features in front of a projection to the embedding, at least ``width``; None takes the
            embedding for the features, as in a model without a projection.
        width: of the embedding.

    Raises:
        WrongUse: for a number out of range.

    Source: made for this library. The gap is that of Liang, Zhang, Kwon, Yeung, Zou, "Mind the Gap", NeurIPS 2022:
        cosines are about 0.4 between images, 0.5 between texts, and 0.3 between an image and its own text.

    >>> world = EmbeddingWorld(images=100, shots=5)
    >>> world.train.signals.names, len(world.train), len(world.near)
    (('features', 'embedding'), 100, 100)
    >>> from unseen import create, evaluate
    >>> detector = create("zero_shot(temperature=1.0) >> msp").fit(world.train)
    >>> evaluate(detector.score(world.known), detector.score(world.far)).auroc > 0.9
    True
    """

    seed: int = 0
    images: int = 1000
    shots: int = 250
    noise: float = 1.0
    gap: float = 1.0
    alike: float = 0.5
    patches: int = 0
    words: int = 1500
    backbone: int | None = None
    width: int = 128

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("images", 2), ("shots", 1), ("patches", 0), ("words", 1), ("width", 2)):
            if getattr(self, name) < least:
                raise WrongUse(f"EmbeddingWorld({name}={getattr(self, name)}): {name} must be at least {least}")
        if not 0 <= self.alike < 1 or self.noise < 0 or self.gap < 0:
            raise WrongUse("EmbeddingWorld: alike lies in [0, 1), noise and gap are 0 or more")
        if self.backbone is not None and self.backbone < self.width:
            raise WrongUse(
                f"EmbeddingWorld(backbone={self.backbone}): it must be {self.width}, the embedding's width, or more"
            )

    # Texts

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the known concepts."""
        return self.names("known")

    def names(self, side: Side) -> tuple[str, ...]:
        """Names of the concepts of one side, which `embed` reads."""
        return tuple(f"{side}-{i:02d}" for i in range(CONCEPTS[side]))

    @property
    def lexicon(self) -> tuple[str, ...]:
        """The words, in no order that tells their kind."""
        return tuple(f"word-{i:04d}" for i in range(self.words))

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The kind of each word of `lexicon`, a key of ``KINDS``: for tests of what was mined."""
        return self._words[0]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts as the text side of a model gives them: ``(n, width)``, not of unit length.

        Raises:
            WrongUse: for a text without the name of a concept.
        """
        rows = np.empty((len(texts), self.width))
        for row, text in enumerate(texts):
            noise = self._noise(np.random.default_rng([self.seed, 5, zlib.crc32(text.encode())]), 1)[0]
            rows[row] = self._concept(text) + TEXT_NOISE * noise + self.gap * self._gaps[1]
        return (RAW_LENGTH * unit(rows)).astype(np.float32)

    def bank(self, texts: Texts | None = None) -> TextBank:
        """The known classes as texts, and words if any are asked for; read by `embed`.

        ``opposite`` has for each class a text that turns away from its own, to try the read-out of `CLIPN`.

        Args:
            texts: prompts, words and how they are mined; by default one prompt and no words. Each prompt gives another
                draw of a text. Words to mine from are `lexicon`.
        """
        found = (Texts(prompts="mcm") if texts is None else texts).bank(self.classes, self.embed, 100.0, self.id)
        return replace(found, opposite=found.positive.mean(dim=0) - DENIAL * found.positive)

    @property
    def id(self) -> str:
        """What stands for the id of an encoder."""
        return f"embedding-world:{self!r}"

    # Images

    @cached_property
    def train(self) -> Support:
        """Known images to learn from, with labels and the texts of one prompt."""
        return self._support("known", 1, np.repeat(np.arange(CONCEPTS["known"]), self.shots))

    @cached_property
    def known(self) -> Support:
        """Known images to test on, with labels."""
        return self._tested("known", 2)

    @cached_property
    def near(self) -> Support:
        """Images of concepts that have a super with the known ones."""
        return self._tested("near", 3)

    @cached_property
    def far(self) -> Support:
        """Images of concepts below other supers."""
        return self._tested("far", 4)

    def sources(self) -> Sources:
        """All of it, as a bench takes it."""
        return Sources(self.train, {"near": self.near}, {"far": self.far}, known_test=self.known)

    @cached_property
    def projection(self) -> Rows:
        """``(features, width)``: features times this, of unit length, are the embedding."""
        if self.backbone is None:
            return np.eye(self.width)
        random = np.random.default_rng([self.seed, 7])
        projection: Rows = np.linalg.qr(random.normal(size=(self.backbone, self.width)))[0]
        return projection

    def _tested(self, side: Side, stream: int) -> Support:
        random = np.random.default_rng([self.seed, stream, 0])
        return self._support(side, stream, random.integers(0, CONCEPTS[side], self.images))

    def _support(self, side: Side, stream: int, codes: NDArray[np.int64]) -> Support:
        random = np.random.default_rng([self.seed, stream, 1])
        parts = [self._drawn(self._concepts[side][some], random) for some in _pieces(codes)]
        embedding = np.concatenate([whole for whole, _ in parts])
        columns: dict[str, NDArray[np.float32]] = {"features": self._features(embedding, random)}
        columns["embedding"] = embedding.astype(np.float32)
        if self.patches:
            columns["local"] = np.concatenate([local for _, local in parts])
        text = self.bank() if side == "known" else None
        return Support(Signals(columns), codes, self.names(side), encoder=self.id, text=text)

    def _drawn(self, concepts: Rows, random: np.random.Generator) -> tuple[Rows, NDArray[np.float32]]:
        """Embeddings of images of these concepts, and their patches."""
        n, gap = len(concepts), self.gap * self._gaps[0]
        if not self.patches:
            strength = random.uniform(FAINTEST, 1, (n, 1))
            return unit(strength * concepts + self.noise * self._noise(random, n) + gap), np.empty((n, 0), np.float32)
        shown = random.random((n, self.patches)) < OBJECT_SHARE
        sure = random.integers(0, self.patches, n)
        shown[np.arange(n), sure] |= ~shown.any(axis=1)
        behind = self._concepts["background"][random.integers(0, BACKGROUNDS, (n, self.patches))]
        seen = np.where(shown[..., None], concepts[:, None], behind)  # (n, P, E)
        noise = self._noise(random, n * self.patches).reshape(seen.shape)
        local = unit(seen + PATCH_NOISE * noise + gap)
        return unit(local.mean(axis=1)), local.astype(np.float32)

    def _features(self, embedding: Rows, random: np.random.Generator) -> NDArray[np.float32]:
        """The embedding itself, or of other lengths and with directions that the projection does not see."""
        if self.backbone is None:
            return embedding.astype(np.float32)
        length = random.uniform(8, 12, (len(embedding), 1))
        beside = random.normal(size=(len(embedding), self.backbone))
        beside -= beside @ self.projection @ self.projection.T
        return (length * embedding @ self.projection.T + beside).astype(np.float32)

    # Concepts

    @cached_property
    def _supers(self) -> Rows:
        return unit(self._noise(np.random.default_rng([self.seed, 0, 0]), SUPERS))

    @cached_property
    def _concepts(self) -> Mapping[str, Rows]:
        random = np.random.default_rng([self.seed, 0, 1])
        halves = {"known": (0, SUPERS // 2), "near": (0, SUPERS // 2), "far": (SUPERS // 2, SUPERS)}
        made = {side: self._leaves(random, many, *halves[side]) for side, many in CONCEPTS.items()}
        return made | {"background": unit(self._noise(random, BACKGROUNDS))}

    @cached_property
    def _gaps(self) -> Rows:
        """The direction of images, and that of texts."""
        return unit(self._noise(np.random.default_rng([self.seed, 0, 2]), 2))

    @cached_property
    def _words(self) -> tuple[tuple[str, ...], Rows]:
        random = np.random.default_rng([self.seed, 6])
        kinds = random.permutation(np.repeat(list(KINDS), _shared(self.words, list(KINDS.values()))))
        rows = np.empty((self.words, self.width))
        known = self._concepts["known"]
        for kind in KINDS:
            at = np.flatnonzero(kinds == kind)
            if kind == "synonym":
                source = known[random.integers(0, len(known), len(at))]
                rows[at] = unit(source + SYNONYM_NOISE * self._noise(random, len(at)))
            elif kind == "random":
                rows[at] = unit(self._noise(random, len(at)))
            else:
                half = (SUPERS // 2, SUPERS) if kind == "far" else (0, SUPERS // 2)
                rows[at] = self._leaves(random, len(at), *half)
        return tuple(map(str, kinds)), rows

    def _leaves(self, random: np.random.Generator, many: int, first: int, stop: int) -> Rows:
        above = self._supers[random.integers(first, stop, many)]
        return unit(self.alike * above + np.sqrt(1 - self.alike**2) * self._noise(random, many))

    def _noise(self, random: np.random.Generator, many: int) -> Rows:
        return random.normal(0, self.width**-0.5, (many, self.width))

    def _concept(self, text: str) -> Rows:
        found = NAMED.search(text)
        if found is None or int(found[2]) >= (self.words if found[1] == "word" else CONCEPTS[found[1]]):
            raise WrongUse(f"{text!r} names no concept of this world: known-00, near-00, far-00 or word-0000")
        row: Rows = (self._words[1] if found[1] == "word" else self._concepts[found[1]])[int(found[2])]
        return row


def unit(rows: Rows) -> Rows:
    """The same directions, of length 1 along the last axis."""
    made: Rows = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return made


def _pieces(codes: NDArray[np.int64], size: int = 1000) -> Iterator[NDArray[np.int64]]:
    """In pieces, as patches of many images at once are large."""
    for start in range(0, len(codes), size):
        yield codes[start : start + size]


def _shared(total: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers in these shares that add up to the total."""
    stops = np.round(total * np.cumsum(shares)).astype(int)
    return [int(many) for many in np.diff(stops, prepend=0)]
