"""The main job from end to end, on real images that come with a dependency: scikit-learn's handwritten digits."""

from __future__ import annotations

import datetime
import os
import platform
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unseen import api
from unseen.classifier import OpenSetClassifier, Verdicts, versions
from unseen.errors import BadInput
from unseen.files import write_json, write_text
from unseen.metrics import evaluate
from unseen.report import render, thumbnail

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NEVER_SHOWN = ("seven", "eight", "nine")
KNOWN_SHARE = 0.7  # of each known digit; the rest is met as new
PICTURES = 12  # of each kind on the page
PHOTOS = "photograph"
ABOUT = "`unseen demo` wrote this folder and may write it again: keep nothing of yours here.\n"


def demo(
    folder: str | os.PathLike[str] = "unseen-demo",
    *,
    encoder: str = "pixels?size=8",
    alpha: float = 0.05,
    seed: int = 0,
    device: str = "cpu",
    progress: api.Progress | None = None,
) -> dict[str, Any]:
    """Write real images as a user's folders, audit, fit, score, and draw the page.

    Seven digits are known; new images of them, the three digits never shown and two photographs are then met.

    Args:
        folder: what to write: ``known/``, ``new/``, ``guard.unseen``, ``scores.csv``, ``results.json``,
            ``report.html`` and a ``README.txt``. A folder that an earlier demo wrote is written again; another that
            is not empty is refused.
        encoder: name of the encoder. The digits are 8 x 8 grey pixels, so their own pixels serve well.
        alpha: share of known inputs that may be called unseen.
        seed: of every draw.
        device: where a network runs.
        progress: called with (what is being done, done, in all).

    Returns:
        ``audit`` and ``score`` as the commands' JSON, ``info`` of the guard, and ``page``, the path of the page.

    Raises:
        BadInput: when ``folder`` holds something else.
    """
    root = _own_folder(Path(folder))
    write_digits(root, seed)
    cache = root / "cache"
    found = api.audit(
        root / "known", encoder, pixels=False, cache=cache, seed=seed, device=device, progress=progress
    ).to_dict()
    chosen = found["recommended"]["expression"]
    made = api.fit(
        root / "known", encoder, chosen, alpha=alpha, cache=cache, seed=seed, device=device, progress=progress
    )
    made.classifier.save(root / "guard.unseen")
    verdicts = api.score(root / "guard.unseen", root / "new", cache=cache, device=device, progress=progress)
    verdicts.write(root / "scores.csv")
    results = {"audit": found, "info": made.classifier.info(), "score": verdicts.to_dict()}
    write_json(root / "results.json", results)
    page = render(
        _page(results, made.classifier, verdicts, root, f"unseen demo --seed {seed}", seed), root / "report.html"
    )
    return results | {"page": str(page)}


def write_digits(root: Path, seed: int) -> None:
    """Write ``root/known/DIGIT/*.png`` and ``root/new/NAME/*.png`` from what scikit-learn carries."""
    from sklearn.datasets import load_digits, load_sample_images

    digits = load_digits()
    grey = np.round(digits.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8), stored as 0..16
    rng = np.random.default_rng(seed)
    for digit, name in enumerate(NAMES):
        rows = rng.permutation(np.flatnonzero(digits.target == digit))
        known = 0 if name in NEVER_SHOWN else round(KNOWN_SHARE * len(rows))
        for part, chosen in (("known", rows[:known]), ("new", rows[known:])):
            for row in chosen.tolist():
                _save(grey[row], root / part / name / f"{row:04d}.png")
    photos = load_sample_images()
    for name, image in zip(photos.filenames, photos.images, strict=True):
        _save(image, root / "new" / PHOTOS / f"{Path(name).stem}.png")


def _save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _own_folder(root: Path) -> Path:
    if root.exists() and not root.is_dir():
        raise BadInput(f"{root}: is a file; name a folder to write the demo to")
    marker = root / "README.txt"  # written first, so that a demo that was interrupted can be run again
    if root.is_dir() and any(root.iterdir()) and not (marker.is_file() and marker.read_text() == ABOUT):
        raise BadInput(f"{root}: is not empty and no demo wrote it; name another folder with --out")
    write_text(marker, ABOUT)
    for part in ("known", "new"):
        shutil.rmtree(root / part, ignore_errors=True)
    return root


def _page(
    results: dict[str, Any], guard: OpenSetClassifier, verdicts: Verdicts, root: Path, command: str, seed: int
) -> dict[str, Any]:
    truth = np.array(verdicts.truth)
    groups = {
        "new known digits": np.isin(truth, guard.classes),
        "digits never shown": np.isin(truth, NEVER_SHOWN),
        "photographs": truth == PHOTOS,
    }
    scores = {name: verdicts.familiarity[rows] for name, rows in groups.items()}
    known, novel = (scores[name] for name in list(groups)[:2])
    curve = evaluate(known, novel)
    low, high = curve.auroc_interval()
    counts = results["score"]["labelled"]
    wrong, caught = counts["known_called_unseen"], int(verdicts.unseen[groups["digits never shown"]].sum())
    rate = guard.info()["false_alarm_interval"]
    roc = curve.roc(points=400)
    return {
        "title": "unseen: seven digits are known",
        "question": "A guard learnt seven handwritten digits. Does it notice the three it never saw?",
        "answer": (
            f"It noticed {100 * caught / len(novel):.1f} % of {len(novel)} images of digits never shown, and "
            f"wrongly stopped {100 * wrong / len(known):.1f} % of {len(known)} new images of known digits "
            f"({100 * guard.alpha:.0f} % were promised)."
        ),
        "audit": results["audit"],
        "score": {
            **{key: results["score"][key] for key in ("alpha", "n", "unseen", "share_unseen", "records", "skipped")},
            "expected_range": results["score"]["expected_if_all_known"],
            "distributions": [{"name": name, "scores": values.tolist()} for name, values in scores.items()],
            "threshold": guard.info()["threshold"],
            "curves": {
                "roc": [list(point) for point in zip(roc.fpr.tolist(), roc.tpr.tolist(), strict=True)],
                "auroc": curve.auroc,
                "auroc_interval": [low, high],
                "positive": "known",
            },
            "thumbnails": _thumbnails(verdicts, root / "new"),
        },
        "calibration": {
            "n": guard.about["n_calibration"],
            "alpha": guard.alpha,
            "promise": (
                f"{guard.about['n_calibration']} known images were set aside; nothing was learnt from them. The "
                f"threshold is the score below which at most {100 * guard.alpha:.0f} % of new images of the known "
                f"digits fall, averaged over such fits; for this one the rate lies between {100 * rate[0]:.1f} % and "
                f"{100 * rate[1]:.1f} % with 95 % confidence."
            ),
            "does_not_promise": (
                "How many unknown images are caught: no unknown image was used. Nor anything about known digits "
                "that look otherwise than these, from another scanner, say."
            ),
        },
        "reproduce": {
            "command": command,
            "versions": versions(),
            "seed": seed,
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        },
    }


def _thumbnails(verdicts: Verdicts, folder: Path) -> list[dict[str, Any]]:
    novel = np.lexsort((verdicts.familiarity, verdicts.p_value))[:PICTURES]
    border = np.argsort(np.abs(verdicts.p_value - verdicts.alpha), kind="stable")[:PICTURES]
    records = verdicts.records()
    pictures = []
    for row, kind in [*((row, "most novel") for row in novel), *((row, "most borderline") for row in border)]:
        with Image.open(folder / verdicts.keys[row]) as image:
            pixels = np.asarray(image.convert("RGB"))
        pictures.append(records[row] | {"image": thumbnail(pixels), "caption": kind})
    return pictures
