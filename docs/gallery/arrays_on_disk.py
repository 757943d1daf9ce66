"""Features that something else computed: files of arrays in, verdicts by row out."""

import numpy as np
from sklearn.datasets import load_digits

import unseen

# Stands for your own features: (N, D) numbers and N labels. Digits 0 to 6 are known.
features, digits = load_digits(return_X_y=True)
known = np.flatnonzero(digits < 7)
learnt, met = known[::2], np.concatenate([known[1::2], np.flatnonzero(digits >= 7)])
np.savez("known.npz", features=features[learnt], labels=digits[learnt])
np.save("new.npy", features[met])

# The name after "arrays:" is yours: a guard refuses arrays that were made by something else.
guard = unseen.fit("known.npz", "arrays:digits", "knn(k=5)", alpha=0.05).classifier
guard.save("guard.unseen")

verdicts = unseen.score("guard.unseen", "new.npy", encoder="arrays:digits")
never_seen = digits[met] >= 7
print(f"{verdicts.unseen[~never_seen].mean():.1%} of the known digits were called unseen")
print(f"{verdicts.unseen[never_seen].mean():.1%} of the digits never seen were")
