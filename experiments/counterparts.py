"""The methods that pytorch-ood 0.4.0 has too, with its settings matched to ours, so that only the formula can differ.

Where the two do not rank alike, the row says why, and gives the same formula with the other's limits written out in
float64: fed with float64 logits, the other must rank as that.
"""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unseen.optional import require
from unseen.signals import LinearHead, Support

ALIKE = 0.9999  # rank correlation from which two scores count as one


class Given(NamedTuple):
    """What a method learns from, and what it is asked about.

    Attributes:
        known: features ``(N, D)`` of the known inputs.
        labels: ``(N,)`` their class codes.
        head: the network's last layer.
        features: ``(M, D)`` asked.
        logits: ``(M, C)`` asked.
    """

    known: Tensor
    labels: Tensor
    head: LinearHead
    features: Tensor
    logits: Tensor

    @classmethod
    def of(cls, known: Support, features: Tensor, logits: Tensor) -> Given:
        """From a support with labels and a head."""
        assert known.labels is not None
        assert known.head is not None
        return cls(known.gather("features"), torch.from_numpy(known.labels), known.head, features, logits)

    def double(self) -> Given:
        """The same with logits of float64."""
        return self._replace(logits=self.logits.double())


class Counterpart(NamedTuple):
    """One method in both libraries.

    Attributes:
        ours: our expression.
        theirs: how pytorch-ood is called.
        score: its score, higher = more unknown, ``(M,)``; takes the module ``pytorch_ood.detector`` first.
        default: which settings had to be matched, or cannot be; empty where none.
        reason: why the two do not rank alike; empty where they do.
        limited: ours in float64 with its limits, higher = more known; only where there is a reason.
    """

    ours: str
    theirs: str
    score: Callable[[Any, Given], Tensor]
    default: str = ""
    reason: str = ""
    limited: Callable[[Tensor], Tensor] | None = None


def _knn(k: int) -> Callable[[Any, Given], Tensor]:
    return lambda d, g: d.KNN(None, k=k).fit_features(g.known, g.labels).predict_features(g.features)


def _react(d: Any, g: Given) -> Tensor:
    step = d.ReAct(None, lambda z: z @ g.head.weight.T + g.head.bias)
    scores: Tensor = step.fit_feature_maps(g.known, g.labels).predict_feature_maps(g.features)
    return scores


def _shaped(name: str, **arguments: Any) -> Callable[[Any, Given], Tensor]:
    """A step on feature maps of one pixel, with the last layer behind it and the energy of its logits."""

    def score(d: Any, g: Given) -> Tensor:
        step = getattr(d, name)(None, lambda maps: _called(g, maps.flatten(1)), **arguments)
        scores: Tensor = step.predict_feature_maps(g.features[:, :, None, None])
        return scores

    return score


def _unit(d: Any, g: Given) -> Tensor:
    known, asked = (torch.nn.functional.normalize(x) for x in (g.known, g.features))
    scores: Tensor = d.Mahalanobis(None).fit_features(known, g.labels).predict_features(asked)
    return scores


def _clipped_entropy(logits: Tensor) -> Tensor:
    p = logits.softmax(dim=1).clip(1e-7, 1)
    return (p * p.log()).sum(dim=1)


def _clamped_gen(logits: Tensor) -> Tensor:
    p = logits.softmax(dim=1).clamp(1e-7, 1 - 1e-7)
    return -(p * (1 - p)).pow(0.1).sum(dim=1)


def _linear(g: Given) -> torch.nn.Linear:
    layer = torch.nn.Linear(g.head.weight.shape[1], g.head.weight.shape[0])
    layer.load_state_dict({"weight": g.head.weight, "bias": g.head.bias})
    return layer


def _called(g: Given, x: Tensor) -> Tensor:
    return x @ g.head.weight.T + g.head.bias


def _openmax(d: Any, g: Given) -> Tensor:
    logits = _called(g, g.known)
    right = logits.argmax(dim=1) == g.labels
    made = d.OpenMax(None, tailsize=20, alpha=1).fit_logits(logits[right], g.labels[right])
    scores: Tensor = made.predict_logits(g.logits)
    return scores


COUNTERPARTS = (
    Counterpart(
        "msp",
        "MaxSoftmax",
        lambda d, g: d.MaxSoftmax(None).predict_logits(g.logits),
        reason="it returns the probability in float32, which has steps of 6e-8 next to 1: sure inputs share few "
        "values. Ours is its logarithm, taken from what the other classes leave",
        limited=lambda logits: logits.log_softmax(dim=1).amax(dim=1),
    ),
    Counterpart("maxlogit", "MaxLogit", lambda d, g: d.MaxLogit(None).predict_logits(g.logits)),
    Counterpart("energy", "EnergyBased", lambda d, g: d.EnergyBased(None).predict_logits(g.logits)),
    Counterpart(
        "entropy",
        "Entropy",
        lambda d, g: d.Entropy(None).predict_logits(g.logits),
        reason="the logarithm of the largest probability is taken in float32, which has steps of 6e-8 next to 1, and "
        "probabilities below 1e-7 count as 1e-7. Ours starts from what the other classes leave",
        limited=_clipped_entropy,
    ),
    Counterpart(
        "gen",
        "GEN",
        lambda d, g: d.GEN(None).predict_logits(g.logits),
        reason="it clamps probabilities to [1e-7, 1 - 1e-7], and to the power of 0.1 even 1e-9 counts 0.126: the clamp "
        "hides what tells sure inputs apart. Its mean in place of the sum changes no rank",
        limited=_clamped_gen,
    ),
    Counterpart("knn", "KNN(k=50)", _knn(50)),
    Counterpart("knn(k=20)", "KNN(k=20)", _knn(20), default="the default of both is k = 50"),
    Counterpart(
        "mahalanobis",
        "Mahalanobis",
        lambda d, g: d.Mahalanobis(None).fit_features(g.known, g.labels).predict_features(g.features),
        default="pytorch-ood adds 1e-6 to the diagonal of a scatter that it does not divide by N, ours 1e-6 mean "
        "eigenvalues to the covariance; both are too small to matter here",
    ),
    Counterpart(
        "relative_mahalanobis",
        "RMD",
        lambda d, g: d.RMD(None).fit_features(g.known, g.labels).predict_features(g.features),
        default="likewise",
    ),
    Counterpart(
        "vim",
        "ViM(d=32)",
        lambda d, g: (
            d.ViM(None, 32, g.head.weight, g.head.bias).fit_features(g.known, g.labels).predict_features(g.features)
        ),
        default="pytorch-ood has no default d; ours is half of these 64 features",
    ),
    Counterpart("react >> energy", "ReAct(percentile=0.9)", _react),
    Counterpart(
        "kl_matching",
        "KLMatching",
        lambda d, g: d.KLMatching(None).fit_logits(_called(g, g.known)).predict_logits(g.logits),
    ),
    Counterpart(
        "openmax(alpha=1)",
        "OpenMax(tailsize=20, alpha=1)",
        _openmax,
        default="of pytorch-ood's: a tail of 25 and alpha = 10, and every input of a class; given those alone that are "
        "classified right. With alpha above 1 its score depends on which classes the rest of the batch is called",
    ),
    Counterpart(
        "gradnorm",
        "GradNorm(weight of the last layer)",
        lambda d, g: d.GradNorm(_linear(g), param_filter=lambda name: name == "weight").predict(g.features),
        default="pytorch-ood takes all parameters unless told",
    ),
    Counterpart(
        "dice >> energy",
        "DICE(p=0.9)",
        lambda d, g: (
            d.DICE(None, g.head.weight, g.head.bias, 0.9).fit_features(g.known, g.labels).predict_features(g.features)
        ),
        default="pytorch-ood has no default p",
    ),
    Counterpart(
        "fdbd", "fDBD", lambda d, g: d.fDBD(None, _linear(g)).fit_features(g.known).predict_features(g.features)
    ),
    Counterpart(
        "she",
        "SHE",
        lambda d, g: d.SHE(None, lambda x: _called(g, x)).fit_features(g.known, g.labels).predict_features(g.features),
    ),
    Counterpart(
        "nci",
        "NCI(alpha=1e-4)",
        lambda d, g: d.NCI(None, _linear(g), 1e-4).fit_features(g.known).predict_features(g.features),
        default="of pytorch-ood's: alpha = 0",
    ),
    Counterpart(
        "nnguide",
        "NNGuide(k=10)",
        lambda d, g: (
            d.NNGuide(None, lambda x: _called(g, x), 10).fit_features(g.known, g.labels).predict_features(g.features)
        ),
    ),
    Counterpart(
        "scale >> energy",
        "SCALE(percentile=0.85)",
        _shaped("SCALE", percentile=0.85),
        default="of pytorch-ood's: a percentile of 0.65",
    ),
    Counterpart(
        "ash >> energy",
        "ASH(variant='ash-s', percentile=0.9)",
        _shaped("ASH", variant="ash-s", percentile=0.9),
        default="likewise",
    ),
    Counterpart(
        "ash(variant='B') >> energy",
        "ASH(variant='ash-b', percentile=0.9)",
        _shaped("ASH", variant="ash-b", percentile=0.9),
        default="likewise",
    ),
    Counterpart("lts >> energy", "LTS", lambda d, g: d.LTS(None, lambda x: _called(g, x)).predict_features(g.features)),
    Counterpart(
        "class_gaussians(shrinkage=0.0)",
        "GMM",
        lambda d, g: d.GMM(None).fit_features(g.known, g.labels).predict_features(g.features),
        default="pytorch-ood shrinks nothing; ours draws each covariance a tenth of the way to the pooled one",
    ),
    Counterpart("unit >> mahalanobis", "Mahalanobis of unit features", _unit, default="pytorch-ood has no such step"),
)


def detectors() -> tuple[Any, str]:
    """The module ``pytorch_ood.detector`` and its version.

    Raises:
        MissingExtra: when timm, which it imports, is not installed.
        ImportError: when pytorch-ood is not.
    """
    require("torchvision", "timm")  # it imports torchvision, which may not match this build of torch
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorch_ood import detector
    return detector, importlib.metadata.version("pytorch-ood")


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's, ties at their mean rank."""
    from scipy.stats import spearmanr

    return float(spearmanr(a.double().numpy(), b.double().numpy()).statistic)
