"""Every part in the tree, asked everything; a new file in a room is asked unasked."""

import ast
import contextlib
import importlib.util
import inspect
from pathlib import Path

import pytest
from torch import nn

from unseen import create
from unseen.calibration import ClassConditional, SplitConformal
from unseen.checks import check_detector, checks_for, parametrize_with_checks, registered
from unseen.detectors.base import Detector
from unseen.encoders import open_encoder
from unseen.encoders.torch import Torch
from unseen.errors import MissingExtra
from unseen.registry import find, names

ORACLES = Path(__file__).parent.parent / "oracles"
# Arguments that make another method of it.
OTHERWISE = [
    "nearest_prototype(metric='cosine')",
    "residual(origin='mean')",
    "gen(M=4)",
    "react >> knn",
    "react >> vim",
    "react >> react >> energy",
    "react >> dice >> energy",
    "unit >> knn",
    "neco(factor='none')",
    "ssd(floor=0.001)",
    "ash(variant='P', quantile=0.35)",
    "class_gaussians(covariance='diagonal', floor=0.001)",
    "class_gaussians(covariance='shared', floor=0.001)",
    "she(metric='cosine')",
    "she(metric='euclidean')",
    "fdbd(origin='zero')",
    "dropout(reduce='variance')",
    "dropout(reduce='probabilities')",
    "grood(prototype='noise')",
    "grood(prototype='unknown')",
    "patchcore(neighbours=1, share=0.4, projection=16)",
    "gaussian_mixture(clusters=1, components=None, floor=0.001)",
    "adascale(variant='L')",
    "mds_ensemble(epsilon=0.0)",
    "mds_ensemble(combine='logistic')",
    "godin(readout='probability')",
    "mcm(temperature=0.01)",
    "neglabel(groups=1)",
    "clipn(rule='ctw')",
    "mcm(temperature=0.3)",
    "eoe(temperature=0.01)",
    "gl_mcm(weight=0.5)",
    "gl_mcm(temperature=0.1)",
    "eoe(beta=0.0)",
    "mahalanobis(on='embedding', covariance='class_mean')",
    "relative_mahalanobis(on='logits', floor=None)",
    "relative_mahalanobis(on='logits', covariance='class_mean')",
]
# With a head that is fitted in between. Such heads were never promised to answer flatly on far features, so that check
# is left to the detectors themselves.
BEHIND_HEADS = [
    "ridge >> energy",
    "prototypes >> msp",
    "ridge >> vim",
    "ridge >> react >> energy",
    "ridge >> mahalanobis(on='logits', floor=None)",
    "zero_shot >> energy",
    "plp(epochs=20, batch=32, lr=0.02) >> relative_mahalanobis(on='logits')",
]


@parametrize_with_checks([*registered("detectors"), *OTHERWISE])
def test_detector(part, check):
    check(part)


@pytest.mark.parametrize("expression", BEHIND_HEADS)
def test_detector_behind_a_head(expression):
    part = create(expression)
    passed_over = {"far_inputs_score_lower", "onnx_runtime_agrees"}
    if expression.startswith("zero_shot"):
        passed_over.add("not_a_number_is_named")  # a fit reads the texts, and no value of a known input
    for check in checks_for(part):
        if check.name not in passed_over and check.excuse(part) is None:
            check(part)


@parametrize_with_checks(registered("heads"))
def test_head(part, check):
    check(part)


@parametrize_with_checks([SplitConformal(), ClassConditional(), ClassConditional(minimum=1)])
def test_calibrator(part, check):
    check(part)


def encoders():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(8, 5),
    )  # fmt: skip
    plain = [open_encoder(text) for text in ("pixels?size=4", "edges", "arrays?source=mine")]
    found = [*plain, Torch(network.train(), size=24)]
    with contextlib.suppress(MissingExtra):
        found.append(open_encoder("packaged"))
    return found


@parametrize_with_checks(encoders())
def test_encoder(part, check):
    check(part)


@pytest.mark.parametrize("name", names("detectors"))
def test_golden_values(name):
    """Agree with a naive float64 program that was written from the paper."""
    part = create(name, **find("detectors", name).small)
    check_detector_golden(part, oracle(name))


@pytest.mark.parametrize("expression", [text for text in OTHERWISE if ">>" not in text])
def test_golden_values_otherwise(expression):
    part = create(expression)
    check_detector_golden(part, oracle(part.name))


def check_detector_golden(part, computed):
    from unseen.checks.detectors import scores_are_those_of_the_oracle

    scores_are_those_of_the_oracle(part, computed)


def oracle(name):
    path = ORACLES / f"{name}.py"
    assert path.is_file(), f"write tests/oracles/{name}.py: the paper's formula, naively, in NumPy"
    spec = importlib.util.spec_from_file_location(f"oracle_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.oracle


@pytest.mark.parametrize("path", sorted(ORACLES.glob("*.py")), ids=lambda path: path.stem)
def test_oracles_are_independent(path):
    assert path.stem in names("detectors"), "of a detector that is not there"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        imported = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        imported += [node.module] if isinstance(node, ast.ImportFrom) else []
        assert not [name for name in imported if name.split(".")[0] in ("unseen", "torch", "pytorch_ood")]


@pytest.mark.parametrize("name", names("detectors"))
def test_says_where_it_comes_from(name):
    kind = find("detectors", name)
    assert kind.paper is not None
    assert kind.paper.year > 1900
    doc = kind.__doc__
    gives = "Returns:" if issubclass(kind, Detector) else "Writes:"
    assert all(word in doc for word in ("Reads:", gives, "Source:", ">>>")), name
    assert all(f"{argument}:" in doc for argument in inspect.signature(kind).parameters)


def test_the_oracle_belongs_to_the_run():
    """With an oracle, `check_detector` counts one check more."""
    plain, golden = check_detector("maxlogit"), check_detector("maxlogit", oracle("maxlogit"))
    assert set(golden.passed) - set(plain.passed) == {"golden_values"}
