"""Accuracy of the packaged encoder on 400 ImageNet images. python experiments/model_card.py

One image for each of 400 of the thousand classes, 160 x 160, probably from the training set: a check that weights,
architecture and preprocessing belong together, not a benchmark. Also with ImageNet's usual mean and deviation, which
is the silent mistake that these weights invite.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from record import record
from sources import archive, write
from unseen.encoders import Encoder, encode, open_encoder


def main() -> None:
    with np.load(archive("imagenet400_webp.npz")) as z:
        blob, offset, truth = z["webp"], z["offset"], z["label"].astype(int)
    with tempfile.TemporaryDirectory() as folder:
        root = write(Path(folder) / "all", blob, offset, range(len(truth)), ["images"] * len(truth), ".webp")
        encoder = open_encoder("packaged")
        right = accuracy(root, encoder, truth)
        usual = open_encoder("packaged")
        usual._mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)  # type: ignore[attr-defined]
        usual._std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)  # type: ignore[attr-defined]
        wrong = accuracy(root, usual, truth)
    record(
        "model_card",
        {"n": len(truth), "encoder": encoder.id, "declared_preprocessing": right, "usual_imagenet_mean_and_std": wrong},
    )


def accuracy(root: Path, encoder: Encoder, truth: np.ndarray) -> dict[str, object]:
    """Top-1 and top-5 with a 95 % Wilson interval of top-1."""
    from scipy.stats import binomtest

    logits = encode(root, encoder, ["logits"], cache=False).gather("logits")
    order = logits.argsort(dim=1, descending=True).numpy()
    hits = int((order[:, 0] == truth).sum())
    interval = binomtest(hits, len(truth)).proportion_ci(method="wilson")
    return {
        "top1": hits / len(truth),
        "top1_interval": [interval.low, interval.high],
        "top5": float((order[:, :5] == truth[:, None]).any(axis=1).mean()),
    }


if __name__ == "__main__":
    main()
