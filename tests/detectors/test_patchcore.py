"""PatchCore: by hand, the bank that is kept, patches in another order, draws, its errors."""

import math

import numpy as np
import pytest

from unseen import PatchCore
from unseen.errors import NotEnoughKnown, WrongUse

RNG = np.random.default_rng(0)
KNOWN = RNG.normal(size=(40, 5, 6))
ASKED = 1.5 * RNG.normal(size=(20, 5, 6))


def scores(asked=ASKED, known=KNOWN, **arguments):
    return PatchCore(**arguments).fit({"local": known}).score({"local": asked})


def test_by_hand():
    """The strangest patch lies at 13, three from the bank's 10, whose neighbours are 10, 8 and 5."""
    known, asked = [[[0.0], [5.0]], [[8.0], [10.0]]], [[[5.0], [13.0]]]
    weight = 1 - math.exp(3) / (math.exp(3) + math.exp(5) + math.exp(8))
    assert scores(asked, known, share=1.0, neighbours=3) == pytest.approx(-3 * weight)


def test_the_neighbours_are_those_of_the_bank_patch():
    """Asked at (0, 3): nearest is (0, 0), and next to that (1, 0), although (0, 6.5) is nearer to what is asked."""
    known = [[[0.0, 0.0], [1.0, 0.0], [0.0, 6.1]]]
    found = scores([[[0.0, 3.0]] * 3], known, share=1.0, neighbours=2)
    assert found == pytest.approx(-3 * (1 - 1 / (1 + math.exp(math.sqrt(10) - 3))))


def test_the_whole_bank_is_brute_force():
    """The weight of nine neighbours takes at most a ninth away."""
    bank = KNOWN.reshape(-1, 6)
    apart = np.linalg.norm(ASKED[:, :, None] - bank, axis=3).min(axis=2).max(axis=1)
    np.testing.assert_allclose(scores(share=1.0, neighbours=1), -apart, rtol=1e-12)
    np.testing.assert_array_equal(scores(KNOWN, share=1.0, neighbours=1), 0)
    weight = -scores(share=1.0) / apart
    assert (weight < 1).all()
    assert (weight > 1 - 1 / 9).all()


def test_the_bank_leaves_no_patch_far_away():
    """At most twice as far as the best bank of its size, and nearer than a random one."""
    bank = PatchCore(share=0.1).fit({"local": KNOWN}).bank.numpy()
    patches = KNOWN.reshape(-1, 6)
    cover = [
        np.linalg.norm(patches[:, None] - rows, axis=2).min(axis=1).max()
        for rows in (bank, *(patches[RNG.permutation(200)[:20]] for _ in range(50)))
    ]
    assert len(bank) == 20
    assert cover[0] < min(cover[1:])
    apart = np.linalg.norm(bank[:, None] - bank, axis=2) + np.diag(np.full(20, np.inf))
    assert apart.min() >= cover[0]


def test_neighbours_are_sought_in_pieces(monkeypatch):
    whole = scores(share=0.5)
    monkeypatch.setattr("unseen.detectors.patchcore.BLOCK", 700)
    np.testing.assert_array_equal(scores(share=0.5), whole)


def test_patches_have_no_place():
    order = RNG.permutation(5)
    np.testing.assert_array_equal(scores(ASKED[:, order]), scores(ASKED))


def test_copies_are_kept_once():
    known = np.repeat(KNOWN[:4], 10, axis=0)
    assert len(PatchCore(share=1.0).fit({"local": known}).bank) == 20


def test_one_draw_a_seed():
    one, again, other = (scores(seed=seed, projection=2) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)


def test_errors():
    for share in (0.0, 1.5):
        with pytest.raises(WrongUse, match="above 0, up to 1"):
            scores(share=share)
    for arguments in ({"neighbours": 0}, {"projection": 1.5}):
        with pytest.raises(WrongUse, match="whole number from 1"):
            scores(**arguments)
    with pytest.raises(NotEnoughKnown, match="the bank has 2 different patches; raise share"):
        scores(share=0.01)
