"""The CIFAR-10 networks of the experiments, as ``torch:experiments/networks.py:resnet20`` opens them.

Names of layers and buffers are those of the weight files, which are not part of this repository.
"""

from __future__ import annotations

import itertools

from torch import Tensor, nn
from torch.nn.functional import pad, relu


class Block(nn.Module):
    """Two convolutions and a shortcut without parameters: every second pixel, and new channels of zeros (option A)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(before, after, 3, 1 if before == after else 2, 1, bias=False)
        self.b1 = nn.BatchNorm2d(after)
        self.c2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.b2 = nn.BatchNorm2d(after)
        self.grows = after - before

    def forward(self, x: Tensor) -> Tensor:
        out = self.b2(self.c2(relu(self.b1(self.c1(x)))))
        if self.grows:
            x = pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.grows // 2, self.grows // 2))
        return relu(out + x)


class ResNet(nn.Module):
    """He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2.

    Args:
        n: blocks of each of the three widths; the depth is ``6 n + 2``.
    """

    def __init__(self, n: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        widths = [16, *[16] * n, *[32] * n, *[64] * n]
        self.blocks = nn.Sequential(*(Block(*pair) for pair in itertools.pairwise(widths)))
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 3, 32, 32)``, normalised -> logits ``(B, 10)``."""
        logits: Tensor = self.fc(self.blocks(relu(self.bn(self.conv(x)))).mean((2, 3)))
        return logits


def resnet20() -> ResNet:
    """0.27 million parameters."""
    return ResNet(3)


def resnet56() -> ResNet:
    """0.85 million parameters."""
    return ResNet(9)
