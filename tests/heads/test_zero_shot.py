"""Class names as heads: cosines by hand, scores of the sheet's formulas, and no layer where there is none."""

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors

from unseen import create
from unseen.errors import BadInput, NotEnoughKnown, WrongUse
from unseen.heads.zero_shot import ZeroShot
from unseen.signals import LinearHead, Signals, Support, TextBank

RNG = np.random.default_rng(0)
K, E, N = 5, 8, 40
CLASSES = tuple("abcde")
TEXTS = RNG.normal(size=(K, E))
X = RNG.normal(size=(N, E))


def bank(texts=TEXTS, classes=CLASSES):
    return TextBank(texts, classes, negative=np.ones((1, texts.shape[1])), words=("word",))


def cosines(x=X, texts=TEXTS):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)) @ (texts / np.linalg.norm(texts, axis=1, keepdims=True)).T


def fit(expression="zero_shot", x=X, labels=None, **more):
    return create(expression).fit({"embedding": x}, labels, text=bank(), **more)


def logits(head, x=X):
    return head.apply_to({"embedding": torch.from_numpy(x)})["logits"].numpy()


def test_logits_are_cosines_over_the_temperature():
    for temperature in (0.01, 1.0):
        found = logits(ZeroShot(temperature).fit({"embedding": X}, text=bank()))
        np.testing.assert_allclose(found, cosines() / temperature, rtol=1e-5)


def test_no_length_matters():
    """Neither that of an embedding nor that of a text."""
    longer = X * RNG.uniform(0.1, 10, size=(N, 1))
    stretched = bank(TEXTS * RNG.uniform(0.1, 10, size=(K, 1)))
    again = ZeroShot().fit({"embedding": longer}, text=stretched)
    np.testing.assert_allclose(logits(again, longer), logits(fit()), rtol=1e-4, atol=1e-4)


def test_scores_are_those_of_the_formulas():
    c = cosines()
    shares = np.exp(c - c.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    expected = {
        "zero_shot(temperature=1.0) >> maxlogit": c.max(axis=1),
        "zero_shot(temperature=1.0) >> msp": np.log(shares.max(axis=1)),
        "zero_shot(temperature=1.0) >> energy": np.log(np.exp(c).sum(axis=1)),
        "zero_shot(temperature=1.0) >> entropy": (shares * np.log(shares)).sum(axis=1),
    }
    for expression, scores in expected.items():
        np.testing.assert_allclose(
            fit(expression).score({"embedding": X}), scores, rtol=1e-5, atol=1e-7, err_msg=expression
        )


def test_energy_is_between_the_largest_logit_and_that_of_k_equal_ones():
    largest, energy = (fit(f"zero_shot >> {name}").score({"embedding": X}) for name in ("maxlogit", "energy"))
    assert (energy >= largest).all()
    assert (energy <= largest + np.log(K)).all()


def test_labels_order_the_columns_and_teach_nothing():
    """The classes of the labels come first, in their order, so that a column means what a label means."""
    labels = np.array(["e", "b"])[np.arange(N) % 2]
    head = fit(labels=labels)
    support = Support(Signals({"embedding": X}), np.arange(N) % 2, ("b", "e"), text=bank())
    assert head.named(support) == ("b", "e", "a", "c", "d")
    np.testing.assert_allclose(logits(head), logits(fit())[:, [1, 4, 0, 2, 3]], rtol=1e-9)
    np.testing.assert_array_equal(logits(fit(labels=np.arange(N) % 3)), logits(fit()))  # of other names


def test_the_known_inputs_teach_nothing():
    np.testing.assert_array_equal(logits(fit(x=X[:1])), logits(fit()))


def test_it_tells_of_no_layer():
    """Else a part that needs the layer behind the logits would take the model's own, which made others."""
    own = LinearHead(torch.ones(K, E), torch.zeros(K), CLASSES)
    support = Support(Signals({"features": X, "embedding": X}), head=own, text=bank())
    head = ZeroShot().fit(support)
    assert head.linear(support) is None
    assert head.tells(support).head is None
    with pytest.raises(WrongUse, match="not a linear function of the features"):
        create("zero_shot >> vim").fit(support)


def test_saved_state_answers_with_the_same_bits():
    made, other = fit("zero_shot(temperature=0.1) >> energy"), create("zero_shot(temperature=0.1) >> energy")
    other.load_state_dict(from_safetensors(to_safetensors({k: v.clone() for k, v in made.state_dict().items()})))
    np.testing.assert_array_equal(other.score({"embedding": X}), made.score({"embedding": X}))


def test_what_it_refuses():
    with pytest.raises(WrongUse, match=r"ZeroShot\(temperature=0\): the temperature must be a number above 0"):
        fit("zero_shot(temperature=0)")
    with pytest.raises(NotEnoughKnown, match="zero_shot tells classes apart and needs two classes, got 1"):
        ZeroShot().fit({"embedding": X}, text=bank(TEXTS[:1], CLASSES[:1]))
    with pytest.raises(WrongUse, match="zero_shot reads class names as texts and there are none"):
        ZeroShot().fit({"embedding": X}, np.arange(N) % K)
    with pytest.raises(BadInput, match=f"texts have {E} numbers and embedding {E - 1}"):
        fit(x=X[:, 1:])
    assert copy.deepcopy(ZeroShot()).availability == "names"
