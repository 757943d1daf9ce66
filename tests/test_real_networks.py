"""A published network on real images: the whole path gives the numbers that an independent program measured.

The images and weights are not part of this repository; UNSEEN_TEST_DATA names the folder that holds them. What the
experiments committed is checked without them.
"""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import unseen
from unseen.encoders import encode, open_encoder
from unseen.metrics import auroc

ROOT = Path(__file__).parent.parent
EXPERIMENTS = ROOT / "experiments"


def experiment(name):
    """A module beside the experiments, which are no package."""
    spec = importlib.util.spec_from_file_location(f"experiments_{name}", EXPERIMENTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SOURCES, COUNTERPARTS = experiment("sources"), experiment("counterparts")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """On a busy machine, layers this small wait for each other's threads more than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def opened(test_data, name):
    weights = test_data / f"net_cifar10_{name}.safetensors"
    return open_encoder(f"torch:{EXPERIMENTS / 'networks.py'}:{name}?weights={weights}&size=32")


@pytest.fixture(scope="module")
def encoder(test_data):
    return opened(test_data, "resnet20")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def train(encoder, cache):
    return encode(SOURCES.cifar10("train"), encoder, cache=cache)


@pytest.fixture(scope="module")
def test(encoder, cache):
    return encode(SOURCES.cifar10("test"), encoder, cache=cache)


@pytest.fixture(scope="module")
def textures(encoder, cache, test_data):
    """600 textures, 64 x 64, shrunk by averaging 2 x 2."""
    with np.load(test_data / "far_ood.npz") as held:
        images = SOURCES.boxed(SOURCES.decoded(held, "dtd_webp", "dtd_offset"), 2)
    return encode({"images": images}, encoder, cache=cache)


@pytest.fixture(scope="module")
def digits(encoder, cache, test_data):
    """1,000 digits, 28 x 28 grey: the encoder itself resizes them bilinearly and repeats the channel."""
    with np.load(test_data / "far_ood.npz") as held:
        return encode({"images": held["mnist"]}, encoder, cache=cache)


@pytest.fixture(scope="module")
def sets(encoder, cache):
    return {one.name: encode({"images": one.images}, encoder, cache=cache) for one in SOURCES.cifar10_sets()}


def accuracy(support):
    return float((support.signals.gather("logits").argmax(1).numpy() == support.labels).mean())


def scored(detector, *supports):
    return [np.asarray(detector.score(support.signals)) for support in supports]


def test_the_weights_bring_their_normalisation(encoder):
    assert '"mean": [0.48' in encoder.id
    assert encoder.head.weight.shape == (10, 64)


def test_accuracy(test):
    assert len(test) == 846
    assert accuracy(test) == pytest.approx(0.9173, abs=0.002)


@pytest.mark.slow
def test_accuracy_of_the_deeper_network(test_data, cache):
    assert accuracy(encode(SOURCES.cifar10("test"), opened(test_data, "resnet56"), cache=cache)) == pytest.approx(
        0.9338, abs=0.002
    )


@pytest.mark.slow
def test_accuracy_on_what_it_was_trained_on(train):
    assert len(train) == 4660
    assert accuracy(train) == pytest.approx(0.9974, abs=0.002)


# Of this network, by another program: `msp`, `maxlogit`, `energy`, `knn(k=20)`. Sets of one row are taken together.
MEASURED = {
    ("dtd",): (0.876, 0.900, 0.900, 0.950),
    ("mnist",): (0.925, 0.978, 0.979, 0.972),
    ("fashion",): (0.938, 0.978, 0.978, 0.971),
    ("omniglot",): (0.938, 0.982, 0.983, 0.983),
    ("tiny", "tiny_overlap"): (0.870, 0.901, 0.901, 0.889),
    ("pacs", "pacs_shared"): (0.879, 0.925, 0.925, 0.909),
}
NEAR = 0.003  # it decoded and shrank the images by itself
DETECTORS = ("msp", "maxlogit", "energy", "knn(k=20)")


@pytest.mark.parametrize("detector", DETECTORS[:3])
@pytest.mark.parametrize("unknown", [("textures", "dtd"), ("digits", "mnist")], ids=lambda pair: pair[0])
def test_auroc(request, test, unknown, detector):
    fixture, name = unknown
    known_scores, unknown_scores = scored(unseen.create(detector), test, request.getfixturevalue(fixture))
    measured = MEASURED[name,][DETECTORS.index(detector)]
    assert float(auroc(known_scores, unknown_scores)) == pytest.approx(measured, abs=NEAR)


@pytest.mark.slow
@pytest.mark.parametrize("detector", DETECTORS)
def test_auroc_on_every_set(train, test, sets, detector):
    fitted = unseen.create(detector)
    if not fitted.fitted:
        fitted.fit(train)
    known_scores = scored(fitted, test)[0]
    found = {
        names: float(auroc(known_scores, np.concatenate(scored(fitted, *(sets[name] for name in names)))))
        for names in MEASURED
    }
    at = DETECTORS.index(detector)
    assert found == pytest.approx({names: measured[at] for names, measured in MEASURED.items()}, abs=NEAR)


def test_features_and_head_give_the_logits(encoder, test):
    features, logits = test.signals.gather("features"), test.signals.gather("logits")
    torch.testing.assert_close(features @ encoder.head.weight.T + encoder.head.bias, logits, rtol=1e-4, atol=1e-4)


# pytorch-ood -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("pair", COUNTERPARTS.COUNTERPARTS, ids=lambda pair: pair.ours)
def test_pytorch_ood_ranks_alike_or_for_the_reason_that_is_given(train, test, textures, digits, pair):
    if importlib.util.find_spec("pytorch_ood") is None:
        pytest.skip("pytorch-ood is not installed")
    theirs, _ = COUNTERPARTS.detectors()
    asked = (test, textures, digits)
    features, logits = (torch.cat([x.gather(name) for x in asked]) for name in ("features", "logits"))
    given = COUNTERPARTS.Given.of(train, features, logits)
    ours = unseen.create(pair.ours).fit(train).score({"features": features, "logits": logits})
    correlation = COUNTERPARTS.rank_correlation(ours, -pair.score(theirs, given))
    if not pair.reason:
        assert correlation > COUNTERPARTS.ALIKE
    else:
        # Ours is what the formula says in float64, and theirs is what it says there with their limits.
        double = given.double()
        limited = pair.limited(double.logits)
        assert COUNTERPARTS.rank_correlation(limited, -pair.score(theirs, double)) > COUNTERPARTS.ALIKE
        exact = unseen.create(pair.ours).fit(train).score({"features": features.double(), "logits": double.logits})
        assert COUNTERPARTS.rank_correlation(ours, exact) > COUNTERPARTS.ALIKE
        assert correlation < COUNTERPARTS.rank_correlation(ours, exact)


COMMITTED = json.loads((EXPERIMENTS / "results" / "cifar10_pytorch_ood.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("network", COMMITTED["networks"])
def test_every_committed_correlation_is_high_or_has_a_reason(network):
    rows = {row["ours"]: row for row in COMMITTED["networks"][network]["rows"]}
    pairs = {pair.ours: pair for pair in COUNTERPARTS.COUNTERPARTS}
    assert rows.keys() == pairs.keys()
    for name, row in rows.items():
        told = {key: row[key] for key in ("theirs", "default", "reason")}
        assert told == {key: getattr(pairs[name], key) for key in told}, name
        if row["reason"]:
            assert row["explained"] > COUNTERPARTS.ALIKE, name
            assert row["rank_correlation"] < COUNTERPARTS.ALIKE, f"{name}: the reason is no longer needed"
        else:
            assert row["rank_correlation"] > COUNTERPARTS.ALIKE, name
            assert row["auroc"] == pytest.approx(row["their_auroc"], abs=1e-4), name


@pytest.mark.parametrize("network", COMMITTED["networks"])
def test_the_committed_temperatures_are_no_less_likely_than_theirs(network):
    for half in COMMITTED["networks"][network]["temperature"]:
        assert half["nll"] <= half["their_nll"] + 1e-9


def test_both_committed_results_are_of_one_run():
    detectors = json.loads((EXPERIMENTS / "results" / "cifar10_detectors.json").read_text(encoding="utf-8"))
    for network, about in COMMITTED["networks"].items():
        by_name = {row["name"]: row for row in detectors["networks"][network]["detectors"]}
        for row in about["rows"]:
            assert row["auroc"] == {name: cell["auroc"] for name, cell in by_name[row["ours"]]["sets"].items()}
