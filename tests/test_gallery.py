"""The gallery runs, the pictures are those that their script draws, and the advice repeats measured numbers."""

import importlib.util
import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

import unseen
from unseen import registry
from unseen.detectors.base import Detector
from unseen.errors import MissingExtra
from unseen.optional import require

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
GALLERY = DOCS / "gallery"
NEEDS = {"timm_model": ("timm", "timm"), "onnx_export": ("onnxruntime", "onnx")}  # the package, and its extra


def script(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PICTURES, CHOOSING = script("pictures"), script("choosing")


def photographs(seen, folder):
    labelled = seen["verdicts"].summary()["labelled"]
    assert labelled["known_called_unseen"] < 0.1 * labelled["known"]
    assert labelled["other_called_unseen"] > 0.5 * labelled["other"]
    copied = list((folder / "review").rglob("*.png"))
    assert len(copied) == seen["verdicts"].unseen.sum()
    assert len((folder / "scores.csv").read_text().splitlines()) == 1 + len(seen["verdicts"])


def arrays_on_disk(seen, folder):
    called, novel = seen["verdicts"].unseen, seen["never_seen"]
    assert called[~novel].mean() < 0.1
    assert called[novel].mean() > 0.5
    assert seen["guard"].encoder_id == "arrays:digits"
    assert (folder / "guard.unseen").is_file()


def own_network(seen, folder):
    with torch.no_grad():
        right = (seen["network"](seen["x"]).argmax(dim=1) == seen["y"]).float().mean()
    assert right > 0.95  # the network was trained; what follows says little about one that was not
    assert seen["verdicts"].unseen.mean() > 0.5
    assert seen["guard"].detector.expression() == "own >> energy"


def asks_the_network(seen, folder):
    rows = {row.name: row for row in seen["found"].rows}
    assert rows.keys() == set(seen["tried"])  # the network answered what each asks for
    passes = {name: sum(row.passes) for name, row in rows.items()}
    assert passes["own >> msp"] == passes["own >> energy"] == 0
    assert passes["odin"] == 3
    assert passes["own >> nac(layers='features,-1')"] == 2
    assert rows["odin"].means["near"]["auroc"] > 0.9
    assert seen["guard"].detector.expression() == "odin"
    assert seen["verdicts"].unseen.mean() > 0.5


def timm_model(seen, folder):
    summary = seen["verdicts"].summary()
    assert summary["n"] == 100
    assert summary["labelled"]["known_called_unseen"] <= 0.2 * summary["labelled"]["known"]  # kept by any weights
    assert "timm:test_resnet" in seen["guard"].encoder_id


def sklearn_pipeline(seen, folder):
    assert seen["false_alarms"] < 0.1
    assert seen["caught"] > 0.5


def by_class(seen, folder):
    together, each = seen["rates"][False], seen["rates"][True]
    assert max(together[:3]) < 0.01  # one threshold: the varied class has all the false alarms
    assert together[3] > 0.15
    assert all(
        row["false_alarm_interval"][0] < rate < row["false_alarm_interval"][1]
        for row, rate in zip(seen["guard"].info()["per_class"], each, strict=True)
    )


def discoveries(seen, folder):
    assert seen["false_share"]["alpha"] > 0.5
    assert seen["false_share"]["discoveries"] < 0.2


def grow_a_guard(seen, folder):
    new = {"seven", "eight", "nine"}
    wider = unseen.load(folder / "wider.unseen")
    assert new <= set(wider.classes)
    assert not new & set(unseen.load(folder / "guard.unseen").classes)
    again = unseen.score(wider, "new")
    of_new = np.isin(again.truth, list(new))
    before = unseen.score("guard.unseen", "new").unseen[of_new].mean()
    assert again.unseen[of_new].mean() < 0.3 * before  # what was unseen is known now


def onnx_export(seen, folder):
    expected = seen["guard"].predict({"images": seen["images"][~seen["known"]]}).unseen
    assert np.array_equal(seen["answers"]["unseen"].ravel().astype(bool), expected)


def near_and_far(seen, folder):
    found = seen["found"].to_dict()
    auroc = {row["name"]: row["means"] for row in found["detectors"]}
    assert auroc["knn(k=5)"]["far"]["auroc"] > auroc["knn(k=5)"]["near"]["auroc"] > 0.9
    assert seen["plain"] > 0.7  # edges alone tell most of the noise from digits


def own_detector(seen, folder):
    assert len(seen["outcome"].passed) > 20
    assert not seen["outcome"].skipped
    assert seen["auroc"] > 0.8


@pytest.mark.parametrize("path", sorted(GALLERY.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_runs_and_shows_what_it_says(path, tmp_path, monkeypatch, capsys):
    if path.stem in NEEDS:
        try:
            require(*NEEDS[path.stem])  # not importorskip: torchvision may need mending first
        except MissingExtra as error:
            pytest.skip(str(error))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng():
            seen = runpy.run_path(str(path))
    finally:
        torch.set_num_threads(threads)
    assert capsys.readouterr().out.strip()
    globals()[path.stem](seen, tmp_path)


def test_every_example_is_on_the_page():
    page = (DOCS / "gallery.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```\{literalinclude\} gallery/(\w+)\.py$", page, re.MULTILINE)
    assert sorted(shown) == sorted(path.stem for path in GALLERY.glob("*.py"))
    assert all(f"](gallery/{name}.py)" in page for name in shown)  # where nothing is included, a link still leads there


NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@pytest.mark.parametrize("name", PICTURES.PICTURES)
def test_a_picture_is_the_one_that_the_script_draws(name):
    """The same marks and words; places may differ by a pixel, as another machine rounds and measures otherwise."""
    committed, drawn = (DOCS / "_static" / name).read_text(encoding="utf-8"), PICTURES.svg(name)
    assert NUMBER.sub("#", committed) == NUMBER.sub("#", drawn), "run: python docs/pictures.py"
    a, b = ([float(number) for number in NUMBER.findall(text)] for text in (committed, drawn))
    np.testing.assert_allclose(a, b, atol=1.5, err_msg="run: python docs/pictures.py")


def test_pictures_are_small_and_used():
    pages = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
    for name in PICTURES.PICTURES:
        assert (DOCS / "_static" / name).stat().st_size < 60_000
        assert f"](_static/{name})" in pages


def test_the_tables_of_the_advice_are_written_by_their_script():
    page = (DOCS / "choosing.md").read_text(encoding="utf-8")
    assert page == CHOOSING.filled(page), "run: python docs/choosing.py"
    assert all(CHOOSING.TABLES[name]() in page for name in CHOOSING.TABLES)


def test_what_is_advised_can_be_made():
    situations = (DOCS / "choosing.md").read_text(encoding="utf-8").split("## By situation")[1].split("\n## ")[0]
    advised = [
        name
        for line in situations.splitlines()
        if line.startswith("| ")
        for name in re.findall(r"`([a-z][^`]+)`", line.split(" | ")[1])
        if name != "k"
    ]
    assert len(advised) > 20
    for expression in advised:
        assert isinstance(registry.create(expression), Detector), expression


def test_what_the_comparison_misses_is_not_here():
    line = (DOCS / "comparison.md").read_text(encoding="utf-8").split("missing here:", 1)[1].split("\n- ")[0]
    missed = [name.lower() for name in re.findall(r"`(\w+)`", line)]
    assert len(missed) > 8
    assert not set(missed) & set(registry.names("detectors"))


def test_the_numbers_of_the_comparison_are_counted():
    page = (DOCS / "comparison.md").read_text(encoding="utf-8")
    parts = [registry.find("detectors", name) for name in registry.names("detectors")]
    assert f"here are {sum(issubclass(part, Detector) for part in parts)} detectors and nine steps" in page
    assert sum(not issubclass(part, Detector) for part in parts) == 9
    measured = json.loads((ROOT / "experiments" / "results" / "cifar10_pytorch_ood.json").read_text(encoding="utf-8"))
    networks = list(measured["networks"].values())
    pairs = list(zip(*(about["rows"] for about in networks), strict=True))
    alike = sum(all(row["rank_correlation"] > 1 - 1e-6 for row in same) for same in pairs)
    assert f"{alike} of the {len(pairs)} pairs" in page
    assert f"rank {networks[0]['n']:,} images alike" in page


def test_every_detector_is_weighed():
    """A new part without a line on its cost, or one that no table of the page names, is noticed."""
    page = (DOCS / "choosing.md").read_text(encoding="utf-8")
    for name in registry.names("detectors"):
        assert f"\n| `{name}` |" in page, f"{name}: give its docstring a line 'Cost: ...', then run docs/choosing.py"
