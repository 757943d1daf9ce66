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
from unseen import api
from unseen.data import open_inputs
from unseen.encoders import encode, open_encoder
from unseen.metrics import mean_interval

GIVEN = 70  # images of each known class that are given to fit
ALPHAS = (0.05, 0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    encoder = open_encoder("packaged")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        inputs = open_inputs(photos(Path(folder) / "photos"))
        encode(inputs, encoder, ["features"], cache=cache)  # once; every fit below reads the store
        for seed in range(options.seeds):
            for seventh, name in enumerate(inputs.classes):
                rng = np.random.default_rng([seed, seventh])
                given, new = [], []
                for code in range(len(inputs.classes)):
                    members = rng.permutation(np.flatnonzero(inputs.labels == code))
                    if code == seventh:
                        new += members.tolist()
                    else:
                        given += members[:GIVEN].tolist()
                        new += members[GIVEN:].tolist()
                made = api.fit(_only(inputs, given), encoder, alpha=ALPHAS[0], cache=cache, seed=seed)
                for alpha in ALPHAS:
                    found = made.classifier.predict(inputs.take(sorted(new)), alpha=alpha, cache=cache).summary()
                    rows.append(
                        {
                            "seed": seed,
                            "seventh": name,
                            "alpha": alpha,
                            "detector": made.classifier.detector.expression(),
                        }
                        | {"n_calibration": made.classifier.about["n_calibration"]}
                        | found["labelled"]
                    )
                    print(rows[-1], flush=True)
    record(
        "meet_a_new_class", {"seeds": options.seeds, "given_per_class": GIVEN, "summary": _summary(rows), "rows": rows}
    )


def _only(inputs: Any, rows: list[int]) -> Any:
    """The rows as inputs of their own classes: a guard must not hear of the class that it will meet."""
    part = inputs.take(sorted(rows))
    present = sorted(set(part.labels.tolist()))
    part.classes = tuple(part.classes[code] for code in present)
    part.labels = np.searchsorted(present, part.labels)
    return part


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
