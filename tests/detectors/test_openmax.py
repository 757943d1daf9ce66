"""OpenMax: by hand, its Weibull fit against SciPy, inputs that are wrongly classified, classes with few inputs."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import weibull_min

from unseen import OpenMax
from unseen.detectors.openmax import weibull
from unseen.errors import NotEnoughKnown, WrongUse

RNG = np.random.default_rng(0)
LABELS = np.arange(120) % 4
KNOWN = 5 * np.eye(4)[LABELS] + 1.5 * RNG.normal(size=(120, 4))
ASKED = 3 * RNG.normal(size=(50, 4))


def test_by_hand():
    """An input on the mean keeps its logits, as the tail begins far from there; one far out keeps none of them."""
    known = [[9.0, 1.0], [11.0, -1.0], [13.0, 0.0], [7.0, 0.0], [0.0, 5.0], [1.0, 5.0], [0.0, 8.0]]
    detector = OpenMax(alpha=1).fit(np.array(known), [0, 0, 0, 0, 1, 1, 1])
    w = 1 - math.exp(-math.exp(float(detector.shape[0]) * math.log1p(-math.sqrt(2) / 1e4) + float(detector.level[0])))
    on_mean, far = detector.score(np.array([[10.0, 0.0], [99.0, 0.0]])).tolist()
    assert on_mean == pytest.approx(math.log(math.exp(10 * (1 - w)) + 1) - 10 * w)
    assert w < 0.2
    assert far == pytest.approx(math.log(2) - 99)


def test_the_weibull_fit_agrees_with_scipy():
    values = [RNG.weibull(k, size=n) * 10**s for k, n, s in ((0.7, 20, 3), (2.0, 20, 0), (30.0, 12, -2))]
    logs, there = torch.zeros(3, 20, dtype=torch.float64), torch.zeros(3, 20, dtype=torch.bool)
    for row, v in enumerate(values):
        logs[row, : len(v)], there[row, : len(v)] = torch.from_numpy(np.log(v)), True
    shape, log_scale = weibull(logs, there)
    for row, v in enumerate(values):
        k, _, s = weibull_min.fit(v, floc=0)
        assert shape[row].item() == pytest.approx(k, rel=1e-3)
        assert log_scale[row].exp().item() == pytest.approx(s, rel=1e-3)
        # Where the likelihood is largest, which SciPy only comes near to.
        x, k = np.log(v), shape[row].item()
        assert (x * v**k).sum() / (v**k).sum() - 1 / k == pytest.approx(x.mean(), abs=1e-9)


def test_scores_are_finite_and_ordered_along_a_ray():
    detector = OpenMax(tail=10).fit(KNOWN, LABELS)
    ray = np.array([[5.0, 0, 0, 0]]) * np.linspace(1, 200, 300)[:, None]
    scores = detector.score(ray)
    assert np.isfinite(scores).all()
    assert (np.diff(scores) < 0).all()
    single = OpenMax(tail=10).fit(KNOWN.astype(np.float32), LABELS).score(ray.astype(np.float32))
    np.testing.assert_allclose(single, scores, rtol=1e-3, atol=1e-3)


def test_negative_logits_are_left_alone():
    """The authors' code would take from the unknown what it takes from them."""
    detector = OpenMax().fit(KNOWN, LABELS)
    row = np.array([[-3.0, -4.0, -5.0, -9.0]])
    assert detector.score(row).item() == pytest.approx(np.log(np.exp(row).sum()))


def test_wrongly_classified_inputs_teach_nothing():
    right = KNOWN.argmax(axis=1) == LABELS
    assert 0 < (~right).sum() < 20
    some = OpenMax(tail=10).fit(KNOWN[right], LABELS[right]).score(ASKED)
    np.testing.assert_allclose(OpenMax(tail=10).fit(KNOWN, LABELS).score(ASKED), some, rtol=1e-10)


def test_a_class_with_few_correct_inputs_borrows_and_one_without_gives_all():
    keep = (KNOWN.argmax(axis=1) == LABELS) & (LABELS != 3)
    two = np.flatnonzero((LABELS == 3) & (KNOWN.argmax(axis=1) == 3))[:2]
    rows = np.concatenate([np.flatnonzero(keep), two])
    detector = OpenMax(tail=10).fit(KNOWN[rows], LABELS[rows])
    assert detector.smallest[3].item() == pytest.approx(detector.smallest[:3].mean().item())
    wrong = KNOWN[rows].copy()
    wrong[-2:] = [[9.0, 0.0, 0.0, 1.0], [9.0, 0.0, 0.0, 0.5]]  # labelled 3, called 0
    without = OpenMax(tail=10, alpha=1).fit(wrong, LABELS[rows])
    assert without.score(np.array([[0.0, 0.0, 0.0, 7.0]])).item() == pytest.approx(math.log(4) - 7)


def test_errors():
    with pytest.raises(NotEnoughKnown, match="none of the 2 classes has 3"):
        OpenMax().fit([[1.0, 0.0], [0.0, 1.0]], [0, 1])
    with pytest.raises(WrongUse, match=r"tail=0"):
        OpenMax(tail=0).fit(KNOWN, LABELS)
    with pytest.raises(WrongUse, match="3 classes"):
        OpenMax().fit(KNOWN, LABELS % 3)
