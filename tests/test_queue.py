"""The labelling queue: the newest inputs first, as a manifest that the other verbs read once labels stand in it."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import unseen
from unseen.api.queue import COLUMNS, is_queue, read_queue, write_queue
from unseen.classifier import Verdicts
from unseen.data import open_inputs
from unseen.errors import BadInput, WrongUse

SIZE8 = "pixels?size=8"


@pytest.fixture(scope="module")
def guard(digits):
    return unseen.fit(digits / "known", SIZE8, "knn(k=1)", cache=False).classifier


def verdicts(p_value, familiarity, keys=None):
    n = len(p_value)
    return Verdicts(
        keys=keys or [f"{name}.png" for name in "abcdef"[:n]],
        p_value=np.array(p_value),
        familiarity=np.array(familiarity),
        nearest=["cat"] * n,
        unseen=np.array(p_value) <= 0.05,
        alpha=0.05,
        expected=(0, n),
        truth=None,
        classes=("cat", "dog"),
    )


def read_rows(path):
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def fill(path, label):
    """Write ``label(row)`` into each row, as a person would."""
    rows = [{**row, "label": label(row)} for row in read_rows(path)]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_the_newest_come_first_by_p_value_then_by_familiarity_then_in_their_order():
    said = verdicts([0.5, 0.1, 0.1, 0.02, 0.1], [-1.0, -3.0, -4.0, -2.0, -3.0])
    rows = said.queue()
    assert [row["path"] for row in rows] == ["d.png", "c.png", "b.png", "e.png", "a.png"]
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]
    assert {row["label"] for row in rows} == {""}
    assert tuple(rows[0]) == COLUMNS


@pytest.mark.parametrize("name", ["queue.csv", "queue.jsonl"])
def test_a_filled_queue_is_a_manifest_of_its_labelled_rows(guard, digits, tmp_path, name):
    queue = tmp_path / name
    said = unseen.score(guard, digits / "new", queue=queue)
    rows = read_rows(queue)
    assert len(rows) == len(said) == 140
    assert [float(row["p_value"]) for row in rows] == sorted(said.p_value.tolist())
    assert all(Path(row["path"]).is_file() for row in rows)  # the files lie elsewhere, so paths are absolute
    fill(queue, lambda row: Path(row["path"]).parent.name if int(row["rank"]) <= 60 else "")
    support = unseen.encode(queue, SIZE8, cache=False)
    assert len(support) == 60
    assert [support.classes[code] for code in support.labels] == [Path(key).parent.name for key in support.keys]
    assert "80 rows have no label and were left out" in support.notes
    made = unseen.fit(queue, SIZE8, "knn(k=1)", calibration=0.4, cache=False)
    assert made.classifier.about["n_fit"] + made.classifier.about["n_calibration"] == 60
    assert "80 rows have no label and were left out" in made.notes


def test_an_audit_reads_a_filled_queue(guard, digits, tmp_path):
    queue = tmp_path / "queue.csv"
    unseen.score(guard, digits / "new", queue=queue)
    fill(queue, lambda row: {"five": "5", "six": "6", "zero": "0"}.get(Path(row["path"]).parent.name, ""))
    found = unseen.audit(queue, SIZE8, detectors=["knn(k=1)"], repeats=1, cache=False)
    assert {held["class"] for held in found.to_dict()["held_out"]} == {"0", "5", "6"}
    assert found.to_dict()["n"] == 60


def test_paths_are_relative_to_the_queue_where_the_files_lie_below_its_folder(tmp_path, monkeypatch):
    from PIL import Image

    for name in ("a.png", "b.png"):
        (tmp_path / "new").mkdir(exist_ok=True)
        Image.new("RGB", (4, 4), "red" if name == "a.png" else "blue").save(tmp_path / "new" / name)
    monkeypatch.chdir(tmp_path)
    write_queue(verdicts([0.2, 0.1], [0.0, 0.0]), "queue.csv", open_inputs("new"))
    assert [row["path"] for row in read_rows(Path("queue.csv"))] == ["new/b.png", "new/a.png"]
    fill(Path("queue.csv"), lambda row: "cat")
    (tmp_path / "moved").mkdir()
    Path("new").rename("moved/new")
    Path("queue.csv").rename("moved/queue.csv")
    inputs = read_queue("moved/queue.csv")
    assert [inputs.path(row).name for row in range(2)] == ["b.png", "a.png"]
    assert inputs.read(0).shape == (4, 4, 3)


def test_groups_of_the_inputs_stay_with_them(tmp_path):
    from PIL import Image

    lines = ["path,group"]
    for name, shot in zip("abcd", ["x", "y", "x", "y"], strict=True):
        Image.new("RGB", (4, 4), (ord(name), 0, 0)).save(tmp_path / f"{name}.png")
        lines.append(f"{name}.png,{shot}")
    (tmp_path / "new.csv").write_text("\n".join(lines) + "\n")
    queue = tmp_path / "queue.csv"
    write_queue(verdicts([0.4, 0.3, 0.2, 0.1], [0.0] * 4), queue, open_inputs(tmp_path / "new.csv"))
    fill(queue, lambda row: "cat")
    inputs = read_queue(queue)
    together = {
        frozenset(np.array(inputs.keys)[inputs.groups == code].tolist()) for code in set(inputs.groups.tolist())
    }
    assert together == {frozenset({"a.png", "c.png"}), frozenset({"b.png", "d.png"})}


def test_a_table_from_a_spreadsheet_is_read(tmp_path):
    """Semicolons, a byte-order mark, carriage returns, and a row that somebody took out."""
    queue = tmp_path / "queue.csv"
    lines = ["path;rank;p_value;nearest;label", "a.png;1;0,02;dog;cat", "b.png;2;0,5;dog;", "d.png;4;0,7;dog; 7 "]
    queue.write_bytes(("\ufeff" + "\r\n".join(lines) + "\r\n").encode())
    inputs = read_queue(queue)
    assert list(zip(inputs.keys, [inputs.classes[code] for code in inputs.labels], strict=True)) == [
        ("a.png", "cat"),
        ("d.png", "7"),
    ]
    assert inputs.notes == ("1 row has no label and was left out",)


def test_rows_of_arrays_are_listed_by_their_names(tmp_path):
    random = np.random.default_rng(0)
    made = unseen.OpenSetClassifier("arrays", "mahalanobis").fit(random.normal(size=(100, 4)))
    np.save(tmp_path / "new.npy", random.normal(size=(3, 4)) + np.array([[0], [50], [0]]))
    unseen.score(made, tmp_path / "new.npy", queue=tmp_path / "queue.csv")
    assert read_rows(tmp_path / "queue.csv")[0]["path"] == "new.npy[1]"


def test_a_manifest_with_other_columns_is_not_taken_for_a_queue(tmp_path):
    """There, a missing label is a mistake that is named, as it was."""
    manifest = tmp_path / "known.csv"
    manifest.write_text("path,rank,label\na.png,1,cat\nb.png,2,\n")
    assert not is_queue(manifest)
    with pytest.raises(BadInput, match="row 3: no label"):
        unseen.encode(manifest, SIZE8, cache=False)
    for odd in ("not there.csv", "", "photos", None, np.zeros((2, 2))):
        assert not is_queue(odd)
    (tmp_path / "odd.jsonl").write_text("[" * 5000)
    assert not is_queue(tmp_path / "odd.jsonl")


def test_a_queue_without_a_label_is_refused_by_what_would_learn_from_it(tmp_path):
    write_queue(verdicts([0.1, 0.2], [0.0, 0.0]), tmp_path / "queue.csv")
    with pytest.raises(BadInput, match="no row has a label yet"):
        unseen.fit(tmp_path / "queue.csv", SIZE8, cache=False)


def test_one_path_with_two_labels_is_refused(tmp_path):
    queue = tmp_path / "queue.csv"
    write_queue(verdicts([0.1, 0.2], [0.0, 0.0]), queue)
    fill(queue, lambda row: "cat")
    queue.write_text(queue.read_text() + "a.png,3,0.3,dog,dog\n")
    with pytest.raises(BadInput, match=r"a\.png stands there twice, with another label"):
        read_queue(queue)


def test_labels_that_somebody_filled_in_are_never_written_over(guard, digits, tmp_path):
    queue = tmp_path / "queue.csv"
    unseen.score(guard, digits / "new", queue=queue, limit=20)
    unseen.score(guard, digits / "new", queue=queue, limit=20)  # nothing stands in it yet
    fill(queue, lambda row: "five" if row["rank"] == "3" else "")
    before = queue.read_bytes()
    with pytest.raises(WrongUse, match="holds labels that somebody filled in"):
        unseen.score(guard, digits / "new", queue=queue, limit=20)
    assert queue.read_bytes() == before
    with pytest.raises(WrongUse, match=r"must end in .csv or .jsonl"):
        unseen.score(guard, digits / "new", queue=tmp_path / "queue.txt")


def test_a_name_with_every_odd_letter_comes_back(tmp_path):
    from PIL import Image

    names = [" lead.png", 'quo"te.png', "com,ma.png", "semi;colon.png", "new\nline.png", "ünïcode 猫.png"]
    for number, name in enumerate(names):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / name)
    inputs = open_inputs(tmp_path)
    said = verdicts([0.1] * 6, [0.0] * 6, keys=list(inputs.keys))
    for name in ("queue.csv", "queue.jsonl"):
        queue = tmp_path / name
        write_queue(said, queue, inputs)
        fill(queue, lambda row: "cat")
        back = read_queue(queue)
        pixels = sorted(int(back.read(row)[0, 0, 0]) for row in range(len(back)))
        assert pixels == list(range(6))
