import errno
import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from unseen import files
from unseen.errors import BadInput, NoRoom


def test_whole_or_absent(tmp_path):
    target = tmp_path / "below" / "a.bin"
    with files.replacing(target) as file:
        file.write(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert [path.name for path in target.parent.iterdir()] == ["a.bin"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, MemoryError])
def test_an_interruption_leaves_what_was_there(tmp_path, error):
    target = files.write_text(tmp_path / "a", "old")

    def interrupted():
        with files.replacing(target) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk(tmp_path, monkeypatch, code):
    target = files.write_text(tmp_path / "a", "old")

    def full(descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoRoom, match="no space left"):
        files.write_text(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_where_nothing_can_be_written(tmp_path):
    files.write_text(tmp_path / "file", "x")
    for target in (tmp_path / "file" / "below", tmp_path, tmp_path / ("n" * 300)):
        with pytest.raises(BadInput, match="cannot be written") as caught:
            files.write_text(target, "y")
        assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_pipe_is_not_replaced_by_a_file(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        files.write_text(pipe, "through")
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_json_is_plain(tmp_path):
    value = {
        "nan": float("nan"),
        "inf": [-np.inf, np.float32(0.5)],
        "array": np.arange(3),
        "bool": np.True_,
        "path": Path("a") / "b",
        3: ("x", None),
        "name": "\udcff\u00e9",
    }
    back = json.loads(files.write_json(tmp_path / "a.json", value).read_text())
    assert back == {
        "nan": None,
        "inf": [None, 0.5],
        "array": [0, 1, 2],
        "bool": True,
        "path": "a/b",
        "3": ["x", None],
        "name": "\udcff\u00e9",
    }


def test_fingerprints_tell_parts_apart():
    assert len({files.fingerprint(*parts) for parts in (["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""], [])}) == 5
    assert files.fingerprint("a") == files.fingerprint(b"a")
