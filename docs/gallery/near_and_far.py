"""Every detector on unknown inputs that you have: near ones and far ones, beside baselines without any network."""

import numpy as np
from sklearn.datasets import load_digits

import unseen

data = load_digits()
images = (data.images * (255 / 16)).round().astype("uint8")
rng = np.random.default_rng(0)

known = {"images": images[data.target < 7], "labels": data.target[data.target < 7]}
near = {"other digits": {"images": images[data.target >= 7]}}
far = {"noise": {"images": rng.integers(0, 256, (200, 8, 8), dtype="uint8")}}

found = unseen.bench(known, near, far, "pixels?size=8", detectors=["knn(k=5)", "mahalanobis", "ridge >> energy"])
for kind, about in found.groups.items():
    print(f"{kind}: {about['sentence']}")

# Baselines look at no network's features: what they tell apart by themselves says little for a detector.
plain = max(row.sets["noise"]["auroc"] for row in found.baselines if row.baseline == "edges")
print(f"edges alone: AUROC {plain:.3f} on the noise")
