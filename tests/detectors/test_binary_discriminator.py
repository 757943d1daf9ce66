"""BinaryDiscriminator: by hand, far on the side of the known, unknown inputs in every form, its errors."""

import numpy as np
import pytest
import torch

from unseen import BinaryDiscriminator, create
from unseen.errors import BadInput, WrongUse
from unseen.signals import Signals, Support


def test_by_hand():
    """Sides at 1 and -1 are standard already. A weight of 2 is where the pull, 1 / (1 + e^2), is the penalty's."""
    penalty = 1 / (1 + np.exp(2)) / 2
    detector = BinaryDiscriminator(penalty).fit(np.ones((3, 1)), unknown=-np.ones((5, 1)))
    np.testing.assert_allclose(detector.score([[1.0], [0.25], [-3.0]]), [2.0, 0.5, -6.0], rtol=1e-12)


def test_it_knows_nothing_of_what_is_unlike_both():
    """As its docstring warns: further on than the known is more known."""
    rng = np.random.default_rng(0)
    known, unknown = rng.normal([4, 0], size=(50, 2)), rng.normal([-4, 0], size=(50, 2))
    detector = BinaryDiscriminator().fit(known, unknown=unknown)
    assert detector.score([[400.0, 0.0]]) > detector.score(known).max() > 0 > detector.score(unknown).max()


@pytest.mark.parametrize(
    "form", [np.asarray, torch.tensor, lambda x: {"features": x}, lambda x: Signals({"features": x})]
)
def test_unknown_inputs_in_every_form(form):
    known, unknown = [[1.0, 0.0], [2.0, 1.0]], np.array([[0.0, 0.0], [-1.0, 3.0]])
    expected = BinaryDiscriminator().fit(Support(Signals({"features": known}), unknown=Signals({"features": unknown})))
    assert torch.equal(BinaryDiscriminator().fit(known, unknown=form(unknown)).weight, expected.weight)


def test_behind_a_step():
    """Unknown inputs pass through it as known ones do."""
    rng = np.random.default_rng(1)
    known, unknown = rng.random((40, 3)) * [1, 2, 3], rng.random((40, 3))
    pipeline = create("unit >> binary_discriminator").fit(known, unknown=unknown)

    def unit(x):
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    plain = BinaryDiscriminator().fit(unit(known), unknown=unit(unknown))
    np.testing.assert_allclose(pipeline.score(unknown), plain.score(unit(unknown)), rtol=1e-6)


def test_errors():
    known = [[1.0, 0.0], [2.0, 1.0]]
    for none in (None, np.zeros((0, 2))):
        with pytest.raises(WrongUse, match=r"^binary_discriminator learns from unknown inputs too and none were given"):
            BinaryDiscriminator().fit(known, unknown=none)
    with pytest.raises(BadInput, match=r"^known inputs have 2 features and unknown ones 3"):
        BinaryDiscriminator().fit(known, unknown=np.ones((4, 3)))
    with pytest.raises(WrongUse, match=r"^unknown inputs: binary_discriminator reads features, there is only logits"):
        BinaryDiscriminator().fit(known, unknown={"logits": np.ones((4, 2))})
    with pytest.raises(BadInput, match="features row 1"):
        BinaryDiscriminator().fit(known, unknown=[[1.0, 2.0], [np.nan, 0.0]])
    with pytest.raises(WrongUse, match=r"BinaryDiscriminator\(penalty=0\): give a number above 0"):
        BinaryDiscriminator(penalty=0).fit(known, unknown=[[0.0, 0.0]])
