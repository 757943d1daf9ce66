"""The regression of known against unknown inputs: against scikit-learn, both sides alike, one minimum, its errors."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from unseen.detectors._logistic import discriminate, newton
from unseen.errors import NotEnoughKnown, WrongUse

RNG = np.random.default_rng(0)
KNOWN, UNKNOWN = RNG.normal(size=(90, 5)) * [1, 10, 0.1, 3, 1] + 2, RNG.normal(size=(30, 5)) * [2, 8, 0.3, 3, 1] + 1


def walk(rows, size=1000, dtype=torch.float64):
    return lambda: torch.tensor(rows, dtype=dtype).split(size)


def found(known=KNOWN, unknown=UNKNOWN, penalty=1e-2, **how):
    weight, bias = discriminate(walk(known, **how), walk(unknown, **how), penalty, "Mine")
    return np.append(weight.numpy(), bias.item())


def test_agrees_with_scikit_learn():
    """Rows count so that each side has half; its C stands for 1 / penalty where weights add up to 1."""
    rows = np.concatenate([KNOWN, UNKNOWN])
    share = np.repeat([0.5 / 90, 0.5 / 30], [90, 30])
    mean = share @ rows
    spread = np.sqrt(share @ (rows - mean) ** 2)
    theirs = LogisticRegression(C=100.0, tol=1e-12, max_iter=10_000)
    theirs.fit((rows - mean) / spread, np.arange(120) < 90, sample_weight=share)
    weight = theirs.coef_[0] / spread
    np.testing.assert_allclose(found(), np.append(weight, theirs.intercept_ - weight @ mean), rtol=1e-4)


def test_how_many_inputs_a_side_has_does_not_matter():
    np.testing.assert_allclose(found(unknown=np.tile(UNKNOWN, (7, 1))), found(), rtol=1e-9)


def test_batches_and_order_do_not_matter():
    np.testing.assert_allclose(found(KNOWN[::-1].copy(), size=7), found(), rtol=1e-9)


def test_units_do_not_matter():
    scale = np.array([1e6, 1e-6, 1, 3, 1])
    np.testing.assert_allclose(found(KNOWN * scale, UNKNOWN * scale)[:-1] * scale, found()[:-1], rtol=1e-8)


@pytest.mark.parametrize("penalty", [1e-8, 1e-3, 10.0])
def test_sides_that_can_be_parted_have_a_minimum(penalty):
    far = found(UNKNOWN + 100, UNKNOWN, penalty)
    assert np.isfinite(far).all()
    assert (UNKNOWN @ far[:-1] + far[-1] < 0).all()


def test_a_constant_column_has_no_weight():
    """Not even one whose last digits are noise."""
    noise = np.where(np.arange(90) % 2, np.float32(0.1), np.nextafter(np.float32(0.1), np.float32(1)))
    known, unknown = np.insert(KNOWN, 2, noise, axis=1), np.insert(UNKNOWN, 2, np.float32(0.1), axis=1)
    whole = found(known, unknown, dtype=torch.float32)
    assert whole[2] == 0.0
    np.testing.assert_allclose(np.delete(whole, 2), found(), rtol=1e-4)


def test_a_column_that_only_unknown_inputs_use_counts():
    known, unknown = np.insert(KNOWN, 0, 0.0, axis=1), np.insert(UNKNOWN, 0, RNG.random(30), axis=1)
    assert found(known, unknown)[0] < -1


def test_errors():
    for penalty in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(WrongUse, match=r"^Mine\(penalty=.*give a number above 0"):
            found(penalty=penalty)
    with pytest.raises(NotEnoughKnown, match=r"^Mine: known and unknown inputs are all the same"):
        found(np.ones((4, 2)), np.ones((3, 2)))


def test_where_the_loss_bends_down_the_other_derivatives_lead():
    """(x^2 - 1)^2 from 0.1, where its second derivative is -3.9; 8 x^2 stands in."""

    def slopes(x):
        loss = float((x.square() - 1).square())
        return loss, 4 * x * (x.square() - 1), ((12 * x.square() - 4)[None], (8 * x.square())[None])

    assert newton(slopes, torch.tensor([0.1], dtype=torch.float64), "Mine").item() == pytest.approx(1.0, abs=1e-12)


def test_a_loss_without_a_minimum_is_named():
    def slopes(x):
        return float(-x), -torch.ones_like(x), (torch.eye(1, dtype=torch.float64),)

    with pytest.raises(WrongUse, match=r"^Mine found no minimum in 200 steps .*: raise penalty"):
        newton(slopes, torch.zeros(1, dtype=torch.float64), "Mine")
