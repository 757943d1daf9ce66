import pytest
import torch

from unseen.errors import WrongUse
from unseen.training import Recipe, rate


def test_warm_up_by_hand():
    assert [rate(i, 13_000, 0.008, warmup=500) for i in (0, 1, 250, 500, 501)] == pytest.approx(
        [0.0, 1.6e-5, 0.004, 0.008, 0.008], abs=1e-15
    )


def test_cosine_by_hand():
    """From lr to 1e-6 over the steps after the warm-up; the middle is half-way."""
    assert rate(10, 110, 0.1, "cosine", warmup=10) == pytest.approx(0.1)
    assert rate(60, 110, 0.1, "cosine", warmup=10) == pytest.approx((0.1 + 1e-6) / 2)
    assert rate(110, 110, 0.1, "cosine", warmup=10) == pytest.approx(1e-6)
    assert rate(5, 10, 1e-7, "cosine") == 1e-7  # never up


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "steps=None, epochs=None: give one"),
        ({"steps": 1, "epochs": 1}, "give one of them"),
        ({"steps": 0}, "steps=0: give a whole number from 1"),
        ({"steps": 2.5}, r"steps=2\.5"),
        ({"steps": 1, "batch": 0}, "batch=0"),
        ({"steps": 1, "seed": -1}, "seed=-1: give a whole number from 0"),
        ({"steps": 1, "optimizer": "rmsprop"}, "optimizer is one of sgd, nesterov, adam, adamw, lars"),
        ({"steps": 1, "schedule": "step"}, "schedule is one of constant, cosine"),
        ({"steps": 1, "precision": "float16"}, "precision is one of float32, bfloat16"),
        ({"steps": 1, "lr": 0.0}, "learning rate above 0"),
        ({"steps": 1, "lr": float("nan")}, "learning rate above 0"),
        ({"steps": 1, "weight_decay": -1.0}, "weight_decay=-1"),
        ({"steps": 1, "momentum": 1.0}, r"momentum=1\.0"),
        ({"steps": 1, "momentum": 0.0}, "above 0 for nesterov"),
        ({"steps": 1, "clip": 0.0}, "clip=0"),
        ({"steps": 1, "ema": 1.0}, "ema=1"),
    ],
)
def test_what_cannot_work_is_named(options, says):
    with pytest.raises(WrongUse, match=says):
        Recipe(**options)


@pytest.mark.parametrize("name", ["sgd", "nesterov", "adam", "adamw", "lars"])
def test_every_optimiser_takes_the_groups_as_they_are(name):
    """Each step differs from those of the others, and each group keeps its own rate and decay."""
    parameters = [torch.tensor([1.0, 2.0], requires_grad=True) for _ in range(2)]
    groups = [
        {"params": [parameters[0]], "lr": 0.1, "weight_decay": 0.0},
        {"params": [parameters[1]], "lr": 0.0, "weight_decay": 0.5},
    ]
    optimiser = Recipe(steps=1, optimizer=name).optimiser(groups)
    assert [(g["lr"], g["weight_decay"]) for g in optimiser.param_groups] == [(0.1, 0.0), (0.0, 0.5)]
    moved = []
    for _ in range(2):
        for parameter in parameters:
            parameter.grad = torch.tensor([0.3, -0.4])
        optimiser.step()
        moved.append(parameters[0].detach().clone())
    assert parameters[1].tolist() == [1.0, 2.0]  # its rate is 0
    first = {
        "sgd": [0.97, 2.04],
        "nesterov": [0.943, 2.076],  # lr (1 + momentum) g at first
        "adam": [0.9, 2.1],
        "adamw": [0.9, 2.1],
        "lars": [1 - 0.1 * 0.001 * 5**0.5 / 0.5 * 0.3, 2 + 0.1 * 0.001 * 5**0.5 / 0.5 * 0.4],
    }
    assert moved[0].tolist() == pytest.approx(first[name], abs=1e-6)


def test_the_two_adams_decay_differently():
    ends = []
    for name in ("adam", "adamw"):
        parameter = torch.tensor([10.0], requires_grad=True)
        optimiser = Recipe(steps=1, optimizer=name).optimiser([{"params": [parameter], "lr": 0.1, "weight_decay": 0.5}])
        parameter.grad = torch.tensor([1e-3])
        optimiser.step()
        ends.append(parameter.item())
    assert ends == pytest.approx([9.9, 10 * (1 - 0.05) - 0.1], abs=1e-4)
