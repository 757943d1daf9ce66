"""Few unknown inputs among many known ones: how many of those that are called unseen are false alarms?"""

import numpy as np

import unseen

rng = np.random.default_rng(0)
known = {"features": rng.normal(size=(4000, 8))}
guard = unseen.fit(known, detector="mahalanobis", alpha=0.05).classifier

# A night's batch: 980 known inputs, 20 unknown ones. Both rules keep what they promise, of different things.
batch = {"features": np.concatenate([rng.normal(size=(980, 8)), rng.normal(size=(20, 8)) + 4])}
unknown = np.arange(1000) >= 980

false_share = {}
for rule in ({"alpha": 0.05}, {"discoveries": 0.1}):
    found = guard.predict(batch, **rule).unseen
    false_share[next(iter(rule))] = float((found & ~unknown).sum() / found.sum())
    print(
        rule,
        f"{found.sum()} called unseen, {(found & unknown).sum()} of the 20 unknown, {(found & ~unknown).sum()} false",
    )
