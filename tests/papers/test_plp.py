"""The tables of the paper of pseudo-label probing: what is offered and published, and whole runs on fake images."""

import importlib.util
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from unseen import create, papers
from unseen.api.reproduce import reproduce, reproduced_page, reproducible
from unseen.encoders import open_encoder
from unseen.errors import BadInput, WrongUse
from unseen.papers import Options, _sets, plp
from unseen.papers._tables import SCALES, published
from unseen.report import render

PER_CLASS = {"cifar10": 12, "cifar100": 10}  # training images; the few-shot rows draw ten
TEST = 40
TABLES = {table.id: table for table in plp.TABLES}


def tiny(name):
    path = Path(__file__).parent.parent / "encoders" / "_tiny.py"
    spec = importlib.util.spec_from_file_location("tiny_models", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def batch(path, classes, each, fine, seed):
    """Images of classes by colour, in a file as CIFAR's authors have them."""
    random = np.random.default_rng(seed)
    colours = np.random.default_rng(classes).integers(30, 225, (classes, 3))
    labels = random.permutation(np.repeat(np.arange(classes), each)).tolist()
    pixels = colours[labels][:, :, None] + random.normal(0, 15, (len(labels), 3, 32 * 32))
    path.parent.mkdir(parents=True, exist_ok=True)
    held = {b"data": np.clip(pixels, 0, 255).astype(np.uint8).reshape(len(labels), -1)}
    path.write_bytes(pickle.dumps(held | {b"fine_labels" if fine else b"labels": labels}))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    top = tmp_path_factory.mktemp("data")
    for i in range(1, 6):
        batch(top / f"cifar-10-batches-py/data_batch_{i}", 10, PER_CLASS["cifar10"] // 5 + 1, False, i)
    batch(top / "cifar-10-batches-py/test_batch", 10, TEST // 10, False, 7)
    batch(top / "cifar-100-python/train", 100, PER_CLASS["cifar100"], True, 8)
    batch(top / "cifar-100-python/test", 100, 1, True, 9)
    return top


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return tiny("tiny_open_clip")(tmp_path_factory.mktemp("clip"))


# What is offered, and what is published


def test_the_folder_is_the_list():
    assert papers.names() == ("plp",)
    assert reproducible()[0]["paper"] == "plp"
    with pytest.raises(WrongUse, match="no paper 'pl'; there are plp; did you mean \"plp\""):
        papers.find("pl")


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_table_is_whole(table):
    """Its published numbers are there, its columns are theirs, and every data set has a place and a home."""
    theirs = published(table.published)
    assert theirs["source"].startswith("Adaloglou")
    assert set(plp.COLUMNS.get(table.id, {})) <= set(theirs["columns"])
    for row in theirs["rows"]:
        assert set(row["cells"]) <= set(theirs["columns"])
        assert row["level"] in ("none", "names", "labels")
        assert all(0.2 < cell["auroc"] < 1 for cell in row["cells"].values())
    assert set(table.scales) <= set(SCALES)
    for needs in table.scales.values():
        assert set(needs.data) <= set(_sets.SETS)
        assert all("put " in where and "http" in where for where in _sets.needed(needs.data).values())


def test_published_numbers_add_up():
    """The gains that the text of the paper names, from the tables."""
    by_name = {}
    for row in published("plp_table_3.json")["rows"]:
        by_name[row["backbone"], row["name"]] = np.mean([cell["auroc"] for cell in row["cells"].values()])
    gain = by_name["CLIP ViT-G", "PLP + Energy"] - by_name["CLIP ViT-G", "Pseudo-MSP"]
    assert gain == pytest.approx(0.0344, abs=5e-5)
    table = {row["name"]: row["cells"] for row in published("plp_table_5.json")["rows"]}
    assert len(table) == 13
    gaps = [table["RMD"][c]["auroc"] - table["MD"][c]["auroc"] for c in table["MD"]]
    assert np.mean(gaps) == pytest.approx(0.1075, abs=5e-5)


def test_rows_have_the_names_of_published_ones():
    """Else no published number would ever stand beside them."""
    for table in ("table-3", "table-4", "table-5", "table-6"):
        theirs = {row["name"] for row in published(TABLES[table].published)["rows"]}
        for known in ("imagenet1k", "cifar10"):
            for one in plp._methods(table, known, 10):
                assert one.name in theirs, one.name
                assert create(one.expression).availability in (one.level, "none")


def test_class_names_of_imagenet_are_the_first_of_each_list():
    names = plp._imagenet_names()
    assert (names[0], names[134], names[517], names[999]) == ("tench", "crane", "crane", "toilet tissue")
    assert len(names) - len(set(names)) == 2


# The made-up world


def test_the_made_up_world_gives_every_row_of_table_5():
    found = reproduce("plp", "table-5")
    theirs = published("plp_table_5.json")
    assert found.synthetic
    assert [row["name"] for row in found.rows] == [row["name"] for row in theirs["rows"]]
    assert [row["level"] for row in found.rows] == [row["level"] for row in theirs["rows"]]
    for row in found.rows:
        assert set(row["cells"]) == {"world far", "world near"}
        assert row["difference"] == {}  # nothing made up is compared with a published number
        assert row["published"]["ImageNet->NINCO"]["auroc"] < 1
    assert found.pseudo_labels["world"]["n_active"] == 20
    assert any("made up" in text for text in found.differences)
    json.dumps(found.to_dict())


def test_seeds_are_heard():
    first, again, other = (reproduce("plp", "table-3", seed=seed).rows for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("table", ["table-4", "table-6"])
def test_there_is_nothing_to_tune_in_a_made_up_world(table):
    found = reproduce("plp", table)
    assert [row["name"] for row in found.rows] == ["Probing + Energy"]
    assert all("no network that could be tuned" in why for why in found.missing.values())
    assert found.missing


def test_worlds_stand_for_backbones():
    found = reproduce("plp", "figure-2")
    assert len(found.rows) == len(plp.NOISES)
    assert found.about["lines"][0]["r2"] > 0.9
    assert found.published["rows"] == []


# Images


@pytest.fixture(scope="module")
def small(root, clip):
    return reproduce("plp", "table-5", "small", data=root, encoder=clip, cache=False)


def test_a_small_table_has_all_rows_on_both_columns(small):
    assert small.columns == ("CIFAR100->CIFAR10", "CIFAR10->CIFAR100")
    assert not small.synthetic
    assert len(small.rows) == 13
    for row in small.rows:
        assert set(row["cells"]) == set(small.columns), row["name"]
        for column, cell in row["cells"].items():
            assert 0 <= cell["auroc"] <= 1
            theirs = row["published"][column]["auroc"]
            assert row["difference"][column] == pytest.approx(cell["auroc"] - theirs)
    sizes = small.rows[0]["cells"]
    assert (sizes["CIFAR100->CIFAR10"]["n_known"], sizes["CIFAR100->CIFAR10"]["n_unknown"]) == (100, TEST)
    assert small.n_fit == {"cifar100": 1000, "cifar10": 150}


def test_a_small_table_says_in_what_it_differs(small):
    assert small.missing == {
        "ImageNet->IN-O": "not at the scale 'small'",
        "ImageNet->NINCO": "not at the scale 'small'",
    }
    said = " ".join(small.differences)
    assert "none of the paper's" in said
    assert "at most 10,000 inputs" in said
    assert "CIFAR-100, test images: 100 inputs here, 10,000 were published" in said
    assert small.published["backbone"] == "CLIP ViT-G"


def test_colours_are_told_apart_by_labels(small):
    """The images are of one colour a class and a guess is right in a tenth of them: labels and images match."""
    right = {row["name"]: row["accuracy"] for row in small.rows}["Probing + Energy"]
    assert right["CIFAR10->CIFAR100"] > 0.4


def test_a_page_has_both_numbers(small, tmp_path):
    page = render(reproduced_page(small, command="unseen reproduce plp"), tmp_path / "page.html").read_text("utf-8")
    assert "PLP + Energy, published" in page
    assert "CIFAR100-&gt;CIFAR10" in page
    assert page.count("<h3>As published: CLIP ViT-G</h3>") == 1


def test_what_is_missing_is_said_in_one_message(root, tmp_path):
    with pytest.raises(BadInput, match=r"no folder of data sets was named \(--data DIR\); missing CIFAR-100, training"):
        reproduce("plp", "table-5", "small")
    (tmp_path / "cifar-100-python").symlink_to(root / "cifar-100-python")
    with pytest.raises(BadInput, match=r"has cifar100.*missing CIFAR-10, training images: put .*cifar-10-batches-py"):
        reproduce("plp", "table-5", "small", data=tmp_path)
    with pytest.raises(BadInput, match="no such folder; it is to hold the data sets"):
        reproduce("plp", "table-5", "small", data=tmp_path / "nowhere")


def test_a_network_that_reads_no_names_is_refused(root):
    with pytest.raises(WrongUse, match="table-5 reads class names and the encoder pixels reads no texts: take clip"):
        reproduce("plp", "table-5", "small", data=root, encoder="pixels")


def test_probing_beside_fine_tuning(root):
    """Known images that are scored are held out, also of a network after fine-tuning."""
    found = reproduce(
        "plp", "table-6", "small", data=root, encoder="pixels?size=2", finetuned="pixels?size=4", limit=60, cache=False
    )
    rows = {row["name"]: row for row in found.rows}
    assert set(rows) == {"Probing + Energy", "Finetune"}
    assert rows["Finetune"]["expression"] == "mahalanobis"
    assert found.finetuned == "pixels:4x4"
    assert found.n_fit == {"cifar100": 60, "cifar10": 60}
    cell = rows["Finetune"]["cells"]["CIFAR10->CIFAR100"]
    assert (cell["n_known"], cell["n_unknown"]) == (TEST, 60)
    alone = reproduce("plp", "table-6", "small", data=root, encoder="pixels?size=2", limit=60, cache=False)
    assert alone.missing["Finetune"] == "no fine-tuned network was given (--finetuned)"
    assert alone.rows[0]["cells"] == rows["Probing + Energy"]["cells"]


NETWORK = """
from torch import nn


def net(outputs=10):
    return nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, outputs))
"""


def test_the_head_of_a_fine_tuned_network_is_that_of_the_known_classes(root, tmp_path):
    """Its outputs are taken in the order of the classes; a network of other outputs is refused."""
    (tmp_path / "net.py").write_text(NETWORK)
    inputs = {}
    for name in ("cifar10", "cifar100"):
        found = _sets.find([name], root)
        inputs |= {("train", name): found.train[name], ("test", name): found.test[name]}
    every = plp._methods("table-4", "cifar10", 10)
    network = open_encoder(f"torch:{tmp_path / 'net.py'}:net?size=32")
    views = plp._Views(network, ["features"], Options(cache=False), None, inputs)
    found = plp._after(views, "cifar10", {"iNaturalist": "cifar100"}, every)
    assert [row.name for row in found.rows] == ["Finetune + Energy", "Finetune + MSP"]
    test, head = views.of("test", "cifar10"), network.head
    logits = test.gather("features") @ head.weight.T + head.bias
    right = (logits.argmax(dim=1).numpy() == test.labels).mean()
    assert found.row("Finetune + MSP").accuracy == pytest.approx(right)
    with pytest.raises(WrongUse, match="the fine-tuned network has 10 outputs, cifar100 100 classes"):
        plp._after(views, "cifar100", {"iNaturalist": "cifar10"}, every)


def test_images_are_moved_to_known_ones(root, clip, monkeypatch):
    """Numbers of a random network say nothing; the columns, the levels and the cosines that rose do."""
    monkeypatch.setattr(plp, "ATTACKED", {"small": 6, "paper": 6})
    monkeypatch.setattr(plp, "STEPS", 15)
    found = reproduce("plp", "adversarial", "small", data=root, encoder=clip, cache=False)
    assert found.columns == ("CIFAR100->CIFAR10", "CIFAR100->CIFAR10-A", "CIFAR100->CIFAR10-AS")
    assert [(row["name"], row["level"]) for row in found.rows] == [("1-NN", "none"), ("Pseudo-MSP", "names")]
    for row in found.rows:
        assert all(cell["n_unknown"] == 6 for cell in row["cells"].values())
        assert set(row["difference"]) == set(found.columns)
    moved = found.about["moved"]
    assert moved["attack"]["after"]["mean"] > moved["attack"]["before"]["mean"]
    assert moved["attack-smooth"]["roughness"]["mean"] < moved["attack"]["roughness"]["mean"]


def test_a_table_and_a_scale_that_there_is_not():
    with pytest.raises(WrongUse, match=r"has no table 'table-7'; it has table-3.*did you mean \"table-"):
        reproduce("plp", "table-7")
    with pytest.raises(WrongUse, match="adversarial is not offered at the scale 'tiny': take small or paper"):
        reproduce("plp", "adversarial")
    with pytest.raises(WrongUse, match="seed=-1"):
        reproduce("plp", "table-3", seed=-1)
    with pytest.raises(WrongUse, match="limit=0"):
        reproduce("plp", "table-3", limit=0)
