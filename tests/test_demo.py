import functools
import json

import pytest

import unseen
from unseen.api import demo as module
from unseen.errors import BadInput


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo") / "demo"
    with pytest.MonkeyPatch.context() as patch:  # the same way in less time
        patch.setattr(module.api, "audit", functools.partial(module.api.audit, repeats=1, detectors=["knn", "msp"]))
        return root, unseen.demo(root)


def test_the_whole_way(made):
    root, found = made
    assert {path.name for path in root.iterdir()} >= {
        "README.txt", "known", "new", "guard.unseen", "scores.csv", "results.json", "report.html"
    }  # fmt: skip
    assert len(list((root / "known").iterdir())) == 7
    held = json.loads((root / "results.json").read_text())
    assert held["audit"]["recommended"]["auroc"] > 0.95
    about = held["score"]["labelled"]
    assert about["known_called_unseen"] / about["known"] < 0.1
    assert about["other_called_unseen"] / about["other"] > 0.7
    assert found["page"] == str(root / "report.html")
    assert "<html" in (root / "report.html").read_text()[:2000]


def test_an_interrupted_demo_runs_again_and_nothing_else_is_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(module.api, "audit", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            unseen.demo(tmp_path / "demo")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(BadInput, match="is not empty and no demo wrote it"):
        unseen.demo(tmp_path / "mine")
    with pytest.raises(BadInput, match="is a file"):
        unseen.demo(tmp_path / "mine" / "thesis.txt")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
