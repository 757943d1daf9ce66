"""Fit on six classes of photographs, then meet new images of them and a seventh. python experiments/meet_a_new_class.py

Each of the seven classes is the seventh in turn, under several seeds. Of every known class 70 images are given to
``fit`` (which sets a fifth aside to calibrate and lets an audit choose the detector on the rest) and 30 are met as
new. The promise is about the share of new known images called unseen, averaged over such fits.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from record import record
from sources import photos
from unseen.classifier import OpenSetClassifier
from unseen.encoders import encode, open_encoder
from unseen.metrics import mean_interval
from unseen.protocols import audit

GIVEN = 70  # images of each known class that are given to fit
ALPHAS = (0.05, 0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    encoder = open_encoder("packaged")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        support = encode(photos(Path(folder) / "photos"), encoder, ["features"], cache=False)
    for seed in range(options.seeds):
        for seventh, name in enumerate(support.classes):
            rng = np.random.default_rng([seed, seventh])
            new = np.zeros(len(support), dtype=bool)
            for code in range(len(support.classes)):
                members = rng.permutation(np.flatnonzero(support.labels == code))
                new[members if code == seventh else members[GIVEN:]] = True
            given = support.take(~new).without(name)
            chosen = audit(given, seed=seed).recommended["expression"]
            guard = OpenSetClassifier(encoder, chosen, alpha=ALPHAS[0], seed=seed).fit(given)
            for alpha in ALPHAS:
                found = guard.predict(support.take(new), alpha=alpha).summary()["labelled"]
                about = {"seed": seed, "seventh": name, "alpha": alpha, "detector": chosen}
                rows.append(about | {"n_calibration": guard.about["n_calibration"]} | found)
                print(rows[-1], flush=True)
    record(
        "meet_a_new_class", {"seeds": options.seeds, "given_per_class": GIVEN, "summary": _summary(rows), "rows": rows}
    )


def _summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over fits; the interval's unit is the seed, as fits of one seed share most of their images."""
    found = []
    for alpha in ALPHAS:
        mine = [row for row in rows if row["alpha"] == alpha]
        by_seed = [[row for row in mine if row["seed"] == seed] for seed in sorted({row["seed"] for row in mine})]
        k = int(alpha * (mine[0]["n_calibration"] + 1) + 1e-9)
        about: dict[str, Any] = {"alpha": alpha, "exact_promise": k / (mine[0]["n_calibration"] + 1), "fits": len(mine)}
        for name, part, whole in (
            ("false_alarms", "known_called_unseen", "known"),
            ("caught", "other_called_unseen", "other"),
        ):
            shares = [float(np.mean([row[part] / row[whole] for row in group])) for group in by_seed]
            about[name] = float(np.mean(shares))
            about[f"{name}_interval"] = list(mean_interval(shares, bounds=(0, 1)))
        about["accuracy_on_known"] = float(np.mean([row["accuracy_on_known"] for row in mine]))
        found.append(about)
    return found


if __name__ == "__main__":
    main()
