"""What was thought of for the classes: numbers go, order stays, nothing is asked of any network."""

import json

import pytest

from unseen.errors import BadInput
from unseen.language import Called, Listed, Proposer, Recorded, tidy


def test_tidy():
    answers = ["1. red fox\n2) Elk.\n(3) 'arctic hare'", "- Red Fox", "* lynx", "", "7 up", "3D printer", "**otter**"]
    assert tidy(answers) == ("red fox", "Elk", "arctic hare", "lynx", "7 up", "3D printer", "otter")


def test_a_list_keeps_its_order(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("1. zebra\n2. ant\tnoun.animal\n3. Zebra\n4. elk\n")
    assert Listed(file).propose(["ox"], None) == ("zebra", "ant", "elk")
    assert Listed(file).propose([], 2) == ("zebra", "ant")


def test_a_record_by_class(tmp_path):
    file = tmp_path / "recorded.json"
    file.write_text(json.dumps({"cat": ["1. lynx\n2. puma", "caracal"], "dog": ["wolf", "Lynx"], "ox": ["bison"]}))
    assert Recorded(file).propose(["dog", "cat"], None) == ("wolf", "lynx", "puma", "caracal")
    assert Recorded(file).propose(["cat", "dog"], 3) == ("lynx", "wolf", "puma")
    with pytest.raises(BadInput, match=r"recorded.json: nothing is recorded for class 'bee' \(2 classes lack words\)"):
        Recorded(file).propose(["cat", "bee", "ant"], None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('["a", 3]', "the words of the record must be a list of texts"),
        ('{"cat": {"a": 1}}', "the words of class 'cat' must be a list of texts"),
        ('["a",\n', "recorded.json line 2: not JSON in UTF-8"),
        ("7", "the words of the record must be a list"),
    ],
)
def test_records_that_cannot_be_used(tmp_path, text, message):
    (tmp_path / "recorded.json").write_text(text)
    with pytest.raises(BadInput, match=message):
        Recorded(tmp_path / "recorded.json").propose(["cat"], None)


def test_a_function_is_asked_for_the_names():
    asked = []
    called = Called(lambda names, count: asked.append((names, count)) or ["a", "b", "c"])
    assert called.propose(["ox"], 2) == ("a", "b")
    assert asked == [(["ox"], 2)]
    assert all(isinstance(one, Proposer) for one in (called, Listed("x"), Recorded("x")))
