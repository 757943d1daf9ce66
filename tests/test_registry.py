import pytest

import unseen
from unseen import registry
from unseen.detectors.knn import KNN
from unseen.errors import WrongUse


def test_the_folder_is_the_list():
    assert {"energy", "knn", "mahalanobis", "msp"} <= set(registry.names("detectors"))
    for room in registry.ROOMS:
        assert "base" not in registry.names(room)
        assert not [name for name in registry.names(room) if name.startswith("_")]
        for name in registry.names(room):
            assert registry.find(room, name).__name__.lower() == name.replace("_", "")


def test_expressions():
    assert isinstance(unseen.create("knn"), KNN)
    assert unseen.create(" knn( k = 3 ) ").k == 3
    assert unseen.create("knn(k=3)", k=4).k == 4
    for text in ("ridge >> energy", "ridge(penalty=0.5) >> energy(temperature=2.0)", "knn(k=3)", "prototypes >> knn"):
        assert unseen.create(text).expression() == text


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "__import__('os').system('touch evaluated')",
        "knn(__import__('os'))",
        "knn(k=__import__('os').mkdir('evaluated'))",
        "knn(k=open('evaluated', 'w'))",
        "unseen.create('knn')",
        "detectors.knn",
        "lambda: 1",
        "(lambda: knn)()",
        "knn(5)",
        "knn(**{'k': 5})",
        "knn(*[5])",
        "knn(k={[]: 1})",
        "knn[0]",
        "knn | energy",
        "knn if 1 else energy",
        "[knn]",
        "knn; energy",
        "knn(k=5",
        "knn(k=1, k=2)",
        "",
        "5",
        "knn\0",
        "(" * 300 + "knn" + ")" * 300,
        "-" * 5000 + "1",
        "base",
        "_part",
        "../knn",
    ],
)
def test_anything_else_is_refused_and_nothing_is_evaluated(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WrongUse) as caught:
        unseen.create(text)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("knnn", "did you mean 'knn'"),
        ("KNN", "did you mean 'knn'"),
        ("rigde >> energy", "did you mean 'ridge'"),
        ("xyz", "there are abet, adascale"),
        ("knn(n=5)", "knn takes k, index, share, seed; it has no n"),
        ("energy >> knn", "steps come first and one detector last"),
        ("knn >> ridge", "steps come first and one detector last"),
        ("ridge >> prototypes", "steps come first and one detector last"),
    ],
)
def test_slips_are_explained(text, says):
    with pytest.raises(WrongUse, match=says):
        unseen.create(text)


def test_arguments_of_several_parts_are_written_inside():
    with pytest.raises(WrongUse, match="write the arguments inside it"):
        unseen.create("ridge >> knn", k=3)


@pytest.mark.parametrize("room", ["", "..", "protocols", "detectors/../..", "data"])
def test_only_the_three_rooms_hold_parts(room):
    with pytest.raises(WrongUse, match="there is no list"):
        registry.find(room, "audit")
