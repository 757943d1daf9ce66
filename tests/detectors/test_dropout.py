"""Dropout: by hand, its limits, sure inputs, masks that do not change, its errors."""

import numpy as np
import pytest
import torch

from unseen import Dropout, create
from unseen.errors import WrongUse
from unseen.signals import LinearHead

GENERATOR = torch.Generator().manual_seed(0)
HEAD = LinearHead(torch.randn(4, 12, generator=GENERATOR), torch.randn(4, generator=GENERATOR))
ASKED = torch.randn(30, 12, generator=GENERATOR).abs()
WAYS = ("logits", "probabilities", "variance")


def fitted(**arguments):
    return Dropout(**arguments).fit(ASKED, head=HEAD)


@pytest.mark.parametrize("reduce", WAYS)
def test_by_hand(reduce):
    """Every pass written out, of the masks that were drawn."""
    masks = fitted(passes=7, p=0.25, reduce="probabilities").masks
    assert masks.unique().tolist() == pytest.approx([0, 4 / 3])
    logits = torch.stack([(ASKED * mask) @ HEAD.weight.T + HEAD.bias for mask in masks]).double()  # (R, B, C)
    p = logits.softmax(dim=2)
    expected = {
        "logits": logits.mean(dim=0).log_softmax(dim=1).amax(dim=1),
        "probabilities": p.mean(dim=0).amax(dim=1).log(),
        "variance": -p.var(dim=0).mean(dim=1),
    }[reduce]
    found = fitted(passes=7, p=0.25, reduce=reduce).score(ASKED)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)


def test_without_dropping_it_is_msp():
    whole = create("msp").score(ASKED @ HEAD.weight.T + HEAD.bias)
    for reduce in WAYS[:2]:
        torch.testing.assert_close(fitted(p=0.0, reduce=reduce).score(ASKED), whole, rtol=1e-4, atol=1e-6)
    assert fitted(p=0.0, reduce="variance").score(ASKED).abs().max() < 1e-12


def test_many_passes_of_mean_logits_forget_nothing():
    whole = create("msp").score(ASKED @ HEAD.weight.T + HEAD.bias)
    errors = [(fitted(passes=passes).score(ASKED) - whole).abs().mean().item() for passes in (1, 100, 10000)]
    assert errors[0] > 2 * errors[1] > 10 * errors[2]


@pytest.mark.parametrize("reduce", WAYS)
def test_sure_inputs_do_not_tie(reduce):
    """In float32 each pass's largest probability is 1.0 here."""
    head = LinearHead(torch.eye(2), torch.zeros(2))
    asked = torch.linspace(18.0, 22.0, 200)[:, None] * torch.tensor([1.0, 0.0])
    scores = Dropout(passes=30, p=0.1, reduce=reduce, seed=3).fit(asked, head=head)
    scores.masks[:, 0] = torch.linspace(1.0, 1.1, len(scores.masks))  # no pass drops what the answer rests on
    assert len(scores.score(asked).unique()) > 190


@pytest.mark.parametrize("reduce", WAYS)
def test_one_draw_a_seed(reduce):
    one, again, other = (fitted(reduce=reduce, seed=seed).score(ASKED) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.allclose(one, other)
    assert fitted(reduce=reduce, passes=6).score(ASKED[:1]) != fitted(reduce=reduce, passes=5).score(ASKED[:1])


def test_flat_logits_do_not_vary():
    """What the trait 'blind_to_flat_logits' says, of the variance alone."""
    flat = fitted(reduce="variance").score(1e-3 * ASKED)
    assert flat.min() > fitted(reduce="variance").score(ASKED).max()
    assert "blind_to_flat_logits" not in Dropout().traits


def test_the_head_of_the_caller_is_left_alone():
    detector = fitted(p=0.0, reduce="variance")
    detector.weight.zero_()
    assert np.count_nonzero(HEAD.weight) == 48


def test_errors():
    for arguments in ({"passes": 0}, {"passes": 1, "reduce": "variance"}, {"passes": 2.5}):
        with pytest.raises(WrongUse, match=r"give a whole number from [12]"):
            fitted(**arguments)
    for p in (-0.1, 1.0):
        with pytest.raises(WrongUse, match="from 0 and below 1"):
            fitted(p=p)
    with pytest.raises(WrongUse, match="'logits', 'probabilities' or 'variance'"):
        fitted(reduce="votes")
