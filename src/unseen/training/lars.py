"""Layer-wise adaptive rate scaling: SGD whose steps are in proportion to the size of each tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor


class LARS(torch.optim.Optimizer):
    """SGD with momentum, each tensor's gradient scaled to the length of the tensor.

    For each tensor ``w`` with a gradient ``g``, weight decay ``d``, trust coefficient ``t``:
    ``a = t |w| / (|g| + d |w| + eps)`` where neither length is 0, else ``a = 1``; ``u = a (g + d w)``;
    ``m <- momentum m + u`` (``m = u`` at first); ``w <- w - lr m``. Biases, norms and tokens are adapted and decay
    like all others; a tensor without a gradient is passed over.

    Args:
        params: tensors or groups of them.
        lr: learning rate.
        momentum: in ``[0, 1)``.
        weight_decay: ``d``, from 0.
        trust: ``t``.
        eps: keeps the quotient finite.

    Cost: one buffer a tensor. With the defaults a step moves a tensor by at most ``0.001 lr`` of its length (ten times
    that with momentum at rest), so that training is slow where ``lr`` is small: raise ``lr``, not ``trust``.
    Source: You, Gitman, Ginsburg, "Large Batch Training of Convolutional Networks", 2017, with the decay inside the
    adapted gradient.

    >>> w = torch.tensor([3.0, 4.0], dtype=torch.float64, requires_grad=True)
    >>> w.grad = torch.tensor([0.6, 0.8], dtype=torch.float64)
    >>> LARS([w], lr=0.008, weight_decay=5e-4).step()
    >>> [round(value, 10) for value in w.tolist()]
    [2.999976, 3.999968]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust, "eps": eps}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; ``closure``, if any, is evaluated first and its value returned."""
        value = None
        if closure is not None:
            with torch.enable_grad():
                value = closure()
        for group in self.param_groups:
            weights = [w for w in group["params"] if w.grad is not None]
            if weights:
                self._move(weights, group)
        return value

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [cast(Tensor, w.grad) for w in weights]
        sizes = torch.stack(torch._foreach_norm(weights))
        slopes = torch.stack(torch._foreach_norm(gradients))
        adapted = group["trust"] * sizes / (slopes + group["weight_decay"] * sizes + group["eps"])
        scale = torch.where((sizes > 0) & (slopes > 0), adapted, torch.ones_like(adapted))
        updates = torch._foreach_add(gradients, weights, alpha=group["weight_decay"])
        torch._foreach_mul_(updates, list(scale.unbind()))
        first = [i for i, w in enumerate(weights) if "momentum_buffer" not in self.state[w]]
        for i in first:
            self.state[weights[i]]["momentum_buffer"] = torch.zeros_like(weights[i])
        held = [self.state[w]["momentum_buffer"] for w in weights]
        torch._foreach_mul_(held, group["momentum"])
        torch._foreach_add_(held, updates)
        torch._foreach_add_(weights, held, alpha=-group["lr"])
