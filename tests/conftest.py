import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseen.api.demo import NAMES


@pytest.fixture(autouse=True, scope="session")
def _own_surroundings(tmp_path_factory):
    """No test, and no program that a test starts, writes to the real home or depends on the width of a terminal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("COLUMNS", "80")
        for name in ("FORCE_COLOR", "NO_COLOR", "TERMINAL_WIDTH"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """Handwritten digits as a user has them: ``known/NAME/*.png`` of five digits, ``new/`` of these and two others."""
    from sklearn.datasets import load_digits

    root = tmp_path_factory.mktemp("digits")
    data = load_digits()
    grey = np.round(data.images * (255 / 16)).astype(np.uint8)
    for digit, name in enumerate(NAMES[:7]):
        rows = np.flatnonzero(data.target == digit).tolist()
        for part, chosen in (("known", rows[:60] if digit < 5 else []), ("new", rows[60:80])):
            for row in chosen:
                path = root / part / name / f"{row:04d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(grey[row]).save(path)
    return root


@pytest.fixture(scope="session")
def test_data():
    """The folder of real data and networks that some tests need; they are skipped where it is not there."""
    root = os.environ.get("UNSEEN_TEST_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("UNSEEN_TEST_DATA is not set")
    return Path(root)


@pytest.fixture
def python():
    """Run code in a process of its own."""

    def run(code, *, cwd=None):
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, check=False)

    return run


@pytest.fixture
def unseen(monkeypatch, capsys, tmp_path):
    """Run a command as the console script does, in its own folder -> exit code, standard output, standard error."""
    from unseen.__main__ import main

    monkeypatch.chdir(tmp_path)

    def run(*words):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["unseen", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return caught.value.code, out, err

    return run
