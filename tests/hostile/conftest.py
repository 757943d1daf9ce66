"""One folder with every oddity, and the command line in a process of its own."""

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLASSES = ("cat", "dog", "emu", "fox")
PLAIN = 12  # sound images of each class


def picture(seed, height=32, width=32):
    """A coarse pattern, uint8 ``(H, W, 3)``, that its copies in other encodings keep."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3))
    return np.kron(coarse, np.ones((height // 4, width // 4, 1))).astype(np.uint8)


def noise(height, width, seed):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def declared(width, height):
    """A PNG that says it is so large and holds a thousand bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@dataclass
class Odd:
    """The folder; what of it can be read; what cannot, and a part of why; files that are no images by name."""

    path: Path
    readable: set[str]
    unreadable: dict[str, str]
    others: int


def make_odd(root):
    readable, unreadable = set(), {}

    def saved(name, image, form=None, **options):
        path = root / name
        (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, form, **options)
        readable.add(name)
        return path

    for code, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for number in range(PLAIN):
            saved(f"{name}/{number:02}.png", picture(100 * code + number))
    dog, emu = root / "dog", root / "emu"

    # Odd contents
    saved("cat/one.png", noise(1, 1, 2))
    saved("cat/cmyk.jpg", Image.fromarray(picture(400)).convert("CMYK"))
    saved("cat/grey16.png", np.random.default_rng(0).integers(0, 65536, (20, 20)).astype(np.uint16))
    saved("cat/alpha.png", np.dstack([noise(20, 20, 3), noise(20, 20, 4)[:, :, :1]]))
    saved("cat/palette.png", Image.fromarray(picture(401)).convert("P"), transparency=3)
    turned = Image.Exif()
    turned[0x0112] = 6
    saved("cat/rotated.jpg", picture(402, 32, 64), exif=turned)
    frames = [Image.fromarray(picture(seed)) for seed in (403, 404, 405)]
    saved("cat/moving.gif", frames[0], save_all=True, append_images=frames[1:])
    saved("cat/moving.webp", frames[1], save_all=True, append_images=frames[2:], lossless=True)

    # What is no image, or not a whole one
    def broken(name, content, reason):
        (root / name).write_bytes(content)
        unreadable[name] = reason

    file = io.BytesIO()
    Image.fromarray(noise(64, 64, 1)).save(file, "jpeg")
    broken("cat/truncated.jpg", file.getvalue()[:1500], "truncated after 1,500 bytes")
    broken("cat/text.jpg", b"hello, I am no image\n" * 10, "not an image")
    broken("cat/empty.png", b"", "empty file")
    broken("cat/bomb.png", declared(60_000, 60_000), "too many pixels")
    broken("cat/large.png", declared(10_000, 10_000), "100,000,000 pixels, the limit is 89,478,485")
    file = io.BytesIO()
    Image.fromarray(np.array([[0.5, 1e9]], np.float32)).save(file, "tiff")
    broken("cat/float.tif", file.getvalue(), "floating-point pixels have no fixed range")

    # Links, copies, what is no file
    (dog / "loop").symlink_to(dog)
    (dog / "up").symlink_to(root)
    (dog / "self.png").symlink_to(dog / "self.png")
    unreadable["dog/self.png"] = "symbolic links"
    (dog / "dead.png").symlink_to("nowhere.png")
    unreadable["dog/dead.png"] = "a link to a file that is not there"
    (dog / "linked.png").symlink_to(dog / "00.png")
    (dog / "copy.png").write_bytes((dog / "01.png").read_bytes())
    readable.update({"dog/linked.png", "dog/copy.png"})
    saved("dog/near.jpg", Image.fromarray(picture(102)).resize((48, 48)), quality=80)
    os.mkfifo(dog / "pipe.png")
    unreadable["dog/pipe.png"] = "not a regular file"
    (root / "none").mkdir()

    # Odd names
    saved("emu/чашка 猫 é.png", picture(410))
    saved("emu/" + "n" * 251 + ".png", picture(411))
    Image.fromarray(picture(412)).save(emu / "two\nlines\x1b[31m.png")
    Image.fromarray(picture(413)).save(os.fsdecode(os.fsencode(emu) + b"/caf\xe9.png"), "png")
    readable.update({"emu/two\\nlines\\x1b[31m.png", "emu/caf\\xe9.png"})
    (emu / "notes.txt").write_text("no image")
    (emu / ".hidden.png").write_text("nor this")
    return Odd(root, readable, unreadable, others=1)


@pytest.fixture(scope="session")
def odd(tmp_path_factory):
    try:
        return make_odd(tmp_path_factory.mktemp("odd") / "photos")
    except OSError as error:
        pytest.skip(f"this file system refuses such files: {error}")


SERVER = """
import gc, json, os, resource, signal, sys
import torch
import unseen.api, unseen.cli, unseen.encoders.pixels, unseen.report
from unseen import registry
from unseen.__main__ import main

for room in registry.ROOMS[:2]:
    for name in registry.names(room):
        registry.find(room, name)
torch.set_num_threads(1)
gc.freeze()  # so that children share the pages
for line in sys.stdin:
    asked = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.chdir(asked["folder"])
        for number, name in enumerate((os.devnull, "stdout", "stderr")):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), number)
        sys.argv = ["unseen", *asked["words"]]
        exec(asked["before"], {})
        try:
            main()
        except SystemExit as ended:
            sys.stdout.flush()
            os._exit(ended.code or 0)  # at once: to take the interpreter apart takes longer than most commands
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Commands:
    """A process that has imported everything and runs each command in a child of its own."""

    def __init__(self):
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            text=True,
        )

    def start(self, folder, words, before=""):
        """Start a command; its process id."""
        asked = {"folder": str(folder), "words": [os.fspath(w) if isinstance(w, Path) else str(w) for w in words]}
        self._server.stdin.write(json.dumps(asked | {"before": before}) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def wait(self, folder):
        """Its exit code, output and errors."""
        code = int(self._server.stdout.readline())
        return code, *((folder / name).read_bytes().decode(errors="surrogateescape") for name in ("stdout", "stderr"))

    def close(self):
        self._server.stdin.close()
        self._server.wait(timeout=30)
        self._server.stdout.close()


@pytest.fixture(scope="session")
def commands():
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    running = Commands()
    yield running
    running.close()


@pytest.fixture
def command(commands, tmp_path):
    """Run the command line in a process of its own, in an empty folder -> exit code, output, errors.

    ``before`` is Python that runs in it first.
    """

    def run(*words, before=""):
        commands.start(tmp_path, words, before)
        return commands.wait(tmp_path)

    return run
