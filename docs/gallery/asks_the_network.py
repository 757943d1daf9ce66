"""Detectors that ask your network for slopes and inner layers, beside others, and a guard with one of them."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import unseen
from unseen.encoders.torch import Torch

data = load_digits()
images, digits = (data.images * (255 / 16)).round().astype("uint8"), data.target
known = digits < 7

# A network that knows 0 to 6, trained on every other image of them; yours takes its place.
torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 7)
)
x = torch.from_numpy(images[known][::2] / 127.5 - 1).float()[:, None].expand(-1, 3, -1, -1)
y = torch.from_numpy(digits[known][::2])
optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
for _ in range(60):
    optimiser.zero_grad()
    nn.functional.cross_entropy(network(x), y).backward()
    optimiser.step()
names = [str(digit) for digit in range(7)]
encoder = Torch(network, size=8, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), classes=names)
unmet = {"images": images[known][1::2], "labels": digits[known][1::2].astype(str)}

# "-1" is the last stage of inner layers. In the place of these names, "all" tries whatever the network can answer.
tried = ["own >> msp", "own >> energy", "odin", "own >> nac(layers='features,-1')"]
found = unseen.bench(unmet, {"other digits": {"images": images[~known]}}, encoder=encoder, detectors=tried)
for row in found.rows:
    forward, backward = row.passes
    print(f"{row.name}: AUROC {row.means['near']['auroc']:.3f}, {forward} + {backward} passes of its own")

# odin moves each input a little towards a surer answer: three passes for each new image, and none for the known ones
# that are only learnt from. How long a step is best depends on the network; nothing is tuned here.
guard = unseen.fit(unmet, encoder, "odin", alpha=0.05).classifier
guard.save("odin.unseen")
verdicts = unseen.score("odin.unseen", {"images": images[~known]}, encoder=encoder)
print(f"{verdicts.unseen.mean():.1%} of the digits 7, 8 and 9 were called unseen")
