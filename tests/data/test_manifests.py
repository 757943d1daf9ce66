"""CSV, TSV and JSON lines: what is read, and the row that each error names."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unseen.data import Unreadable, open_inputs
from unseen.errors import BadInput, UnseenError, WrongUse
from unseen.naming import printable


@pytest.fixture
def write(tmp_path):
    def write(text, name="labels.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_csv(write, tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("RGB", (2, 3), "red").save(tmp_path / "a" / "1.png")
    path = write("\ufeffpath,label,group,other\r\na/1.png, dog ,v1,x\r\n\r\na/2.png,cat,v2,\r\n./3.png,dog,v1,y\r\n")
    inputs = open_inputs(path)
    assert list(inputs.keys) == ["a/1.png", "a/2.png", "./3.png"]
    assert inputs.classes == ("cat", "dog")
    assert inputs.labels.tolist() == [1, 0, 1]
    assert inputs.groups.tolist() == [0, 1, 0]
    assert inputs.notes == ()
    assert inputs.read(0).shape == (3, 2, 3)
    with pytest.raises(Unreadable, match=r"^a/2.png: no such file$"):
        inputs.read(1)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "path\tlabel\nx.png\t3\ny.png\t12\n"),
        ("a.csv", "path;label\nx.png;3\ny.png;12\n"),
        ("a.csv", '"path","label"\n"x.png","3"\n"y.png","12"'),
        ("a.jsonl", '{"path": "x.png", "label": 3}\n\n{"path": "y.png", "label": "12"}'),
        ("a.ndjson", '{"path": "x.png", "label": 3}\r\n{"path": "y.png", "label": 12, "more": [1]}\r\n'),
    ],
)
def test_dialects(write, name, text):
    inputs = open_inputs(write(text, name))
    assert list(inputs.keys) == ["x.png", "y.png"]
    assert inputs.classes == ("3", "12")
    assert inputs.labels.tolist() == [0, 1]
    assert inputs.groups is None


def test_columns_of_other_names(write):
    path = write("file,species,patient\na.png,cat,7\nb.png,dog,7\n")
    inputs = open_inputs(path, path_column="file", label_column="species", group_column="patient")
    assert inputs.classes == ("cat", "dog")
    assert inputs.groups.tolist() == [0, 0]


def test_unlabelled(write):
    assert open_inputs(write("path\na.png\n")).labels is None
    empty = open_inputs(write("path,label\na.png,\nb.png,\n"))
    assert empty.labels is None
    assert 'column "label" is empty: the rows are unlabelled' in empty.notes
    assert open_inputs(write("path,label\na.png,cat\n"), label_column=None).labels is None


def test_a_near_name_is_mentioned(write):
    inputs = open_inputs(write("path,Label\na.png,cat\n"))
    assert inputs.labels is None
    assert inputs.notes == ('no column "label"; the columns are path, Label; did you mean "Label"?',)


def test_rows_without_group_stand_alone(write):
    inputs = open_inputs(write("path,group\na.png,\nb.png,v\nc.png,\nd.png,v\n"))
    assert inputs.groups.tolist() == [0, 1, 2, 1]
    assert inputs.notes == ("2 rows have no group and stand alone",)


def test_repeated_rows(write):
    inputs = open_inputs(write("path,label\na.png,cat\na.png,cat\n"))
    assert len(inputs) == 1
    assert inputs.notes == ("1 rows repeat an earlier row and were passed over",)
    with pytest.raises(BadInput, match=r"row 3: a.png stands in row 2 too, with another label"):
        open_inputs(write("path,label\na.png,cat\na.png,dog\n"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "no header, expected column names such as path,label"),
        ("a.csv", "path,label\n", "no rows below the header"),
        ("a.csv", "paths,label\na,b\n", r'no column "path" .* are paths, label; did you mean "paths"'),
        ("a.csv", "path,label\na,cat\nb,\n", 'a.csv row 3: no label in column "label"'),
        ("a.csv", "path,label\na,cat\n\n,cat\n", 'a.csv row 4: no path in column "path"'),
        ("a.csv", "path,label\na,-1\n", "a.csv row 2: label -1 is negative"),
        ("a.csv", "path,label\na,b,c\n", "a.csv row 2: 3 fields, the header has 2"),
        ("a.csv", "path,path\na,b\n", 'column "path" stands there twice'),
        ("a.csv", "path\n" + "x" * 140_000, "a.csv row 2: field larger than field limit"),
        ("a.csv", b"path\n\xff\xfe", r"not UTF-8 text \(byte 5\)"),
        ("a.jsonl", "", "no rows"),
        ("a.jsonl", '{"path": "a"}\n{"path": ', "a.jsonl row 2: not JSON: Expecting value at letter"),
        ("a.jsonl", '["a"]', "row 1: not an object"),
        ("a.jsonl", "[" * 100_000, "row 1: not JSON"),
        ("a.jsonl", '{"path": "a", "label": ' + "9" * 5000 + "}", "row 1: not JSON that can be read"),
        ("a.jsonl", '{"file": "a"}', 'no column "path" .* are file'),
        ("a.jsonl", '{"path": "a"}\n{"label": "b"}', "row 2: no path"),
        ("a.jsonl", '{"path": 3}', "row 1: no path"),
        ("a.jsonl", '{"path": "a", "label": -3}', "row 1: label -3 is negative"),
        ("a.jsonl", '{"path": "a", "label": 0.5}', "row 1: label 0.5 is neither a name nor an integer"),
        ("a.jsonl", '{"path": "a", "label": true}', "row 1: label True is neither"),
        ("a.jsonl", '{"path": "a", "label": "x"}\n{"path": "b", "label": null}', "row 2: no label"),
        ("a.jsonl", '{"path": "a", "group": [1]}', r"row 1: group \[1\] is neither"),
    ],
)
def test_errors_name_file_and_row(write, name, text, message):
    with pytest.raises(BadInput, match=message) as caught:
        open_inputs(write(text, name))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_columns_that_were_asked_for(write):
    path = write("path,kind\na.png,cat\n")
    with pytest.raises(WrongUse, match=r'no column "knd"; the columns are path, kind; did you mean "kind"'):
        open_inputs(path, label_column="knd")
    with pytest.raises(WrongUse, match='no column "video"'):
        open_inputs(path, group_column="video")


def test_odd_letters_stay_writable(write):
    inputs = open_inputs(write('{"path": "a\\ud800\\u0000.png", "label": "\\udfff"}', "a.jsonl"))
    "".join([*inputs.keys, *inputs.classes]).encode()
    with pytest.raises(Unreadable, match=r"not a possible file name|no such file"):
        inputs.read(0)
    assert len(inputs.digest(0)) == 32


def outcome(path):
    try:
        inputs = open_inputs(path)
    except UnseenError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    assert len(set(inputs.keys)) == len(inputs) > 0
    assert inputs.labels is None or inputs.labels.max() < len(inputs.classes)
    assert len(inputs.digests()) == len(inputs)
    with pytest.raises(Unreadable):
        inputs.read(0)


tables = st.lists(st.sampled_from(["path", "label", ",", ";", "\n", "\r", '"', "-1", "a", " ", "\0", "é"])).map("".join)
values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just([{}])
objects = st.dictionaries(st.sampled_from(["path", "label", "group", "x"]), values)
lines = st.lists(objects | values, max_size=5).map(lambda rows: "\n".join(map(json.dumps, rows)))


@settings(deadline=None, max_examples=150)
@given(suffix=st.sampled_from(["csv", "tsv", "jsonl"]), content=st.binary(max_size=80))
def test_random_bytes_never_crash(tmp_path_factory, suffix, content):
    path = tmp_path_factory.getbasetemp() / f"fuzz.{suffix}"
    path.write_bytes(content)
    outcome(path)


@settings(deadline=None, max_examples=150)
@given(suffix=st.sampled_from(["csv", "tsv"]), text=tables)
def test_random_tables_never_crash(tmp_path_factory, suffix, text):
    path = tmp_path_factory.getbasetemp() / f"fuzz.{suffix}"
    path.write_text("path,label\n" + text, newline="")
    outcome(path)


@settings(deadline=None, max_examples=150)
@given(text=lines)
def test_random_objects_never_crash(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "fuzz.jsonl"
    path.write_text(text)
    outcome(path)


@settings(deadline=None, max_examples=50)
@given(
    rows=st.lists(st.tuples(st.text(min_size=1), st.integers(0, 30)), min_size=1, unique_by=lambda r: printable(r[0]))
)
def test_json_lines_come_back(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "back.jsonl"
    path.write_text("\n".join(json.dumps({"path": name, "label": label}) for name, label in rows))
    inputs = open_inputs(path)
    assert list(inputs.keys) == [printable(name) for name, _ in rows]
    assert [int(inputs.classes[code]) for code in inputs.labels] == [label for _, label in rows]
    assert np.all(np.diff([int(name) for name in inputs.classes]) > 0)
