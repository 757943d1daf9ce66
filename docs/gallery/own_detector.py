"""A detector of your own: two methods, and the public checks that every part must pass."""

import torch
from sklearn.datasets import load_digits

import unseen
from unseen.checks import check_detector
from unseen.detectors.base import Detector


class SubspaceShare(Detector):
    """An input is known when most of its length lies in the directions that known features use."""

    needs = frozenset({"features"})

    def __init__(self, dimension=3):
        super().__init__()
        self.dimension = dimension
        self.register_buffer("directions", torch.empty(0, 0))  # (D, dimension), orthonormal

    def learn(self, support):
        second = sum(x.double().T @ x.double() for x in (batch["features"] for batch in support.batches("features")))
        directions = torch.linalg.eigh(second).eigenvectors[:, -self.dimension :]
        # Contiguous, as a file gives it back: another order in memory would change the last bits of the scores.
        self.directions = directions.to(support.dtype("features")).contiguous()

    def forward(self, signals):
        x = signals["features"]
        return (x @ self.directions).norm(dim=1) / x.norm(dim=1).clamp_min(torch.finfo(x.dtype).tiny)


outcome = check_detector(SubspaceShare())  # raises CheckFailed, with a line for each demand that is not met
print(outcome)

features, digits = load_digits(return_X_y=True)
known, unknown = features[digits < 7], features[digits >= 7]
detector = SubspaceShare(dimension=20).fit(known[::2])
auroc = unseen.evaluate(detector.score(known[1::2]), detector.score(unknown)).auroc
print(f"AUROC {auroc:.3f}")
