"""The main job from end to end, on real images that come with a dependency: scikit-learn's handwritten digits."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unseen import api
from unseen.api.pages import audit_page, score_page
from unseen.classifier import OpenSetClassifier, Verdicts
from unseen.errors import BadInput
from unseen.files import write_json, write_text
from unseen.report import render

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NEVER_SHOWN = ("seven", "eight", "nine")
KNOWN_SHARE = 0.7  # of each known digit; the rest is met as new
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
    found = api.audit(root / "known", encoder, pixels=False, cache=cache, seed=seed, device=device, progress=progress)
    chosen = found.recommended["expression"]
    made = api.fit(
        root / "known", encoder, chosen, alpha=alpha, cache=cache, seed=seed, device=device, progress=progress
    )
    made.classifier.save(root / "guard.unseen")
    verdicts = api.score(root / "guard.unseen", root / "new", cache=cache, device=device, progress=progress)
    verdicts.write(root / "scores.csv")
    results = {"audit": found.to_dict(), "info": made.classifier.info(), "score": verdicts.to_dict()}
    write_json(root / "results.json", results)
    page = score_page(
        verdicts, made.classifier, root / "new", root / "known", cache=cache, seed=seed, progress=progress
    )
    page |= _told(verdicts, made.classifier) | {"audit": audit_page(found)["audit"]}
    page["score"]["distributions"] = _distributions(verdicts, made.classifier)
    page["reproduce"]["command"] = f"unseen demo --seed {seed}"
    return results | {"page": str(render(page, root / "report.html"))}


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


def _told(verdicts: Verdicts, guard: OpenSetClassifier) -> dict[str, Any]:
    """What a visitor of the demo reads first."""
    truth = np.array(verdicts.truth)
    known, novel = (verdicts.unseen[np.isin(truth, of)] for of in (guard.classes, NEVER_SHOWN))
    return {
        "title": "unseen: seven digits are known",
        "question": "A guard learnt seven handwritten digits. Does it notice the three it never saw?",
        "answer": (
            f"It noticed {100 * novel.mean():.1f}\u00a0% of {len(novel)} images of digits never shown, and wrongly "
            f"stopped {100 * known.mean():.1f}\u00a0% of {len(known)} new images of known digits "
            f"({100 * guard.alpha:.0f}\u00a0% were promised)."
        ),
    }


def _distributions(verdicts: Verdicts, guard: OpenSetClassifier) -> list[dict[str, Any]]:
    """Familiarity by what the images show."""
    truth = np.array(verdicts.truth)
    groups = {"new known digits": guard.classes, "digits never shown": NEVER_SHOWN, "photographs": (PHOTOS,)}
    return [{"name": name, "scores": verdicts.familiarity[np.isin(truth, of)].tolist()} for name, of in groups.items()]
