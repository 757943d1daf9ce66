"""What every head must do."""

from __future__ import annotations

import copy
import io
import json
import pickle
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors

from unseen.checks._suite import Checks
from unseen.checks._world import C, D, InSmallBatches, N, World
from unseen.checks.detectors import close, each_argument_counts, raises, same
from unseen.errors import BadInput, NotEnoughKnown, NotFitted, UnseenError, WrongUse
from unseen.heads.base import Head
from unseen.signals import Signals, Support

CHECKS = Checks()


def logits(head: Head, x: np.ndarray) -> np.ndarray:
    """What the head answers."""
    with torch.no_grad():
        answered: np.ndarray = head.apply_to({"features": torch.tensor(x)})["logits"].numpy()
    return answered


def fitted(head: Head, world: World, dtype: str = "float32", **options: Any) -> Head:
    """A copy that has learnt the world's known inputs."""
    return copy.deepcopy(head).fit(world.support(["features"], dtype, **options))


def new(world: World, dtype: str = "float32") -> np.ndarray:
    """Features of new inputs."""
    return world.columns("new", ["features"], dtype)["features"]


@CHECKS.demand()
def one_logit_a_class(head: Head) -> None:
    """Logits are (B, C), finite, in the precision of the features, and linear in them."""
    world = World()
    for dtype in ("float32", "float64"):
        made = fitted(head, world, dtype)
        found = logits(made, new(world, dtype))
        assert found.shape == (N, C), f"{N} inputs of {C} classes got logits of shape {found.shape}"
        assert found.dtype == dtype, f"{dtype} went in, {found.dtype} came out"
        assert np.isfinite(found).all(), "logits are not finite"
        assert made.weight.shape == (C, D), f"weight is {tuple(made.weight.shape)}"
        assert made.bias.shape == (C,), f"bias is {tuple(made.bias.shape)}"
        expected = new(world, dtype).astype(np.float64) @ made.weight.double().numpy().T + made.bias.double().numpy()
        close(found, expected, 1e-5, "weight and bias against the logits")


@CHECKS.demand()
def the_largest_logit_names_the_class(head: Head) -> None:
    """New inputs of well separated classes are named right: column i is class i of the support."""
    world = World()
    share = float((logits(fitted(head, world), new(world)).argmax(axis=1) == world.labels).mean())
    assert share > 0.9, f"{100 * share:.0f} % of new inputs of well separated classes are named right"


@CHECKS.demand()
def unfitted_is_named(head: Head) -> None:
    """Asked before fit, it says who is not fitted and what to call."""
    asked = Signals(World().columns("new", ["features"]))
    raises(NotFitted, lambda: head.check_ready(asked), head.name, "fit")


@CHECKS.demand()
def labels_are_asked_for(head: Head) -> None:
    """Without labels there are no classes, and one class is no classifier: errors in one line."""
    world = World()
    columns, model = world.columns("known", ["features"]), world.head("float32")
    raises(WrongUse, lambda: head.fit(columns, head=model), head.name, "labels")
    one = replace(model, classes=("only", *world.names[1:]))
    raises(NotEnoughKnown, lambda: head.fit(columns, ["only"] * N, head=one), "two classes")


@CHECKS.demand()
def not_a_number_is_named(head: Head) -> None:
    """NaN and infinities are refused at fit, naming signal and row."""
    world = World()
    for bad in (np.nan, np.inf):
        columns = world.columns("known", ["features"])
        columns["features"][17, 3] = bad
        spoilt = Support(Signals(columns), labels=world.labels, classes=tuple(world.names), head=world.head("float32"))
        if type(head).__name__ != "Own":  # reads no features at the fit: weights come from the model
            raises(BadInput, partial(copy.deepcopy(head).fit, spoilt), "features row 17")


@CHECKS.demand()
def nothing_is_written_to(head: Head) -> None:
    """Arrays that are given are not changed."""
    world = World()
    columns = world.columns("known", ["features"])
    before = columns["features"].copy()
    columns["features"].setflags(write=False)
    labels = world.labels.copy()
    head.fit(Support(Signals(columns), labels=labels, classes=tuple(world.names), head=world.head("float32")))
    logits(head, columns["features"])
    assert np.array_equal(columns["features"], before), "the features were written to"
    assert np.array_equal(labels, world.labels), "the labels were written to"


@CHECKS.demand()
def the_same_every_time(head: Head) -> None:
    """Fitting again gives the same bits, whatever the global random state."""
    world = World()
    state = torch.get_rng_state()
    try:
        found = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            at = torch.get_rng_state()
            found.append(logits(fitted(head, world), new(world)))
            assert torch.equal(at, torch.get_rng_state()), "torch's global generator was used"
        same(found[1], found[0], "fitted again")
    finally:
        torch.set_rng_state(state)


@CHECKS.demand(unless="sampled")
def the_order_of_known_inputs_does_not_matter(head: Head) -> None:
    """Fitted on the same rows in another order, it is the same head."""
    world = World()
    order = np.random.default_rng(2).permutation(N)
    expected = logits(fitted(head, world, "float64"), new(world, "float64"))
    close(logits(fitted(head, world, "float64", rows=order), new(world, "float64")), expected, 1e-8, "another order")


@CHECKS.demand()
def streamed_fitting_equals_one_pass(head: Head) -> None:
    """Known inputs that arrive in small batches teach the same as all at once."""
    world = World()
    whole = world.support(["features"], "float64")
    streamed = replace(whole, signals=InSmallBatches(world.columns("known", ["features"], "float64")))
    expected = logits(fitted(head, world, "float64"), new(world, "float64"))
    close(logits(copy.deepcopy(head).fit(streamed), new(world, "float64")), expected, 1e-8, "in batches of 17")


@CHECKS.demand(unless="sampled")
def a_class_taken_away_was_never_there(head: Head) -> None:
    """Leaving a class out of a support, by subtraction, gives the head that never met it."""
    world = World()
    whole = world.support(["features"], "float64")
    whole.moments("features")
    kept = np.flatnonzero(world.labels != 2)
    names = [name for name in world.names if name != "class 2"]
    fresh = Support(
        Signals({"features": world.columns("known", ["features"], "float64")["features"][kept]}),
        labels=world.labels[kept] - (world.labels[kept] > 2),
        classes=tuple(names),
        head=world.head().select(names),
    )
    x = new(world, "float64")
    expected = logits(copy.deepcopy(head).fit(fresh), x)
    close(logits(copy.deepcopy(head).fit(whole.without("class 2")), x), expected, 1e-8, "without a class")


@CHECKS.demand()
def fitting_has_an_effect(head: Head) -> None:
    """Other known inputs, or another model, make another head."""
    x = new(World())
    one, two = (logits(fitted(head, world), x) for world in (World(), World(seed=1)))
    assert not np.allclose(one, two, rtol=1e-3), "what was fitted changes no logit"


@CHECKS.demand()
def every_argument_has_an_effect(head: Head) -> None:
    """Each constructor argument has a value that changes logits."""
    world = World()
    each_argument_counts(head, lambda made: [logits(fitted(made, world), new(world))])


@CHECKS.demand()
def saved_state_answers_with_the_same_bits(head: Head) -> None:
    """Tensors through safetensors and arguments through JSON make the same head; so do copies and pickles."""
    world = World()
    made = fitted(head, world)
    expected = logits(made, new(world))
    assert json.loads(json.dumps(head.arguments())) == head.arguments(), "the arguments do not survive JSON"
    other = copy.deepcopy(head)
    other.load_state_dict(from_safetensors(to_safetensors({k: v.clone() for k, v in made.state_dict().items()})))
    same(logits(other, new(world)), expected, "after saving and loading")
    same(logits(copy.deepcopy(made), new(world)), expected, "a deep copy")
    held = io.BytesIO()
    pickle.dump(made, held)
    same(logits(pickle.loads(held.getvalue()), new(world)), expected, "a pickle")


@CHECKS.demand()
def few_inputs_are_learnt_or_refused(head: Head) -> None:
    """One or two inputs a class, or copies of one input, give finite logits or an error in one line."""
    world = World()
    x = world.columns("known", ["features"])["features"]
    model = world.head("float32")
    for what, rows in (
        ("one input a class", np.arange(C)),
        ("two inputs a class", np.arange(2 * C)),
        ("copies of one input", np.zeros(N, int)),
    ):
        labels = world.labels[: len(rows)]
        support = Support(Signals({"features": x[rows]}), labels=labels, classes=tuple(world.names), head=model)
        try:
            found = logits(copy.deepcopy(head).fit(support), x)
        except UnseenError as error:
            assert "\n" not in str(error), f"{what}: the error should be one line"
        else:
            assert np.isfinite(found).all(), f"{what}: logits are not finite"
