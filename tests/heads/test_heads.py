"""Heads: closed forms against scikit-learn and by hand; what every head must do."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge as SklearnRidge

from unseen import create
from unseen.errors import NotEnoughKnown, NotFitted, WrongUse
from unseen.registry import find, names
from unseen.signals import LinearHead, Signals, Support, TextBank

RNG = np.random.default_rng(0)
LABELS = np.arange(120) % 4
X = 3 * RNG.normal(size=(4, 10))[LABELS] + RNG.normal(size=(120, 10))
CLASSES = ("0", "1", "2", "3")
# Trained in float32. These 120 rows are one minibatch, so their order changes the rounding of its sums and no more.
TRAINED = {"plp", "probe"}
TEXTS = TextBank(np.stack([X[code == LABELS].mean(axis=0) for code in range(4)]), CLASSES, np.ones((1, 10)), ("word",))


def support(rows=slice(None), head=None):
    columns = {"features": X[rows], "embedding": X[rows]}
    return Support(Signals(columns), labels=LABELS[rows], classes=CLASSES, head=head, text=TEXTS)


def own_head():
    return LinearHead(torch.arange(40.0).reshape(4, 10) / 10, torch.arange(4.0), classes=("3", "2", "1", "0"))


def logits(head, x=X):
    return head.apply_to({name: torch.from_numpy(x) for name in head.reads()})["logits"].numpy()


def test_ridge_agrees_with_scikit_learn():
    head = create("ridge", penalty=0.5).fit(support())
    centred = X - X.mean(axis=0)
    alpha = 0.5 * np.trace(centred.T @ centred) / 10
    expected = SklearnRidge(alpha=alpha).fit(X, np.eye(4)[LABELS]).predict(X)
    np.testing.assert_allclose(logits(head), expected, rtol=1e-9, atol=1e-10)


def test_prototypes_by_hand():
    """Two means at +1 and -1: the logit of a mean is 1 at itself and -1 at the other."""
    head = create("prototypes").fit([[1.5], [0.5], [-1.5], [-0.5]], ["a", "a", "b", "b"])
    np.testing.assert_allclose(logits(head, np.array([[1.0], [-1.0]])), [[1, -1], [-1, 1]])


def test_own_puts_columns_in_the_order_of_the_classes():
    head = create("own").fit(support(head=own_head()))
    expected = X @ own_head().weight.numpy().T + own_head().bias.numpy()
    np.testing.assert_allclose(logits(head), expected[:, ::-1], rtol=1e-5)


def test_own_loses_the_column_of_a_class_left_out():
    left = support(head=own_head()).without("2")
    assert left.head.classes == ("3", "1", "0")
    head = create("own").fit(left)
    np.testing.assert_allclose(logits(head), logits(create("own").fit(support(head=own_head())))[:, [0, 1, 3]])


def test_own_refuses_a_head_of_other_classes():
    with pytest.raises(WrongUse, match="use ridge or prototypes"):
        create("own").fit(support())
    with pytest.raises(WrongUse, match="knows no class '0'"):
        create("own").fit(support(head=LinearHead(torch.ones(1, 10), torch.ones(1), ("cat",))))


@pytest.mark.parametrize("name", names("heads"))
def test_left_out_class_by_subtraction_equals_fitting_without_it(name):
    """The moments of the class are taken away; learning from its absence must give the same."""
    whole = support(head=own_head())
    whole.moments("features")
    rows = LABELS != 2
    kept = np.array([0, 1, 3])
    fresh = Support(
        Signals({"features": X[rows], "embedding": X[rows]}),
        labels=np.searchsorted(kept, LABELS[rows]),
        classes=("0", "1", "3"),
        head=own_head().select(("0", "1", "3")),
        text=TEXTS.select(("0", "1", "3")),
    )
    fast, slow = create(name).fit(whole.without("2")), create(name).fit(fresh)
    np.testing.assert_allclose(logits(fast), logits(slow), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", names("heads"))
def test_every_head(name):
    head = create(name)
    with pytest.raises(NotFitted, match="call fit"):
        head.check_ready(Signals({"features": X, "embedding": X}))
    head.fit(support(head=own_head()))
    assert logits(head).shape == (120, 4)
    order = RNG.permutation(120)
    again = create(name).fit(support(order, head=own_head()))
    exact, near = (1e-9, 1e-10) if name not in TRAINED else (1e-5, 1e-6)
    np.testing.assert_allclose(logits(again), logits(head), rtol=exact, atol=near)


@pytest.mark.parametrize("name", names("heads"))
def test_every_head_asks_for_what_names_its_classes(name):
    columns = {"features": X, "embedding": X}
    if find("heads", name).labels == "required":
        with pytest.raises(WrongUse, match="learns from labels"):
            create(name).fit(columns, head=own_head(), text=TEXTS)
    else:
        with pytest.raises(WrongUse, match="reads class names as texts and there are none"):
            create(name).fit(columns, LABELS, head=own_head())


@pytest.mark.parametrize("name", ["ridge", "prototypes"])
def test_heads_learn_the_classes(name):
    assert (logits(create(name).fit(support())).argmax(axis=1) == LABELS).mean() > 0.95


@pytest.mark.parametrize("name", ["ridge", "prototypes"])
def test_one_class_is_no_classifier(name):
    with pytest.raises(NotEnoughKnown, match="two classes"):
        create(name).fit(X, ["only"] * 120)


def test_a_class_without_inputs_has_no_prototype():
    empty = Support(Signals({"features": X}), labels=LABELS, classes=(*CLASSES, "absent"))
    with pytest.raises(NotEnoughKnown, match="'absent' has no input"):
        create("prototypes").fit(empty)


def test_penalty_must_be_positive():
    with pytest.raises(WrongUse, match="above 0"):
        create("ridge", penalty=0).fit(support())
