"""What every objective must do; found by their files."""

import numpy as np
import pytest
import torch
from torch import nn

from unseen import registry
from unseen.data.batch import Batch
from unseen.errors import NotFitted, WrongUse
from unseen.files import to_json

WIDTH, CLASSES, ROWS = 6, 3, 24


@pytest.fixture(params=registry.names("objectives"))
def kind(request):
    return registry.find("objectives", request.param)


def make(kind, seed=0):
    return kind(**kind.small).build(WIDTH, CLASSES, torch.zeros(2, WIDTH), seed=seed)


def a_batch(objective):
    """A batch of its own order."""
    labels = np.arange(ROWS) % CLASSES
    features = torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(0))
    order = objective.order(labels, ROWS, 12, 0, 0)
    index = np.arange(12) if order is None else order[0].index
    pairs = None if order is None or order[0].pairs is None else torch.from_numpy(order[0].pairs)
    more = {
        name: torch.randn(12, WIDTH) for name in ("outliers", "unlabeled_pool", "aux_stream") if name in objective.needs
    }
    view = features[index] + 0.1 if "two_views" in objective.needs else None
    y = torch.from_numpy(labels[index])
    return Batch(features[index], torch.from_numpy(index), y=y, view=view, pairs=pairs, **more)


def test_arguments_are_stored_as_given_and_go_through_json(kind):
    objective = kind(**kind.small)
    assert objective.arguments() == {**kind().arguments(), **kind.small}
    assert objective.describe() == {"room": "objectives", "name": objective.name, "arguments": objective.arguments()}
    to_json(objective.describe())
    assert make(kind).metadata()["objective"] == objective.name
    assert objective.paper is not None
    assert set(objective.phases)


def test_one_seed_builds_one_thing_and_moves_no_global_generator(kind):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, again, other = make(kind), make(kind), make(kind, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), again.state_dict().values(), strict=True))
    assert not all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )
    assert one.tensors().keys() == again.tensors().keys() != set()


def test_every_phase_has_a_loss_that_its_own_tensors_feel(kind):
    objective, encoder = make(kind), nn.Linear(WIDTH, WIDTH)
    held = a_batch(objective)
    for phase in objective.phases:
        said = objective.loss(held, encoder, phase)
        assert next(iter(said)) == "loss"
        assert all(value.shape == () for value in said.values())
        assert torch.isfinite(said["loss"])
        groups = objective.groups(phase, encoder, 0.1, 0.01)
        said["loss"].backward()
        moved = [p for group in groups for p in group["params"]]
        assert moved
        assert any(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in moved)
        assert all({"lr", "weight_decay"} <= group.keys() for group in groups)


def test_outputs_of_a_row_do_not_depend_on_the_others(kind):
    objective, encoder = make(kind).eval(), nn.Linear(WIDTH, WIDTH).eval()
    x = torch.randn(9, WIDTH, generator=torch.Generator().manual_seed(1))
    whole = objective.outputs(x, encoder)
    assert whole["features"].shape[0] == 9
    for row in range(9):
        alone = objective.outputs(x[row : row + 1], encoder)
        for name, value in whole.items():
            torch.testing.assert_close(alone[name][0], value[row], rtol=1e-5, atol=1e-6)


def test_orders_are_functions_of_their_arguments(kind):
    objective, labels = kind(**kind.small), np.arange(ROWS) % CLASSES
    one, again = (objective.order(labels, ROWS, 12, 0, 3) for _ in range(2))
    assert (one is None) == (again is None)
    if one is None:
        return
    lengths = {len(objective.order(labels, ROWS, 12, 0, epoch)) for epoch in range(4)}
    assert len(lengths) == 1
    for a, b in zip(one, again, strict=True):
        assert a.index.tolist() == b.index.tolist()
        assert a.index.max() < ROWS
    assert one[0].index.tolist() != objective.order(labels, ROWS, 12, 0, 4)[0].index.tolist()


def test_it_must_be_built(kind):
    with pytest.raises(NotFitted, match="is not built"):
        kind(**kind.small).check_built()
    with pytest.raises(WrongUse, match="width 0"):
        kind(**kind.small).build(0, 3)


def test_expressions():
    assert registry.create_objective("relational").ratio == 20
    assert registry.create_objective("relational(ratio=1, pairing='in_batch')").pairing == "in_batch"
    for text, says in (
        ("relation", "no objective is called 'relation': did you mean 'relational'"),
        ("knn", "no objective is called 'knn'"),
        ("relational(n=5)", "it has no n"),
        ("relational >> knn", "is not an objective"),
        ("a.b()", "is not an objective"),
        ("(", "is not an objective"),
    ):
        with pytest.raises(WrongUse, match=says):
            registry.create_objective(text)
    with pytest.raises(WrongUse, match="no detector, step or head is called 'relational'"):
        registry.create("relational")
