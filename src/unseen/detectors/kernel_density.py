"""Density of the features, estimated by a kernel at each known input."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from unseen.detectors._kernels import log_kernel_sum
from unseen.detectors.base import Detector
from unseen.errors import NotEnoughKnown, WrongUse
from unseen.parts import Paper
from unseen.signals import Support


class KernelDensity(Detector):
    """An input is known when many known inputs are near: the density of a Gaussian kernel around each of them.

    ``score(x) = log 1/N sum_i N(x; x_i, h^2 I)``. The width is ``h = b s N^(-1 / (D + 4))``, Scott's rule for
    ``b = 1``, with ``s^2`` the mean variance of a feature over all known inputs. With hundreds of features that is
    nearly ``b s``, and as ``s`` also holds the distances between classes, a smaller ``b`` then follows the known more
    closely. The kernels are plain tensors, so that nothing is fitted again after loading, and it exports.

    Args:
        bandwidth: ``b``, the width in units of Scott's rule, above 0.

    Reads: ``features (N, D)``, scales matter; labels ignored.
    Returns: ``(N,)``, natural logarithm of a density in units of the features; both signs occur.
    Raises: WrongUse, for a bandwidth that is not above 0; NotEnoughKnown, when the known inputs do not differ.
    Cost: ``N D`` numbers; a query compares with all of them.
    Source: Parzen, "On Estimation of a Probability Density Function and Mode", Annals of Mathematical Statistics 1962;
    Scott, "Multivariate Density Estimation", 1992, equation 6.42, for the width, with one ``s`` for all features.
    Differs: scikit-learn takes the width in units of the features; its ``"scott"`` is ``N^(-1 / (D + 4))``, without
    ``s``.

    >>> detector = KernelDensity().fit([[-1.0], [1.0]])
    >>> [round(s, 2) for s in detector.score([[0.0], [1.0], [30.0]]).tolist()]
    [-1.44, -1.4, -556.33]
    """

    needs = frozenset({"features"})
    grid = {"bandwidth": (0.1, 0.3, 1.0)}  # noqa: RUF012 - a constant, shared on purpose
    paper = Paper(
        "On Estimation of a Probability Density Function and Mode", "Parzen", "Annals of Mathematical Statistics", 1962
    )
    mean: Tensor  # (D,)
    bank: Tensor  # (N, D), around the mean
    squares: Tensor  # (N,) their squared lengths
    gamma: Tensor  # () 1 / (2 h^2)
    log_weights: Tensor  # (N,) log of the kernel's value at its centre, shared by N

    def __init__(self, bandwidth: float = 1.0) -> None:
        super().__init__()
        self.bandwidth = bandwidth
        for name in ("mean", "bank", "squares", "gamma", "log_weights"):
            self.register_buffer(name, torch.empty(0))

    def learn(self, support: Support) -> None:
        """Keep every known feature; the width in float64."""
        if not 0 < self.bandwidth < math.inf:
            raise WrongUse(f"KernelDensity(bandwidth={self.bandwidth!r}): give a number above 0")
        moments = support.moments("features")
        number, width = len(moments), moments.mean.shape[1]
        variance = float(moments.total().trace()) / (number * width)
        if not variance > 0:
            raise NotEnoughKnown("KernelDensity: the known inputs do not differ; add inputs")
        h = self.bandwidth * math.sqrt(variance) * number ** (-1 / (width + 4))
        kept = support.dtype("features")
        mean = moments.grand_mean()
        self.bank = support.gather("features", lambda x: (x.double() - mean.to(x.device)).to(kept))
        self.mean = mean.to(kept)
        self.squares = self.bank.square().sum(dim=1)
        self.gamma = torch.tensor(0.5 / h**2, dtype=torch.float64).to(self.bank)
        peak = -math.log(number) - width * math.log(h * math.sqrt(2 * math.pi))
        self.log_weights = torch.full((number,), peak, dtype=torch.float64).to(self.bank)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Log densities ``(B,)``."""
        return log_kernel_sum(signals["features"] - self.mean, self.bank, self.squares, self.log_weights, self.gamma)

    def numbers_per_query(self) -> int:
        """A distance to every row of the bank, and its kernel."""
        return 2 * len(self.bank)
