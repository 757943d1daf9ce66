"""A promise for each class: no class pays with its false alarms for the peace of the others."""

import numpy as np

import unseen

# Three classes are compact and one is varied. One threshold for all then falls among the varied one's inputs.
rng = np.random.default_rng(0)
spread = np.array([1.0, 1.0, 1.0, 2.0])
centres = 12 * np.eye(4, 8)


def draw(n):
    labels = np.arange(n) % 4
    return centres[labels] + spread[labels, None] * rng.normal(size=(n, 8)), labels


features, labels = draw(2000)
new, truth = draw(4000)
known = {"features": features, "labels": labels}

rates = {}
for by_class in (False, True):
    guard = unseen.fit(known, detector="nearest_prototype", alpha=0.05, by_class=by_class).classifier
    unseen_here = guard.predict({"features": new}).unseen
    rates[by_class] = [float(unseen_here[truth == c].mean()) for c in range(4)]
    print(f"by_class={by_class}:", ", ".join(f"{rate:.1%}" for rate in rates[by_class]))

for row in guard.info()["per_class"]:  # where the rate of this one guard lies
    print(row["class"], row["n_calibration"], row["false_alarm_interval"])
