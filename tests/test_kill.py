"""``kill -9`` in the middle of 5,000 images: what was finished stays, the rest follows, and no bit differs."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from unseen.encoders import encode
from unseen.encoders._encode import SHARD

IMAGES = 5000

NETWORK = '''
import os
import time

import torch
from torch import nn


class Slow(nn.Module):
    """A convolutional network that takes its time, so that it can be caught at work."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.fc = nn.Linear(16, 4)

    def forward(self, x):
        time.sleep(float(os.environ.get("SLOW", "0")))
        return self.fc(self.body(x))


torch.manual_seed(0)
slow = Slow()
'''


@pytest.fixture
def folder(tmp_path):
    """5,000 images of 8 x 8 to 12 x 12, PNG and JPEG by turns; one of them is damaged."""
    random = np.random.default_rng(0)
    root = tmp_path / "photos"
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
    for number in range(IMAGES):
        side = 8 + number % 5
        picture = Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8))
        end = "jpg" if number % 2 else "png"
        picture.save(root / ("cat", "dog")[number % 3 == 0] / f"{number:04}.{end}")
    damaged = root / "cat" / "2501.jpg"
    damaged.write_bytes(damaged.read_bytes()[:100])
    return root


def _finished(cache):
    """Shards of both signals -> what must not change when they are not made again."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in cache.rglob("*.json")}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 on this system")
def test_three_kills_change_no_bit(folder, tmp_path):
    (tmp_path / "net.py").write_text(NETWORK)
    cache = tmp_path / "cache"
    encoder = f"torch:{tmp_path / 'net.py'}:slow?size=16"
    command = [sys.executable, "-m", "unseen", "encode", str(folder), "-e", encoder, "--cache", str(cache)]
    seen = {}
    for kill in range(3):
        started = subprocess.Popen(
            command, env={**os.environ, "SLOW": "0.05"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        deadline = time.monotonic() + 60
        while len(_finished(cache)) < len(seen) + 3:  # an odd number: between two signals of one shard
            assert started.poll() is None, started.stderr.read().decode()
            assert time.monotonic() < deadline, f"no shard was finished before kill {kill + 1}"
            time.sleep(0.005)
        os.kill(started.pid, signal.SIGKILL)
        assert started.wait() == -signal.SIGKILL
        started.stderr.close()
        now = _finished(cache)
        assert seen.items() <= now.items()
        assert len(now) < 2 * -(-IMAGES // SHARD)  # it was caught at work
        seen = now

    resumed = encode(folder, encoder, cache=cache)
    whole = _finished(cache)
    assert seen.items() <= whole.items()
    assert len(whole) == 2 * -(-IMAGES // SHARD)
    straight = encode(folder, encoder, cache=tmp_path / "straight")
    assert [key for key, _ in resumed.skipped] == ["cat/2501.jpg"]
    assert list(resumed.keys) == list(straight.keys)
    assert len(resumed) == IMAGES - 1
    np.testing.assert_array_equal(resumed.labels, straight.labels)
    for name in ("features", "logits"):
        np.testing.assert_array_equal(resumed.signals.gather(name), straight.signals.gather(name))
