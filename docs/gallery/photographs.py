"""A folder of photographs: which detector, a guard in one file, a verdict for each new image."""

from pathlib import Path

import unseen
from unseen.api.demo import write_digits

# Stands for your own folders: known/ with one folder a class, and new/ with whatever comes.
write_digits(Path(), seed=0)

# Digits of 8 x 8 pixels need no network. For photographs leave the encoder out: the packaged one is then taken.
encoder = "pixels?size=8"

found = unseen.audit("known", encoder, detectors=["knn(k=5)", "ridge >> energy"], repeats=1, limit=420)
print(found.recommended["sentence"])

made = unseen.fit("known", encoder, found.recommended["expression"], alpha=0.05)
made.classifier.save("guard.unseen")

verdicts = unseen.score("guard.unseen", "new", copy_unseen="review")
verdicts.write("scores.csv")
print(verdicts.summary()["labelled"])
