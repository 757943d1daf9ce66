"""What every detector must do, and every step before one."""

from __future__ import annotations

import copy
import inspect
import io
import json
import math
import pickle
import tempfile
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors

from unseen.checks._suite import Checks
from unseen.checks._world import C, D, InSmallBatches, N, World, as_tensors, text_rows
from unseen.detectors.base import Detector, Pipeline
from unseen.errors import BadInput, NotEnoughKnown, NotFitted, UnseenError, WrongUse
from unseen.metrics import auroc
from unseen.parts import Part, Step
from unseen.registry import create
from unseen.signals import Climbed, Request, Signals, Support, TextBank, key_of

CHECKS = Checks()
SMOOTH = round(0.95 * N)  # inputs that are not next to a jump of a score that has some
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}  # of the largest score, for two ways to the same number


@dataclass(frozen=True)
class Subject:
    """A part under test: fresh copies of it, a step with its partner behind it."""

    part: Part

    def make(self) -> Detector:
        """An unfitted copy."""
        return self._whole(copy.deepcopy(self.part))

    def fit(self, world: World, dtype: str = "float32", **options: Any) -> Detector:
        """A copy that has learnt the world's known inputs."""
        made = self.make()
        return made.fit(world.support(made.at_fit(), dtype, **options))

    def teach(self, known: Any, labels: Any = None, dtype: str = "float32") -> Detector:
        """A copy that has learnt these inputs, and of the world the unknown ones and the texts where it reads them."""
        made = self.make()
        unknown = self.columns(World(), "unknown", dtype) if "uses_unknown" in made.traits else None
        return made.fit(known, labels, unknown=unknown, text=World().text() if "text_bank" in made.traits else None)

    def score(self, detector: Detector, world: World, which: str = "new", dtype: str = "float32") -> np.ndarray:
        """The scores of one of the world's sets."""
        scores: np.ndarray = detector.score(world.columns(which, detector.needs, dtype))
        return scores

    def wanted(self) -> set[str | Request]:
        """All that a fit or a query reads, but for what depends on the fit: for that, what is climbed from."""
        made = self.make()
        return {need.signal if isinstance(need, Climbed) else need for need in made.needs | made.at_fit()}

    def columns(self, world: World, which: str, dtype: str = "float32") -> dict[str, np.ndarray]:
        """Arrays from which any copy can learn and, by `asked_by`, be asked."""
        return world.columns(which, self.wanted(), dtype)

    @staticmethod
    def _whole(part: Any) -> Detector:
        whole: Detector = part >> create(part.partner) if isinstance(part, Step) else part
        return whole


def asked_by(detector: Detector, columns: dict[str, Any]) -> dict[str, Any]:
    """``columns``, and under their keys what the fitted detector climbs to; in the world nothing moves."""
    climbs = [need for need in detector.needs if isinstance(need, Climbed)]
    return columns | {need.key: columns[key_of(need.signal)] for need in climbs}


def close(a: Any, b: Any, tolerance: float, what: str) -> None:
    """Raise unless two sets of scores agree, measured by the largest of them."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    scale = max(float(np.abs(y).max(initial=0.0)), 1e-12)
    worst = float(np.abs(x - y).max(initial=0.0)) / scale
    assert worst <= tolerance, f"{what}: scores differ by {worst:.1e} of the largest, {tolerance:.0e} is allowed"


def same(a: Any, b: Any, what: str) -> None:
    """Raise unless two sets of scores agree to the last bit."""
    assert np.array_equal(np.asarray(a), np.asarray(b)), f"{what}: not the same bits"


def raises(kind: type[Exception], call: Callable[[], Any], *words: str) -> None:
    """Raise unless ``call`` ends with this error, in one line with these words."""
    try:
        call()
    except kind as error:
        text = str(error)
        missing = [word for word in words if word not in text]
        assert not missing, f"the error should say {missing[0]!r}: {text!r}"
        assert "\n" not in text, f"the error should be one line: {text!r}"
    else:
        raise AssertionError(f"no {kind.__name__} was raised")


def _array(x: Any) -> np.ndarray:
    values: np.ndarray = x.numpy() if isinstance(x, torch.Tensor) else x
    return values


# --- what it is -------------------------------------------------------------------------------------------------------


@CHECKS.demand()
def arguments_are_kept_as_given(part: Part) -> None:
    """Constructor arguments are plain JSON, stored under their names, and neither construction nor fitting changes
    them.
    """
    subject = Subject(part)
    given = type(part).defaults()
    if not isinstance(part, Pipeline) and all(value is not inspect.Parameter.empty for value in given.values()):
        assert type(part)().arguments() == given, f"{type(part)().arguments()} is not {given}"
    for name in given if not isinstance(part, Pipeline) else ():
        value = part.arguments()[name]
        assert part.with_arguments(**{name: value}).arguments() == part.arguments(), f"{name} is not kept as given"
    before = json.loads(json.dumps(part.arguments()))
    assert before == part.arguments(), "the arguments do not survive JSON"
    fitted = subject.make()
    fitted.fit(World().support(fitted.at_fit()))
    held = fitted.parts()[0] if isinstance(part, Step) and isinstance(fitted, Pipeline) else fitted
    assert held.arguments() == before, "fitting changed the arguments"


@CHECKS.demand()
def traits_are_true(part: Part) -> None:
    """A part that says it is stateless holds no tensors; one that does not must be fitted."""
    detector = Subject(part).make()
    if "stateless" in detector.traits:
        tensors = [name for name, _ in detector.named_buffers() if not name.endswith("widths")]
        assert not tensors, f"holds {tensors}"
        assert detector.fitted, "needs no fit, yet says that it is not fitted"
    else:
        assert not detector.fitted, "is fitted before fit: override learn, or declare the trait 'stateless'"


# --- errors -----------------------------------------------------------------------------------------------------------


@CHECKS.demand(unless="stateless")
def unfitted_is_named(part: Part) -> None:
    """Asked before fit, it says who is not fitted and what to call."""
    detector = Subject(part).make()
    asked = World().columns("new", detector.needs)
    raises(NotFitted, lambda: detector.score(asked), detector.name, "fit")


@CHECKS.demand()
def a_missing_signal_is_named(part: Part) -> None:
    """Where a signal is missing, at fit or at score, the error says which, who reads it, and what is there."""
    world, subject = World(), Subject(part)
    detector = subject.make()
    wrong = {"something": world.columns("known", ["features"])["features"]}
    if needed := sorted(map(key_of, detector.at_fit())):
        raises(WrongUse, lambda: detector.fit(wrong, world.labels), detector.name, "something", *needed)
    fitted = subject.fit(world)
    raises(WrongUse, lambda: fitted.score(wrong), detector.name, "something", *sorted(fitted.reads()))


@CHECKS.demand(unless="stateless")
def another_width_is_named(part: Part) -> None:
    """Inputs of another width than at fit are refused with both widths."""
    world, subject = World(), Subject(part)
    detector = subject.fit(world)
    for signal, fitted in zip(sorted(detector.reads()), detector.widths.tolist(), strict=True):
        if fitted < 0:  # the fit did not ask for it
            continue
        asked = world.columns("new", detector.needs)
        width = math.prod(asked[signal].shape[1:])
        cut = asked | {signal: asked[signal][..., 1:]}
        raises(BadInput, partial(detector.score, cut), str(width), str(math.prod(cut[signal].shape[1:])))


@CHECKS.demand()
def not_a_number_is_named(part: Part) -> None:
    """NaN and infinities are refused at fit and at score, naming signal and row."""
    world, subject = World(), Subject(part)
    detector = subject.fit(world)
    for signal in sorted(detector.reads()):
        for bad in (np.nan, np.inf, -np.inf):
            known, asked = subject.columns(world, "known"), world.columns("new", detector.needs)
            for columns in (known, asked):
                if signal in columns:
                    columns[signal][17].flat[-1] = bad
            raises(BadInput, partial(detector.score, asked), f"{signal} row 17")
            if "stateless" not in part.traits and signal in set(map(key_of, subject.make().at_fit())):
                spoilt = Support(
                    Signals(known), labels=world.labels, classes=tuple(world.names), head=world.head("float32")
                )
                raises(BadInput, partial(subject.teach, spoilt), f"{signal} row 17")


@CHECKS.demand()
def no_rows(part: Part) -> None:
    """No inputs give no scores; no known inputs are refused in one line."""
    world, subject = World(), Subject(part)
    detector = subject.fit(world)
    none = {name: column[:0] for name, column in world.columns("new", detector.needs).items()}
    assert detector.score(none).shape == (0,), "no inputs should give an empty array of scores"
    empty = {name: column[:0] for name, column in subject.columns(world, "known").items()}
    raises(NotEnoughKnown, lambda: subject.teach(empty, world.labels[:0]))


# --- inputs -----------------------------------------------------------------------------------------------------------


@CHECKS.demand()
def nothing_is_written_to(part: Part) -> None:
    """Neither arrays nor tensors that are given, nor what was learnt, are changed by fit and score."""
    world, subject = World(), Subject(part)
    for convert in (lambda c: {k: v.copy() for k, v in c.items()}, as_tensors):
        known, asked = (convert(subject.columns(world, which)) for which in ("known", "new"))
        before = [{name: _array(x).copy() for name, x in columns.items()} for columns in (known, asked)]
        for columns in (known, asked):
            for x in columns.values():
                if isinstance(x, np.ndarray):
                    x.setflags(write=False)
        labels = world.labels.copy()
        support = Support(Signals(known), labels=labels, classes=tuple(world.names), head=world.head("float32"))
        detector = subject.teach(support)
        state = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
        detector.score(asked_by(detector, asked))
        for columns, old in zip((known, asked), before, strict=True):
            changed = [name for name, x in columns.items() if not np.array_equal(_array(x), old[name])]
            assert not changed, f"{changed} were written to"
        assert np.array_equal(labels, world.labels), "the labels were written to"
        moved = [name for name, tensor in detector.state_dict().items() if not torch.equal(tensor, state[name])]
        assert not moved, f"scoring changed {moved}"


@CHECKS.demand()
def a_read_only_memory_map_serves(part: Part) -> None:
    """Arrays that stay on disk give the same bits as arrays in memory."""
    world, subject = World(), Subject(part)
    columns = subject.columns(world, "known")
    with tempfile.TemporaryDirectory() as folder:
        maps = {}
        for i, (name, column) in enumerate(columns.items()):
            np.save(Path(folder) / f"{i}.npy", column)
            maps[name] = np.load(Path(folder) / f"{i}.npy", mmap_mode="r")
        support = Support(Signals(maps), labels=world.labels, classes=tuple(world.names), head=world.head("float32"))
        made = subject.teach(support)
        mapped = made.score(asked_by(made, maps))
        del maps, support
    same(mapped, made.score(asked_by(made, columns)), "from a memory map")
    fitted = subject.fit(world)
    same(mapped, fitted.score(asked_by(fitted, columns)), "learnt from a memory map")


@CHECKS.demand()
def arrays_in_arrays_out(part: Part) -> None:
    """One score an input, float32 for float32 and float64 for float64, numpy for numpy and torch for torch, finite."""
    world, subject = World(), Subject(part)
    for dtype in ("float32", "float64"):
        detector = subject.fit(world, dtype)
        asked = world.columns("new", detector.needs, dtype)
        scores = detector.score(asked)
        assert isinstance(scores, np.ndarray), f"numpy went in, {type(scores).__name__} came out"
        assert scores.shape == (N,), f"{N} inputs got scores of shape {scores.shape}"
        assert scores.dtype == dtype, f"{dtype} went in, {scores.dtype} came out"
        assert np.isfinite(scores).all(), f"{int((~np.isfinite(scores)).sum())} scores are not finite"
        tensors = detector.score(as_tensors(asked))
        assert isinstance(tensors, torch.Tensor), f"torch went in, {type(tensors).__name__} came out"
        assert not tensors.requires_grad, "scores carry gradients"
        same(tensors.numpy(), scores, "torch against numpy")


@CHECKS.demand()
def precisions_agree(part: Part) -> None:
    """Half precision and float32 give the scores of float64, up to the rounding of the inputs."""
    world, subject = World(), Subject(part)

    def ask(dtype: str, kept: torch.dtype) -> tuple[np.ndarray, ...]:
        known, new, far = (
            {k: torch.tensor(v).to(kept) for k, v in subject.columns(world, which, dtype).items()}
            for which in ("known", "new", "far")
        )
        head = world.head("float64" if kept == torch.float64 else "float32")
        support = Support(Signals(known), labels=world.labels, classes=tuple(world.names), head=head)
        detector = subject.teach(support, dtype=dtype)
        found = tuple(detector.score(asked_by(detector, asked)) for asked in (new, far))
        wanted = torch.float64 if kept == torch.float64 else torch.float32
        assert found[0].dtype == wanted, f"{kept} went in, {found[0].dtype} came out"
        return tuple(scores.double().numpy() for scores in found)

    exact = ask("float64", torch.float64)
    for dtype, kept, tolerance in (
        ("float32", torch.float32, 1e-4),
        ("float32", torch.float16, 3e-2),
        ("float32", torch.bfloat16, 2e-1),
    ):
        for which, scores, expected in zip(("new", "far"), ask(dtype, kept), exact, strict=True):
            rows = np.abs(scores - expected).argsort()[: SMOOTH if "jumps" in part.traits else N]
            close(scores[rows], expected[rows], tolerance, f"{which} inputs in {kept} against float64")


# --- independence -----------------------------------------------------------------------------------------------------


@CHECKS.demand()
def scores_do_not_depend_on_their_batch(part: Part) -> None:
    """A row has one score: alone, among others, in another order, among far inputs."""
    world, subject = World(), Subject(part)
    for dtype, tolerance in TOLERANCE.items():
        detector = subject.fit(world, dtype)
        new, far = (world.columns(which, detector.needs, dtype) for which in ("new", "far"))
        whole = detector.score(new)
        scale = float(np.abs(whole).max())

        def near(scores: np.ndarray, expected: np.ndarray, what: str, s: float = scale, t: float = tolerance) -> None:
            worst = float(np.abs(scores - expected).max()) / max(s, 1e-12)
            assert worst <= t, f"{what}: a score moves by {worst:.1e} of the largest, {t:.0e} is allowed"

        order = np.random.default_rng(1).permutation(N)
        near(detector.score({k: v[order] for k, v in new.items()}), whole[order], "in another order")
        alone = np.concatenate([detector.score({k: v[i : i + 1] for k, v in new.items()}) for i in range(8)])
        near(alone, whole[:8], "one row at a time")
        near(detector.score({k: v[3:50] for k, v in new.items()}), whole[3:50], "some of the rows")
        mixed = detector.score({k: np.concatenate([far[k], new[k]]) for k in new})
        near(mixed[N:], whole, "among far inputs")


@CHECKS.demand()
def the_same_every_time(part: Part) -> None:
    """Fitting and scoring again give the same bits, whatever the global random state, which is not touched."""
    world, subject = World(), Subject(part)
    numpy_state, torch_state = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - what must not move
    try:
        found = []
        for seed in (1, 2):
            np.random.seed(seed)  # noqa: NPY002
            torch.manual_seed(seed)
            at = np.random.get_state()[1].copy(), torch.get_rng_state()  # type: ignore[index]  # noqa: NPY002
            detector = subject.fit(world)
            found += [subject.score(detector, world), subject.score(detector, world)]
            assert np.array_equal(at[0], np.random.get_state()[1]), "numpy's global generator was used"  # type: ignore[index]  # noqa: NPY002
            assert torch.equal(at[1], torch.get_rng_state()), "torch's global generator was used"
        for other in found[1:]:
            same(other, found[0], "again")
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        torch.set_rng_state(torch_state)


@CHECKS.demand()
def fitting_again_forgets(part: Part) -> None:
    """A second fit leaves nothing of the first."""
    world, subject = World(), Subject(part)
    twice = subject.fit(world, which="new")
    twice.fit(world.support(twice.at_fit()))
    same(subject.score(twice, world), subject.score(subject.fit(world), world), "after another fit")


@CHECKS.demand(unless="sampled")
def the_order_of_known_inputs_does_not_matter(part: Part) -> None:
    """Fitted on the same rows with the same labels in another order, it is the same detector."""
    world, subject = World(), Subject(part)
    order = np.random.default_rng(2).permutation(N)
    shuffled = subject.fit(world, "float64", rows=order)
    expected = subject.score(subject.fit(world, "float64"), world, dtype="float64")
    close(subject.score(shuffled, world, dtype="float64"), expected, 1e-8, "fitted in another order")


@CHECKS.demand()
def streamed_fitting_equals_one_pass(part: Part) -> None:
    """Known inputs that arrive in small batches teach the same as all at once."""
    world, subject = World(), Subject(part)
    made = subject.make()
    whole = world.support(made.at_fit(), "float64")
    streamed = replace(whole, signals=InSmallBatches(subject.columns(world, "known", "float64")))
    made.fit(streamed)
    expected = subject.score(subject.fit(world, "float64"), world, dtype="float64")
    close(subject.score(made, world, dtype="float64"), expected, 1e-8, "fitted in batches of 17")


@CHECKS.demand()
def merged_statistics_equal_one_pass(part: Part) -> None:
    """Moments that were gathered in three places and added teach the same as those of one pass."""
    world, subject = World(), Subject(part)
    made = subject.make()
    whole = world.support(made.at_fit(), "float64")
    cuts = (slice(0, 31), slice(31, 140), slice(140, N))
    parts = [world.support(made.at_fit(), "float64", rows=rows) for rows in cuts]
    for name in whole.signals.names:
        first, second, third = (part.moments(name) for part in parts)
        whole._moments[name] = first + (second + third)
    made.fit(whole)
    expected = subject.score(subject.fit(world, "float64"), world, dtype="float64")
    close(subject.score(made, world, dtype="float64"), expected, 1e-8, "from merged moments")


# --- sense ------------------------------------------------------------------------------------------------------------


@CHECKS.demand(unless="blind_to_flat_logits")
def far_inputs_score_lower(part: Part) -> None:
    """Higher means more known: an easy far set scores below new inputs of the known classes."""
    world, subject = World(), Subject(part)
    detector = subject.fit(world)
    found = auroc(subject.score(detector, world), subject.score(detector, world, "far"))
    assert found > 0.99, f"AUROC {found:.3f} on an easy far set" + (" (is the sign turned?)" if found < 0.2 else "")


@CHECKS.demand()
def scores_vary(part: Part) -> None:
    """Different inputs get different scores."""
    world, subject = World(), Subject(part)
    scores = subject.score(subject.fit(world), world)
    distinct = len(np.unique(scores))
    assert distinct > N / 2, f"{N} inputs share {distinct} scores"


@CHECKS.demand(unless="saturates")
def confident_inputs_do_not_tie(part: Part) -> None:
    """Where logits alone are read, answers that grow surer keep apart: a float32 softmax is 1.0 beyond a gap of 17."""
    subject = Subject(part)
    detector = subject.make()
    if detector.reads() != {"logits"}:
        return
    detector.fit(World().support(detector.at_fit()))
    gaps = np.linspace(18, 80, 400, dtype=np.float32)
    rows = np.zeros((400, C), np.float32)
    rows[:, 2] = gaps
    distinct = len(np.unique(detector.score({"logits": rows})))
    assert distinct > 390, f"400 confident inputs share {distinct} scores"


@CHECKS.demand()
def large_inputs_stay_finite(part: Part) -> None:
    """Inputs a thousand times as large as the known have finite scores."""
    world, subject = World(), Subject(part)
    detector = subject.fit(world)
    for sign in (1e3, -1e3):
        asked = {name: np.float32(sign) * x for name, x in world.columns("new", detector.needs).items()}
        scores = detector.score(asked)
        assert np.isfinite(scores).all(), f"{int((~np.isfinite(scores)).sum())} of {N} scores are not finite"


@CHECKS.demand()
def little_data_is_learnt_or_refused(part: Part) -> None:
    """Few inputs, fewer than features, constant features or a single one: finite scores, or an error in one line."""
    world, subject = World(), Subject(part)
    known, asked = (subject.columns(world, which) for which in ("known", "new"))
    constant = {k: np.where(np.arange(v.shape[-1]) == 1, np.float32(2.0), v) for k, v in known.items()}
    cases = {
        "ten inputs": ({k: v[:12] for k, v in known.items()}, world.labels[:12], asked),
        "one input": ({k: v[:1] for k, v in known.items()}, world.labels[:1], asked),
        "a constant feature": (constant, world.labels, asked),
        "copies of one input": ({k: np.repeat(v[:1], N, axis=0) for k, v in known.items()}, world.labels, asked),
        "one feature, two classes": (
            {k: v[..., :1] for k, v in known.items()},
            world.labels % 2,
            {k: v[..., :1] for k, v in asked.items()},
        ),
    }
    for what, (few, labels, queries) in cases.items():
        try:
            detector = subject.teach(few, labels)
            scores = detector.score(asked_by(detector, queries))
        except UnseenError as error:
            assert "\n" not in str(error), f"{what}: the error should be one line"
        else:
            assert np.isfinite(scores).all(), f"{what}: {int((~np.isfinite(scores)).sum())} scores are not finite"


@CHECKS.demand(unless="stateless")
def fitting_has_an_effect(part: Part) -> None:
    """Other known inputs make another detector."""
    world, other, subject = World(), World(seed=1), Subject(part)
    one = subject.score(subject.fit(world), world)
    two = subject.score(subject.fit(other), world)
    assert not np.allclose(one, two, rtol=1e-4, atol=1e-6), "what was fitted changes no score"


@CHECKS.demand()
def every_argument_has_an_effect(part: Part) -> None:
    """Each constructor argument has a value that changes scores."""
    if isinstance(part, Pipeline):
        return  # its parts answer for theirs
    world = World()

    def scores(made: Any) -> list[np.ndarray]:
        detector = Subject(made).fit(world)
        return [Subject(made).score(detector, world, which) for which in ("new", "far")]

    each_argument_counts(part, scores)


def each_argument_counts(part: Part, answers: Callable[[Any], list[np.ndarray]]) -> None:
    """Raise unless each argument of the part has a value that changes its answers while the others stay.

    The others are as given, then at their defaults, as some values exclude others, then with one of them changed, as
    some arguments count only beside others: a seed where something is drawn.
    """
    for name, value in part.arguments().items():
        tried: list[str] = []
        changed = [{n: v} for n in part.arguments() if n != name for v in other_values(part, n)]
        for others in (part.arguments(), {}, *({**part.arguments(), **one} for one in changed)):
            try:
                expected = answers(type(part)(**{**others, name: value}))
            except UnseenError as error:
                tried.append(f"{value!r} ({error})")
                continue
            if any(
                _changes(answers, type(part), {**others, name: other}, expected, tried)
                for other in other_values(part, name)
            ):
                break
        else:
            raise AssertionError(f"{name}: none of {', '.join(tried) or 'no values'} changes an answer")


def _changes(
    answers: Callable[[Any], list[np.ndarray]],
    kind: type[Part],
    arguments: dict[str, Any],
    expected: list[np.ndarray],
    tried: list[str],
) -> bool:
    """Whether these arguments change an answer; if not, they are added to those that were tried."""
    try:
        found = answers(kind(**arguments))
    except UnseenError as error:
        tried.append(f"{arguments} ({error})")
        return False
    tried.append(str(arguments))
    # Each set by its own scale: far scores may be a million times as large.
    return any(not np.allclose(x, y, rtol=0, atol=1e-6 * np.abs(y).max()) for x, y in zip(found, expected, strict=True))


def other_values(part: Part, name: str) -> Iterator[Any]:
    """Other values of one argument: those of the grid, those of its type, numbers around the one given, its default,
    other layers.
    """
    value = part.arguments()[name]
    for other in part.grid.get(name, ()):
        if other != value:
            yield other
    hints = typing.get_type_hints(type(part).__init__)
    hint = hints.get(name, type(value))
    kinds = typing.get_args(hint) if not isinstance(hint, type) else (hint,)
    if typing.get_origin(hint) is Literal:
        yield from (other for other in kinds if other != value)
        return
    if bool in kinds or isinstance(value, bool):
        yield not value
    elif isinstance(value, int) or (value is None and int in kinds):
        start = value or 0
        numbers = (1, 2, start + 1, start - 1, start // 2, 2 * start, 10)
        yield from dict.fromkeys(number for number in numbers if number > 0 and number != value)
    elif isinstance(value, float) or (value is None and float in kinds):
        near = value or 0.0
        yield from dict.fromkeys(x for x in (0.5 * near, 2 * near, near + 0.5, 0.1) if x != value)
    elif name == "layers" and isinstance(value, str):
        yield from (other for other in ("-1", "-2") if other != value)
    elif isinstance(value, Mapping) and (usual := type(part).defaults()[name]) != value:
        yield usual


# --- labels -----------------------------------------------------------------------------------------------------------


@CHECKS.demand()
def labels_matter_as_declared(part: Part) -> None:
    """Labels that are ignored change nothing; labels that are read do; required ones are asked for."""
    world, subject = World(), Subject(part)
    made = subject.make()
    columns, asked = (subject.columns(world, which, "float64") for which in ("known", "new"))

    def fitted(labels: Any) -> np.ndarray:
        # Without the model's head: some methods read labels only to make one.
        detector = subject.teach(columns, labels, "float64")
        scores: np.ndarray = detector.score(asked_by(detector, asked))
        return scores

    labelled = fitted(world.labels)
    others = world.labels.copy()
    others[::7] = (others[::7] + 1) % C
    mixed = fitted(others)
    if made.labels == "ignored":
        close(mixed, labelled, 1e-9, "other labels, which are ignored")
        close(fitted(None), labelled, 1e-9, "without labels, which are ignored")
        return
    assert not np.allclose(mixed, labelled, rtol=1e-6), f"labels are {made.labels}, yet other labels change no score"
    if made.labels != "optional":
        raises(WrongUse, lambda: fitted(None), made.name, "labels")
    elif "linear_head" in made.traits:
        raises(WrongUse, lambda: fitted(None), "head", "labels")
    else:
        assert np.isfinite(fitted(None)).all(), "without its optional labels it gives no finite scores"


@CHECKS.demand()
def unknown_inputs_matter_as_declared(part: Part) -> None:
    """A method that learns from unknown inputs asks for them and learns from them; others pass over them."""
    world, subject = World(), Subject(part)
    made = subject.make()
    known, asked = (subject.columns(world, which) for which in ("known", "new"))

    def fitted(unknown: Any) -> Any:
        told: dict[str, Any] = {"head": world.head("float32"), "text": world.text()}
        support = Support(Signals(known), world.labels, tuple(world.names), **told)
        detector = subject.make().fit(support, unknown=unknown)
        return detector.score(asked_by(detector, asked))

    given = fitted(subject.columns(world, "unknown"))
    if "uses_unknown" not in made.traits:
        same(fitted(None), given, "without unknown inputs, which it does not read")
        return
    raises(WrongUse, lambda: fitted(None), made.name, "unknown")
    others = fitted(subject.columns(World(seed=1), "unknown"))
    assert not np.allclose(others, given, rtol=1e-6), "other unknown inputs change no score"


@CHECKS.demand()
def texts_matter_as_declared(part: Part) -> None:
    """A method that reads class names as texts asks for them and uses them; others pass over them."""
    world, subject = World(), Subject(part)
    made = subject.make()
    known, asked = (subject.columns(world, which) for which in ("known", "new"))
    unknown = subject.columns(world, "unknown") if "uses_unknown" in made.traits else None

    def fitted(text: TextBank | None) -> Any:
        support = Support(Signals(known), labels=world.labels, classes=tuple(world.names), head=world.head("float32"))
        detector = subject.make().fit(support, unknown=unknown, text=text)
        return detector.score(asked_by(detector, asked))

    given = fitted(world.text())
    if "text_bank" not in made.traits:
        same(fitted(None), given, "without texts, which it does not read")
        return
    raises(WrongUse, lambda: fitted(None), made.name, "text")
    others = fitted(World(seed=1).text())
    assert not np.allclose(others, given, rtol=1e-6), "other texts change no score"
    bank = world.text()
    narrow = TextBank(
        bank.positive[:, 1:], bank.classes, bank.negative[:, 1:], bank.words, opposite=torch.ones(C, D - 1)
    )
    raises(BadInput, lambda: fitted(narrow), str(D), str(D - 1))


@CHECKS.demand()
def labels_of_every_kind(part: Part) -> None:
    """Names and integers teach the same; negative, missing, fractional or too few labels are named errors."""
    world, subject = World(), Subject(part)
    columns, asked = (subject.columns(world, which) for which in ("known", "new"))

    def fitted(labels: Any) -> Any:
        detector = subject.teach(columns, labels)
        return detector.score(asked_by(detector, asked))

    numbers = fitted(world.labels)
    for what, labels in (
        ("strings", [f"class {code}" for code in world.labels]),
        ("a tensor", torch.tensor(world.labels)),
        ("unsigned bytes", world.labels.astype(np.uint8)),
        ("codes with gaps", 10 * world.labels + 3),
    ):
        same(fitted(labels), numbers, what)
    raises(BadInput, lambda: subject.teach(columns, world.labels - 1), "row 0", "from 0")
    absent = [None if row == 5 else f"class {code}" for row, code in enumerate(world.labels)]
    raises(BadInput, lambda: subject.teach(columns, absent), "row 5")
    raises(BadInput, lambda: subject.teach(columns, world.labels + 0.5), "row 0")
    raises(BadInput, lambda: subject.teach(columns, world.labels[:-1]), f"{N}", f"{N - 1}")


@CHECKS.demand()
def one_class_is_learnt_or_refused(part: Part) -> None:
    """One class, or a class without inputs, gives finite scores or an error in one line."""
    world, subject = World(), Subject(part)
    columns, asked = (subject.columns(world, which) for which in ("known", "new"))
    gap = Support(Signals(columns), labels=np.where(world.labels == 2, 3, world.labels), classes=tuple(world.names))
    for what, known in (("one class", Support.of(columns, ["only"] * N)), ("a class without inputs", gap)):
        try:
            detector = subject.teach(known)
            scores = detector.score(asked_by(detector, asked))
        except UnseenError as error:
            assert "\n" not in str(error), f"{what}: the error should be one line"
        else:
            assert np.isfinite(scores).all(), f"{what}: {int((~np.isfinite(scores)).sum())} scores are not finite"


# --- to a file and back -----------------------------------------------------------------------------------------------


@CHECKS.demand()
def saved_state_answers_with_the_same_bits(part: Part) -> None:
    """Tensors through safetensors and arguments through JSON make the same detector, also over another fit; so do
    copies and pickles.
    """
    world, subject = World(), Subject(part)
    detector = subject.fit(world)
    expected = subject.score(detector, world)
    plain = {name: tensor.detach().contiguous().clone() for name, tensor in detector.state_dict().items()}
    other = subject.make()
    other.load_state_dict(from_safetensors(to_safetensors(plain)))
    same(subject.score(other, world), expected, "after saving and loading")
    used = subject.fit(world, which="new")
    subject.score(used, world)  # so that whatever is made at the first score is there, and must give way
    used.load_state_dict(plain)
    same(subject.score(used, world), expected, "loaded over another fit")
    same(subject.score(copy.deepcopy(detector), world), expected, "a deep copy")
    held = io.BytesIO()
    pickle.dump(detector, held)
    same(subject.score(pickle.loads(held.getvalue()), world), expected, "a pickle")


@CHECKS.demand(unless="not_exportable")
def exports_with_any_batch(part: Part) -> None:
    """`torch.export` takes it, with batches of any size, and agrees."""
    world, subject = World(), Subject(part)
    detector = subject.fit(world)
    asked = as_tensors(world.columns("new", detector.needs))
    numbered = {f"signal_{i}": name for i, name in enumerate(sorted(asked))}
    batch = torch.export.Dim("batch", min=1, max=4096)
    first = {number: asked[name][:4] for number, name in numbered.items()}
    program = torch.export.export(
        _Numbered(detector, numbered), (first,), dynamic_shapes=({number: {0: batch} for number in numbered},)
    )
    with torch.inference_mode():
        for rows in (1, 5, N):
            some = {name: x[:rows] for name, x in asked.items()}
            found = program.module()({number: some[name] for number, name in numbered.items()})
            close(found, detector(some), 1e-5, f"exported, {rows} rows")


class _Numbered(torch.nn.Module):
    """A detector with numbered signals: torch writes their names into code, and a request's has quotes."""

    def __init__(self, detector: Detector, names: Mapping[str, str]) -> None:
        super().__init__()
        self.detector, self.names = detector, names

    def forward(self, signals: Mapping[str, torch.Tensor]) -> torch.Tensor:
        scores: torch.Tensor = self.detector({name: signals[number] for number, name in self.names.items()})
        return scores


@CHECKS.demand(unless="not_exportable", extra="onnx")
def onnx_runtime_agrees(part: Part) -> None:
    """Written as ONNX and run by ONNX Runtime it gives the same scores, with batches of any size."""
    from unseen.onnx import export_part

    world, subject = World(), Subject(part)
    detector = subject.fit(world)
    columns = world.columns("new", detector.needs)
    with tempfile.TemporaryDirectory() as folder:
        run = export_part(detector, as_tensors(columns), Path(folder) / "part.onnx")
        for rows in (1, 5, N):
            some = {name: x[:rows] for name, x in columns.items()}
            close(run(some), detector.score(some), 1e-5, f"ONNX Runtime, {rows} rows")


# --- golden values ----------------------------------------------------------------------------------------------------


def scores_are_those_of_the_oracle(part: Part, oracle: Callable[..., Any]) -> None:
    """Compare with an independent float64 computation, on new and far inputs."""
    world, subject = World(), Subject(part)
    wanted = {"features", "logits", *subject.wanted()}
    known, head = world.columns("known", wanted, "float64"), world.head()
    pair = head.weight.numpy(), head.bias.numpy()
    uses = "uses_unknown" in subject.make().traits
    beside: dict[str, Any] = {"unknown": world.columns("unknown", wanted, "float64")} if uses else {}
    if "text_bank" in subject.make().traits:
        beside["text"] = text_rows(world.text())
    for which in ("new", "far"):
        asked = world.columns(which, wanted, "float64")
        expected = oracle(dict(known), world.labels.copy(), dict(asked), pair, **beside, **part.arguments())
        for dtype, tolerance in (("float64", 1e-6), ("float32", 1e-4)):
            detector = subject.fit(world, dtype)
            found = subject.score(detector, world, which, dtype)
            close(found, expected, tolerance, f"{which} inputs against the oracle, {dtype}")
