import pytest
import torch

from unseen.training import LARS


def stepped(w, gradients, **options):
    parameter = torch.tensor(w, dtype=torch.float64, requires_grad=True)
    optimiser = LARS([parameter], **options)
    steps = []
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        optimiser.step()
        steps.append(parameter.tolist())
    return steps


def test_by_hand():
    """a = 0.001 * 5 / (1 + 5e-4 * 5 + 1e-8) = 0.004987531122; the second step has the momentum of the first."""
    once, twice = stepped([3.0, 4.0], [[0.6, 0.8]] * 2, lr=0.008, momentum=0.9, weight_decay=5e-4)
    assert once == pytest.approx([2.9999760000002, 3.9999680000003], abs=1e-13)
    assert twice == pytest.approx([2.9999304001927, 3.9999072002569], abs=1e-12)


def test_a_tensor_of_zeros_takes_a_plain_step():
    """|w| = 0: a = 1."""
    assert stepped([0.0, 0.0], [[0.6, 0.8]], lr=0.008, weight_decay=5e-4)[0] == pytest.approx([-0.0048, -0.0064])


def test_a_gradient_of_zeros_leaves_the_decay_as_it_is():
    """|g| = 0: a = 1, so that w <- w - lr d w."""
    assert stepped([3.0, 4.0], [[0.0, 0.0]], lr=0.1, weight_decay=0.5)[0] == pytest.approx([2.85, 3.8])


def test_each_tensor_is_adapted_by_itself_and_none_is_excluded():
    """Two tensors in one group do what each does alone; biases of one axis are no exception."""
    one, two = ([3.0, 4.0], [0.6, 0.8]), ([0.01], [5.0])
    alone = [stepped(w, [g], lr=0.1, weight_decay=0.1)[0] for w, g in (one, two)]
    parameters = [torch.tensor(w, dtype=torch.float64, requires_grad=True) for w, _ in (one, two)]
    for parameter, (_, g) in zip(parameters, (one, two), strict=True):
        parameter.grad = torch.tensor(g, dtype=torch.float64)
    LARS(parameters, lr=0.1, weight_decay=0.1).step()
    assert [p.tolist() for p in parameters] == alone
    assert abs(alone[1][0] - 0.01) == pytest.approx(0.1 * 0.001 * 0.01, rel=1e-2)


def test_tensors_without_a_gradient_are_passed_over():
    used, unused = (torch.ones(2, requires_grad=True) for _ in range(2))
    optimiser = LARS([used, unused], lr=1.0, weight_decay=0.5)
    used.grad = torch.ones(2)
    assert optimiser.step(lambda: 7.0) == 7.0
    assert unused.tolist() == [1.0, 1.0]
    assert unused not in optimiser.state
    assert used.tolist() != [1.0, 1.0]
