"""What labels, names and nothing are worth to a detector, on real features. python experiments/label_availability.py

Two benchmarks of the label-availability protocol: 160 classes of Tiny ImageNet as known and its 40 others as unknown,
seen by the packaged network; CIFAR-10 as known and the classes of Tiny ImageNet that it has nothing of, seen by a
ResNet-20 that was trained on CIFAR-10.

There is no image encoder with a text side here. In its place stands a *teacher of prototypes*: the "text" of a class is
the mean direction of a few of its labelled training images, and the embedding is the features. So a method of the level
``names`` knows less than labels, and other things than names: these rows say what a probe makes of a weak teacher, not
what words are worth.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from record import environment, record
from sources import archive, cifar10, cifar10_sets, decoded
from unseen import encode
from unseen.encoders import open_encoder
from unseen.heads.probe import few_shot
from unseen.protocols.availability import availability, methods
from unseen.signals import Signals, Support, TextBank

SEED = 0
PER_CLASS = {"train": 20, "test": 10, "unknown": 20}  # images of each class of Tiny ImageNet
SHOTS = (1, 5)  # labelled images behind each "text"
PROBE_SHOTS = 10


def main(cache: Path | None) -> None:
    store: Any = False if cache is None else cache
    found = []
    for name, made in (("tiny_imagenet", tiny_imagenet), ("cifar10", cifar10_to_tiny)):
        title, about, (train, test, unknown) = made(store)
        teachers = {shots: taught(train, shots) for shots in SHOTS}
        for shots, bank in teachers.items():
            levels = methods(len(train.classes), shots=PROBE_SHOTS)
            # What reads no text says the same with every teacher.
            wanted = [one for one in levels if shots == SHOTS[0] or one.level == "names"]
            result = availability(train, test, unknown, text=bank, methods=wanted)
            told = {**result.to_dict(), "benchmark": name, "title": title, "about": about, "teacher_shots": shots}
            found.append(told)
            for row in told["rows"]:
                print(
                    name, shots, row["level"], row["name"], {s: v["auroc"] for s, v in row["sets"].items()}, flush=True
                )
    record(
        "label_availability",
        {
            "environment": {**environment(), "threads": torch.get_num_threads()},
            "seed": SEED,
            "per_class": PER_CLASS,
            "results": found,
        },
    )


def taught(train: Support, shots: int) -> TextBank:
    """Class prototypes in the place of texts: the mean direction of ``shots`` labelled images of each class."""
    drawn = few_shot(train, shots, SEED)
    assert drawn.labels is not None
    rows = normalize(drawn.gather("features").double())
    means = torch.stack(
        [rows[torch.from_numpy(drawn.labels == code)].mean(dim=0) for code in range(len(drawn.classes))]
    )
    return TextBank(means, drawn.classes, about={"teacher": f"prototypes of {shots} labelled images a class"})


def seen(images: np.ndarray, encoder: Any, cache: Any, labels: Any = None, classes: tuple[str, ...] = ()) -> Support:
    """Features, which stand for the embedding too."""
    held: dict[str, Any] = {"images": images}
    if labels is not None:
        held |= {"labels": labels, "classes": list(classes)}
    support = encode(held, encoder, ["features"], cache=cache)
    features = support.gather("features").numpy()
    return Support(
        Signals({"features": features, "embedding": features}), support.labels, support.classes, encoder=support.encoder
    )


def tiny_imagenet(cache: Any) -> tuple[str, str, tuple[Support, Support, dict[str, Support]]]:
    with np.load(archive("tiny_imagenet_jpeg.npz")) as z:
        about = json.loads(archive("tiny_imagenet_classes.json").read_text())
        labels, part = z["label"].astype(int), z["split"].astype(int)
        known = np.array(about["known_classes"])
        names = tuple(f"{about['wnids'][c]} {about['names'][c].split(',')[0]}" for c in known.tolist())
        code = np.full(200, -1)
        code[known] = np.arange(len(known))
        packaged = open_encoder("packaged")
        sets = {}
        for of, of_part, wanted in (("train", 0, True), ("test", 1, True), ("unknown", 1, False)):
            there = (part == of_part) & ((code[labels] >= 0) == wanted)
            rows = np.concatenate(
                [np.flatnonzero(there & (labels == c))[: PER_CLASS[of]] for c in np.unique(labels[there])]
            )
            images = decoded(z, "jpeg", "offset", rows)
            mine = code[labels[rows]]
            sets[of] = seen(images, packaged, cache, *((mine, names) if wanted else ()))
    text = (
        "EfficientNet-lite0 trained on ImageNet, of which all 200 classes are a part: it has met the held-out classes "
        "too, with labels"
    )
    return (
        "Tiny ImageNet, 160 classes known, 40 held out",
        text,
        (sets["train"], sets["test"], {"held out": sets["unknown"]}),
    )


def cifar10_to_tiny(cache: Any) -> tuple[str, str, tuple[Support, Support, dict[str, Support]]]:
    with np.load(archive("cifar10_lossless_webp.npz")) as z:
        classes = tuple(z["name"].astype(str))
    weights = archive("net_cifar10_resnet20.safetensors")
    code = Path(__file__).with_name("networks.py")
    encoder = open_encoder(f"torch:{code}:resnet20?weights={weights}&size=32&classes={','.join(classes)}")
    sets = []
    for part in ("train", "test"):
        held = cifar10(part)  # type: ignore[arg-type]
        sets.append(seen(held["images"], encoder, cache, held["labels"], classes))
    tiny = next(one for one in cifar10_sets() if one.name == "tiny")
    unknown = {"Tiny ImageNet 173": seen(tiny.images, encoder, cache)}
    text = (
        "ResNet-20 trained on CIFAR-10 with labels, these training images among them: no level is without labels here"
    )
    return "CIFAR-10 -> Tiny ImageNet, 173 classes without overlap", text, (sets[0], sets[1], unknown)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, help="folder that keeps encodings; by default none are kept")
    main(parser.parse_args().cache)
