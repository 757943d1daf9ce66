import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import unseen as library
from unseen.encoders import encode, open_encoder
from unseen.errors import WrongUse
from unseen.registry import create_objective

SMALL = "relational(ratio=1,width=16,blocks=1,heads=2)"
NETWORK = """
import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(
    nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
)
"""


@pytest.fixture
def arrays(tmp_path):
    """Four classes of 6 numbers, 12 rows each."""
    random = np.random.default_rng(0)
    labels = np.repeat(["ant", "bee", "cat", "dog"], 12)
    features = random.normal(size=(48, 6)) + 4 * np.repeat(np.eye(4, 6), 12, axis=0)
    np.savez(tmp_path / "data.npz", features=features.astype(np.float32), labels=labels)
    return tmp_path / "data.npz"


def metadata(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


def test_features_of_an_array_file(unseen, arrays, tmp_path):
    words = ["train", SMALL, arrays, "-o", "out", "-e", "arrays:mine", "--optimizer", "adam", "--lr", "0.003"]
    code, out, err = unseen(*words, "--epochs", 6, "--batch", 16, "--json", "-")
    assert (code, err) == (0, "")
    said = json.loads(out)
    folder = tmp_path / "out"
    # 48 anchors with 2 pairs each are 6 steps of 16 an epoch; the warm-up keeps its share, 500 of 13,000.
    assert (said["steps"], said["epochs"], said["resumed"], said["inputs"]) == (36, 6, 0, 48)
    assert said["recipe"]["warmup"] == 1
    assert said["recipe"]["optimizer"] == "adam"
    assert said["recipe"]["weight_decay"] == 5e-4
    assert said["encoder"] == "arrays:mine"
    assert said["classes"] == ["ant", "bee", "cat", "dog"]
    about = metadata(folder / "weights.safetensors")
    assert (about["objective"], about["encoder"], about["feature_dim"]) == ("relational", "arrays:mine", "6")
    assert json.loads(about["classes"]) == said["classes"]
    assert json.loads(about["arguments"])["width"] == 16
    network = {"features": 6, "width": 16, "blocks": 1, "heads": 2, "hidden": 4, "outputs": 1}
    assert (about["kind"], json.loads(about["network"]), about["logit_scale"]) == ("relation", network, "10.0")
    assert not any(name.startswith("relation.") for name in load_file(folder / "weights.safetensors"))
    assert len((folder / "log.csv").read_text().splitlines()) == 37
    assert json.loads((folder / "config.json").read_text())["objective"]["arguments"]["ratio"] == 1
    # The file is what the verb returns.
    done = library.train(
        SMALL, arrays, tmp_path / "verb", "arrays:mine", optimizer="adam", lr=0.003, epochs=6, batch=16
    )
    held, saved = done.objective.tensors(), load_file(folder / "weights.safetensors")
    assert held.keys() == saved.keys()
    assert all(torch.equal(held[name], saved[name]) for name in held)
    assert not done.objective.training


def test_it_goes_on_and_says_so(unseen, arrays):
    words = ["train", SMALL, arrays, "-o", "out", "--steps", 8, "--batch", 16, "--every", 4]
    assert unseen(*words)[0] == 0
    code, _, err = unseen(*words)
    assert code == 2
    assert "out holds a training already" in err
    code, out, _ = unseen(*words, "--resume")
    assert code == 0
    assert "8 steps (taken up after 8) on 48 inputs of 4 classes" in out
    assert "Weights: out/weights.safetensors" in out
    assert "same_accuracy" in out
    code, _, err = unseen(*words, "--resume", "--lr", "0.5")
    assert code == 2
    assert "recipe.lr 0.008, not 0.5" in err


def test_it_is_the_data_that_a_training_goes_on_with(unseen, arrays):
    words = ["train", SMALL, arrays, "-o", "out", "--steps", 4, "--batch", 16]
    assert unseen(*words)[0] == 0
    held = dict(np.load(arrays))
    np.savez(arrays, **{**held, "features": held["features"] + 1})
    code, _, err = unseen(*words, "--resume")
    assert code == 2
    assert "holds a training with contents" in err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["relation"], 2, "did you mean 'relational'"),
        (["relational(ratio=0)", "--steps", "2"], 2, "ratio=0"),
        (["relational", "--steps", "2", "--epochs", "2"], 2, "give one of them"),
        (["relational", "--optimizer", "sgdd"], 2, "optimizer is one of"),
        (["relational", "--precision", "half"], 2, "precision is one of"),
        (["relational", "--lr", "-1"], 2, "learning rate above 0"),
        (["relational", "--images"], 2, "name its network"),
        (["relational", "--images", "-e", "arrays"], 2, "no network to train"),
        (["relational", "--seed", "-1"], 2, "seed"),
    ],
)
def test_slips_are_one_line(words, code, says, unseen, arrays, tmp_path):
    got, out, err = unseen("train", words[0], arrays, "-o", "out", *words[1:])
    assert got == code
    assert says in err.replace("\n", " ")
    assert not (tmp_path / "out").exists()
    assert out == ""


def test_what_a_folder_and_a_source_must_be(unseen, arrays, tmp_path):
    np.save(tmp_path / "bare.npy", np.eye(6, dtype=np.float32))
    code, _, err = unseen("train", "relational", "bare.npy", "-o", "out")
    assert code == 2
    assert "relational learns from labels" in err
    (tmp_path / "file").write_text("")
    code, _, err = unseen("train", "relational", arrays, "-o", "file")
    assert code == 2
    assert "file: is a file" in err
    np.savez(tmp_path / "one.npz", features=np.eye(3, dtype=np.float32), labels=np.array(["a", "b", "b"]))
    code, _, err = unseen("train", SMALL, "one.npz", "-o", "out", "--steps", 2)
    assert code == 3
    assert "row 0 is the only one of its class" in err
    with pytest.raises(WrongUse, match="a recipe has no speed"):
        library.train("relational", arrays, tmp_path / "out", speed=3)


@pytest.fixture
def photos(tmp_path):
    from PIL import Image

    random = np.random.default_rng(0)
    for name, colour in (("red", (200, 30, 30)), ("blue", (30, 30, 200)), ("green", (30, 200, 30))):
        for number in range(6):
            pixels = np.clip(random.normal(colour, 40, size=(18, 20, 3)), 0, 255).astype(np.uint8)
            path = tmp_path / "photos" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    (tmp_path / "net.py").write_text(NETWORK)
    return tmp_path / "photos"


def test_images_and_the_encoder_end_to_end(unseen, photos, tmp_path):
    encoder = "torch:net.py:net?size=16&mean=0.4,0.5,0.6"
    words = ["train", SMALL, photos, "-e", encoder, "--images", "--steps", 6, "--batch", 12]
    words += ["--optimizer", "sgd", "--lr", "0.05", "--every", 4, "--json", "-"]
    code, out, err = unseen(*words, "-o", "out", "--workers", 1)
    assert (code, err) == (0, "")
    said = json.loads(out)
    before, after = open_encoder(encoder), open_encoder(said["encoder_name"])
    assert said["encoder"] == after.id != before.id
    assert after.preprocessing() == before.preprocessing()
    moved = {
        name: not torch.equal(t, before.module[1].state_dict()[name])
        for name, t in after.module[1].state_dict().items()
    }
    assert moved["0.weight"]
    assert moved["1.running_mean"]
    assert not moved["5.weight"]  # the head took no part
    assert metadata(tmp_path / "out" / "weights.safetensors")["encoder"] == after.id
    # Taken up after a stop, with other threads, the bits are the same.
    (tmp_path / "again").mkdir()
    for name in ("config.json", "log.csv", "checkpoint-000000004.json", "checkpoint-000000004.safetensors"):
        (tmp_path / "again" / name).write_bytes((tmp_path / "out" / name).read_bytes())
    code, out, _ = unseen(*words, "-o", "again", "--resume", "--workers", 3)
    assert json.loads(out)["resumed"] == 4
    assert (tmp_path / "again" / "log.csv").read_bytes() == (tmp_path / "out" / "log.csv").read_bytes()
    for name in ("weights.safetensors", "encoder.safetensors"):
        one, two = (load_file(tmp_path / folder / name) for folder in ("again", "out"))
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one), name
    # What it opens as gives the features that the relation learnt to read.
    support = encode(photos, after, ["features"], cache=False)
    assert support.gather("features").shape == (18, 8)


def test_a_photo_that_cannot_be_read_is_named(unseen, photos):
    (photos / "red" / "0.png").write_bytes(b"no picture")
    words = ["train", SMALL, photos, "-e", "pixels?size=2", "-o", "out", "--steps", 2, "--batch", 8]
    code, out, _ = unseen(*words)
    assert code == 0
    assert "Skipped red/0.png" in out
    assert "on 17 inputs of 3 classes" in out
    code, _, err = unseen(
        "train", SMALL, photos, "-e", "torch:net.py:net?size=16", "--images", "-o", "two", "--epochs", 1
    )
    assert code == 3
    assert "red/0.png" in err


def test_it_is_listed(unseen):
    code, out, _ = unseen("list", "--json", "-")
    assert code == 0
    (row,) = [row for row in json.loads(out)["objectives"] if row["name"] == "relational"]
    assert row["reads"] == ["pairs"]
    assert row["source"] == "Borlino, Bucci, Tommasi, ECCV 2022"
    assert row["arguments"] == create_objective("relational").arguments()
