"""The networks of pairs: sizes, symmetry, slopes, and what is random at the start."""

import pytest
import torch
from torch import nn

from unseen.errors import WrongUse
from unseen.networks.pair_mlp import PairMLP
from unseen.networks.relation import Relation


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_sizes_are_those_of_the_paper():
    network = Relation()
    assert count(network) == 28_748_545
    assert count(network.proj) == 393_984
    assert network.cls_token.numel() == 768
    assert [count(block) for block in network.blocks] == [7_087_872] * 4
    assert (count(network.blocks[0].attn.qkv), count(network.blocks[0].attn.proj)) == (1_771_776, 590_592)
    assert count(network.blocks[0].mlp) == 4_722_432
    assert (count(network.norm), count(network.head)) == (1_536, 769)
    assert count(Relation(outputs=2)) == 28_748_545 + 769


@pytest.mark.parametrize(("mode", "size"), [("max", 27_556_353), ("sum", 27_556_353), ("concat", 29_653_505)])
def test_sizes_of_the_ablation(mode, size):
    assert count(PairMLP(mode=mode)) == size


def test_names_are_those_of_the_checkpoints():
    names = set(Relation(features=4, width=4, blocks=1, heads=1).state_dict())
    block = {f"blocks.0.{name}.{kind}" for name in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
             for kind in ("weight", "bias")}  # fmt: skip
    rest = {f"{name}.{kind}" for name in ("proj", "norm", "head") for kind in ("weight", "bias")}
    assert names == block | rest | {"cls_token"}


@pytest.fixture
def small():
    torch.manual_seed(0)
    return Relation(features=6, width=24, blocks=2, heads=2).double()


def test_the_order_of_two_inputs_does_not_matter(small):
    a, b = torch.randn(2, 20, 6, dtype=torch.float64)
    assert torch.allclose(small(a, b), small(b, a), rtol=0, atol=1e-12)
    assert not torch.allclose(small(a, b), small(a, a))


@pytest.mark.parametrize(("mode", "alike"), [("max", True), ("sum", True), ("concat", False)])
def test_the_order_matters_to_a_concatenation_alone(mode, alike):
    torch.manual_seed(0)
    network = PairMLP(features=6, mode=mode).eval()
    a, b = torch.randn(2, 5, 6)
    assert torch.allclose(network(a, b), network(b, a)) == alike


def test_a_pair_does_not_depend_on_its_batch(small):
    a, b = torch.randn(2, 20, 6, dtype=torch.float64)
    assert torch.allclose(small(a, b)[3:4], small(a[3:4], b[3:4]), atol=1e-12)


def test_slopes(small):
    a, b = (x.requires_grad_() for x in torch.randn(2, 3, 6, dtype=torch.float64))
    assert torch.autograd.gradcheck(small, (a, b))


def test_it_is_the_formula(small):
    """A block written out for one pair, head by head."""
    a, b = torch.randn(2, 1, 6, dtype=torch.float64)
    state = small.state_dict()
    x = torch.stack([state["cls_token"][0, 0], *(z[0] @ state["proj.weight"].T + state["proj.bias"] for z in (a, b))])

    def norm(x, name):
        centred = x - x.mean(dim=1, keepdim=True)
        spread = (centred.square().mean(dim=1, keepdim=True) + 1e-6).sqrt()
        return centred / spread * state[f"{name}.weight"] + state[f"{name}.bias"]

    def layer(x, name):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    for i in range(2):
        q, k, v = layer(norm(x, f"blocks.{i}.norm1"), f"blocks.{i}.attn.qkv").chunk(3, dim=1)
        heads = []
        for h in (slice(0, 12), slice(12, 24)):
            share = (q[:, h] @ k[:, h].T / 12**0.5).softmax(dim=1)
            heads.append(share @ v[:, h])
        x = x + layer(torch.cat(heads, dim=1), f"blocks.{i}.attn.proj")
        inner = layer(norm(x, f"blocks.{i}.norm2"), f"blocks.{i}.mlp.fc1")
        inner = inner * 0.5 * (1 + torch.erf(inner / 2**0.5))
        x = x + layer(inner, f"blocks.{i}.mlp.fc2")
    expected = layer(norm(x, "norm")[:1], "head")
    assert torch.allclose(small(a, b), expected, rtol=0, atol=1e-12)


def test_the_start_is_that_of_the_paper():
    torch.manual_seed(0)
    network = Relation(features=64, width=96, blocks=1, heads=2)
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            assert not layer.bias.any()
            assert layer.weight.abs().max() <= 2
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize("blocks", [1, 2, 3])
@pytest.mark.parametrize("outputs", [1, 2])
def test_a_grid_is_the_plain_pass_of_each_pair(blocks, outputs):
    """Weights as large as trained ones, biases too: at the start a wrong share of attention hardly moves the answer."""
    torch.manual_seed(0)
    network = Relation(features=6, width=24, blocks=blocks, heads=3, outputs=outputs)
    for tensor in network.parameters():
        nn.init.normal_(tensor, std=0.4)
    queries, others = torch.randn(7, 6), torch.randn(5, 6)
    pairs = queries.repeat_interleave(5, dim=0), others.repeat(7, 1)
    for kind, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        network, (a, b) = network.to(kind), (x.to(kind) for x in pairs)
        with torch.no_grad():
            plain = network(a, b).unflatten(0, (7, 5))
            kept = network.tokens(others.to(kind))
            for rows in (1, 3, 5, 11, 1000):
                for given in (others.to(kind), kept):
                    assert torch.allclose(network.grid(queries.to(kind), given, rows), plain, rtol=0, atol=tolerance)
    assert plain.std() > 0.1


class Against(nn.Module):
    def __init__(self, network, others):
        super().__init__()
        self.network = network
        self.register_buffer("others", others)

    def forward(self, queries):
        return self.network.between(self.network.tokens(queries), self.network.tokens(self.others))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_grid_is_a_graph(small, tmp_path):
    """With any number of queries, as a guard that holds the network is exported."""
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    whole = Against(small.float().eval(), torch.randn(5, 6)).eval()
    rows = {"queries": {0: torch.export.Dim("rows", min=1)}}
    torch.onnx.export(
        whole, (torch.randn(2, 6),), str(tmp_path / "g.onnx"), dynamo=True, dynamic_shapes=rows, verbose=False
    )
    session = runtime.InferenceSession(tmp_path / "g.onnx", providers=["CPUExecutionProvider"])
    for number in (1, 2, 9):
        queries = torch.randn(number, 6)
        with torch.no_grad():
            expected = whole(queries)
        (found,) = session.run(None, {session.get_inputs()[0].name: queries.numpy()})
        assert torch.allclose(torch.from_numpy(found), expected, rtol=0, atol=1e-5)


def test_a_grid_of_nothing(small):
    with torch.no_grad():
        assert small.grid(torch.empty(0, 6).double(), torch.zeros(3, 6).double()).shape == (0, 3, 1)
        with pytest.raises(WrongUse, match="rows=0"):
            small.grid(torch.zeros(1, 6).double(), torch.zeros(1, 6).double(), rows=0)


@pytest.mark.parametrize("arguments", [{"width": 10, "heads": 3}, {"blocks": 0}])
def test_sizes_that_cannot_be(arguments):
    with pytest.raises(WrongUse):
        Relation(**arguments)
    with pytest.raises(WrongUse, match="mode"):
        PairMLP(mode="mean")
