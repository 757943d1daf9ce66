"""Class names are enough: every command on images, with small random models of images and texts, offline."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import unseen as library
from unseen.errors import MissingExtra
from unseen.optional import require

try:
    require("open_clip", "clip")
    require("transformers", "transformers")
except MissingExtra as error:
    pytest.skip(str(error), allow_module_level=True)
NAMES = ("cat", "dog", "red", "tree")


def tiny():
    spec = importlib.util.spec_from_file_location("tiny", Path(__file__).parent / "encoders" / "_tiny.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Colours with noise: four classes in folders, the same without folders, and other colours."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    colours = {
        "cat": (200, 60, 40),
        "dog": (40, 180, 60),
        "red": (60, 60, 210),
        "tree": (200, 200, 60),
        "new": (130, 20, 130),
    }
    for name, colour in colours.items():
        for i in range(30):
            pixels = np.clip(np.array(colour) + rng.normal(0, 30, (32, 32, 3)), 0, 255).astype("uint8")
            places = [folder / "new" / f"{i}.png"] if name == "new" else [
                folder / "known" / name / f"{i}.png", folder / "plain" / f"{name}{i}.png"
            ]  # fmt: skip
            for place in places:
                place.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(place)
    (folder / "words.txt").write_text("\n".join(f"word{i} blue" for i in range(40)))
    return folder


@pytest.fixture(scope="module", params=["clip", "hf", "siglip"])
def encoder(request, tmp_path_factory):
    made, folder = tiny(), tmp_path_factory.mktemp(request.param)
    kinds = {"clip": made.tiny_open_clip, "hf": made.tiny_hf_clip, "siglip": made.tiny_hf_siglip}
    return kinds[request.param](folder)


def run(unseen, tmp_path, *words):
    found = tmp_path / "found.json"
    code, out, err = unseen(*words, "--cache", tmp_path / "cache", "--json", found)
    assert code == 0, out + err
    return json.loads(found.read_text())


PLP = "plp(epochs=5,batch=32)"


def test_every_command_with_names_alone(unseen, photos, encoder, tmp_path):
    known, e = photos / "known", ("-e", encoder)
    detectors = f"knn(k=1),mcm,neglabel(groups=4),{PLP} >> energy,zero_shot >> maxlogit"
    words = ("--labels", "names", "--negatives", photos / "words.txt")
    audit = run(unseen, tmp_path, "audit", known, *e, *words, "--detectors", detectors, "--repeats", "1", "--no-pixels")
    assert audit["level"] == "names"
    assert len(audit["detectors"]) == 5
    assert any("from no label" in warning for warning in audit["warnings"])
    bench = run(unseen, tmp_path, "bench", "--known", known, "--far", f"new={photos / 'new'}", *e, *words,
                "--detectors", detectors)  # fmt: skip
    assert {row["name"].split("(")[0].split(" ")[0] for row in bench["detectors"]} == {
        "knn",
        "mcm",
        "neglabel",
        "plp",
        "zero_shot",
    }
    fitted = run(unseen, tmp_path, "fit", known, *e, "-d", f"{PLP} >> energy",
                 "--labels", "names", "-o", tmp_path / "guard.unseen")  # fmt: skip
    assert fitted["availability"] == "names"
    assert sorted(fitted["classes"]) == sorted(NAMES)
    scored = run(unseen, tmp_path, "score", tmp_path / "guard.unseen", photos / "new")
    assert scored["n"] == 30
    assert {record["nearest"] for record in scored["records"]} <= set(NAMES)


def test_names_for_images_that_nobody_labelled(unseen, photos, encoder, tmp_path):
    names = ",".join(NAMES)
    fitted = run(unseen, tmp_path, "fit", photos / "plain", "-e", encoder, "-d", "mcm", "--labels", "names",
                 "--names", names, "--prompts", "mcm", "-o", tmp_path / "guard.unseen")  # fmt: skip
    assert fitted["classes"] == list(NAMES)
    assert fitted["texts"]["prompts"] == ["a photo of a {}"]
    # A random model may read nearly all images as one class; then the command says that this is too few.
    options = ("-e", encoder, "--labels", "names", "--names", names, "--cache", tmp_path / "cache", "--no-pixels")
    code, out, err = unseen("audit", photos / "plain", *options, "--detectors", "knn(k=1),mcm", "--repeats", "1")
    said = " ".join((out + err).split())
    assert code or f"--labels names --names {names}" in said.split("Next:")[1]
    assert (code, "nobody labelled" in said) == (0, True) or (code, "at least three classes" in said) == (2, True)


def test_a_file_of_texts_serves_arrays_on_disk(unseen, photos, encoder, tmp_path):
    """Embeddings and texts on disk need no model."""
    run(unseen, tmp_path, "text", ",".join(NAMES), "-e", encoder, "-o", tmp_path / "bank.safetensors", "--words",
        photos / "words.txt", "--count", "8")  # fmt: skip
    support = library.encode(photos / "known", encoder, ["features", "embedding"], cache=tmp_path / "cache")
    np.savez(tmp_path / "known.npz", features=support.gather("features"), embedding=support.gather("embedding"),
             labels=np.array(support.classes)[support.labels])  # fmt: skip
    fitted = run(unseen, tmp_path, "fit", tmp_path / "known.npz", "-d", "neglabel(groups=2)", "--labels", "names",
                 "--text", tmp_path / "bank.safetensors", "-o", tmp_path / "guard.unseen")  # fmt: skip
    assert fitted["texts"]["n_words"] == 8
    assert run(unseen, tmp_path, "score", tmp_path / "guard.unseen", tmp_path / "known.npz")["n"] == 120


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--labels", "none", "--names", "a,b"), "--labels none allows none"),
        (("--labels", "names", "-e", "pixels"), "reads no texts"),
        (("--labels", "all", "-e", "pixels"), "labels='all'"),
        (("--text", "bank.safetensors", "--names", "a,b"), "leave --names out"),
        (("--text", "nothing.safetensors", "-e", "pixels"), "no such file of texts"),
        (("--labels", "names", "--names", "cat,dog", "-e", "ENCODER"), "has no text"),
    ],
)
def test_what_cannot_be(unseen, photos, tmp_path, options, said):
    if "ENCODER" in options:
        options = tuple(tiny().tiny_open_clip(tmp_path) if word == "ENCODER" else word for word in options)
    code, out, err = unseen(
        "fit", photos / "known", *options, "-o", tmp_path / "guard.unseen", "--cache", tmp_path / "cache"
    )
    assert code == (3 if "no such file" in said else 2)
    assert said in " ".join((out + err).split())
