import numpy as np
import pytest
import torch
from torch import nn

from unseen.training import FeatureRows

# A method of the tests' own, as text: a test that is killed runs it in a process of its own.
TINY = '''
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from unseen.objectives.base import Objective


class Tiny(Objective):
    """Cross-entropy after dropout, which draws from torch's own generator; a queue as further state."""

    recipe = {}

    def make(self, feature_dim, num_classes, sample):
        first, last = nn.Linear(feature_dim, 16), nn.Linear(16, num_classes)
        self.head = nn.Sequential(first, nn.BatchNorm1d(16), nn.Dropout(0.5), last)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("middle", torch.zeros(feature_dim))
        self.epochs_begun = []

    def loss(self, batch, encoder, phase):
        x = encoder(batch.x)
        self.seen += len(batch)
        self.middle.lerp_(x.detach().float().mean(dim=0), 0.1)
        logits = self.head(x)
        return {"loss": cross_entropy(logits, batch.y), "accuracy": (logits.argmax(1) == batch.y).float().mean()}

    def on_epoch(self, epoch, epochs, encoder, walk):
        self.epochs_begun.append((epoch, epochs))

    def outputs(self, x, encoder):
        features = encoder(x)
        return {"features": features, "logits": self.head(features)}


def encoder():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return nn.Linear(6, 8)
'''


@pytest.fixture(scope="session")
def tiny():
    """The names of `TINY`."""
    names = {"__name__": "tiny"}
    exec(TINY, names)
    return names


@pytest.fixture
def rows():
    """Three classes of 6 numbers, 50 rows."""
    random = np.random.default_rng(0)
    labels = np.arange(50) % 3
    features = random.normal(size=(50, 6)) + 3 * np.eye(3, 6)[labels]
    return FeatureRows(torch.from_numpy(features).float(), labels)


@pytest.fixture
def made(tiny):
    """A built objective and a fresh encoder, always the same."""

    def make(seed=0):
        encoder: nn.Module = tiny["encoder"]()
        return tiny["Tiny"]().build(8, 3, seed=seed), encoder

    return make
