"""Distance from the boundary that a one-class support vector machine draws around the known."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unseen.detectors._estimator import global_draws
from unseen.detectors._kernels import log_kernel_sum
from unseen.detectors.base import Detector
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.parts import Paper
from unseen.signals import Support

TOLERANCE = 1e-6  # of the solver; at its usual 1e-3 the score moves in the third digit with the last bit of an input


class OneClassSVM(Detector):
    """An input is known when it lies inside the smallest smooth region that holds most of the known.

    ``score(x) = log sum_i a_i exp(-g |x - x_i|^2)``: the weights ``a_i >= 0`` sum to 1 and are those of the support
    vectors, the known inputs on or outside of the boundary. The paper's decision function is the sum less a constant,
    so the order is its order. With ``nu = 1`` every known input weighs the same, and the score is a kernel density. The
    solver is libsvm in scikit-learn; what it finds are tensors, which are kept, so nothing is solved again after
    loading.

    Args:
        nu: share of the known inputs that may lie outside, in (0, 1]; at least that share are support vectors.
        gamma: ``g`` in units of ``1 / (D v)``, ``v`` the variance of all the known numbers; scikit-learn calls 1
            ``"scale"``.

    Reads: ``features (N, D)``, scales matter; labels ignored.
    Returns: ``(N,)``, at most 0, no unit.
    Raises: WrongUse, for another share or a gamma that is not above 0; NotEnoughKnown, when the known inputs do not
    differ.
    Cost: ``D + 2`` numbers a support vector, of which there are ``nu N`` at least; a query compares with all of them.
    The fit takes between ``N^2`` and ``N^3`` steps.
    Source: Schölkopf, Platt, Shawe-Taylor, Smola, Williamson, "Estimating the Support of a High-Dimensional
    Distribution", Neural Computation 2001, section 3.
    Differs: scikit-learn answers with the sum or with the decision function, which are the same for all inputs beyond a
    distance, as the sum is 0 there; its logarithm is not.

    >>> known = [[-2.0], [-1.0], [0.0], [1.0], [2.0]]
    >>> inside, outside = OneClassSVM().fit(known).score([[0.5], [9.0]]).tolist()
    >>> round(inside, 1), round(outside, 1)
    (-0.9, -25.5)
    """

    needs = frozenset({"features"})
    traits = frozenset({"costly_fit"})
    paper = Paper(
        "Estimating the Support of a High-Dimensional Distribution",
        "Schölkopf, Platt, Shawe-Taylor, Smola, Williamson",
        "Neural Computation",
        2001,
    )
    mean: Tensor  # (D,)
    vectors: Tensor  # (S, D) support vectors around the mean
    squares: Tensor  # (S,) their squared lengths
    gamma_: Tensor  # () g
    log_weights: Tensor  # (S,)

    def __init__(self, nu: float = 0.5, gamma: float = 1.0) -> None:
        super().__init__()
        self.nu = nu
        self.gamma = gamma
        for name in ("mean", "vectors", "squares", "gamma_", "log_weights"):
            self.register_buffer(name, torch.empty(0))

    def learn(self, support: Support) -> None:
        """Solve for the weights in float64, and keep the inputs that have any."""
        from sklearn.svm import OneClassSVM as Machine

        if not 0 < self.nu <= 1:
            raise WrongUse(f"OneClassSVM(nu={self.nu!r}): give a share above 0, up to 1")
        if not 0 < self.gamma < math.inf:
            raise WrongUse(f"OneClassSVM(gamma={self.gamma!r}): give a number above 0")
        kept, device = support.dtype("features"), support.signals.device
        known = support.gather("features").cpu().double().numpy()
        known = known[np.lexsort(known.T[::-1])]  # the solver stops early, at a place that depends on the order of rows
        if not known.var() > 0 or not (known != known[0]).any():
            raise NotEnoughKnown("OneClassSVM: the known inputs do not differ; add inputs")
        g = self.gamma / (known.shape[1] * known.var())
        mean = known.mean(axis=0)
        if self.nu == 1:  # every weight is at its bound, and libsvm finds no boundary
            vectors, weights = known - mean, np.full(len(known), 1 / len(known))
        else:
            with global_draws(0):  # libsvm takes a seed of numpy's global generator, though it uses none here
                machine = Machine(nu=self.nu, gamma=g, tol=TOLERANCE).fit(known - mean)
            vectors, weights = machine.support_vectors_, machine.dual_coef_[0] / machine.dual_coef_.sum()

        def held(x: Any) -> Tensor:
            return torch.as_tensor(x, dtype=torch.float64).to(device, kept)

        self.mean, self.vectors = held(mean), held(vectors)
        self.squares = self.vectors.square().sum(dim=1)
        self.gamma_, self.log_weights = held(g), held(np.log(weights))

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Logarithms of the weighted kernels ``(B,)``."""
        x = signals["features"] - self.mean
        return log_kernel_sum(x, self.vectors, self.squares, self.log_weights, self.gamma_)

    def numbers_per_query(self) -> int:
        """A distance to every support vector, and its kernel."""
        return 2 * len(self.vectors)
