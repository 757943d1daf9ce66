"""Networks of pairs in files: the same answers, and files that are something else."""

import json

import pytest
import torch
from safetensors.torch import save_file

from unseen.errors import BadInput, DamagedFile
from unseen.networks.relation import Relation
from unseen.networks.stored import load_relation
from unseen.objectives.relational import Relational

SHAPE = {"features": 6, "width": 24, "blocks": 2, "heads": 2, "hidden": 2, "outputs": 1}
ABOUT = {"kind": "relation", "network": json.dumps(SHAPE), "encoder": "some:id", "logit_scale": "10.0"}


@pytest.fixture
def tensors():
    torch.manual_seed(0)
    return Relation(**SHAPE).state_dict()


def write(path, tensors, **about):
    save_file(tensors, path, {key: value for key, value in (ABOUT | about).items() if value is not None})
    return path


@pytest.mark.parametrize(
    "arguments",
    [{"width": 24, "blocks": 2, "heads": 2, "hidden": 2}, {"criterion": "ce", "width": 12, "heads": 1}]
    + [{"aggregation": mode} for mode in ("max", "concat")],
)
def test_what_the_objective_writes_is_read(arguments, tmp_path):
    """After a step in training, so that the running means of batch norm are no longer those of the start."""
    torch.manual_seed(0)
    objective = Relational(**arguments)
    objective.build(6, 3)
    objective.relation.train()(*torch.randn(2, 8, 6))
    save_file(objective.tensors(), tmp_path / "w.safetensors", objective.metadata() | {"encoder": "some:id"})
    found = load_relation(tmp_path / "w.safetensors")
    a, b = torch.randn(2, 9, 6)
    with torch.no_grad():
        assert torch.equal(found.network(a, b), objective.relation.eval()(a, b))
    assert found.encoder == "some:id"
    assert found.logit_scale == (1.0 if arguments.get("criterion") == "ce" else 10.0)
    assert not any(p.requires_grad for p in found.network.parameters())
    assert not found.network.training


def test_half_precision_is_raised(tensors, tmp_path):
    halves = {name: tensor.half() for name, tensor in tensors.items()}
    network = load_relation(write(tmp_path / "w.safetensors", halves)).network
    assert all(torch.equal(t, halves[name].float()) for name, t in network.state_dict().items())
    assert {t.dtype for t in network.state_dict().values()} == {torch.float32}


def test_no_random_number_is_drawn(tensors, tmp_path):
    path = write(tmp_path / "w.safetensors", tensors)
    before = torch.random.get_rng_state()
    load_relation(path)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"kind": None}, "does not say what it holds: give the weights of a network of pairs"),
        ({"kind": "head"}, "holds 'head'"),
        ({"network": None}, "cannot be read"),
        ({"network": "{"}, "cannot be read"),
        ({"network": "[1]"}, "cannot be read"),
        ({"network": '{"depth": 3}'}, "cannot be read"),
        ({"network": json.dumps(SHAPE | {"heads": 5})}, "cannot be read"),
        ({"network": json.dumps(SHAPE | {"width": 48})}, "have another shape for"),
        ({"network": json.dumps(SHAPE | {"blocks": 3})}, r"lack blocks.2.* such tensors"),
        ({"network": json.dumps(SHAPE | {"blocks": 1})}, r"unknown blocks.1"),
        ({"logit_scale": "ten"}, "logit_scale='ten'"),
        ({"logit_scale": "-1"}, "logit_scale='-1'"),
    ],
)
def test_other_files_are_refused(about, said, tensors, tmp_path):
    path = write(tmp_path / "w.safetensors", tensors, **about)
    with pytest.raises(BadInput, match=said) as error:
        load_relation(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_number_that_is_none(tensors, tmp_path):
    tensors["head.bias"][0] = torch.nan
    with pytest.raises(BadInput, match=r"head\.bias holds a number that is not finite"):
        load_relation(write(tmp_path / "w.safetensors", tensors))


def test_damaged_and_absent(tensors, tmp_path):
    path = write(tmp_path / "w.safetensors", tensors)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DamagedFile, match="not a whole safetensors file"):
        load_relation(path)
    with pytest.raises(BadInput, match="no such weights file"):
        load_relation(tmp_path / "none.safetensors")
