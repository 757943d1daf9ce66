"""Ensemble: by hand, one network, the order of networks, sure inputs, array files, its errors."""

import numpy as np
import pytest

from unseen import Ensemble, create, encode, open_inputs
from unseen.errors import BadInput, WrongUse

SAMPLES = np.random.default_rng(0).normal(scale=3, size=(20, 4, 6))
WAYS = ("probabilities", "logits", "variance")


def test_by_hand():
    """Three networks of two classes that say 3/4, 1/2 and 1/2 for the first: mean 7/12, variance 1/48 of each class."""
    logits = np.log([[[3.0, 1.0], [1.0, 1.0], [1.0, 1.0]]])
    expected = np.log(7 / 12), np.log(3 ** (1 / 3) / (1 + 3 ** (1 / 3))), -1 / 48
    for reduce, score in zip(WAYS, expected, strict=True):
        assert Ensemble(reduce).score({"samples": logits}).item() == pytest.approx(score)


def test_one_network_is_msp():
    for reduce in WAYS[:2]:
        scores = Ensemble(reduce).score(SAMPLES[:, :1])
        np.testing.assert_allclose(scores, create("msp").score(SAMPLES[:, 0]), rtol=1e-9)


def test_networks_have_no_order():
    for reduce in WAYS:
        one, other = (Ensemble(reduce).score(x) for x in (SAMPLES, SAMPLES[:, ::-1].copy()))
        np.testing.assert_allclose(one, other, rtol=1e-9)


def test_networks_that_agree_are_surer_than_those_that_do_not():
    """Of equally sure networks; the mean of logits hears it too."""
    agree, apart = np.array([[[8.0, 0, 0], [8.0, 0, 0]]]), np.array([[[8.0, 0, 0], [0, 8.0, 0]]])
    for reduce in WAYS:
        assert Ensemble(reduce).score(agree) > Ensemble(reduce).score(apart)


@pytest.mark.parametrize("reduce", WAYS)
def test_sure_inputs_do_not_tie(reduce):
    gaps = np.linspace(18, 40, 200)[:, None, None] * np.array([[[1.0, 0.0], [1.1, 0.0], [1.2, 0.0]]])
    assert (np.diff(Ensemble(reduce).score(gaps.astype(np.float32))) > 0).mean() > 0.98


def test_from_an_array_file(tmp_path):
    path, samples = tmp_path / "four.npz", np.random.default_rng(1).normal(scale=3, size=(100, 4, 6))
    np.savez(path, samples=samples, logits=samples[:, 0])
    assert open_inputs(path).columns["samples"].shape == (100, 4, 6)
    np.testing.assert_array_equal(Ensemble().score(encode(path, "arrays", cache=False)), Ensemble().score(samples))


def test_errors():
    with pytest.raises(WrongUse, match="'probabilities', 'logits' or 'variance'"):
        Ensemble("votes")
    with pytest.raises(WrongUse, match="ensemble reads samples, there is only logits: samples missing"):
        Ensemble().score({"logits": SAMPLES[:, 0]})
    with pytest.raises(BadInput, match=r"samples has shape \(20, 6\), expected \(N, R, C\)"):
        open_inputs({"samples": SAMPLES[:, 0], "logits": SAMPLES[:, 0]})
