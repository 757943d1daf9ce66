"""Detectors that ask the network for more, from images to a saved guard, a bench and an audit."""

import numpy as np
import pytest
import torch
from torch import nn

import unseen
from unseen.classifier import OpenSetClassifier
from unseen.encoders.torch import Torch
from unseen.errors import WrongUse

CLASSES = ("dark", "grey", "light", "red", "blue")


class Net(nn.Module):
    """Two resolutions and a head; counts rows that pass, and those with slopes."""

    def __init__(self):
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.ReLU())
        self.fc = nn.Linear(12, 5)
        self.rows = self.sloped = 0

    def forward(self, x):
        self.rows += len(x)
        self.sloped += len(x) * x.requires_grad
        return self.fc(self.two(self.one(x)).mean((2, 3)))


def images(n, seed, shift=0):
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 5
    base = np.array([[30, 30, 30], [110, 110, 110], [220, 220, 220], [200, 40, 40], [40, 40, 200]])[codes] + shift
    noise = rng.normal(0, 12, (n, 12, 12, 3))
    return np.clip(base[:, None, None] + noise, 0, 255).astype(np.uint8), np.array(CLASSES)[codes]


@pytest.fixture
def encoder():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        made = Torch(Net(), size=12, classes=CLASSES)
    made._module.rows = made._module.sloped = 0
    return made


KNOWN = dict(zip(("images", "labels"), images(160, 0), strict=True))
NEW = {"images": images(40, 1)[0]}
NOISE = {"images": np.random.default_rng(2).integers(0, 256, (40, 12, 12, 3), dtype=np.uint8)}


@pytest.mark.parametrize("detector", ["odin", "mahalanobis_odin", "gram(layers='-1')", "rankfeat(layers='-1')", "nac"])
def test_a_guard_answers_the_same_after_a_file(encoder, detector, tmp_path):
    guard = OpenSetClassifier(encoder, detector, alpha=0.1).fit(KNOWN, cache=False)
    said = guard.predict(NEW)
    guard.save(tmp_path / "guard.unseen")
    again = OpenSetClassifier.load(tmp_path / "guard.unseen", encoder=encoder).predict(NEW)
    np.testing.assert_array_equal(again.familiarity, said.familiarity)
    np.testing.assert_array_equal(again.p_value, said.p_value)


def test_slopes_are_taken_of_calibration_rows_and_queries_only(encoder):
    """160 known inputs, a fifth set aside; passes are of whole batches of 32."""
    guard = OpenSetClassifier(encoder, "odin", alpha=0.1).fit(KNOWN, cache=False)
    assert encoder._module.sloped == 32
    assert encoder._module.rows == 160 + 2 * 32
    encoder._module.rows = encoder._module.sloped = 0
    guard.predict(NEW)
    assert encoder._module.sloped == 64  # 40 rows, in two batches


def test_what_the_encoder_cannot_answer_is_said_before_the_first_input(encoder):
    with pytest.raises(WrongUse, match=r"odin asks the encoder for Perturbed.*the encoder pixels answers no requests"):
        unseen.fit(KNOWN, "pixels", "odin", cache=False)
    with pytest.raises(WrongUse, match=r"gram asks .*the network has 2 stages and -3 was asked for: name a layer"):
        unseen.fit(KNOWN, encoder, "gram", cache=False)
    assert encoder._module.rows == 0


def test_a_guard_that_asks_can_be_extended(encoder):
    rng = np.random.default_rng(5)
    green = np.clip(np.array([30, 190, 30]) + rng.normal(0, 12, (40, 12, 12, 3)), 0, 255).astype(np.uint8)
    guard = OpenSetClassifier(encoder, "mahalanobis_odin", alpha=0.1).fit(KNOWN, cache=False)
    wider = guard.extend({"images": green, "labels": ["green"] * 40}, KNOWN, cache=False)
    assert wider.classes[-1] == "green"
    fresh = {"images": np.clip(np.array([30, 190, 30]) + rng.normal(0, 12, (40, 12, 12, 3)), 0, 255).astype(np.uint8)}
    assert guard.predict(fresh).unseen.mean() > wider.predict(fresh).unseen.mean()


def test_a_bench_of_all(encoder):
    found = unseen.bench(
        KNOWN, {"shifted": {"images": images(40, 3, 25)[0]}}, {"noise": NOISE}, encoder, detectors=["all"]
    )
    rows = {row.name: row for row in found.rows}
    assert {"odin", "iodin", "godin", "mahalanobis_odin", "knn", "own >> msp"} <= rows.keys()
    assert rows["odin"].passes == (2, 1)
    assert rows["knn"].passes == (0, 0)
    assert "stages" in found.not_tried["gram"]
    assert "dropout" in found.not_tried["mcd"]
    # Asked for by themselves, without the others' requests beside, they say the same.
    alone = unseen.bench(KNOWN, {"noise": NOISE}, None, encoder, detectors=["odin", "mahalanobis_odin"])
    for row in alone.rows:
        assert row.sets["noise"]["auroc"] == pytest.approx(rows[row.name].sets["noise"]["auroc"], abs=1e-3)


def test_a_network_of_other_classes_is_warned_of(encoder):
    other = {"images": KNOWN["images"], "labels": [f"my {name}" for name in KNOWN["labels"]]}
    found = unseen.bench(other, {"noise": NOISE}, None, encoder, detectors=["odin", "knn"])
    assert any(text.startswith("odin read the network's own answers") for text in found.warnings)
    found = unseen.bench(KNOWN, {"noise": NOISE}, None, encoder, detectors=["odin", "knn"])
    assert not any("own answers" in text for text in found.warnings)


def test_by_default_nobody_asks_the_network_for_more(encoder):
    found = unseen.bench(KNOWN, {"noise": NOISE}, None, encoder, cache=False)
    assert encoder._module.sloped == 0
    assert found.not_tried["odin"] == "asks the encoder for more than features: name it, or ask for all"


def test_an_audit_takes_layers_and_no_logits_of_the_network(encoder):
    found = unseen.audit(
        KNOWN, encoder, detectors=["odin", "mds_ensemble(layers='-2,-1', epsilon=0.0)", "knn"], repeats=1
    )
    assert {row.name for row in found.rows} == {"mds_ensemble(layers='-2,-1', epsilon=0.0)", "knn"}
    assert "the network's own head, which knows the class held out" in found.not_tried["odin"]


def test_a_step_that_would_not_be_heard_is_refused():
    with pytest.raises(
        WrongUse, match="odin asks the encoder for Perturbed, which is made of the network's own logits"
    ):
        unseen.create("ridge >> odin")
    with pytest.raises(WrongUse, match="leave unit out"):
        unseen.create("unit >> mahalanobis_odin")
