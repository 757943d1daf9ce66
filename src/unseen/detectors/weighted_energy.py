"""Free energy of the logits, each class with a weight learnt from known and unknown inputs."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, logsumexp
from torch.nn.functional import softplus

from unseen.detectors._logistic import PENALTY, Slopes, discriminate, newton, standard
from unseen.detectors.base import Detector
from unseen.parts import Paper
from unseen.signals import Signals, Support


class WeightedEnergy(Detector):
    """An input is known when its logits are large together, those of telling classes counting more.

    ``score(x) = a E(x) + b,  E(x) = log sum_c w_c exp(l_c)``, with ``l`` the logits. Class weights ``w``, slope and
    offset are learnt together by a logistic regression of known against those unknown inputs that it is given: both
    sides count alike, and half the squares of ``log w`` and of the slope, in spreads of the plain energy, are
    penalised. With equal weights it ranks as `Energy`, from whose regression it starts. The loss is smooth but not
    convex; what is found is the minimum that lies downhill from there, the same every time.

    Weights stay above 0, and the paper's ``relu(w)``, under which a class may drop out, is neared from above. Where
    the unknown inputs given have the larger energies, the slope is negative.

    Args:
        penalty: factor of half the squares.

    Reads: ``logits (N, C)`` of known and unknown inputs; labels ignored.
    Returns: ``(N,)``, log odds (nats).
    Raises: WrongUse, without unknown inputs, or for a penalty of 0; NotEnoughKnown, when all have the same energy.
    Cost: ``C + 2`` numbers; some tens of walks over known and unknown inputs, each ``(N + M) C^2``.
    Source: Du, Wang, Cai, Li, "VOS: Learning What You Don't Know by Virtual Outlier Synthesis", ICLR 2022, the
    uncertainty loss over weighted energies (section 3.2).
    Differs: there the unknown inputs are drawn in feature space while the network learns, weights and network are
    trained together, and queries are scored by the plain energy. Here the network stays as it is, the unknown inputs
    are given, and queries are scored by what was learnt.

    >>> known, unknown = [[5.0, 0.0], [0.0, 1.0], [4.0, 0.0], [0.0, 0.8]], [[0.0, 0.4], [3.0, 0.0], [0.0, 0.5]]
    >>> detector = WeightedEnergy().fit({"logits": known}, unknown={"logits": unknown})
    >>> bool(detector.log_weights[1] > detector.log_weights[0])  # 3 of one says less than 1 of the other
    True
    """

    needs = frozenset({"logits"})
    traits = frozenset({"uses_unknown", "two_pass"})
    paper = Paper("VOS: Learning What You Don't Know by Virtual Outlier Synthesis", "Du, Wang, Cai, Li", "ICLR", 2022)
    log_weights: Tensor  # (C,) log w
    line: Tensor  # (2,) a and b

    def __init__(self, penalty: float = PENALTY) -> None:
        super().__init__()
        self.penalty = penalty
        self.register_buffer("log_weights", torch.empty(0))
        self.register_buffer("line", torch.empty(0))

    def learn(self, support: Support) -> None:
        """Newton's method from the regression on plain energies, in float64."""
        assert support.unknown is not None
        sides = support.signals, support.unknown
        known, unknown = (lambda side=side: _energies(side) for side in sides)
        weight, bias = discriminate(known, unknown, self.penalty, "WeightedEnergy")
        classes = support.signals.width("logits")
        mean, scale, counts = standard(known, unknown, "WeightedEnergy")
        slope = weight / scale  # of energies in units of their spread
        start = torch.cat([weight.new_zeros(classes), slope, (bias + weight @ mean)[None]])
        ridge = torch.full_like(start, self.penalty)
        ridge[-1] = 0.0

        def slopes(at: Tensor) -> Slopes:
            u, a, b = at[:-2], at[-2], at[-1]
            loss, gradient, bend, twist = 0.5 * float(ridge @ at.square()), ridge * at, ridge.diag(), 0.0 * ridge.diag()
            for side, n, sign in zip(sides, counts, (1.0, -1.0), strict=True):
                for batch in side.batches("logits"):
                    weighted = batch["logits"].double() + u
                    energy = (logsumexp(weighted, dim=1) - mean) * scale  # (B,)
                    z = sign * (a * energy + b)
                    wrong = torch.sigmoid(-z)
                    own = scale * weighted.softmax(dim=1)  # (B, C) of the energy by u
                    by = torch.cat([a * own, energy[:, None], torch.ones_like(energy)[:, None]], dim=1)
                    pull = -sign * wrong / (2 * n)
                    loss += float(softplus(-z).sum()) / (2 * n)
                    gradient = gradient + pull @ by
                    bend = bend + (by * (wrong * (1 - wrong))[:, None]).T @ by / (2 * n)
                    # What the energy itself bends, which may be either way.
                    total = pull @ own
                    twist[:-2, :-2] += a * (total.diag() - (own * pull[:, None]).T @ own / scale)
                    twist[:-2, -2] += total
                    twist[-2, :-2] += total
            return loss, gradient, (bend + twist, bend)

        found = newton(slopes, start, "WeightedEnergy")
        precision = support.dtype("logits")
        slope = found[-2] * scale
        self.log_weights = found[:-2].to(precision)
        self.line = torch.cat([slope, found[-1] - slope * mean]).to(precision)

    def forward(self, signals: Mapping[str, Tensor]) -> Tensor:
        """Log odds ``(B,)``."""
        a, b = self.line
        scores: Tensor = a * logsumexp(signals["logits"] + self.log_weights, dim=1) + b
        return scores


def _energies(signals: Signals) -> Iterator[Tensor]:
    return (logsumexp(batch["logits"].double(), dim=1)[:, None] for batch in signals.batches("logits"))
