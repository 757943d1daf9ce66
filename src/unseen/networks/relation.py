"""The relation network of ReSeND: two inputs in, how unlike they are out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, scaled_dot_product_attention

from unseen.errors import WrongUse

STD = 0.02  # of all weights at the start
EPS = 1e-6  # of every layer norm
ROWS = 2048  # pairs that a grid holds at once


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

    def tokens(self, x: Tensor) -> Tokens:
        """All that the first block asks of single inputs ``(N, F)``, to be kept where they meet many others."""
        return self._first(self.proj(x))

    def between(self, queries: Tokens, others: Tokens) -> Tensor:
        """Raw logits ``(Q, K, outputs)`` of every query with every other, all held at once.

        The same numbers as `forward`, to rounding, in fewer steps: tokens meet only in two products of the first block,
        whose values pass its last layer before they are mixed, and of the last block the label token alone is read.
        """
        label = self._first(self.cls_token[0])  # of one row
        first, *rest = self._stack()
        tokens, wanted = (label, queries, others), 3 if rest else 1
        # The shape, not len, which would write one number of rows into an exported graph.
        grid = queries.x.shape[0], others.x.shape[0]
        alone = (label.x[:, None], queries.x[:, None], others.x[None])
        x = torch.stack([one.expand(*grid, -1) for one in alone], dim=2)
        scale = queries.q.shape[2] ** -0.5
        mixed = []
        for t in range(wanted):
            scores = [_scores(tokens[t], t, tokens[s], s).expand(*grid, -1) for s in range(3)]
            share = (torch.stack(scores, dim=3) * scale).softmax(dim=3)  # (Q, K, heads, 3)
            mixed.append(
                share[..., 0] @ label.u[0]
                + share[..., 1] @ queries.u  # (Q, K, heads) @ (Q, heads, width)
                + (share[..., 2].transpose(0, 1) @ others.u).transpose(0, 1)
            )
        x = x[:, :, :wanted] + torch.stack(mixed, dim=2) + first.attn.proj.bias
        x = x + first.mlp(first.norm2(x))
        x = x.flatten(0, 1)  # (Q K, 3, width), or the label token alone
        for block in rest[:-1]:
            x = block(x)
        read = rest[-1].label(x) if rest else x[:, 0]
        logits: Tensor = self.head(self.norm(read))
        return logits.reshape(*grid, -1)

    def grid(self, queries: Tensor, others: Tensor | Tokens, rows: int = ROWS) -> Tensor:
        """Raw logits ``(Q, K, outputs)`` of every query ``(Q, F)`` with every other ``(K, F)``.

        Args:
            queries: ``(Q, F)``.
            others: ``(K, F)``, or their `tokens`, made once for many calls.
            rows: pairs held at once, from 1; they change memory and, by rounding alone, the numbers.

        Raises:
            WrongUse: for fewer than 1 pair at once.

        >>> network = Relation(features=8, width=12, blocks=2, heads=2)
        >>> tuple(network.grid(torch.zeros(5, 8), torch.ones(3, 8)).shape)
        (5, 3, 1)
        """
        if rows < 1:
            raise WrongUse(f"Relation.grid(rows={rows}): give the number of pairs held at once, from 1")
        known = others if isinstance(others, Tokens) else self.tokens(others)
        across = max(1, min(len(known.x), rows))
        down = max(1, rows // across)
        logits = queries.new_empty(len(queries), len(known.x), self.head.out_features)
        for i in range(0, len(queries), down):
            some = self.tokens(queries[i : i + down])
            for j in range(0, len(known.x), across):
                part = Tokens(*(tensor[j : j + across] for tensor in known))
                logits[i : i + down, j : j + across] = self.between(some, part)
        return logits

    def _first(self, x: Tensor) -> Tokens:
        block = self._stack()[0]
        attention = block.attn
        rows, width = x.shape
        each = width // attention.heads
        q, k, v = attention.qkv(block.norm1(x)).reshape(rows, 3, attention.heads, each).unbind(dim=1)
        out = attention.proj.weight.reshape(width, attention.heads, each).permute(1, 2, 0)  # (heads, each, width)
        u = (v.transpose(0, 1) @ out).transpose(0, 1)  # (N, heads, width)
        return Tokens(x, q, k, u)

    def _stack(self) -> list[_Block]:
        return [block for block in self.blocks if isinstance(block, _Block)]


class Tokens(NamedTuple):
    """Projected inputs, and what the first block makes of each alone.

    Attributes:
        x: ``(N, width)``.
        q: queries ``(N, heads, width / heads)``.
        k: keys, likewise.
        u: values behind the output layer, ``(N, heads, width)``: their sum over heads is what attention adds.
    """

    x: Tensor
    q: Tensor
    k: Tensor
    u: Tensor


def _scores(reading: Tokens, t: int, read: Tokens, s: int) -> Tensor:
    """Products of the queries of token ``t`` with the keys of token ``s``, to be broadcast to ``(Q, K, heads)``.

    Token 0 is the label, 1 the query of the grid, 2 the other.
    """
    if {s, t} == {1, 2}:  # the only ones that both inputs enter
        met = reading.q.transpose(0, 1) @ read.k.permute(1, 2, 0)  # (heads, N_t, N_s)
        return met.permute(1, 2, 0) if t == 1 else met.permute(2, 1, 0)
    alone = (reading.q * read.k).sum(dim=2)  # (1 or N, heads)
    return alone[None] if 2 in (s, t) else alone[:, None]


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

    def label(self, x: Tensor) -> Tensor:
        """The label token ``(B, width)`` after the block; the others are read and not made anew."""
        token = x[:, 0] + self.attn.label(self.norm1(x))
        changed: Tensor = token + self.mlp(self.norm2(token))
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

    def label(self, x: Tensor) -> Tensor:
        """What the label token becomes, ``(B, width)``."""
        rows, tokens, width = x.shape
        weight, bias, each = self.qkv.weight, self.qkv.bias, width // self.heads
        q = linear(x[:, 0], weight[:width], bias[:width]).reshape(rows, self.heads, 1, each)
        k, v = linear(x, weight[width:], bias[width:]).reshape(rows, tokens, 2, self.heads, each).permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(q, k, v)  # (B, heads, 1, width / heads)
        out: Tensor = self.proj(mixed.reshape(rows, width))
        return out


class _Layers(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(gelu(self.fc1(x)))
        return out
