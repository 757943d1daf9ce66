"""`unseen attack` from end to end: images that lie on the disk, numbers, pictures, and one line for every mistake."""

import csv
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import unseen as library
from unseen.api.attack import GRID, MANIFEST, SHOWN, factors, grid
from unseen.encoders import encode, open_encoder

NETWORK = """
import torch
from torch import nn

def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(288, 12), nn.Tanh())
"""


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "net.py"
    path.write_text(NETWORK)
    return f"torch:{path}:net?size=8"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def words(digits, net, cache):
    """Seven images of a digit that is not known, few steps, two detectors."""
    few = ("--n", 7, "--steps", 15, "--detectors", "knn(k=1),mahalanobis")
    return ("attack", digits / "known", "--unknown", digits / "new" / "five", "-e", net, *few, "--cache", cache)


def one_line(err):
    assert err.startswith("unseen: ")
    assert err.count("\n") == 1
    return err


class Pictures(HTMLParser):
    def __init__(self):
        super().__init__()
        self.alts = []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            assert dict(attrs)["src"].startswith("data:image/")
            self.alts.append(dict(attrs)["alt"])


def test_attack(unseen, words, net, digits):
    code, out, err = unseen(*words, "-o", "moved", "--json", "attack.json", "--report", "page.html")
    assert (code, err) == (0, "")
    assert max(len(line) for line in out.splitlines() if not line.startswith(("Images:", "Page:"))) <= 80
    found = json.loads(Path("attack.json").read_text())
    assert [row["name"] for row in found["detectors"]] == ["knn(k=1)", "mahalanobis"]
    assert (found["n_fit"], found["n_known_test"], found["n_unknown"], found["steps"]) == (180, 120, 7, 15)
    cells = {(c["images"], c["pixels"], c["targets"]): c for c in found["detectors"][0]["cells"]}
    assert len(cells) == 10
    assert cells["attack", "8-bit", True]["auroc"] < cells["original", "8-bit", True]["auroc"]
    before, after = (cells[name, "8-bit", False] for name in ("original", "attack"))
    said = f"{100 * before['auroc']:.1f} % before and {100 * after['auroc']:.1f} % after the attack"
    assert said in " ".join(out.split())
    for about in found["sets"].values():
        assert about["after"]["mean"] > about["before"]["mean"]
    assert found["sets"]["attack-smooth"]["roughness"]["mean"] < found["sets"]["attack"]["roughness"]["mean"]

    # The files are what was measured, without loss.
    rows = list(csv.DictReader(Path("moved", MANIFEST).read_text().splitlines()))
    assert [row["path"] for row in rows] == [f"{s}/{i:04d}.png" for s in ("attack", "attack-smooth") for i in range(7)]
    encoder = open_encoder(net)
    for row in rows:
        old, new, goal = (
            np.asarray(Image.open(path).convert("RGB")).astype(int)
            for path in (
                digits / "new" / "five" / row["source"],
                Path("moved", row["path"]),
                digits / "known" / row["target"],
            )
        )
        assert float(row["linf"]) * 255 - 0.5 <= np.abs(new - old).max() <= float(row["linf"]) * 255 + 0.5
        features = encoder.answer(np.stack([new, goal]).astype(np.uint8), frozenset({"features"}))["features"]
        cosine = float(features[0] @ features[1] / features.norm(dim=1).prod())
        assert cosine == pytest.approx(float(row["rounded"]), abs=1e-5)
    share = np.mean([row["success"] == "True" for row in rows if row["set"] == "attack"])
    assert share == pytest.approx(after["success"])

    # A folder of moved images is a source like any other.
    again = encode(Path("moved", "attack"), encoder, cache=False)
    assert len(again) == 7

    page = Path("page.html").read_text()
    pictures = Pictures()
    pictures.feed(page)
    assert len(pictures.alts) == SHOWN * 6
    assert len(set(pictures.alts)) >= SHOWN * 5  # a target may be shown twice
    assert sum("times magnified" in alt for alt in pictures.alts) == SHOWN * 2
    assert re.search(r"change x \d+", page)
    assert f"{100 * before['auroc']:.1f}\u00a0%" in page

    with Image.open(Path("moved", GRID)) as image:
        assert image.width > 6 * 128
        assert image.height > SHOWN * 128

    # Nothing is written over.
    code, _, err = unseen(*words, "-o", "moved")
    assert code == 3
    assert "moved: holds attack already; name another folder, or remove it" in one_line(err)


def test_one_seed_one_result_and_only_json(unseen, words):
    runs = [
        unseen(*words, "-o", f"o{i}", "--smooth", 0, "--seed", seed, "--json", "-") for i, seed in enumerate((1, 1, 2))
    ]
    first, again, other = (json.loads(out) for _, out, _ in runs)
    assert first == again
    assert list(first["sets"]) == ["attack"]  # --smooth 0: only the one without
    assert [one["target"] for one in first["images"]["attack"]] != [one["target"] for one in other["images"]["attack"]]
    assert not Path("o0", "attack-smooth").exists()
    assert Path("o0", "attack", "0000.png").read_bytes() == Path("o1", "attack", "0000.png").read_bytes()


def test_a_known_test_leaves_all_known_inputs_to_learn_from(unseen, words, digits):
    code, out, _ = unseen(*words, "-o", "o", "--smooth", 0, "--known-test", digits / "new" / "zero", "--json", "-")
    found = json.loads(out)
    assert (code, found["n_fit"], found["n_known_test"]) == (0, 300, 20)


def test_unreadable_and_copied_images_are_told(unseen, words, digits):
    folder = shutil.copytree(digits / "new" / "six", "unknown")
    Path(folder, "aaa.png").write_bytes(b"no image")
    shutil.copy(next((digits / "known" / "two").iterdir()), Path(folder, "copy.png"))
    words = [*words[:3], folder, *words[4:]]
    code, out, _ = unseen(*words, "-o", "o", "--smooth", 0, "--n", 100, "--strict", "--json", "found.json")
    found = json.loads(Path("found.json").read_text())
    assert code == 3
    assert found["n_unknown"] == 20
    assert found["left_out"] == {"unknown": 1}
    assert [(one["source"], one["path"]) for one in found["skipped"]] == [("unknown", "aaa.png")]
    assert "Left out of unknown: 1 exact copy of known inputs" in out
    assert "Skipped unknown: aaa.png" in out


def test_a_limit_holds_for_the_known(unseen, words):
    code, out, _ = unseen(*words, "-o", "o", "--smooth", 0, "--limit", 100, "--json", "-")
    found = json.loads(out)
    assert (code, found["n_fit"], found["n_known_test"], found["n_unknown"]) == (0, 60, 40, 7)


def test_mistakes(unseen, words, digits, cache):
    np.savez("features.npz", features=np.eye(30), labels=np.arange(30) % 3)
    known, new = digits / "known", digits / "new" / "five"
    for given, code, message in [
        (("attack", known, "--unknown", new, "-e", "pixels"), 2, "the encoder pixels has no network to take slopes of"),
        (("attack", "features.npz", "--unknown", new), 3, "holds arrays, and an attack moves pixels: give images"),
        (("attack", known, "--unknown", "features.npz"), 3, "unknown (features.npz) holds arrays"),
        ((*words, "--n", 1), 3, "one image is too few to judge an attack by"),
        ((*words, "--limit", 6), 3, "are targets, and none is left: attack fewer images (n), or give more known ones"),
        ((*words, "--detectors", "knnn"), 2, "knnn"),
        ((*words, "--report", "page.txt"), 2, "must end in .html"),
        ((*words, "-o", "features.npz"), 3, "features.npz: is a file; name a folder"),
    ]:
        ended, out, err = unseen(*given)
        assert (ended, out) == (code, ""), (given, out, err)
        assert message in one_line(err)
    assert not Path("unseen-attack").exists()


def test_the_verb_writes_nothing_where_no_folder_is_given(digits, net, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = library.attack(
        digits / "known", digits / "new" / "five", net, smooth=0, steps=3, n=4, detectors=["knn(k=1)"], cache=False
    )
    assert list(tmp_path.iterdir()) == []
    assert len(found.pictures) == 4
    one = found.pictures[0]
    assert (
        np.abs(one.moved["attack"] - one.original.astype(float)).max() <= np.abs(one.change["attack"]).max() * 255 + 0.5
    )
    # What is drawn of a change is grey where nothing changed, and as light or dark as the factor says.
    by = factors(found.pictures)["attack"]
    sheet = np.asarray(grid(found.pictures))
    enlarged, left = 16, 8 + 2 * (128 + 8)
    drawn = sheet[8 + 16 : 8 + 16 + 128 : enlarged, left : left + 128 : enlarged].astype(float)
    assert np.abs(drawn - 255 * (0.5 + by * one.change["attack"])).max() <= 0.51
    assert by * np.abs(one.change["attack"]).max() > 0.15  # one can see it


def test_exact_copies_of_targets_leave_and_groups_stay(net):
    """Targets are removed with their copies; unknown images of one group are one draw before and after."""
    rows = np.random.default_rng(0).integers(0, 255, (30, 8, 8, 3), dtype=np.uint8)
    known = {"images": np.concatenate([rows, rows]), "labels": np.arange(60) % 3}
    test = {"images": np.random.default_rng(1).integers(0, 255, (20, 8, 8, 3), dtype=np.uint8)}
    new = {"images": np.random.default_rng(2).integers(0, 255, (5, 8, 8, 3), dtype=np.uint8), "groups": [1, 1, 2, 2, 3]}
    found = library.attack(
        known, new, net, known_test=test, smooth=0, steps=1, detectors=["knn(k=1)"], labels="none", cache=False
    )
    assert found.n_fit == 60
    assert found.n_removed == 2 * len({int(re.sub(r"\D", "", one["target"])) % 30 for one in found.images["attack"]})
    assert {cell["auroc_interval_method"] for cell in found.rows[0].cells} == {"delong, groups as one draw"}


def test_what_the_page_says_of_the_measured_attack_is_so():
    """The words of docs/attack.md around its table, after a rerun too."""
    root = Path(__file__).parent.parent
    found = json.loads((root / "experiments" / "results" / "attack_cifar10.json").read_text(encoding="utf-8"))
    cells = {
        row["name"]: {(c["images"], c["pixels"], c["targets"]): c for c in row["cells"]} for row in found["detectors"]
    }
    nearest = cells["knn(k=1)"]
    assert nearest["original", "8-bit", False]["auroc"] > 0.85
    assert nearest["attack", "8-bit", False]["auroc_interval"][1] < 0.5
    good = [of for of in cells.values() if of["original", "8-bit", False]["auroc"] >= 0.8]
    assert len(good) > 30
    assert max(of["attack", "8-bit", False]["auroc"] for of in good) < 0.7
    assert (
        max(abs(of["attack", "8-bit", t]["auroc"] - of["attack", "float", t]["auroc"]) for of in good for t in (0, 1))
        < 0.02
    )
    lost = {
        name: nearest["original", "8-bit", False]["auroc"] - nearest[name, "8-bit", False]["auroc"]
        for name in found["sets"]
    }
    assert lost["attack-smooth"] < lost["attack"] / 4
    assert found["sets"]["attack"]["linf"]["mean"] == pytest.approx(0.1, abs=0.02)
