"""Audit the packaged encoder on real images. python experiments/audit_images.py photos|small --seed 0

``photos``: seven classes of 96 x 96 photographs, 100 each. ``small``: ten classes of 64 x 64 images, 78 each.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from record import record
from sources import photos, small_images
from unseen import api

SOURCES = {"photos": photos, "small": small_images}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", choices=SOURCES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        images = SOURCES[options.source](root / options.source)
        start = time.perf_counter()
        found = api.audit(images, "packaged", cache=root / "cache", seed=options.seed, repeats=options.repeats)
        seconds = time.perf_counter() - start
    record(f"audit_{options.source}", {"source": options.source, "seconds": seconds, **found.to_dict()})


if __name__ == "__main__":
    main()
