"""A saved guard that is cut, altered, foreign or newer: `DamagedFile` and nothing else, and nothing of it is run."""

import json
import struct
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from unseen.classifier import FORMAT, VERSION, OpenSetClassifier, _content_hash
from unseen.encoders import encode
from unseen.errors import DamagedFile

KINDS = {
    "one threshold": ("arrays", "ridge >> energy", False),
    "by class": ("arrays", "mahalanobis", True),
    "of images": ("pixels?size=2", "knn(k=1)", False),
}


def known():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(150, 12)) + np.repeat(np.eye(3, 12) * 9, 50, axis=0)
    return rows.astype(np.float32), np.repeat(["ant", "bee", "cow"], 50)


def make(kind, path):
    encoder, detector, by_class = KINDS[kind]
    rows, labels = known()
    if encoder != "arrays":
        pictures = np.random.default_rng(1).integers(0, 256, (150, 2, 2, 3), dtype=np.uint8)
        rows, labels = encode({"images": pictures}, encoder, cache=False), None
    return OpenSetClassifier(encoder, detector, by_class=by_class, alpha=0.2).fit(rows, labels).save(path).read_bytes()


@pytest.fixture(scope="module")
def guards(tmp_path_factory):
    """The bytes of a guard of each kind."""
    folder = tmp_path_factory.mktemp("saved")
    return {kind: make(kind, folder / "guard.unseen") for kind in KINDS}


@pytest.fixture(params=KINDS)
def saved(request, guards):
    return guards[request.param]


def refused(path):
    with pytest.raises(DamagedFile) as caught:
        OpenSetClassifier.load(path)
    assert type(caught.value) is DamagedFile
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_cut_anywhere(saved, tmp_path):
    path = tmp_path / "g"
    header = 8 + struct.unpack("<Q", saved[:8])[0]
    places = {
        *range(20),
        *range(0, len(saved), max(1, len(saved) // 200)),
        header - 1,
        header,
        header + 1,
        len(saved) - 1,
    }
    for length in sorted(places):
        path.write_bytes(saved[:length])
        refused(path)


def test_a_bit_flipped_anywhere(saved, tmp_path):
    """Each of 300 places over the whole file, and every place of the first and last hundred bytes."""
    path = tmp_path / "g"
    random = np.random.default_rng(0)
    places = {*range(100), *range(len(saved) - 100, len(saved)), *range(0, len(saved), max(1, len(saved) // 300))}
    header = 8 + struct.unpack("<Q", saved[:8])[0]
    for at in sorted(places):
        altered = bytearray(saved)
        altered[at] ^= 1 << int(random.integers(8))
        if at < header and bytes([altered[at], saved[at]]).isspace():
            continue  # white space between the parts of the header means nothing
        path.write_bytes(altered)
        refused(path)


def test_pieces_swapped_or_repeated(saved, tmp_path):
    path = tmp_path / "g"
    half = len(saved) // 2
    for content in (saved[half:] + saved[:half], saved + saved, saved[:half] + saved[half - 8 :], saved[::-1]):
        path.write_bytes(content)
        refused(path)


def test_foreign_and_newer(tmp_path):
    tensors = {"a": torch.ones(2)}
    newer = {"format": FORMAT, "version": str(VERSION + 1), "description": "{}", "sha256": ""}
    save_file(tensors, tmp_path / "newer", newer)
    save_file(tensors, tmp_path / "endless", newer | {"version": "9" * 5000})
    save_file(tensors, tmp_path / "foreign", {"format": "pt"})
    (tmp_path / "pickle").write_bytes(b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.")
    (tmp_path / "zip").write_bytes(b"PK\x05\x06" + bytes(18))
    (tmp_path / "huge").write_bytes(struct.pack("<Q", 2**63) + b"{}")
    assert "written by a newer version of unseen: upgrade" in refused(tmp_path / "newer")
    assert "not a file that `unseen fit` saved" in refused(tmp_path / "foreign")
    for name in ("endless", "pickle", "zip", "huge"):
        refused(tmp_path / name)


def forge(content, target, change):
    """The same file with another description and a hash that fits: what somebody does who knows the format."""
    target.write_bytes(content)
    with safe_open(target, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    description = json.loads(metadata["description"])
    change(description, tensors)
    metadata["description"] = json.dumps(description)
    metadata["sha256"] = _content_hash(metadata, tensors)
    save_file(tensors, target, metadata)
    return target


@pytest.mark.parametrize(
    "change",
    [
        lambda d, _: d.update(alpha="0.5"),
        lambda d, _: d.update(alpha=None),
        lambda d, _: d.update(alpha=7),
        lambda d, _: d.update(classes=3),
        lambda d, _: d.update(about=[1]),
        lambda d, _: d.update(encoder={"id": "x", "name": ["pixels"]}),
        lambda d, _: d.update(detector=[d["detector"]] * 3),
        lambda d, t: [t.pop(name) for name in list(t) if name.startswith("calibrator.")],
        lambda d, t: [t.pop(name) for name in list(t) if name.startswith("detector.")],
    ],
)
def test_numbers_that_make_no_sense_under_a_hash_that_fits(saved, tmp_path, change):
    refused(forge(saved, tmp_path / "g", change))


def test_shapes_that_do_not_fit_under_a_hash_that_does(tmp_path):
    """A bank of another width than the features: found at load, not in a product at the first input."""
    x = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    for expression, name in (("knn(k=3)", "bank"), ("mahalanobis", "towards")):
        guard = OpenSetClassifier("arrays", expression).fit(x)
        setattr(guard.detector, name, getattr(guard.detector, name)[:, :-1].contiguous()[:-1])
        refused(guard.save(tmp_path / f"{name}.unseen"))


def test_the_command_line_ends_with_4(saved, command, tmp_path):
    rows, _ = known()
    np.save(tmp_path / "x.npy", rows)
    for name, content in (
        ("cut", saved[: len(saved) // 2]),
        ("flipped", saved[:-5] + bytes([saved[-5] ^ 1]) + saved[-4:]),
        ("text", b"hello"),
    ):
        (tmp_path / name).write_bytes(content)
        for words in (("info", name), ("score", name, "x.npy")):
            code, out, err = command(*words)
            assert (code, out) == (4, "")
            assert err.startswith(f"unseen: {name}: ")
            assert err.count("\n") == 1


WATCH = """
    import json, sys
    from unseen import registry
    from unseen.classifier import OpenSetClassifier
    from unseen.errors import DamagedFile

    sys.path.insert(0, ".")  # where evil.py lies
    sound, hostile = map(json.loads, sys.argv[1:])
    for path in sound:
        OpenSetClassifier.load(path).info()  # all that sound files need is imported from here on
    for room in registry.ROOMS[:2]:
        for name in registry.names(room):
            registry.find(room, name)
    for name in ("arrays", "pixels", "torch"):
        registry.find("encoders", name)
    WATCHED = {
        "import", "exec", "compile", "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen",
        "os.remove", "os.rename", "os.mkdir", "socket.connect", "ctypes.dlopen", "pickle.find_class",
    }

    def watch(event, details):
        if not watching:
            return
        if event == "open":
            if isinstance(details[1], str) and set("wax+") & set(details[1]) or (details[2] or 0) & 3:
                seen.append(event)
        elif event in WATCHED and not (event == "compile" and details[1] == "<unknown>"):
            seen.append(event)  # `ast` "compiles" an expression into a tree, which is never run

    watching, seen, found = False, [], {}
    sys.addaudithook(watch)
    for path in [*sound, *hostile]:
        seen.clear()
        watching = True
        try:
            OpenSetClassifier.load(path)
            outcome = "loaded"
        except DamagedFile:
            outcome = "refused"
        watching = False
        found[path] = [outcome, *seen]
    seen.clear()
    watching = True  # the hook must see what it is there to see
    exec(compile("1", "file", "exec"))
    import evil
    open("written", "w").close()
    watching = False
    print(json.dumps([found, seen]))
"""


def test_nothing_of_a_file_is_run(guards, tmp_path):
    """The interpreter's own audit events: no import, no code, no file written, whatever the file names."""

    def part(**entry):
        return {"room": "detectors", "name": "knn", "arguments": {}} | entry

    def as_encoder(name, **arguments):
        return lambda d, _: d["encoder"].update({"name": name, "arguments": arguments})

    def as_detector(**entry):
        return lambda d, _: d.update(detector=part(**entry))

    changes = {
        "torch-file": as_encoder("torch", path="evil.py:net"),
        "torch-module": as_encoder("torch", path="evil:net"),
        "encoder": as_encoder("evil"),
        "encoder-path": as_encoder("../evil"),
        "encoder-dotted": as_encoder("evil.net"),
        "weights": as_encoder("pixels", weights="evil.py"),
        "detector": as_detector(name="evil"),
        "detector-code": as_detector(name="__import__('evil')"),
        "detector-argument": as_detector(arguments={"nothing": "__import__('evil')"}),
        "room": as_detector(room="../..", name="evil"),
        "room-encoder": as_detector(room="encoders", name="torch", arguments={"path": "evil.py:net"}),
        "head": lambda d, _: d.update(head=part(room="heads", name="evil")),
        "calibrator": lambda d, _: d.update(calibrator={"name": "evil", "arguments": {}}),
        "calibrator-builtin": lambda d, _: d.update(
            calibrator={"name": "exec", "arguments": {"source": "import evil"}}
        ),
    }
    sound, hostile = [], []
    for number, content in enumerate(guards.values()):
        sound.append(f"sound{number}")
        (tmp_path / sound[-1]).write_bytes(content)
        (tmp_path / f"cut{number}").write_bytes(content[:-40])
        hostile += [f"cut{number}", *(f"{name}{number}" for name in changes)]
        for name, change in changes.items():
            forge(content, tmp_path / f"{name}{number}", change)
    (tmp_path / "pickle").write_bytes(b"cevil\nnet\n.")
    (tmp_path / "evil.py").write_text("net = None\n")
    hostile.append("pickle")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WATCH), json.dumps(sound), json.dumps(hostile)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    found, proof = json.loads(done.stdout)
    assert found == {name: ["loaded"] for name in sound} | {name: ["refused"] for name in hostile}
    assert {"compile", "exec", "import", "open"} <= set(proof)
