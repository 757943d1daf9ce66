"""``unseen reproduce``: what it lists, a table in the made-up world, and slips."""

import json
from pathlib import Path

import pytest


def test_alone_it_lists_papers_and_tables(unseen):
    code, out, err = unseen("reproduce")
    assert (code, err) == (0, "")
    assert "plp: Adapting CLIP" in out
    for table in ("table-3", "table-4", "table-5", "table-6", "adversarial", "figure-2"):
        assert f"\n{table}: " in out
    assert "scales: tiny, small, paper" in out


def test_a_paper_says_what_each_scale_needs(unseen):
    code, out, err = unseen("reproduce", "plp", "--json", "plp.json")
    assert (code, err) == (0, "")
    assert "network: clip:ViT-B-32?pretrained=openai, or --encoder NAME" in out
    assert "with --finetuned for the rows of a fine-tuned network" in out
    assert "CIFAR-100, test images: put " in out
    assert out.rstrip().endswith("Next:  unseen reproduce plp --table table-3")
    (told,) = json.loads(Path("plp.json").read_text())["papers"]
    needs = {table["table"]: table["scales"] for table in told["tables"]}
    assert needs["table-5"]["tiny"]["data"] == {}
    assert set(needs["table-6"]["paper"]["data"]) > set(needs["table-6"]["small"]["data"])
    assert needs["table-4"]["small"]["options"] == ["--finetuned"]


def test_a_table_in_the_made_up_world(unseen):
    words = ("reproduce", "plp", "--table", "table-3", "--seed", 1)
    code, out, err = unseen(*words, "--json", "table.json", "--report", "page.html")
    assert (code, err) == (0, "")
    found = json.loads(Path("table.json").read_text())
    assert (found["synthetic"], found["scale"], found["seed"]) == (True, "tiny", 1)
    assert "inputs are made up" in out
    assert "\u2026" not in out, "a column was cut"
    assert max(map(len, out.splitlines())) <= 80
    for row in found["rows"]:
        for cell in row["cells"].values():
            low, high = cell["auroc_interval"]
            assert low < cell["auroc"] < high
            line = next(line for line in out.splitlines() if line.startswith(row["name"]))
            assert row["level"] in line
    mine = found["rows"][0]["cells"]["world far"]
    assert f"{100 * mine['auroc']:.1f}" in out
    assert "Published AUROC, of other inputs" in out
    assert "88.6" in out  # PLP + Energy on NINCO
    page = Path("page.html").read_text(encoding="utf-8")
    assert "unseen reproduce plp --table table-3 --seed 1" in page
    assert "the inputs are made up" in page
    # The same found once more, and nothing but JSON.
    code, out, _ = unseen(*words, "--json", "-")
    assert code == 0
    assert json.loads(out) == found


def test_a_line_through_backbones_is_shown(unseen):
    code, out, _ = unseen("reproduce", "plp", "--table", "figure-2")
    assert code == 0
    assert "Line through all: R^2 0." in out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nope"], 2, "there is no paper 'nope'; there are plp"),
        (["plp", "--table", "table-9"], 2, "plp has no table 'table-9'"),
        (["plp", "--table", "table-5", "--scale", "huge"], 2, "not offered at the scale 'huge': take tiny or small"),
        (["--table", "table-5"], 2, "of which paper? Such as unseen reproduce plp --table table-5"),
        (["plp", "--report", "page.html"], 2, "--report is of a table"),
        (["plp", "--table", "table-5", "--scale", "small"], 3, "no folder of data sets was named (--data DIR)"),
    ],
)
def test_slips_are_told_in_one_line(unseen, words, code, message):
    got, out, err = unseen("reproduce", *words)
    assert (got, out) == (code, "")
    assert err.startswith("unseen: ")
    assert err.count("\n") == 1
    assert message in err
