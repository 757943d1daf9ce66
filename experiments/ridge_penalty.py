"""How strong should the ridge head's penalty be? python experiments/ridge_penalty.py

Asked on three sets of images that no other experiment here uses: paintings and cartoons of seven classes, and ten
other classes of 64 x 64 images. Mean AUROC over held-out classes, and accuracy on the rows set aside.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from record import record
from sources import photos, small_images
from unseen import encode, evaluate
from unseen.data import split
from unseen.registry import create
from unseen.signals import Support

PENALTIES = (0.1, 1.0, 10.0, 100.0)
SEED = 0


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        sources = {
            "paintings": photos(root / "art", "art_painting"),
            "cartoons": photos(root / "cartoon", "cartoon"),
            "small images, other classes": small_images(root / "small", shift=9),
        }
        for name, images in sources.items():
            support = encode(images, "packaged", ["features"], cache=False)
            for penalty in PENALTIES:
                row = {"source": name, "n": len(support), "penalty": penalty} | measured(support, penalty)
                print(row, flush=True)
                rows.append(row)
    record("ridge_penalty", {"seed": SEED, "rows": rows})


def measured(support: Support, penalty: float) -> dict[str, float]:
    """AUROC of msp and energy behind the head, each class held out, and the head's accuracy with none held out."""
    labels = support.labels
    fit_rows, test_rows = split(labels, support.groups, 0.6, SEED)
    fit, test = support.take(fit_rows), support.take(test_rows)
    head = create("ridge", penalty=penalty).fit(fit)
    logits = head.apply_to({"features": test.gather("features")})["logits"]
    found = {"accuracy": float((logits.argmax(dim=1).numpy() == test.labels).mean())}
    for detector in ("msp", "energy"):
        values = []
        for code, name in enumerate(support.classes):
            fitted = create(f"ridge(penalty={penalty}) >> {detector}").fit(fit.without(name))
            known, unknown = test.take(test.labels != code), support.take(labels == code)
            values.append(evaluate(fitted.score(known), fitted.score(unknown)).auroc)
        found[f"auroc_{detector}"] = float(np.mean(values))
    return found


if __name__ == "__main__":
    main()
