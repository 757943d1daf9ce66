"""Tables in the docs are those that the committed results give."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SPEC = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "tables.py")
TABLES = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(TABLES)


@pytest.mark.parametrize("name", sorted(TABLES.DRAWN))
def test_table_is_drawn_from_its_results(name):
    committed = (ROOT / "docs" / "tables" / name).read_text(encoding="utf-8")
    assert committed == TABLES.DRAWN[name]() + "\n", "run: python docs/tables.py"


@pytest.mark.parametrize("path", sorted(ROOT.glob("*/results/*.json")), ids=lambda path: path.stem)
def test_results_say_how_they_were_made(path):
    about = json.loads(path.read_text(encoding="utf-8"))
    folder, script = about["command"].split()[1].split("/")
    assert path.parent.parent.name == folder
    assert (ROOT / folder / script).is_file()
    assert {"date", "python", "torch", "numpy", "cpu", "cores"} <= about["environment"].keys()


def test_what_the_page_says_of_the_bench_is_so():
    """The words of results.md around the two tables of the bench, after a rerun too."""
    found = json.loads((ROOT / "experiments" / "results" / "bench_cifar10.json").read_text(encoding="utf-8"))
    density = "told apart by a density of raw pixels alone"
    assert {"tiny", "tiny_overlap"} <= {text.split()[1].rstrip(":") for text in found["warnings"] if density in text}
    named = {text.split()[1].rstrip(":") for text in found["warnings"]}
    assert found["sets"].keys() - named  # there are sets to look at
    agree = {}
    for kind in ("near", "far"):
        for side in (1, -1):
            moved = [row for row in found["trends"]["against_msp"] if side * row[f"{kind}_published"] >= 0.01]
            same = sum(side * row[f"{kind}_here"] > 0 for row in moved)
            agree[kind, side] = same / len(moved)
    assert min(agree["near", 1], agree["near", -1], agree["far", 1]) > 0.5 > agree["far", -1]
    assert max(found["trends"]["spearman"].values()) < 0.5


def test_no_table_is_left_over():
    assert {path.name for path in (ROOT / "docs" / "tables").glob("*.md")} == set(TABLES.DRAWN)
