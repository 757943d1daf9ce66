"""The relation network of ReSeND: two inputs in, how unlike they are out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from unseen.errors import WrongUse

STD = 0.02  # of all weights at the start
EPS = 1e-6  # of every layer norm


class Relation(nn.Module):
    """A transformer over a label token and the projections of two feature vectors; it reads the label token.

    Pre-norm blocks, no positions and no kinds of token: swapping the inputs changes nothing but rounding. With the
    defaults 28,748,545 numbers. They are called as in the authors' checkpoints.

    Args:
        features: ``F``, width of an input.
        width: of the tokens.
        blocks: how many.
        heads: of attention in each block, which share the width.
        hidden: width of a block's two layers, in units of ``width``.
        outputs: 1, a logit of dissimilarity; 2 for ``[same, different]``.

    Raises:
        WrongUse: where ``heads`` does not divide ``width``, or a number is below 1.

    Source: Borlino, Bucci, Tommasi, "Semantic Novelty Detection via Relational Reasoning", ECCV 2022, section 3, and
    the authors' code, whose initial weights these are: normal of deviation 0.02, cut at 2, and no bias.

    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <torch...>
    >>> network = Relation(features=8, width=12, blocks=2, heads=2)
    >>> a, b = torch.randn(2, 5, 8)
    >>> bool(torch.allclose(network(a, b), network(b, a), atol=1e-5)), tuple(network(a, b).shape)
    (True, (5, 1))
    """

    def __init__(
        self, features: int = 512, width: int = 768, blocks: int = 4, heads: int = 12, hidden: int = 4, outputs: int = 1
    ) -> None:
        super().__init__()
        if min(features, width, blocks, heads, hidden, outputs) < 1 or width % heads:
            raise WrongUse(f"Relation(width={width}, heads={heads}): give numbers from 1, heads that divide the width")
        self.proj = nn.Linear(features, width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.ModuleList(_Block(width, heads, hidden) for _ in range(blocks))
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.head = nn.Linear(width, outputs)
        nn.init.trunc_normal_(self.cls_token, std=STD)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=STD)
                nn.init.zeros_(layer.bias)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Raw logits ``(B, outputs)`` of ``(B, F)`` and ``(B, F)``; with one output, higher = less alike."""
        pair = self.proj(torch.stack([a, b], dim=1))  # (B, 2, width)
        x = torch.cat([self.cls_token.expand(len(a), -1, -1), pair], dim=1)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x[:, 0]))
        return logits


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = _Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = _Layers(width, hidden * width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        changed: Tensor = x + self.mlp(self.norm2(x))
        return changed


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        rows, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(rows, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(q, k, v)  # (B, heads, tokens, width / heads)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(rows, tokens, width))
        return out


class _Layers(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(gelu(self.fc1(x)))
        return out
