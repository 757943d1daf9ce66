"""The linear probe: its recipe against plain numpy, its optimum against scikit-learn, its draw, its loop."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import cross_entropy, linear

from unseen import create
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.heads._minibatch import minimise, warmup_cosine
from unseen.heads.probe import Probe, few_shot
from unseen.parts import rebuild
from unseen.signals import Signals, Support

N, D, C = 90, 6, 3
RNG = np.random.default_rng(0)
LABELS = np.arange(N) % C
X = (2 * RNG.normal(size=(C, D))[LABELS] + 3 * RNG.normal(size=(N, D))).astype(np.float32)
CLASSES = ("a", "b", "c")
SOON = {"epochs": 20, "batch": 32, "lr": 0.02}  # learns something within 60 steps


def support(x=X, labels=LABELS, classes=CLASSES):
    return Support(Signals({"features": x}), labels=np.asarray(labels), classes=classes)


def fit(x=X, labels=LABELS, classes=CLASSES, **arguments):
    return Probe(**(SOON | arguments)).fit(support(x, labels, classes))


def logits(head, x=X):
    return head.apply_to({"features": torch.as_tensor(x)})["logits"].numpy()


def standardised(x=X):
    x = x.astype(np.float64)
    return (x - x.mean(axis=0)) / x.std(axis=0, ddof=1)


def state(head):
    return [head.weight, head.bias]


# The recipe


@pytest.mark.parametrize("rule", ["code", "paper"])
def test_equals_adam_in_plain_numpy(rule):
    """Every step written out: schedule, coupled decay of weight and bias, moments with their corrections."""
    epochs, batch, peak, decay = 30, 32, 0.02 * (32 / 256 if rule == "paper" else 1), 0.05
    u, hot = standardised(), np.eye(C)[LABELS]
    generator = torch.Generator().manual_seed(7)
    start = [(2 * torch.rand(shape, generator=generator).numpy() - 1) / np.sqrt(D) for shape in ((C, D), (C,))]
    theta = np.concatenate([start[0], start[1][:, None]], axis=1).astype(np.float64)  # the bias as a last column
    u = np.concatenate([u, np.ones((N, 1))], axis=1)
    steps = epochs * 3
    rates = np.concatenate(
        [np.linspace(0, peak, steps // 10), peak * (1 + np.cos(np.pi * np.linspace(0, 1, steps - 9 + 1)[:-1])) / 2]
    )
    m, v, t = np.zeros_like(theta), np.zeros_like(theta), 0
    for _ in range(epochs):
        order = torch.randperm(N, generator=generator).numpy()
        for first in range(0, N, batch):
            rows = order[first : first + batch]
            z = u[rows] @ theta.T
            p = np.exp(z - z.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            slope = (p - hot[rows]).T @ u[rows] / len(rows) + decay * theta
            m, v = 0.9 * m + 0.1 * slope, 0.999 * v + 0.001 * slope**2
            theta -= rates[t] * (m / (1 - 0.9 ** (t + 1))) / (np.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)
            t += 1
    assert t == steps == len(rates)
    head = fit(epochs=epochs, lr_rule=rule, weight_decay=decay, seed=7)
    np.testing.assert_allclose(logits(head), u @ theta.T, atol=1e-4)


def test_the_rule_matters_only_for_another_batch():
    same = [fit(batch=256, lr_rule=rule) for rule in ("code", "paper")]
    assert torch.equal(same[0].weight, same[1].weight)
    other = [fit(batch=32, lr_rule=rule) for rule in ("code", "paper")]
    assert (other[0].weight - other[1].weight).abs().max() > 0.01
    scaled = fit(batch=32, lr=8 * SOON["lr"], lr_rule="paper")
    assert torch.equal(other[0].weight, scaled.weight)


@pytest.mark.parametrize(
    ("argument", "value"), [("epochs", 21), ("batch", 31), ("lr", 0.03), ("weight_decay", 0.1), ("seed", 1)]
)
def test_each_argument_matters(argument, value):
    assert (fit().weight - fit(**{argument: value}).weight).abs().max() > 1e-4


def test_defaults_are_those_of_the_paper():
    assert Probe().arguments() == {
        "shots": None,
        "epochs": 100,
        "batch": 256,
        "lr": 1e-3,
        "lr_rule": "code",
        "weight_decay": 1e-3,
        "solver": "adam",
        "seed": 42,
    }


@pytest.fixture(scope="module")
def digits_split():
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[:1200], order[1200:]
    return x[train].astype(np.float32), y[train], x[test].astype(np.float32), y[test]


def accuracy(head, split):
    return float((logits(head, split[2]).argmax(axis=1) == split[3]).mean())


@pytest.mark.parametrize("seed", [42, 1])
def test_reads_digits(digits_split, seed):
    """Three of the 64 pixels are always 0, others nearly so. Smaller batches: 3,800 steps where 256 makes 500."""
    assert accuracy(Probe(batch=32, seed=seed).fit(*digits_split[:2]), digits_split) >= 0.95


def test_the_seed_hardly_matters(digits_split):
    found = [accuracy(Probe(lr=0.01, seed=seed).fit(*digits_split[:2]), digits_split) for seed in (42, 1, 2)]
    assert max(found) - min(found) < 0.015


def test_few_inputs_make_few_steps(digits_split):
    """What the docstring warns of: the recipe as published stops early on 1,200 inputs, a higher rate mends it."""
    published, raised = (Probe(lr=lr).fit(*digits_split[:2]) for lr in (1e-3, 1e-2))
    assert 0.85 < accuracy(published, digits_split) < accuracy(raised, digits_split) - 0.03


def test_few_shots_learn_less_than_all(digits_split):
    few = accuracy(Probe(shots=5, lr=0.01).fit(*digits_split[:2]), digits_split)
    assert 0.6 < few < accuracy(Probe(lr=0.01).fit(*digits_split[:2]), digits_split) - 0.03


# Standardisation


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_scale_and_offset_of_features_do_not_matter(solver):
    recipe = SOON if solver == "adam" else {}
    scale = np.array([1000, 1e-3, 1, 7, 1e4, 0.1])
    wide = X.astype(np.float64)
    expected = logits(Probe(solver=solver, **recipe).fit(support(wide)), wide)
    for moved in (wide * 1000 + 5, wide * scale - 3, wide * 1e-9):
        np.testing.assert_allclose(
            logits(Probe(solver=solver, **recipe).fit(support(moved)), moved), expected, atol=1e-5
        )
    single = (X * 1000 + 5).astype(np.float32)
    np.testing.assert_allclose(logits(Probe(solver=solver, **recipe).fit(support(single)), single), expected, atol=1e-3)


def test_fitting_does_not_depend_on_how_rows_are_read(monkeypatch):
    """Mean and spread are merged over batches; far-off means must not cost digits."""
    far = X.astype(np.float64) + 1e6
    whole = fit(far)
    read = Signals.batches
    monkeypatch.setattr(Signals, "batches", lambda self, *names, size=0: read(self, *names, size=17))
    np.testing.assert_allclose(logits(fit(far), far), logits(whole, far), atol=1e-4)
    np.testing.assert_allclose(logits(whole, far), logits(fit(X)), atol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("value", [0.0, 0.1, 300.7])
def test_a_constant_dimension_has_no_weight(dtype, value):
    x = np.insert(X.astype(dtype), 2, np.dtype(dtype).type(value), axis=1)
    head = fit(x)
    assert head.weight.dtype == (torch.float64 if dtype == "float64" else torch.float32)
    assert (head.weight[:, 2] == 0).all()
    assert torch.isfinite(head.bias).all()
    assert (head.weight[:, [0, 1, 3, 4, 5, 6]] != 0).all()


def test_rounding_of_a_constant_is_not_made_loud():
    noise = np.where(np.arange(N) % 2, np.float32(5), np.nextafter(np.float32(5), np.float32(6)))
    assert (fit(np.insert(X, 2, noise, axis=1)).weight[:, 2] == 0).all()


def test_features_that_never_vary_leave_the_class_shares():
    labels = np.repeat([0, 1, 2], [60, 20, 10])
    head = fit(np.ones((N, D), np.float32), labels, epochs=200)
    shares = np.bincount(labels, minlength=3) / N
    found = torch.from_numpy(logits(head)[0]).softmax(0).numpy()
    assert (head.weight == 0).all()
    np.testing.assert_allclose(found, shares, atol=0.05)


# L-BFGS


def test_lbfgs_has_no_slope_and_agrees_with_scikit_learn():
    """The slope is taken in standardised coordinates, by hand; scikit-learn's C is 1 / (N * weight_decay)."""
    decay = 0.02
    head = Probe(solver="lbfgs", weight_decay=decay).fit(support(X.astype(np.float64)))
    spread = X.astype(np.float64).std(axis=0, ddof=1)
    z = torch.from_numpy(logits(head, X.astype(np.float64))).softmax(1).numpy() - np.eye(C)[LABELS]
    slope = z.T @ standardised() / N + decay * head.weight.numpy() * spread
    assert np.abs(slope).max() < 1e-8
    assert np.abs(z.mean(axis=0)).max() < 1e-8
    theirs = LogisticRegression(C=1 / (N * decay), tol=1e-10, max_iter=10_000).fit(standardised(), LABELS)
    expected = theirs.decision_function(standardised())
    ours = logits(head, X.astype(np.float64))
    np.testing.assert_allclose(ours - ours.mean(axis=1, keepdims=True), expected, atol=1e-5)


def test_lbfgs_sums_over_pieces(monkeypatch):
    whole = Probe(solver="lbfgs").fit(support())
    monkeypatch.setattr("unseen.heads.probe.BATCH", 7)
    np.testing.assert_allclose(logits(Probe(solver="lbfgs").fit(support())), logits(whole), atol=1e-5)


def test_lbfgs_with_more_dimensions_than_inputs():
    wide = RNG.normal(size=(30, 200)).astype(np.float32)
    head = Probe(solver="lbfgs").fit(support(wide, np.arange(30) % C))
    assert (logits(head, wide).argmax(axis=1) == np.arange(30) % C).all()


def test_lbfgs_says_when_there_is_no_optimum(monkeypatch):
    monkeypatch.setattr("unseen.heads.probe.ITERATIONS", 2)
    with pytest.raises(WrongUse, match=r"probe\(solver='lbfgs'\) found no optimum in 2 iterations: raise weight_decay"):
        Probe(solver="lbfgs").fit(support())


# Few shots and classes


def test_draw_is_balanced_without_replacement_and_seeded():
    uneven = np.repeat([0, 1, 2], [50, 30, 10])
    rows = np.arange(N, dtype=np.float64)[:, None]
    whole = support(rows, RNG.permutation(uneven))
    draws = [few_shot(whole, 10, seed) for seed in (0, 0, 1)]
    for draw in draws:
        assert np.bincount(draw.labels).tolist() == [10, 10, 10]
        taken = draw.gather("features")[:, 0].numpy().astype(int)
        assert len(set(taken)) == 30
        assert (whole.labels[taken] == draw.labels).all()
        assert (np.diff(taken) > 0).all()
    same, again, other = (draw.gather("features")[:, 0].tolist() for draw in draws)
    assert same == again != other


def test_every_row_may_be_drawn():
    """Were it the first rows of each class, most would never be drawn."""
    whole = support(np.arange(N, dtype=np.float64)[:, None])
    drawn = [few_shot(whole, 10, seed).gather("features")[:, 0].numpy() for seed in range(60)]
    often = np.bincount(np.concatenate(drawn).astype(int), minlength=N)  # 20 each on average, 3.7 either way
    assert often.min() > 5
    assert often.max() < 38


def test_shots_are_the_recipe_on_the_draw():
    """Mean and spread too come from the drawn rows: the other rows are as if they were not there."""
    few = Probe(shots=8, **SOON).fit(support())
    expected = Probe(**SOON).fit(few_shot(support(), 8, 42))
    assert torch.equal(few.weight, expected.weight)
    assert torch.equal(few.bias, expected.bias)


def test_a_class_with_too_few_for_the_draw_is_named():
    labels = np.repeat([0, 1, 2], [70, 5, 15])
    with pytest.raises(
        NotEnoughKnown, match=r"^class 'b' has 5 inputs and shots=10 .*\(1 of 3 classes .*: lower shots to 5, or add"
    ):
        Probe(shots=10).fit(support(labels=labels))
    with pytest.raises(
        NotEnoughKnown, match=r"class 'c' has 0 inputs .*\(2 of 3 classes .*: add inputs, or leave it out"
    ):
        Probe(shots=10).fit(support(labels=labels % 2))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_class_without_inputs_keeps_a_column_that_never_wins(solver):
    """It is only ever pushed down; the other classes are told apart as they would be without it."""
    recipe = {"lr": 0.02, "batch": 32} if solver == "adam" else {}
    labels = LABELS % 2
    head = Probe(solver=solver, **recipe).fit(support(labels=labels))
    found = logits(head)
    assert head.weight.shape == (C, D)
    assert np.isfinite(found).all()
    assert (found[:, 2] < found[:, :2].max(axis=1) - 1).all()
    alone = logits(Probe(solver=solver, **recipe).fit(support(labels=labels, classes=("a", "b"))))
    assert (found[:, :2].argmax(axis=1) == alone.argmax(axis=1)).mean() > 0.95


def test_one_class_is_no_classifier():
    with pytest.raises(NotEnoughKnown, match="probe tells classes apart and needs two classes, got 1"):
        Probe().fit(X, ["only"] * N)


def test_one_row_of_two_classes_gives_finite_logits():
    head = Probe().fit(Support(Signals({"features": X[:1]}), np.array([1]), ("a", "b")))
    assert np.isfinite(logits(head)).all()


# What the base promises


def test_saved_copied_and_named_again():
    head = fit(seed=3)
    other = rebuild(head.describe())
    other.load_state_dict({name: tensor.clone() for name, tensor in head.state_dict().items()})
    np.testing.assert_array_equal(logits(other), logits(head))
    np.testing.assert_array_equal(logits(copy.deepcopy(head)), logits(head))
    assert create(head.expression()).describe() == head.describe()


def test_stands_before_a_detector():
    pipeline = create("probe(shots=10, lr=0.05) >> msp").fit({"features": X}, LABELS)
    z = logits(create("probe(shots=10, lr=0.05)").fit({"features": X}, LABELS))
    scores = pipeline.score({"features": X})
    np.testing.assert_array_equal(scores, create("msp").score({"logits": z}))
    assert np.ptp(scores) > 0.1


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_precisions(dtype):
    exact = logits(fit(), X)
    cast = X.astype(dtype)
    found = logits(fit(cast), cast.astype(np.float32 if dtype == "float16" else dtype))
    assert found.dtype == (np.float64 if dtype == "float64" else np.float32)
    np.testing.assert_allclose(found, exact, atol=5e-3 if dtype == "float16" else 1e-4)


def test_inputs_are_not_written():
    held = X.copy()
    held.setflags(write=False)
    tensor = torch.from_numpy(X.copy())
    fit(held)
    fit(tensor)
    assert torch.equal(tensor, torch.from_numpy(X))


@pytest.mark.parametrize("arguments", [SOON, {"shots": 4}, {"solver": "lbfgs"}])
def test_same_bits_and_no_global_random_state(arguments):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - the state that must stay untouched
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    one = Probe(**arguments).fit(support())
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    torch.manual_seed(1)
    two = Probe(**arguments).fit(support())
    assert all(torch.equal(a, b) for a, b in zip(state(one), state(two), strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shots": 0}, r"Probe\(shots=0\): shots must be a whole number from 1"),
        ({"epochs": 2.5}, r"Probe\(epochs=2.5\): epochs must be a whole number from 1"),
        ({"batch": None}, r"Probe\(batch=None\): batch must be"),
        ({"seed": -1}, r"Probe\(seed=-1\): seed must be a whole number from 0"),
        ({"lr": 0}, r"Probe\(lr=0\): lr must be a number above 0"),
        ({"lr": float("nan")}, r"Probe\(lr=nan\): lr must be"),
        ({"weight_decay": -0.1}, r"Probe\(weight_decay=-0.1\): weight_decay must be a number 0 or more"),
        ({"lr_rule": "linear"}, r"Probe\(lr_rule='linear'\): lr_rule must be 'code' or 'paper'"),
        ({"solver": "sgd"}, r"Probe\(solver='sgd'\): solver must be 'adam' or 'lbfgs'"),
        ({"solver": "lbfgs", "epochs": 5}, r"Probe\(epochs=5, solver='lbfgs'\): only solver='adam' uses epochs=5"),
        ({"solver": "lbfgs", "weight_decay": 0}, "separable classes have no optimum"),
    ],
)
def test_a_value_out_of_range_is_named(arguments, message):
    with pytest.raises(WrongUse, match=message):
        Probe(**arguments).fit(support())


def test_training_to_infinity_is_refused():
    with pytest.raises(WrongUse, match=r"left the finite numbers within 100 steps: lower lr"):
        Probe(lr=1e38).fit(support())


# The loop


def test_rate_in_closed_form():
    """20 steps, two of them warm: 0, peak, peak, then down; the last of 18 is the half cosine at 17 / 18."""
    rates = [warmup_cosine(step, 20, 0.5) for step in range(20)]
    assert rates[:3] == [0.0, 0.5, 0.5]
    assert (np.diff(rates[2:]) < 0).all()
    assert rates[11] == pytest.approx(0.25)  # halfway: 9 of 18
    assert rates[-1] == pytest.approx(0.25 * (1 + np.cos(np.pi * 17 / 18)))
    assert rates[-1] > 0


def test_rate_climbs_in_a_line():
    rates = [warmup_cosine(step, 50, 4.0) for step in range(6)]
    assert rates == [0.0, 1.0, 2.0, 3.0, 4.0, 4.0]


def test_rate_of_few_steps():
    """One warm step has rate 0; under ten steps none is warm, and the first has the peak."""
    assert [warmup_cosine(step, 19, 1.0) for step in (0, 1)] == [0.0, 1.0]
    assert [warmup_cosine(step, 2, 1.0) for step in (0, 1)] == pytest.approx([1.0, 0.5])
    assert warmup_cosine(0, 1, 1.0) == 1.0


def walk(rows, epochs, batch, seed=0):
    """The row numbers and the rates asked for, step by step."""
    seen, asked = [], []
    parameter = torch.zeros(1, requires_grad=True)

    def loss(index):
        seen.append(index.clone())
        return parameter.sum()

    def rate(step, steps):
        asked.append((step, steps))
        return 0.1

    generator = torch.Generator().manual_seed(seed)
    minimise(loss, [parameter], rows, epochs=epochs, batch=batch, rate=rate, weight_decay=0.0, generator=generator)
    return seen, asked


def test_each_epoch_takes_every_row_once_in_another_order():
    seen, asked = walk(rows=10, epochs=2, batch=4)
    assert [len(index) for index in seen] == [4, 4, 2, 4, 4, 2]
    first, second = torch.cat(seen[:3]), torch.cat(seen[3:])
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(10))
    assert first.tolist() != second.tolist()
    assert first.tolist() != list(range(10))
    assert asked == [(step, 6) for step in range(6)]
    again, _ = walk(rows=10, epochs=2, batch=4)
    other, _ = walk(rows=10, epochs=2, batch=4, seed=1)
    assert torch.equal(torch.cat(again), torch.cat(seen))
    assert not torch.equal(torch.cat(other), torch.cat(seen))


def test_a_batch_wider_than_the_rows_takes_them_all():
    seen, _ = walk(rows=3, epochs=2, batch=100)
    assert [sorted(index.tolist()) for index in seen] == [[0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_first_step_by_hand(decay):
    """Adam's first step is the rate times the sign of gradient + decay * value: the decay turns one sign."""
    parameter = torch.tensor([1.0, -1.0], requires_grad=True)

    def step(rate):
        minimise(
            lambda index: parameter @ torch.tensor([2.0, 0.1]),
            [parameter],
            1,
            epochs=1,
            batch=1,
            rate=lambda step, steps: rate,
            weight_decay=decay,
            generator=torch.Generator(),
        )
        return parameter.tolist()

    assert step(0.0) == [1.0, -1.0]
    assert step(0.25) == pytest.approx([0.75, -1.25 if decay == 0 else -0.75])


def test_loss_is_not_given_more_than_a_batch(monkeypatch):
    """Memory beyond the features grows with the batch: no product has more rows."""
    heights = []

    def watched(x, weight, bias):
        heights.append(len(x))
        return linear(x, weight, bias)

    monkeypatch.setattr("unseen.heads.probe.linear", watched)
    fit()
    assert max(heights) == 32


def test_training_lowers_the_loss():
    y = torch.from_numpy(LABELS)
    losses = [float(cross_entropy(torch.from_numpy(logits(fit(epochs=epochs))), y)) for epochs in (1, 5, 20, 80)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] - 0.3


def test_other_labels_on_the_same_support_give_another_head():
    """Pseudo-labels are put in place of labels: equal ones give the same bits."""
    same = Probe(**SOON).fit(replace(support(), labels=LABELS.copy()))
    assert torch.equal(same.weight, fit().weight)
    other = Probe(**SOON).fit(replace(support(), labels=(LABELS + 1) % C))
    assert not torch.allclose(other.weight, same.weight, atol=0.01)
