"""Whether the k-NN accuracy of an encoder on known inputs predicts how well it notices unknown ones.

Nothing is trained. An encoder's accuracy needs labels and no unknown input, so where the two go together an encoder can
be picked before any unknown input is met.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.nn.functional import normalize

from unseen.data import Progress, split
from unseen.errors import BadInput, NoRoom, NotEnoughKnown, UnseenError, WrongUse
from unseen.metrics import Floats, bootstrap, evaluate
from unseen.metrics.resampling import check_replicates, percentiles
from unseen.metrics.scores import check_confidence, finite
from unseen.naming import did_you_mean, listed
from unseen.protocols.audit import FIT_SHARE
from unseen.registry import create
from unseen.signals import BATCH, Support
from unseen.statistics import SPAN, nearest_rows

NEIGHBOUR = "knn(k=1, index='exact')"  # the detector, and with distances of unit rows the order of cosines
K, TEMPERATURE = 20, 0.02  # of the votes, as in the paper
FEWEST = 3  # backbones of a line: two points lie on one whatever they are
FEWEST_DRAWN = 5  # backbones below which resampling them says nothing
REPLICATES = 2000
QUERY_NUMBERS = 1 << 24  # similarities held at once
SAME = 1e-6  # distance of unit rows that rounding alone can make of one input
NAMED = 3  # classes in a warning


@dataclass(frozen=True)
class Line:
    """A least-squares line through backbones, AUROC over accuracy.

    Attributes:
        family: name of the family; None for all backbones.
        slope: AUROC that goes with one accuracy, both fractions.
        intercept: AUROC at an accuracy of 0.
        r2: share of the variance of the AUROC that the line explains, which is the squared Pearson correlation; it does
            not say the sign, the slope does.
        n: backbones.
        slope_interval: of the slope over backbones (bootstrap); None with fewer than five.
        r2_interval: likewise.
    """

    family: str | None
    slope: float
    intercept: float
    r2: float
    n: int
    slope_interval: tuple[float, float] | None
    r2_interval: tuple[float, float] | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; fractions."""
        ends = {name: getattr(self, name) for name in ("slope_interval", "r2_interval")}
        return {**vars(self), **{name: None if pair is None else list(pair) for name, pair in ends.items()}}


@dataclass(frozen=True)
class Backbone:
    """One encoder.

    Attributes:
        encoder: what it was called.
        id: its id: weights and preprocessing.
        family: the family that it was said to be of; None where of none.
        dim: width of its features.
        accuracy: share of known test inputs whose class their nearest learnt neighbours vote for.
        accuracy_interval: Wilson's, for new inputs.
        auroc: of the distance to the nearest learnt feature, known test against unknown.
        auroc_interval: DeLong's, for new inputs of both kinds; where inputs belong together, of resamples of whole
            groups. None where a side is a single group.
        n_fit: known inputs that neighbours are looked for among.
        n_test: known inputs that are tested.
        n_unknown: unknown inputs.
    """

    encoder: str
    id: str
    family: str | None
    dim: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    auroc: float
    auroc_interval: tuple[float, float] | None
    n_fit: int
    n_test: int
    n_unknown: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; fractions."""
        reach = None if self.auroc_interval is None else list(self.auroc_interval)
        return {**vars(self), "accuracy_interval": list(self.accuracy_interval), "auroc_interval": reach}


@dataclass
class Backbones:
    """What a study of backbones found.

    Attributes:
        rows: the encoders, the highest AUROC first.
        lines: through all of them, then through those of each family that has enough.
        warnings: what the reader must know before believing the numbers.
        failed: encoder -> why it could not be measured.
        k: neighbours that vote; the AUROC is of the nearest one.
        temperature: of their votes.
        confidence: of all intervals.
        left_out: source -> how many of its inputs were left out before, being copies of known ones.
        skipped: ``(source, key, reason)`` of inputs that could not be read.
    """

    rows: list[Backbone]
    lines: list[Line]
    warnings: list[str]
    failed: dict[str, str]
    k: int
    temperature: float
    seed: int
    confidence: float
    classes: tuple[str, ...]
    left_out: dict[str, int]
    skipped: tuple[tuple[str, str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        best = f"the highest AUROC is {self.rows[0].auroc:.3f}, of {self.rows[0].encoder}"
        return f"Backbones({len(self.rows)} encoders; {best}; {self.sentence})"

    @property
    def sentence(self) -> str:
        """What the line through all encoders says, in words."""
        whole = next((line for line in self.lines if line.family is None), None)
        if whole is None:
            return "no line can be drawn"
        between = ""
        if whole.r2_interval is not None:
            low, high = whole.r2_interval
            between = f" ({100 * self.confidence:g} % interval {low:.2f} to {high:.2f})"
        return (
            f"over {whole.n} encoders accuracy explains {100 * whole.r2:.0f} % of the variance of the AUROC, "
            f"R^2 {whole.r2:.2f}{between}, slope {whole.slope:+.2f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; fractions."""
        return {
            "sentence": self.sentence,
            "backbones": [row.to_dict() for row in self.rows],
            "lines": [line.to_dict() for line in self.lines],
            "warnings": self.warnings,
            "failed": self.failed,
            "k": self.k,
            "temperature": self.temperature,
            "classes": len(self.classes),
            "seed": self.seed,
            "confidence": self.confidence,
            "left_out": self.left_out,
            "skipped": [{"source": of, "path": key, "reason": reason} for of, key, reason in self.skipped],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Encoded:
    """The inputs of the study as one encoder sees them.

    Attributes:
        known: labelled known inputs.
        unknown: unknown inputs; labels are looked at only to warn of a class that is known.
        known_test: labelled known inputs to test on; then all of ``known`` is learnt from. Else ``known`` is split
            60/40 by class, groups whole.
    """

    known: Support
    unknown: Support
    known_test: Support | None = None

    def each(self) -> list[tuple[str, Support]]:
        """Every source by what messages call it."""
        test = [] if self.known_test is None else [("known test", self.known_test)]
        return [("known", self.known), *test, ("unknown", self.unknown)]


def backbones(
    encodings: Mapping[str, Callable[[], Encoded]],
    *,
    families: Mapping[str, Sequence[str]] | None = None,
    k: int = K,
    temperature: float = TEMPERATURE,
    confidence: float = 0.95,
    seed: int = 0,
    left_out: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> Backbones:
    """Measure every encoder on the same inputs, and draw lines of AUROC over accuracy through them.

    Accuracy and AUROC are both of known inputs that neighbours are not looked for among; scores of inputs that were
    learnt would flatter both.

    Args:
        encodings: name of an encoder -> what encodes the inputs when it is called, so that one encoding is held at a
            time. One that raises is listed in ``failed`` and the others go on.
        families: name -> encoders, each of which is in at most one; a line is drawn through each family.
        k: neighbours that vote for a class.
        temperature: of their votes.
        confidence: of the intervals.
        seed: of the split and of resampling.
        left_out: source -> how many of its inputs were left out before, being copies of known ones.
        progress: called with (encoders done, encoders in all).

    Raises:
        WrongUse: without encoders, for a family of an encoder that is not there or that is in two, or where no encoder
            can be measured.
        NoRoom: when the disk or the memory is full.

    Source: Adaloglou, Michels, Kaiser, Kollmann, "Adapting Contrastive Language-Image Pretrained (CLIP) Models for
    Out-of-Distribution Detection", TMLR 2023, section 4 and figure 2.

    >>> from unseen.signals import Signals
    >>> def seen_by(noise):
    ...     random = np.random.default_rng(0)
    ...     code = np.arange(240) % 6  # six directions, two of them unknown
    ...     x = np.eye(6)[code] + noise * random.normal(size=(240, 6))
    ...     classes, known = ("a", "b", "c", "d"), code < 4
    ...     held = Support(Signals({"features": x[known]}), labels=code[known], classes=classes)
    ...     return Encoded(held, Support(Signals({"features": x[~known]})))
    >>> found = backbones({f"noise {at}": lambda at=at: seen_by(at) for at in (0.1, 0.3, 0.5, 0.7, 0.9)})
    >>> [row.encoder for row in found.rows][0], found.lines[0].slope > 0, found.lines[0].r2 > 0.9
    ('noise 0.1', True, True)
    """
    check_confidence(confidence)
    _check_votes(k, temperature)
    if not encodings:
        raise WrongUse("a study of backbones needs encoders: name some")
    family_of = _families(families or {}, list(encodings))
    rows: list[Backbone] = []
    failed: dict[str, str] = {}
    warnings: list[str] = []
    skipped: dict[tuple[str, str, str], None] = {}
    notes: dict[str, None] = {}
    classes: tuple[str, ...] = ()
    sizes: dict[tuple[int, ...], str] = {}
    for done, (name, encode) in enumerate(encodings.items(), start=1):
        try:
            encoded = encode()
            fit, test, told = _divided(encoded, seed)
            row, more = _measured(
                name, family_of.get(name), fit, test, encoded.unknown, k, temperature, confidence, seed
            )
        except NoRoom:
            raise
        except UnseenError as error:
            failed[name] = str(error)
        else:
            rows.append(row)
            classes = fit.classes
            warnings += [*told, *(f"{name}: {text}" for text in more)]
            skipped |= {(of, *pair): None for of, support in encoded.each() for pair in support.skipped}
            notes |= {f"{of}: {note}": None for of, support in encoded.each() for note in support.notes}
            sizes.setdefault((row.n_fit, row.n_test, row.n_unknown), name)
        if progress is not None:
            progress(done, len(encodings))
    if not rows:
        raise WrongUse("no encoder could be measured: " + "; ".join(f"{name}: {why}" for name, why in failed.items()))
    if len(sizes) > 1:
        warnings.append(
            f"not every encoder could read the same inputs: compare {listed(list(sizes.values()))} with care"
        )
    rows.sort(key=lambda row: -row.auroc)
    lines, refused = _lines(rows, list(families or {}), confidence, seed)
    return Backbones(
        rows=rows,
        lines=lines,
        warnings=[*dict.fromkeys(warnings), *refused],
        failed=failed,
        k=k,
        temperature=temperature,
        seed=seed,
        confidence=confidence,
        classes=classes,
        left_out=dict(left_out or {}),
        skipped=tuple(skipped),
        notes=tuple(notes),
    )


def knn_accuracy(train: Support, test: Support, k: int = K, temperature: float = TEMPERATURE) -> float:
    """Share of test inputs whose class their ``k`` nearest training features vote for.

    A neighbour's vote weighs ``exp(cos / temperature)``, ``cos`` being the cosine of its features and the query's. With
    ``k = 1`` this is nearest-neighbour classification at any temperature. Where classes tie, the first counts.

    Args:
        train: labelled; ``features (N, D)``, any scale.
        test: labelled with classes of ``train``; ``features (M, D)``.
        k: neighbours, from 1.
        temperature: above 0; the higher, the more alike are the votes.

    Returns:
        A fraction.

    Raises:
        WrongUse: without labels, or for a ``k`` or temperature that makes no sense.
        NotEnoughKnown: with fewer than ``k`` training inputs.
        BadInput: when the test has a class of its own, no input or another width.

    Cost: all ``N M`` cosines, in tiles.
    Source: figure 2 of the paper of `backbones`; the weights are those of the authors' program, and in substance of Wu,
    Xiong, Yu, Lin, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", CVPR 2018, section 3.4.

    >>> train = Support.of([[1.0, 0.0], [0.9, 0.3], [0.0, 1.0]], ["cat", "dog", "dog"])
    >>> test = Support.of([[1.0, 0.05], [0.1, 1.0]], ["cat", "dog"])
    >>> knn_accuracy(train, test, k=1), knn_accuracy(train, test, k=3, temperature=1.0)
    (1.0, 0.5)
    """
    return float(_right(train, _recoded(test, train), k, temperature).mean())


def fit_line(
    accuracy: ArrayLike,
    auroc: ArrayLike,
    *,
    family: str | None = None,
    confidence: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Line:
    """The least-squares line of AUROC over accuracy, and how far it depends on which backbones were at hand.

    Intervals are percentiles over resamples of backbones. A resample of fewer than three different ones is drawn again,
    as two points lie on a line whatever they are; with fewer than five backbones hardly any other could be drawn and
    there is no interval. Backbones are taken as independent, which variants of one network are not.

    Args:
        accuracy: ``(B,)`` one a backbone, three at least and not all the same.
        auroc: ``(B,)`` of the same backbones, not all the same; they lie at three different points at least.
        family: what the line is called.
        confidence: of the intervals.
        replicates: resamples.
        seed: of the resamples.

    Raises:
        WrongUse: with fewer than three backbones or points, or where one of the two does not vary.
        BadInput: when the lengths differ or a value is not finite.

    Source: ordinary least squares with one variable, whose R^2 is the squared Pearson correlation; Efron, "Bootstrap
    Methods: Another Look at the Jackknife", Annals of Statistics 1979, on resampling pairs.

    >>> line = fit_line([0.5, 0.7, 0.9], [0.6, 0.7, 0.8])
    >>> round(line.slope, 6), round(line.intercept, 6), round(line.r2, 6), line.r2_interval
    (0.5, 0.35, 1.0, None)
    """
    check_confidence(confidence)
    check_replicates(replicates)
    x, y = finite(accuracy, "accuracy", least=0), finite(auroc, "auroc", least=0)
    if x.size != y.size:
        raise BadInput(f"accuracy is of {x.size} backbones, auroc of {y.size}: pass one of each for every backbone")
    if x.size < FEWEST:
        raise WrongUse(f"a line through {x.size} backbones says nothing, as any two points lie on one: give {FEWEST}")
    for name, values in (("accuracy", x), ("AUROC", y)):
        if values.min() == values.max():
            raise WrongUse(f"all {x.size} backbones have the same {name}, so that no line can be drawn: add others")
    if (places := len(np.unique(np.stack([x, y]), axis=1).T)) < FEWEST:
        raise WrongUse(f"{x.size} backbones lie on {places} points, and any two points lie on a line: add others")
    slope, r2 = _least_squares(x[None], y[None])
    slopes = r2s = None
    if x.size >= FEWEST_DRAWN:
        drawn = _least_squares(*_resampled(x, y, replicates, seed))
        slopes, r2s = (percentiles(values, confidence) for values in drawn)
    intercept = float(y.mean() - slope[0] * x.mean())
    return Line(family, float(slope[0]), intercept, float(r2[0]), x.size, slopes, r2s)


def _check_votes(k: int, temperature: float) -> None:
    if not isinstance(k, int) or k < 1:
        raise WrongUse(f"k={k!r}: k counts neighbours, a whole number from 1")
    if not (math.isfinite(temperature) and temperature > 0):
        raise WrongUse(f"temperature={temperature!r}: give a number above 0, such as {TEMPERATURE}")


def _families(families: Mapping[str, Sequence[str]], encoders: Sequence[str]) -> dict[str, str]:
    """Encoder -> its family."""
    family_of: dict[str, str] = {}
    for family, members in families.items():
        for name in members:
            if name not in encoders:
                raise WrongUse(f"family {family!r}: {name!r} is not among the encoders{did_you_mean(name, encoders)}")
            if family_of.get(name, family) != family:
                raise WrongUse(f"{name!r} is in two families, {family_of[name]!r} and {family!r}: leave it in one")
            family_of[name] = family
    return family_of


def _divided(encoded: Encoded, seed: int) -> tuple[Support, Support, list[str]]:
    """Known inputs to look for neighbours among and those to test; and warnings about classes."""
    known, test = encoded.known, encoded.known_test
    if known.labels is None:
        raise WrongUse("the known inputs have no labels, and an accuracy needs them")
    if test is None:
        if len(known) < 2:
            raise NotEnoughKnown("one known input cannot be split in two: add inputs, or give a known test")
        rows, rest = split(known.labels, known.groups, FIT_SHARE, seed)
        if not len(rows) or not len(rest):
            raise NotEnoughKnown(
                f"the {len(known):,} known inputs are in too few groups to be split in two: add inputs of other "
                "groups, or give a known test"
            )
        known, test = known.take(rows), known.take(rest)
    else:
        test = _recoded(test, known)
    warnings = []
    assert known.labels is not None
    assert test.labels is not None
    lost = ~np.isin(test.labels, known.labels)
    if lost.any():
        names = [known.classes[code] for code in np.unique(test.labels[lost])]
        warnings.append(
            f"no input of {_named(names)} is learnt from, so the {int(lost.sum()):,} that would be tested take no part"
        )
        test = test.take(~lost)
    if not len(test):
        raise NotEnoughKnown("no known test input is of a class that was learnt: add known inputs or a known test")
    unknown = encoded.unknown
    if unknown.labels is not None:
        there = {unknown.classes[code] for code in np.unique(unknown.labels)}
        both = [name for name in known.classes if name in there]
        if both:
            codes = [unknown.classes.index(name) for name in both]
            many = int(np.isin(unknown.labels, codes).sum())
            warnings.append(
                f"{many:,} unknown inputs are labelled as {_named(both)}, which is known: recognising them "
                "counts as an error"
            )
    return known, test, warnings


def _named(classes: Sequence[str]) -> str:
    """The first few in words."""
    return f"{'class' if len(classes) == 1 else 'classes'} {listed(map(repr, classes), NAMED)}"


def _measured(
    name: str,
    family: str | None,
    fit: Support,
    test: Support,
    unknown: Support,
    k: int,
    temperature: float,
    confidence: float,
    seed: int,
) -> tuple[Backbone, list[str]]:
    """One row, and what is odd about it."""
    from scipy.stats import binomtest

    if not len(unknown):
        raise BadInput("unknown: there are no inputs")
    width = fit.signals.width("features")
    if width < 2:
        raise WrongUse("it gives one number an input, and one number has no direction")
    right = _right(fit, test, k, temperature)
    detector = create(NEIGHBOUR).fit(fit)
    tested, asked = (np.asarray(detector.score(one), dtype=np.float64) for one in (test, unknown))
    copies = [int((-one < SAME).sum()) for one in (tested, asked)]
    if copies[0] == len(test):
        raise BadInput(
            "every known test input has the features of a learnt one: what was learnt must not be tested, give others"
        )
    warnings = [
        f"{many:,} of {len(of):,} {side} inputs have the very features of a learnt one: if they are copies, {harm}"
        for many, of, side, harm in (
            (copies[0], test, "known test", "both numbers are flattered"),
            (copies[1], unknown, "unknown", "known inputs count as unknown"),
        )
        if many
    ]
    result = evaluate(tested, asked)
    groups = (test.groups, unknown.groups)
    reach: tuple[float, float] | None = result.auroc_interval(confidence)
    if any(one is not None and len(np.unique(one)) < len(one) for one in groups):
        single = any(one is not None and len(np.unique(one)) < 2 for one in groups)
        reach = None if single else bootstrap(tested, asked, "auroc", groups=groups, confidence=confidence, seed=seed)
    share = binomtest(int(right.sum()), len(right)).proportion_ci(confidence, method="wilson")
    row = Backbone(
        encoder=name,
        id=fit.encoder,
        family=family,
        dim=width,
        accuracy=float(right.mean()),
        accuracy_interval=(float(share.low), float(share.high)),
        auroc=result.auroc,
        auroc_interval=reach,
        n_fit=len(fit),
        n_test=len(test),
        n_unknown=len(unknown),
    )
    return row, warnings


def _right(train: Support, test: Support, k: int, temperature: float) -> NDArray[np.bool_]:
    """``(M,)`` whether the votes of the neighbours name the class of each test input; its codes are those of train."""
    _check_votes(k, temperature)
    if train.labels is None or test.labels is None:
        raise WrongUse("an accuracy needs labels of what is learnt and of what is tested")
    if len(train) < k:
        raise NotEnoughKnown(
            f"k={k} needs at least {k} known inputs to learn from, got {len(train)}: lower k or add some"
        )
    if not len(test):
        raise BadInput("there is no known input to test")
    widths = [one.signals.width("features") for one in (train, test)]
    if widths[0] != widths[1]:
        raise BadInput(
            f"the known test has {widths[1]} features an input, the known inputs have {widths[0]}: were they encoded "
            "with another model?"
        )
    bank = train.gather("features", normalize)
    codes = torch.from_numpy(train.labels)
    size = max(1, min(BATCH, QUERY_NUMBERS // min(len(bank), SPAN)))
    said = []
    with torch.inference_mode():
        for batch in test.signals.batches("features", size=size):
            cosines, rows = nearest_rows(normalize(batch["features"]).to(bank), bank, k)  # (B, k)
            # Weights relative to the nearest: the same order of classes, and no overflow at any temperature.
            votes = ((cosines.double() - cosines[:, :1].double()) / temperature).exp().cpu()
            of_class = torch.zeros(len(votes), len(train.classes), dtype=torch.float64)
            of_class.scatter_add_(1, codes[rows.cpu()], votes)
            said.append(of_class.numpy().argmax(axis=1))
    return np.asarray(np.concatenate(said) == test.labels)


def _recoded(test: Support, train: Support) -> Support:
    """The test inputs with the codes of the learnt classes."""
    if train.labels is None or test.labels is None:
        raise WrongUse("an accuracy needs labels of what is learnt and of what is tested")
    names = [test.classes[code] for code in np.unique(test.labels)]
    strange = [name for name in names if name not in train.classes]
    if strange:
        raise BadInput(
            f"known test: class {strange[0]!r} is not among the known ones{did_you_mean(strange[0], train.classes)}: "
            "leave it out, or count it as unknown"
        )
    place = {name: code for code, name in enumerate(train.classes)}
    codes = np.array([place.get(name, -1) for name in test.classes], dtype=np.int64)
    return replace(test, labels=codes[test.labels], classes=train.classes, _moments={})


def _lines(
    rows: Sequence[Backbone], families: Sequence[str], confidence: float, seed: int
) -> tuple[list[Line], list[str]]:
    """Lines through all rows and through each family; and why one is not drawn."""
    lines, warnings = [], []
    for family in (None, *families):
        mine = [row for row in rows if family is None or row.family == family]
        try:
            lines.append(
                fit_line(
                    [row.accuracy for row in mine],
                    [row.auroc for row in mine],
                    family=family,
                    confidence=confidence,
                    seed=seed,
                )
            )
        except WrongUse as error:
            warnings.append(f"{'all encoders' if family is None else f'family {family!r}'}: {error}")
    return lines, warnings


def _least_squares(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Slopes and R^2 ``(R,)`` of lines through rows of points ``(R, B)``, in which both coordinates vary."""
    x, y = (values - values.mean(axis=1, keepdims=True) for values in (x, y))
    over_x, over_y, both = (x**2).sum(axis=1), (y**2).sum(axis=1), (x * y).sum(axis=1)
    # Rounding alone can put a perfect correlation above 1.
    return both / over_x, np.minimum(1.0, both**2 / (over_x * over_y))


def _resampled(x: Floats, y: Floats, replicates: int, seed: int) -> tuple[Floats, Floats]:
    """Resamples ``(R, B)`` of pairs: at three different points at least, and neither coordinate all the same."""
    random = np.random.default_rng(seed)
    point = np.unique(np.stack([x, y]), axis=1, return_inverse=True)[1].ravel()
    kept = np.empty((0, x.size), np.int64)
    while len(kept) < replicates:
        drawn = random.integers(x.size, size=(replicates, x.size))
        different = (np.diff(np.sort(point[drawn], axis=1), axis=1) > 0).sum(axis=1) + 1
        vary = [np.ptp(values[drawn], axis=1) > 0 for values in (x, y)]
        kept = np.concatenate([kept, drawn[(different >= FEWEST) & vary[0] & vary[1]]])
    kept = kept[:replicates]
    return x[kept], y[kept]
