import inspect

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from unseen.data.batch import Batch
from unseen.errors import NotFitted, WrongUse
from unseen.metrics import evaluate
from unseen.objectives.relational import Relational, pair_loss
from unseen.training import FeatureRows, Recipe, train

SMALL = Relational.small


def built(width=6, **options):
    return Relational(**{**SMALL, **options}).build(width, 3)


def batch(width=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    y = torch.tensor([0, 0, 1, 1, 2])
    pairs = torch.tensor([[0, 1], [2, 3], [0, 2], [1, 4], [3, 4]])
    return Batch(torch.randn(5, width, generator=generator), torch.arange(5), y=y, pairs=pairs)


def test_loss_and_slopes_by_hand():
    logits = torch.tensor([0.05, -0.1], dtype=torch.float64, requires_grad=True)
    loss = pair_loss(logits, torch.tensor([True, False]))
    loss.backward()
    assert loss.item() == pytest.approx(0.42973288945, abs=1e-11)
    assert logits.grad.tolist() == pytest.approx([-3.54893834699, 2.11508371137], abs=1e-11)


def test_it_is_four_times_the_papers_error():
    """Similarity sigmoid(-10 o) against 1 = same, as Eq. 1 has it."""
    logits, different = torch.randn(50).double() / 5, torch.arange(50) % 3 > 0
    papers = (torch.sigmoid(-10 * logits) - (~different).double()).square().mean()
    assert pair_loss(logits, different).item() == pytest.approx(4 * papers.item())


class Says(nn.Module):
    """A network of pairs whose logits are given."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, a, b):
        return self.logits


def test_what_is_said_by_hand():
    """Same pairs 0 and 1, different 2, 3 and 4: logits below 0 say same. One of two and two of three are right."""
    objective = built()
    objective.relation = Says([[-1.0], [0.2], [0.3], [-0.1], [2.0]])
    said = objective.loss(batch(), nn.Identity(), "main")
    assert next(iter(said)) == "loss"
    assert said["same_accuracy"].item() == pytest.approx(1 / 2)
    assert said["different_accuracy"].item() == pytest.approx(2 / 3)
    s = torch.sigmoid(10 * torch.tensor([-1.0, 0.2, 0.3, -0.1, 2.0]))
    assert said["mean_s"].item() == pytest.approx(s.mean().item())
    target = torch.tensor([-1.0, -1.0, 1.0, 1.0, 1.0])
    assert said["loss"].item() == pytest.approx((2 * s - 1 - target).square().mean().item())


def test_cross_entropy_weighs_same_pairs_by_the_ratio():
    objective = built(criterion="ce", ratio=4)
    logits = [[2.0, 0.0], [0.0, 1.0], [0.0, 3.0], [1.0, 0.0], [-1.0, 1.0]]
    objective.relation = Says(logits)
    said = objective.loss(batch(), nn.Identity(), "main")
    kind = torch.tensor([0, 0, 1, 1, 1])
    each = cross_entropy(torch.tensor(logits), kind, reduction="none")
    weight = torch.tensor([4.0, 4.0, 1.0, 1.0, 1.0])
    assert said["loss"].item() == pytest.approx(((each * weight).sum() / weight.sum()).item())
    assert said["same_accuracy"].item() == pytest.approx(1 / 2)
    assert said["different_accuracy"].item() == pytest.approx(2 / 3)


def test_a_batch_without_a_kind_of_pairs_says_nan_of_it():
    held = batch()
    said = built().loss(Batch(held.x, held.index, y=held.y, pairs=held.pairs[2:]), nn.Identity(), "main")
    assert said["same_accuracy"].isnan()
    assert torch.isfinite(said["loss"])


@pytest.mark.parametrize("aggregation", ["transformer", "max", "sum", "concat"])
@pytest.mark.parametrize("criterion", ["mse", "ce"])
def test_every_way_learns_and_all_its_tensors_have_slopes(aggregation, criterion):
    options = SMALL if aggregation == "transformer" else {"ratio": 1}
    objective = Relational(**options, aggregation=aggregation, criterion=criterion).build(6, 3)
    encoder = nn.Linear(6, 6)
    objective.loss(batch(), encoder, "main")["loss"].backward()
    for name, parameter in [*objective.named_parameters(), *encoder.named_parameters()]:
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    assert sum(float(p.grad.abs().sum()) for p in encoder.parameters()) > 0
    (group,) = objective.groups("main", encoder, 0.1, 0.2)
    assert (group["lr"], group["weight_decay"]) == (0.1, 0.2)
    assert {id(p) for p in group["params"]} == {id(p) for m in (objective, encoder) for p in m.parameters()}


def test_the_loss_has_the_slopes_that_differences_show():
    objective = Relational(width=8, blocks=1, heads=2, hidden=2, ratio=1).build(4, 3).double()
    held = batch(4)
    x = held.x.double().requires_grad_(True)

    def loss(x):
        return objective.loss(Batch(x, held.index, y=held.y, pairs=held.pairs), nn.Identity(), "main")["loss"]

    # `loss` works in float32 at the end, so the steps are taken on the double part before it.
    first, second = held.pairs.unbind(dim=1)
    different = held.y[first] != held.y[second]
    assert torch.autograd.gradcheck(lambda x: pair_loss(objective.dissimilarity(x[first], x[second]), different), x)
    assert loss(x).item() == pytest.approx(
        pair_loss(objective.dissimilarity(x[first], x[second]), different).item(), rel=1e-5
    )


@pytest.mark.parametrize("options", [SMALL, {"aggregation": "sum"}])
def test_a_last_layer_of_zeros_starts_in_the_middle(options):
    said = Relational(**options, head_init="zero").build(6, 3).loss(batch(), nn.Identity(), "main")
    assert said["mean_s"].item() == 0.5
    assert said["loss"].item() == 1.0
    assert Relational(**options).build(6, 3).loss(batch(), nn.Identity(), "main")["mean_s"].item() != 0.5


def test_dissimilarity_is_higher_for_pairs_that_are_less_alike():
    """With cross-entropy "different" less "same": column 0 is same."""
    objective = built(criterion="ce")
    objective.relation = Says([[2.0, 0.5], [0.0, 3.0]])
    assert objective.dissimilarity(torch.zeros(2, 6), torch.zeros(2, 6)).tolist() == [-1.5, 3.0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"pairing": "all"}, "give one of sampled, in_batch"),
        ({"criterion": "hinge"}, "give one of mse, ce"),
        ({"aggregation": "mean"}, "give one of transformer, max, sum, concat"),
        ({"head_init": "ones"}, "give one of paper, zero"),
        ({"ratio": 0}, "ratio=0"),
        ({"each": 1, "pairing": "in_batch"}, "each=1"),
        ({"scale": 0.0}, "above 0"),
        ({"width": 10, "heads": 3}, "must be a multiple of heads"),
        ({"each": 5}, r"each=5\) changes nothing with pairing='sampled'"),
        ({"exclude_self": False, "pairing": "in_batch"}, "changes nothing with pairing='in_batch'"),
        ({"scale": 5.0, "criterion": "ce"}, "changes nothing"),
        ({"aggregation": "max", "width": 24}, r"width=24\) changes nothing"),
    ],
)
def test_what_cannot_work_is_named_before_it_is_built(options, says):
    with pytest.raises(WrongUse, match=says):
        Relational(**options).build(6, 3)


def test_the_batch_must_be_of_its_own_order():
    held = batch()
    with pytest.raises(WrongUse, match="take its own order"):
        built().loss(Batch(held.x, held.index, y=held.y), nn.Identity(), "main")
    with pytest.raises(NotFitted, match="call build"):
        Relational().loss(held, nn.Identity(), "main")
    with pytest.raises(WrongUse, match="by their labels and there are none"):
        Relational().order(None, 5, 2, 0, 0)


def test_each_option_of_the_order_matters():
    labels = np.arange(40) % 4
    default = {name: p.default for name, p in inspect.signature(Relational).parameters.items()}

    def index(**options):
        return Relational(**{**default, **options}).order(labels[:37], 37, 12, 0, 0)[0].index.tolist()

    seen = [index(), index(ratio=1), index(balance=False), index(exclude_self=False)]
    seen += [index(pairing="in_batch"), index(pairing="in_batch", each=3)]
    assert len({tuple(one) for one in seen}) == len(seen)


@pytest.fixture(scope="module")
def worlds():
    """Gaussian clusters in 512 numbers: 20 classes to learn from, 10 known and 10 unknown ones of others.

    Their centres differ in 8 directions, which 20 classes can show.
    """
    random = np.random.default_rng(0)
    centres = random.normal(size=(40, 8)) @ random.normal(size=(8, 512))
    rows = np.repeat(np.arange(40), 30)
    features = torch.from_numpy(centres[rows] + 0.3 * random.normal(size=(1200, 512))).float()
    return features, rows


@pytest.mark.parametrize("pairing", ["in_batch", pytest.param("sampled", marks=pytest.mark.slow)])
def test_it_learns_to_compare_inputs_with_classes_that_it_never_saw(pairing, worlds, tmp_path):
    """Prototypes of 10 other classes: the most alike of them tells their inputs from those of 10 more."""
    features, labels = worlds
    learnt = labels < 20
    objective = Relational(ratio=1, pairing=pairing, width=64, blocks=1, heads=4).build(512, 20)
    recipe = Recipe(steps=500, batch=64, optimizer="adam", lr=2e-3, weight_decay=0.0, schedule="cosine", warmup=20)
    done = train(objective, nn.Identity(), FeatureRows(features[learnt], labels[learnt]), recipe, tmp_path)
    assert done.last["same_accuracy"] > 0.9
    assert done.last["different_accuracy"] > 0.9
    half = np.arange(len(labels)) % 2 == 0
    prototypes = torch.stack([features[half & (labels == code)].mean(dim=0) for code in range(20, 30)])
    asked = features[~half & (labels >= 20)]
    known = labels[~half & (labels >= 20)] < 30
    objective.eval()
    with torch.no_grad():
        u = -torch.stack([objective.dissimilarity(asked, p.expand_as(asked)) for p in prototypes], dim=1)
    score = u.max(dim=1).values.numpy()
    assert evaluate(score[known], score[~known]).auroc > 0.65
    # The sign: an input is less unlike its own class than others, so that the negative is high for the known.
    own = torch.from_numpy(labels[~half & (labels >= 20)][known] - 20)
    mine = u[known].gather(1, own[:, None])
    assert mine.mean() > u[known].mean() + 0.1
