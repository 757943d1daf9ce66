"""``unseen backbones`` and its verb on small files: the table, the JSON, what is left out, skipped or fails."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

import unseen
from unseen.api.backbones import backbones_page
from unseen.cli import app
from unseen.errors import BadInput, WrongUse
from unseen.protocols import fit_line, knn_accuracy
from unseen.report import charts
from unseen.signals import Support

COLOURS = {"red": (120, 0, 0), "green": (0, 120, 0), "blue": (0, 0, 120)}
PIXELS = [f"pixels?size={size}" for size in (1, 2, 4)]


def write(folder, colour, n, seed):
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for i in range(n):
        # Colours that grow apart by chance, so that accuracies differ between sizes and none is perfect.
        picture = random.integers(0, 250, (8, 8, 3)) + np.array(colour) * random.uniform(0, 0.6)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{i:02d}.png")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three known classes in ``known/`` and ``test/``; ``other/`` holds a fourth, a copy of the known and no image."""
    root = tmp_path_factory.mktemp("images")
    for at, (name, colour) in enumerate(COLOURS.items()):
        write(root / "known" / name, colour, 16, at)
        write(root / "test" / name, colour, 6, 10 + at)
    write(root / "other" / "grey", (90, 90, 90), 12, 20)
    (root / "other" / "grey" / "copy.png").write_bytes((root / "known" / "red" / "00.png").read_bytes())
    (root / "other" / "grey" / "torn.png").write_bytes(b"no image")
    return root


@pytest.fixture
def run(images, tmp_path, capsys):
    """The command on these images; what it prints, and what it writes as JSON."""

    def call(*words):
        sources = [str(images / "known"), "--unknown", str(images / "other"), "--cache", str(tmp_path / "store")]
        given = ["backbones", *sources, *words, "--json", str(tmp_path / "found.json"), "--k", "3"]
        typer.main.get_command(app)(given, standalone_mode=False)
        said = re.sub(r"\s+", " ", capsys.readouterr().out)
        return said, json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))

    return call


def options(*encoders):
    return [word for name in encoders for word in ("-e", name)]


def test_the_command_says_what_it_found(run):
    said, found = run(*options(*PIXELS, "edges"), "--family", "pixels=pixels*")
    assert said.startswith("30 known inputs to look for neighbours among, 18 tested; 12 unknown inputs")
    rows = found["backbones"]
    assert {row["encoder"] for row in rows} == {*PIXELS, "edges"}
    assert [row["auroc"] for row in rows] == sorted((row["auroc"] for row in rows), reverse=True)
    for row in rows:
        assert f"{100 * row['auroc']:.1f}" in said
        assert f"{100 * row['accuracy']:.1f}" in said
    assert [(line["family"], line["n"]) for line in found["lines"]] == [(None, 4), ("pixels", 3)]
    assert found["left_out"] == {"unknown": 1}
    assert "Left out of unknown: 1 exact copy of known inputs" in said
    assert found["skipped"] == [{"source": "unknown", "path": "grey/torn.png", "reason": "not an image"}]
    assert "Skipped unknown: grey/torn.png: not an image 1 input was skipped" in said
    line = fit_line([row["accuracy"] for row in rows], [row["auroc"] for row in rows])
    assert f"{line.r2:.2f}" in said
    assert found["lines"][0]["r2"] == line.r2


def test_an_encoder_that_fails_is_named_and_the_others_go_on(run):
    said, found = run(*options("pixels?size=2", "torch:nowhere.py:net", "pixels?size=0", "arrays"))
    assert [row["encoder"] for row in found["backbones"]] == ["pixels?size=2"]
    assert list(found["failed"]) == ["torch:nowhere.py:net", "pixels?size=0", "arrays"]
    assert "Failed: torch:nowhere.py:net: torch:nowhere.py:net:" in said
    assert found["lines"] == []
    assert "all encoders: a line through 1 backbones says nothing" in said


def test_a_known_test_is_what_is_tested(run, images):
    _, found = run(*options("pixels?size=2"), "--known-test", str(images / "test"))
    row = found["backbones"][0]
    assert (row["n_fit"], row["n_test"]) == (48, 18)
    known, test = (unseen.encode(images / part, "pixels?size=2", cache=False) for part in ("known", "test"))
    assert row["accuracy"] == knn_accuracy(known, test, 3)


def test_copies_of_the_known_are_not_tested(images, tmp_path):
    images_and_copy = tmp_path / "test"
    for name in COLOURS:
        (images_and_copy / name).mkdir(parents=True)
        for file in [*(images / "test" / name).iterdir(), images / "known" / name / "03.png"]:
            (images_and_copy / name / f"{file.parent.parent.name}_{file.name}").write_bytes(file.read_bytes())
    sources = {"known": images / "known", "unknown": images / "other", "known_test": images_and_copy}
    found = unseen.backbones(**sources, encoder=["pixels?size=2"], k=3, cache=False)
    assert found.left_out == {"known test": 3, "unknown": 1}
    assert found.rows[0].n_test == 18
    with pytest.raises(BadInput, match=r"known test .*all 48 inputs are exact copies of known ones"):
        unseen.backbones(**sources | {"known_test": images / "known"}, encoder=["pixels?size=2"], cache=False)


def test_strict_counts_skipped_inputs(run):
    with pytest.raises(BadInput, match="1 inputs were skipped and --strict was given"):
        run(*options("pixels?size=2"), "--strict")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--family", "pixels"], r"--family pixels: write NAME=ENC,ENC"),
        (["--family", "a=edges", "--family", "a=edges"], r"'a' is given twice; give each family a name"),
        (["--family", "a=packaged"], r"family 'a': 'packaged' is none of the encoders"),
        (["-e", "edges"], r"the encoder 'edges' is given twice"),
    ],
)
def test_a_slip_is_named_before_anything_is_encoded(run, tmp_path, words, message):
    with pytest.raises(WrongUse, match=message):
        run(*options("edges"), *words)
    assert not (tmp_path / "store").exists()


def test_known_inputs_need_labels(images):
    flat = np.zeros((4, 8, 8, 3), np.uint8)
    with pytest.raises(WrongUse, match="has no labels, and the accuracy of an encoder needs them"):
        unseen.backbones({"images": flat}, images / "other", ["edges"], cache=False)


def test_a_mapping_names_encoders_and_families_take_patterns(images):
    made = {"one pixel": "pixels?size=1", "four": "pixels?size=2", "lines": "edges"}
    families = {"colours": ["one*", "four"]}
    sources = (images / "known", images / "other")
    found = unseen.backbones(*sources, made, families=families, k=3, cache=False)
    assert {row.encoder: row.family for row in found.rows} == {"one pixel": "colours", "four": "colours", "lines": None}


def test_every_encoder_meets_the_same_rows_under_one_seed(images):
    sources = (images / "known", images / "other", ["pixels?size=2"])
    first, again, other = (unseen.backbones(*sources, k=3, seed=seed, cache=False) for seed in (1, 1, 2))
    assert first == again
    assert first.rows[0] != other.rows[0]


def test_arrays_are_one_encoder():
    random = np.random.default_rng(0)
    codes = np.arange(90) % 3
    x = 3 * np.eye(5)[codes] + random.normal(size=(90, 5))
    known, unknown = {"features": x, "labels": codes}, {"features": random.normal(size=(30, 5))}
    row = unseen.backbones(known, unknown, "arrays", k=5).rows[0]
    assert (row.encoder, row.dim, row.n_unknown) == ("arrays", 5, 30)
    assert row.accuracy > 0.8
    assert isinstance(unseen.encode(known, cache=False), Support)


def test_the_page_says_the_answer_and_what_it_is_of(images):
    sources = (images / "known", images / "other", ["pixels?size=1", "pixels?size=2", "edges"])
    found = unseen.backbones(*sources, k=3, cache=False)
    page = backbones_page(found, command="unseen backbones known/")
    assert page["answer"] == (
        f"{found.rows[0].encoder} has the highest AUROC, {100 * found.rows[0].auroc:.1f}\u00a0% (95\u00a0% interval "
        f"{100 * found.rows[0].auroc_interval[0]:.1f}\u00a0% to {100 * found.rows[0].auroc_interval[1]:.1f}\u00a0%); "
        f"{found.sentence}."
    )
    assert page["backbones"]["notes"][0] == "1 input of unknown left out: exact copies of known ones"
    assert page["reproduce"]["command"] == "unseen backbones known/"


def test_the_command_is_registered_and_writes_a_page_with_every_row(images, tmp_path):
    page = tmp_path / "page.html"
    sources = [str(images / "known"), "--unknown", str(images / "other"), "--cache", str(tmp_path / "store")]
    given = ["backbones", *sources, *options(*PIXELS, "torch:nowhere.py:net"), "--k", "3", "--report", str(page)]
    typer.main.get_command(app)(given, standalone_mode=False)
    written = page.read_text(encoding="utf-8")
    section = written.split('<section id="backbones"')[1].split("</section>")[0]
    for at, row in enumerate(unseen.backbones(*sources[:3:2], PIXELS, k=3, cache=False).rows, start=1):
        cells = re.escape(f'<tr><td class="n">{at}</td><th scope="row"><bdi>{row.encoder}</bdi></th>')
        assert re.search(cells + f".*{100 * row.auroc:.1f}.*{100 * row.accuracy:.1f}", section)
    assert "torch:nowhere.py:net" in section
    assert 'data-chart="spec-backbones"' in section
    assert 'id="spec-backbones"' in written
    assert "grey/torn.png" in written


def test_the_chart_has_a_number_a_shape_and_a_colour_for_each_point():
    row = {"left": 40.0, "right": 60.0, "low": None, "high": None}
    rows = [
        row | {"number": at, "encoder": f"e{at}", "family": "ab"[at % 2], "accuracy": 50.0 + 3 * at, "auroc": 60.0 + at}
        for at in range(1, 5)
    ]
    lines = [{"family": None, "slope": 0.5, "intercept": 0.3}, {"family": "a", "slope": 1.0, "intercept": 0.0}]
    spec = charts.backbones(rows, lines)
    points = next(layer for layer in spec["layer"] if layer["mark"]["type"] == "point")
    for channel in ("color", "shape"):
        scale = points["encoding"][channel]["scale"]
        assert scale["domain"] == ["b", "a"]
        assert len(set(scale["range"])) == 2
    drawn = [spec["datasets"][layer["data"]["name"]] for layer in spec["layer"] if layer["mark"]["type"] == "line"]
    assert [(end["accuracy"], end["auroc"]) for end in drawn[0]] == [(53.0, 56.5), (62.0, 61.0)]
    assert [(end["accuracy"], end["auroc"]) for end in drawn[1]] == [(56.0, 56.0), (62.0, 62.0)]
    words = next(layer for layer in spec["layer"] if layer["mark"]["type"] == "text")
    assert words["encoding"]["text"]["field"] == "number"
    assert points["encoding"]["x"]["scale"]["domain"] == [40, 70]


def test_what_the_page_says_of_the_study_is_so():
    """The words of backbones.md around its tables, after a rerun too."""
    results = Path(__file__).parents[1] / "experiments" / "results" / "backbones.json"
    found = json.loads(results.read_text(encoding="utf-8"))["benchmarks"]
    lines = {name: {one["family"]: one for one in about["lines_without_variants"]} for name, about in found.items()}
    assert min(of["all"]["r2"] for of in lines.values()) > 0.8
    assert all(of["never taught these classes"]["r2"] < of["all"]["r2"] for of in lines.values())
    low, high = lines["photos"]["trained"]["slope_interval"]
    assert low < 0 < high
    slopes = [of["all"]["slope"] for of in lines.values()]
    assert max(slopes) > 1.5 * min(slopes) > 0
    rows = {row["encoder"]: row for row in found["cifar10"]["backbones"]}
    large, small = (rows[f"EfficientNet-Lite0, ImageNet, {size}"] for size in (224, 128))
    assert large["accuracy"] > small["accuracy"]
    assert large["auroc"] < small["auroc"]
    for about in found.values():
        assert not about["failed"]
        for row in about["backbones"]:
            assert row["n_test"] > 0
            assert row["accuracy_interval"][0] < row["accuracy"] < row["accuracy_interval"][1]
