"""A network of your own: its features, its own last layer, and known images that it was not trained on."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import unseen
from unseen.encoders.torch import Torch

data = load_digits()
images, digits = (data.images * (255 / 16)).round().astype("uint8"), data.target
known = digits < 7

# Your network: it takes (B, 3, H, W) and ends in a linear layer. Here it is trained on every other known image.
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

encoder = Torch(network, size=8, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), classes=[str(digit) for digit in range(7)])

# The guard learns from images that the network never met: those that it did look too familiar, and the promise breaks.
unmet = {"images": images[known][1::2], "labels": digits[known][1::2].astype(str)}
guard = unseen.fit(unmet, encoder, "own >> energy", alpha=0.05).classifier
guard.save("own.unseen")

# The file holds no code and no weights of yours: give the encoder again.
verdicts = unseen.score("own.unseen", {"images": images[~known]}, encoder=encoder)
print(f"{verdicts.unseen.mean():.1%} of the digits 7, 8 and 9 were called unseen")
