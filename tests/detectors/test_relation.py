"""Relation: by hand, what a tie is made of, weak and negative ties, the number of known inputs."""

import numpy as np
import pytest

from unseen import Relation
from unseen.errors import WrongUse

RNG = np.random.default_rng(0)
KNOWN = {"features": RNG.normal(size=(80, 6)), "logits": 2 * RNG.normal(size=(80, 4))}
ASKED = {"features": RNG.normal(size=(20, 6)), "logits": 2 * RNG.normal(size=(20, 4))}
EVEN = [0.0, 0.0]  # logits; probabilities of one half each, whose product with any other is one half


def ask(features, known, **arguments):
    detector = Relation(**arguments).fit({"features": known, "logits": [EVEN] * len(known)})
    return detector.score({"features": np.array([features]), "logits": np.array([EVEN])}).item()


def test_by_hand():
    """Cosines 1, 0.6 and 0 with known inputs of any length, each halved by the answers."""
    known = [[1.0, 0.0], [6.0, 8.0], [0.0, 1.0]]
    assert ask([5.0, 0.0], known) == pytest.approx((0.5 + 0.3) / 3)
    assert ask([5.0, 0.0], known, power=2.0) == pytest.approx((0.25 + 0.09) / 3)


def test_weak_ties_do_not_count():
    known = [[1.0, 0.0], [6.0, 8.0]]
    assert ask([5.0, 0.0], known, least=0.29) == pytest.approx(0.4)
    assert ask([5.0, 0.0], known, least=0.31) == pytest.approx(0.25)


def test_opposite_features_make_no_tie():
    """An even power would make one of a negative cosine."""
    assert ask([-1.0, 0.0], [[1.0, 0.0]], power=2.0, least=0.0) == 0.0


def test_other_answers_make_no_tie():
    sure = {"features": np.ones((1, 2)), "logits": np.array([[50.0, 0.0]])}
    other = {"features": np.ones((1, 2)), "logits": np.array([[0.0, 50.0]])}
    detector = Relation().fit(sure)
    assert detector.score(sure).item() == pytest.approx(1.0)
    assert detector.score(other).item() == pytest.approx(0.0)


def test_as_many_known_inputs_again_change_nothing():
    """A sum would double."""
    twice = {name: np.concatenate([x, x]) for name, x in KNOWN.items()}
    np.testing.assert_allclose(Relation().fit(twice).score(ASKED), Relation().fit(KNOWN).score(ASKED), rtol=1e-12)


def test_wrong_arguments():
    with pytest.raises(WrongUse, match="power above 0"):
        Relation(power=0.0).fit(KNOWN)
    with pytest.raises(WrongUse, match="from 0 on"):
        Relation(least=-1.0).fit(KNOWN)
