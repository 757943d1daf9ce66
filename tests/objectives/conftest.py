import importlib

import pytest
import torch
from torch import nn
from torch.nn.functional import gelu

from unseen.objectives.relational import Relational


class Differences(nn.Module):
    """A small network of pairs: layers over the squared difference of both projections."""

    def __init__(self, features, outputs):
        super().__init__()
        self.proj, self.middle, self.head = nn.Linear(features, 32), nn.Linear(32, 32), nn.Linear(32, outputs)

    def forward(self, a, b):
        a, b = self.proj(torch.stack([a, b]))
        return self.head(gelu(self.middle((a - b).square())))


@pytest.fixture(autouse=True)
def network_of_pairs(monkeypatch):
    """Where the reference networks are not installed, a small one stands in for them."""
    try:
        importlib.import_module("unseen.networks.relation")
    except ModuleNotFoundError:
        monkeypatch.setattr(Relational, "network", lambda self, features, outputs: Differences(features, outputs))
