"""Share of the neurons that are in a state in which known inputs have had them often enough."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import linear

from unseen.detectors._layers import layers_of
from unseen.detectors.base import Detector
from unseen.errors import WrongUse
from unseen.heads._implied import head_behind
from unseen.parts import Labels, Paper
from unseen.signals import Request, Sensitivity, Support, key_of


class NAC(Detector):
    """An input is known when its neurons are in states that known inputs have covered: NAC-UE of the paper.

    The state of neuron ``j`` is ``s_j = sigmoid(alpha z_j)``, with ``z_j`` its activation times the slope in it of
    ``KL(u || softmax(l))``, ``u`` uniform: how much the neuron does for the answer. ``[0, 1]`` is cut into bins, and

    ``score(x) = mean over layers and their neurons of min(n_j(s_j) / full, 1)``

    where ``n_j(s)`` counts the known inputs whose ``s_j`` lies in the bin of ``s``. Of ``features``, the input of the
    last layer, ``z = f * W'(p - 1/C)`` needs no backward pass; inner layers are asked of the encoder (`Sensitivity`)
    and cost one each.

    Args:
        layers: ``"features"``, dotted names of layers, or stages from the back, with commas between them.
        alpha: steepness, above 0: one number for all layers, or one a layer in a text with commas. The paper takes 100
            for the features of CIFAR-10, 3000 for those of ImageNet-1k, and from 0.001 to 1000 for other layers: it
            depends on how large ``z`` is.
        bins: likewise, whole numbers from 1; the paper takes 50 for features.
        full: how many known inputs in a bin cover it wholly, likewise; the paper takes 50 for the features of CIFAR-10
            and 10 for those of ImageNet-1k.

    Reads: ``features (N, D)`` and the linear head behind the logits where features are among the layers, and what
    the encoder says of the others; labels only where no head is there and one must be learnt.
    Returns: ``(N,)`` in ``[0, 1]``. Inputs all of whose states are covered wholly tie at 1.
    Raises: WrongUse, for layers or numbers that there cannot be, or when there is no head.
    Cost: ``bins`` numbers a neuron; a query is the head's product twice, and looks one number up for each neuron.
    Source: Liu, Tian, Li, Ma, Wang, "Neuron Activation Coverage: Rethinking Out-of-distribution Detection and
    Generalization", ICLR 2024, section 3. The paper chose its numbers on unknown inputs.
    Differs: pytorch-ood cuts ``[0, 1]`` into bins that are narrow next to 0 and 1, with one steepness of 100 and 50
    known inputs to cover a bin for every network.

    >>> from unseen.signals import LinearHead
    >>> head = LinearHead(torch.eye(2), torch.zeros(2))
    >>> detector = NAC(full=2).fit([[4.0, 0.0], [4.0, 0.0], [0.0, 4.0], [0.0, 4.0]], head=head)
    >>> detector.score([[4.0, 0.0], [4.0, 3.0]]).tolist()
    [1.0, 0.5]
    """

    paper = Paper(
        "Neuron Activation Coverage: Rethinking Out-of-distribution Detection and Generalization",
        "Liu, Tian, Li, Ma, Wang",
        "ICLR",
        2024,
    )
    small = {"alpha": 1.0, "full": 100}  # noqa: RUF012 - a constant, shared on purpose
    coverage: Tensor  # (sum of bins,) of every neuron's bins, one neuron after the other
    start: Tensor  # (W,) where a neuron's bins begin
    steepness: Tensor  # (W,) alpha of each neuron
    count: Tensor  # (W,) bins of each neuron
    share: Tensor  # (W,) 1 / (layers * neurons of the layer)
    weight: Tensor  # (C, D) of the head, for features
    bias: Tensor  # (C,)

    def __init__(
        self, layers: str = "features", alpha: float | str = 100.0, bins: int | str = 50, full: int | str = 50
    ) -> None:
        super().__init__()
        self.layers = layers
        self.alpha = alpha
        self.bins = bins
        self.full = full
        names = layers_of("nac", layers)
        self._sources: list[str | Request] = [name if name == "features" else Sensitivity(name) for name in names]
        self.needs = frozenset(self._sources)
        self.labels: Labels = "optional" if "features" in names else "ignored"
        self.traits = frozenset({"saturates", *(["linear_head"] if "features" in names else [])})
        for name in ("coverage", "start", "steepness", "count", "share", "weight", "bias"):
            self.register_buffer(name, torch.empty(0))

    def learn(self, support: Support) -> None:
        """Counts of every bin, in one walk."""
        alpha, bins, full = (self._each(name) for name in ("alpha", "bins", "full"))
        keys = [key_of(source) for source in self._sources]
        widths = torch.tensor([support.signals.width(key) for key in keys])
        precision, device = support.dtype(keys[0]), support.signals.device
        if "features" in keys:
            head = head_behind(support, self.name)
            # Copies, as a buffer must not share memory with the caller's head.
            self.weight = head.weight.to(device, precision, copy=True).contiguous()
            self.bias = head.bias.to(device, precision, copy=True)
        else:
            self.weight = self.bias = torch.empty(0)
        self.steepness = alpha.repeat_interleave(widths).to(device, precision)
        self.count = bins.repeat_interleave(widths).to(device, precision)
        self.start = (self.count.cumsum(0) - self.count).long()
        self.share = (1 / (len(keys) * widths)).repeat_interleave(widths).to(device, precision)
        total = torch.zeros(int(bins @ widths.double()), dtype=torch.long, device=device)
        for batch in support.batches(*keys):
            places = self._places(batch).flatten()
            total.scatter_add_(0, places, torch.ones_like(places))
        enough = full.repeat_interleave((bins * widths).long()).to(device)
        self.coverage = (total / enough).clamp_max(1).to(precision)

    def _each(self, name: str) -> Tensor:
        """One number a layer, ``(layers,)`` float64."""
        given = getattr(self, name)
        try:
            numbers = [float(part) for part in (given.split(",") if isinstance(given, str) else [given])]
        except (TypeError, ValueError) as error:
            raise WrongUse(
                f"NAC({name}={given!r}): give one number, or one a layer with commas between them"
            ) from error
        if len(numbers) not in (1, len(self._sources)):
            raise WrongUse(f"NAC({name}={given!r}): these are {len(numbers)} numbers for {len(self._sources)} layers")
        if name == "alpha" and not all(0 < number < torch.inf for number in numbers):
            raise WrongUse(f"NAC(alpha={given!r}): a steepness is above 0")
        if name != "alpha" and not all(number >= 1 and number.is_integer() for number in numbers):
            raise WrongUse(f"NAC({name}={given!r}): give whole numbers from 1")
        return torch.tensor(numbers, dtype=torch.float64).expand(len(self._sources))

    def _places(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Where in the table the state of every neuron lies, ``(B, W)``."""
        found = [
            self._of_features(signals["features"]) if source == "features" else signals[key_of(source)]
            for source in self._sources
        ]
        state = (self.steepness * torch.cat(found, dim=1)).sigmoid()
        return self.start + torch.minimum((state * self.count).floor(), self.count - 1).long()

    def _of_features(self, x: Tensor) -> Tensor:
        """``z (B, D)`` of the input of the last layer."""
        slope: Tensor = linear(x, self.weight, self.bias).softmax(dim=1) - 1 / self.weight.shape[0]
        return x * (slope @ self.weight)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Coverages ``(B,)``."""
        return self.coverage[self._places(signals)] @ self.share

    def numbers_per_query(self) -> int:
        """States, their places (of twice the size) and coverages."""
        return 6 * self.share.numel() + 3 * self.bias.numel()
