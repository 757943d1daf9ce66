"""What every head must do."""

from __future__ import annotations

import copy
import io
import json
import pickle
from collections.abc import Mapping
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
from unseen.signals import Signals, Support, key_of

CHECKS = Checks()
READ_NOTHING = ("own", "zero_shot")  # heads whose weights come with the model or the texts, not from known inputs


def logits(head: Head, x: Mapping[str, np.ndarray]) -> np.ndarray:
    """What the head answers."""
    batch = {name: torch.tensor(column) for name, column in x.items()}
    with torch.no_grad():
        answered: np.ndarray = head.apply_to(batch)["logits"].numpy()
    return answered


def fitted(head: Head, world: World, dtype: str = "float32", **options: Any) -> Head:
    """A copy that has learnt the world's known inputs."""
    return copy.deepcopy(head).fit(world.support(head.at_fit(), dtype, **options))


def new(head: Head, world: World, dtype: str = "float32") -> dict[str, np.ndarray]:
    """What the head reads of new inputs."""
    return world.columns("new", head.needs, dtype)


def known(head: Head, world: World, dtype: str = "float32") -> dict[str, np.ndarray]:
    """What a fit of the head reads, and what it answers to, of known inputs."""
    return world.columns("known", head.at_fit() | head.needs, dtype)


def support(world: World, columns: Mapping[str, Any], labels: Any = None, **more: Any) -> Support:
    """Known inputs with the labels, the model's layer and the texts of the world, where no others are given."""
    given: dict[str, Any] = {"head": world.head("float32"), "text": world.text(), "classes": tuple(world.names)}
    return Support(Signals(columns), labels=world.labels if labels is None else labels, **(given | more))


@CHECKS.demand()
def one_logit_a_class(head: Head) -> None:
    """Logits are (B, C), finite, in the precision of what is read, and those of the layer that the head tells of;
    labels that it gives are of its columns.
    """
    world = World()
    for dtype in ("float32", "float64"):
        made = fitted(head, world, dtype)
        x = new(head, world, dtype)
        found = logits(made, x)
        assert found.shape == (N, C), f"{N} inputs of {C} classes got logits of shape {found.shape}"
        assert found.dtype == dtype, f"{dtype} went in, {found.dtype} came out"
        assert np.isfinite(found).all(), "logits are not finite"
        assert made.weight.shape == (C, D), f"weight is {tuple(made.weight.shape)}"
        assert made.bias.shape == (C,), f"bias is {tuple(made.bias.shape)}"
        taught = world.support(head.at_fit(), dtype)
        assert made.named(taught) == tuple(world.names), f"columns are named {made.named(taught)}"
        layer = made.linear(taught)
        if layer is not None:
            rows = x["features"].astype(np.float64)
            expected = rows @ layer.weight.double().numpy().T + layer.bias.double().numpy()
            close(found, expected, 1e-5, "weight and bias against the logits")
        else:
            assert head.reads() != {"features"}, "it reads features alone and tells of no layer"
        told = made.tells(taught)
        assert (told.head is None) == (layer is None), "what it tells later parts is not whether there is a layer"
        if head.gives_labels:
            assert told.labels is not None, "it says that it gives labels, and tells of none"
            assert told.classes == tuple(world.names), f"the labels that it gives are of {told.classes}"


@CHECKS.demand()
def the_largest_logit_names_the_class(head: Head) -> None:
    """New inputs of well separated classes are named right: column i is class i of the support."""
    world = World()
    share = float((logits(fitted(head, world), new(head, world)).argmax(axis=1) == world.labels).mean())
    assert share > 0.9, f"{100 * share:.0f} % of new inputs of well separated classes are named right"


@CHECKS.demand()
def unfitted_is_named(head: Head) -> None:
    """Asked before fit, it says who is not fitted and what to call."""
    asked = Signals(new(head, World()))
    raises(NotFitted, lambda: head.check_ready(asked), head.name, "fit")


@CHECKS.demand()
def labels_are_asked_for(head: Head) -> None:
    """Without labels there are no classes, and one class is no classifier: errors in one line. Labels that are ignored
    change nothing, and names as texts are asked for in their place.
    """
    world = World()
    columns, model, texts = known(head, world), world.head("float32"), world.text()
    one = replace(model, classes=("only", *world.names[1:]))
    if head.labels == "ignored":
        raises(WrongUse, lambda: head.fit(columns, world.labels, head=model), head.name, "text")
        alone = texts.select(world.names[:1])
        raises(NotEnoughKnown, lambda: copy.deepcopy(head).fit(columns, text=alone), "two classes")
        x = new(head, world)
        expected = logits(copy.deepcopy(head).fit(columns, text=texts), x)
        same(
            logits(copy.deepcopy(head).fit(columns, world.labels[::-1].copy(), text=texts), x), expected, "with labels"
        )
        return
    raises(WrongUse, lambda: head.fit(columns, head=model), head.name, "labels")
    raises(NotEnoughKnown, lambda: head.fit(columns, ["only"] * N, head=one), "two classes")


@CHECKS.demand()
def not_a_number_is_named(head: Head) -> None:
    """NaN and infinities are refused at fit, naming signal and row."""
    world = World()
    for signal in sorted(map(key_of, head.at_fit())):
        for bad in (np.nan, np.inf):
            columns = known(head, world)
            columns[signal][17, 3] = bad
            if head.name not in READ_NOTHING:
                spoilt = support(world, columns)
                raises(BadInput, partial(copy.deepcopy(head).fit, spoilt), f"{signal} row 17")


@CHECKS.demand()
def nothing_is_written_to(head: Head) -> None:
    """Arrays that are given are not changed."""
    world = World()
    columns = known(head, world)
    before = {name: column.copy() for name, column in columns.items()}
    for column in columns.values():
        column.setflags(write=False)
    labels = world.labels.copy()
    head.fit(support(world, columns, labels))
    logits(head, {name: columns[name] for name in head.reads()})
    changed = [name for name, column in columns.items() if not np.array_equal(column, before[name])]
    assert not changed, f"{changed} were written to"
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
            found.append(logits(fitted(head, world), new(head, world)))
            assert torch.equal(at, torch.get_rng_state()), "torch's global generator was used"
        same(found[1], found[0], "fitted again")
    finally:
        torch.set_rng_state(state)


@CHECKS.demand(unless="sampled")
def the_order_of_known_inputs_does_not_matter(head: Head) -> None:
    """Fitted on the same rows in another order, it is the same head."""
    world = World()
    order = np.random.default_rng(2).permutation(N)
    expected = logits(fitted(head, world, "float64"), new(head, world, "float64"))
    close(
        logits(fitted(head, world, "float64", rows=order), new(head, world, "float64")), expected, 1e-8, "another order"
    )


@CHECKS.demand()
def streamed_fitting_equals_one_pass(head: Head) -> None:
    """Known inputs that arrive in small batches teach the same as all at once."""
    world = World()
    whole = world.support(head.at_fit(), "float64")
    streamed = replace(whole, signals=InSmallBatches(known(head, world, "float64")))
    expected = logits(fitted(head, world, "float64"), new(head, world, "float64"))
    close(logits(copy.deepcopy(head).fit(streamed), new(head, world, "float64")), expected, 1e-8, "in batches of 17")


@CHECKS.demand(unless="sampled")
def a_class_taken_away_was_never_there(head: Head) -> None:
    """Leaving a class out of a support, by subtraction, gives the head that never met it."""
    world = World()
    whole = world.support(head.at_fit(), "float64")
    for signal in whole.signals.names:
        whole.moments(signal)
    kept = np.flatnonzero(world.labels != 2)
    names = [name for name in world.names if name != "class 2"]
    fresh = support(
        world,
        {name: column[kept] for name, column in known(head, world, "float64").items()},
        world.labels[kept] - (world.labels[kept] > 2),
        classes=tuple(names),
        head=world.head().select(names),
        text=world.text().select(names),
    )
    x = new(head, world, "float64")
    expected = logits(copy.deepcopy(head).fit(fresh), x)
    close(logits(copy.deepcopy(head).fit(whole.without("class 2")), x), expected, 1e-8, "without a class")


@CHECKS.demand()
def fitting_has_an_effect(head: Head) -> None:
    """Other known inputs, or another model, make another head."""
    x = new(head, World())
    one, two = (logits(fitted(head, world), x) for world in (World(), World(seed=1)))
    assert not np.allclose(one, two, rtol=1e-3), "what was fitted changes no logit"


@CHECKS.demand()
def every_argument_has_an_effect(head: Head) -> None:
    """Each constructor argument has a value that changes logits."""
    world = World()
    each_argument_counts(head, lambda made: [logits(fitted(made, world), new(made, world))])


@CHECKS.demand()
def saved_state_answers_with_the_same_bits(head: Head) -> None:
    """Tensors through safetensors and arguments through JSON make the same head; so do copies and pickles."""
    world = World()
    made = fitted(head, world)
    expected = logits(made, new(head, world))
    assert json.loads(json.dumps(head.arguments())) == head.arguments(), "the arguments do not survive JSON"
    other = copy.deepcopy(head)
    other.load_state_dict(from_safetensors(to_safetensors({k: v.clone() for k, v in made.state_dict().items()})))
    same(logits(other, new(head, world)), expected, "after saving and loading")
    same(logits(copy.deepcopy(made), new(head, world)), expected, "a deep copy")
    held = io.BytesIO()
    pickle.dump(made, held)
    same(logits(pickle.loads(held.getvalue()), new(head, world)), expected, "a pickle")


@CHECKS.demand()
def few_inputs_are_learnt_or_refused(head: Head) -> None:
    """One or two inputs a class, or copies of one input, give finite logits or an error in one line."""
    world = World()
    columns = known(head, world)
    for what, rows in (
        ("one input a class", np.arange(C)),
        ("two inputs a class", np.arange(2 * C)),
        ("copies of one input", np.zeros(N, int)),
    ):
        few = {name: column[rows] for name, column in columns.items()}
        try:
            made = copy.deepcopy(head).fit(support(world, few, world.labels[: len(rows)]))
        except UnseenError as error:
            assert "\n" not in str(error), f"{what}: the error should be one line"
        else:
            found = logits(made, {name: columns[name] for name in head.reads()})
            assert np.isfinite(found).all(), f"{what}: logits are not finite"
