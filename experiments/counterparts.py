"""The methods that another library has too, with its settings matched to ours, so that only the formula can differ.

Where two do not rank alike, the row says why. For those of pytorch-ood that are asked on CIFAR-10 it also gives the
same formula with the other's limits written out in float64: fed with float64 logits, the other must rank as that.

Everything learns from arrays and is asked about arrays. oodeel takes models alone, so it gets one that answers with
what it is given; it needs no TensorFlow then.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from unseen.optional import require
from unseen.signals import LinearHead, Signals, Support

MISLABELLED = 51  # one known input in so many; with 10, 100 and 1000 classes the next such one is of another
KIN = 0.7  # that below which two are not the same method, whatever the reason
ALIKE = 0.9999  # rank correlation from which two scores count as one


class Given(NamedTuple):
    """What a method learns from, and what it is asked about.

    Attributes:
        known: features ``(N, D)`` of the known inputs.
        known_logits: their logits ``(N, C)``.
        labels: ``(N,)`` their class codes.
        head: the network's last layer.
        features: ``(M, D)`` asked.
        logits: ``(M, C)`` asked.
    """

    known: Tensor
    known_logits: Tensor
    labels: Tensor
    head: LinearHead
    features: Tensor
    logits: Tensor

    @classmethod
    def of(cls, known: Support, features: Tensor, logits: Tensor) -> Given:
        """From a support with labels and a head."""
        assert known.labels is not None
        assert known.head is not None
        x = known.gather("features")
        return cls(x, _called(known.head, x), torch.from_numpy(known.labels), known.head, features, logits)

    def double(self) -> Given:
        """The same with logits of float64."""
        return self._replace(logits=self.logits.double())


def world(classes: int, width: int, known: int, queries: int) -> Given:
    """Clusters of rectified features with unequal spreads, a head that is right about most of them, and queries.

    Half of the queries are new inputs of the classes, the others lie half-way between two of them. Some known inputs
    bear the label of another class. Nothing is degenerate and no answer is so sure that a float32 softmax says 1, so
    that what ranks otherwise has another formula.

    Args:
        classes: ``C``.
        width: ``D``.
        known: ``N``, as many of each class or one less.
        queries: ``M``.
    """
    rng = torch.Generator().manual_seed(0)
    means = 2 * torch.randn(classes, width, generator=rng).abs()
    spread = torch.linspace(0.5, 1.5, width)

    def around(centres: Tensor) -> Tensor:
        return (centres + spread * torch.randn(centres.shape, generator=rng)).relu()

    labels = torch.arange(known) % classes
    x = around(means[labels])
    labels[::MISLABELLED] = labels[::MISLABELLED].roll(1)
    first, second = torch.randint(classes, (2, queries), generator=rng)
    second[: queries // 2] = first[: queries // 2]
    asked = around((means[first] + means[second]) / 2)
    # Least squares on the labels, a little ridge: 8 for the own class.
    rows = torch.cat([x, torch.ones(known, 1)], dim=1).double()
    wanted = 8 * nn.functional.one_hot(labels, classes).double()
    solved = torch.linalg.solve(rows.T @ rows + 0.01 * known * torch.eye(width + 1).double(), rows.T @ wanted).float()
    head = LinearHead(solved[:-1].T.contiguous(), solved[-1], tuple(str(c) for c in range(classes)))
    return Given(x, _called(head, x), labels, head, asked, _called(head, asked))


def support(given: Given) -> Support:
    """The known inputs as our parts learn from them."""
    signals = Signals({"features": given.known, "logits": given.known_logits})
    names = given.head.classes
    return Support(signals, labels=given.labels.numpy(), classes=names, head=given.head)


Query = Callable[[Tensor, Tensor], Any]  # features, logits -> scores, higher = more unknown


class Counterpart(NamedTuple):
    """One method in both libraries.

    Attributes:
        ours: our expression.
        theirs: how the other library is called.
        fit: it learns, and returns what it can then be asked: features ``(M, D)`` and logits ``(M, C)`` to ``(M,)``,
            higher = more unknown. Takes the library's module first.
        default: which settings had to be matched, or cannot be; empty where none.
        reason: why the two do not rank alike; empty where they do.
        limited: ours in float64 with its limits, higher = more known; only where there is a reason.
    """

    ours: str
    theirs: str
    fit: Callable[[Any, Given], Query]
    default: str = ""
    reason: str = ""
    limited: Callable[[Tensor], Tensor] | None = None

    def score(self, library: Any, given: Given) -> Tensor:
        """What it answers about the inputs asked, ``(M,)``, higher = more unknown."""
        with torch.no_grad():
            return torch.as_tensor(self.fit(library, given)(given.features, given.logits))


def _of_features(detector: Any) -> Query:
    return lambda x, _: detector.predict_features(x)


def _of_logits(detector: Any) -> Query:
    return lambda _, logits: detector.predict_logits(logits)


def _knn(k: int) -> Callable[[Any, Given], Query]:
    return lambda d, g: _of_features(d.KNN(None, k=k).fit_features(g.known, g.labels))


def _cut(name: str, **arguments: Any) -> Callable[[Any, Given], Query]:
    """A step that learns limits of the features, with the last layer behind it and the energy of its logits."""

    def fit(d: Any, g: Given) -> Query:
        step = getattr(d, name)(None, lambda x: _called(g.head, x), **arguments).fit_feature_maps(g.known, g.labels)
        return lambda x, _: step.predict_feature_maps(x)

    return fit


def _shaped(name: str, **arguments: Any) -> Callable[[Any, Given], Query]:
    """A step on feature maps of one pixel, with the last layer behind it and the energy of its logits."""

    def fit(d: Any, g: Given) -> Query:
        step = getattr(d, name)(None, lambda maps: _called(g.head, maps.flatten(1)), **arguments)
        return lambda x, _: step.predict_feature_maps(x[:, :, None, None])

    return fit


def _gradient(name: str, *parameters: str) -> Callable[[Any, Given], Query]:
    """Gradients of the last layer's named parameters, sample by sample."""

    def fit(d: Any, g: Given) -> Query:
        detector = getattr(d, name)(_linear(g), param_filter=lambda parameter: parameter in parameters)
        return lambda x, _: detector.predict(x)

    return fit


def _unit(d: Any, g: Given) -> Query:
    detector = d.Mahalanobis(None).fit_features(normalize(g.known), g.labels)
    return lambda x, _: detector.predict_features(normalize(x))


def _vim(d: Any, g: Given) -> Query:
    taken = g.known.shape[1] // 2
    return _of_features(d.ViM(None, taken, g.head.weight, g.head.bias).fit_features(g.known, g.labels))


def _clipped_entropy(logits: Tensor) -> Tensor:
    p = logits.softmax(dim=1).clip(1e-7, 1)
    return (p * p.log()).sum(dim=1)


def _clamped_gen(logits: Tensor) -> Tensor:
    p = logits.softmax(dim=1).clamp(1e-7, 1 - 1e-7)
    return -(p * (1 - p)).pow(0.1).sum(dim=1)


def _linear(g: Given) -> nn.Linear:
    layer = nn.Linear(g.head.weight.shape[1], g.head.weight.shape[0])
    layer.load_state_dict({"weight": g.head.weight, "bias": g.head.bias})
    return layer


def _called(head: LinearHead, x: Tensor) -> Tensor:
    return x @ head.weight.T + head.bias


def _openmax(d: Any, g: Given) -> Query:
    right = g.known_logits.argmax(dim=1) == g.labels
    return _of_logits(d.OpenMax(None, tailsize=20, alpha=1).fit_logits(g.known_logits[right], g.labels[right]))


COUNTERPARTS = (
    Counterpart(
        "msp",
        "MaxSoftmax",
        lambda d, _: _of_logits(d.MaxSoftmax(None)),
        reason="it returns the probability in float32, which has steps of 6e-8 next to 1: sure inputs share few "
        "values. Ours is its logarithm, taken from what the other classes leave",
        limited=lambda logits: logits.log_softmax(dim=1).amax(dim=1),
    ),
    Counterpart("maxlogit", "MaxLogit", lambda d, _: _of_logits(d.MaxLogit(None))),
    Counterpart("energy", "EnergyBased", lambda d, _: _of_logits(d.EnergyBased(None))),
    Counterpart(
        "entropy",
        "Entropy",
        lambda d, _: _of_logits(d.Entropy(None)),
        reason="the logarithm of the largest probability is taken in float32, which has steps of 6e-8 next to 1, and "
        "probabilities below 1e-7 count as 1e-7. Ours starts from what the other classes leave",
        limited=_clipped_entropy,
    ),
    Counterpart(
        "gen",
        "GEN",
        # All classes by None, as it sorts otherwise: another order of adding tells clamped ties apart by rounding.
        lambda d, g: _of_logits(d.GEN(None, M=100 if g.logits.shape[1] > 100 else None)),
        reason="it clamps probabilities to [1e-7, 1 - 1e-7], and to the power of 0.1 even 1e-9 counts 0.126: the clamp "
        "hides what tells sure inputs apart. Its mean in place of the sum changes no rank",
        limited=_clamped_gen,
    ),
    Counterpart("knn", "KNN(k=50)", _knn(50)),
    Counterpart("knn(k=20)", "KNN(k=20)", _knn(20), default="the default of both is k = 50"),
    Counterpart(
        "mahalanobis",
        "Mahalanobis",
        lambda d, g: _of_features(d.Mahalanobis(None).fit_features(g.known, g.labels)),
        default="pytorch-ood adds 1e-6 to the diagonal of a scatter that it does not divide by N, ours 1e-6 mean "
        "eigenvalues to the covariance; both are too small to matter here",
    ),
    Counterpart(
        "relative_mahalanobis",
        "RMD",
        lambda d, g: _of_features(d.RMD(None).fit_features(g.known, g.labels)),
        default="likewise",
    ),
    Counterpart(
        "vim",
        "ViM(d=32)",
        _vim,
        default="pytorch-ood has no default d; ours is half of these 64 features",
    ),
    Counterpart("react >> energy", "ReAct(percentile=0.9)", _cut("ReAct")),
    Counterpart(
        "kl_matching",
        "KLMatching",
        lambda d, g: _of_logits(d.KLMatching(None).fit_logits(g.known_logits)),
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
        _gradient("GradNorm", "weight"),
        default="pytorch-ood takes all parameters unless told",
    ),
    Counterpart(
        "dice >> energy",
        "DICE(p=0.9)",
        lambda d, g: _of_features(d.DICE(None, g.head.weight, g.head.bias, 0.9).fit_features(g.known, g.labels)),
        default="pytorch-ood has no default p",
    ),
    Counterpart("fdbd", "fDBD", lambda d, g: _of_features(d.fDBD(None, _linear(g)).fit_features(g.known))),
    Counterpart(
        "she",
        "SHE",
        lambda d, g: _of_features(d.SHE(None, lambda x: _called(g.head, x)).fit_features(g.known, g.labels)),
    ),
    Counterpart(
        "nci",
        "NCI(alpha=1e-4)",
        lambda d, g: _of_features(d.NCI(None, _linear(g), 1e-4).fit_features(g.known)),
        default="of pytorch-ood's: alpha = 0",
    ),
    Counterpart(
        "nnguide",
        "NNGuide(k=10)",
        lambda d, g: _of_features(d.NNGuide(None, lambda x: _called(g.head, x), 10).fit_features(g.known, g.labels)),
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
    Counterpart("lts >> energy", "LTS", lambda d, g: _of_features(d.LTS(None, lambda x: _called(g.head, x)))),
    Counterpart(
        "class_gaussians(shrinkage=0.0)",
        "GMM",
        lambda d, g: _of_features(d.GMM(None).fit_features(g.known, g.labels)),
        default="pytorch-ood shrinks nothing; ours draws each covariance a tenth of the way to the pooled one",
    ),
    Counterpart("unit >> mahalanobis", "Mahalanobis of unit features", _unit, default="pytorch-ood has no such step"),
)


# What pytorch-ood has too, and the study of CIFAR-10 does not ask.
FURTHER = (
    Counterpart(
        "vra(lower=0.1, upper=0.9, below='clip') >> energy",
        "VRA(lower_percentile=0.1, upper_percentile=0.9)",
        _cut("VRA", lower_percentile=0.1, upper_percentile=0.9),
        default="of pytorch-ood's: 0.01 and 0.99",
        reason="it has limits for each feature where the paper has two numbers for all",
    ),
    Counterpart(
        "pnml",
        "PNML",
        lambda d, g: _of_features(d.PNML(None, lambda z: _called(g.head, z)).fit_features(g.known, g.labels)),
        reason="it leaves out the 1 before the features and the part of an input that no known input spans",
    ),
    Counterpart(
        "grad_uncertainty",
        "GradUncertainty(last layer)",
        _gradient("GradUncertainty", "weight", "bias"),
        default="pytorch-ood takes all parameters unless told",
    ),
)


class _Slice(nn.Module):
    """Some columns of what comes in."""

    def __init__(self, columns: slice) -> None:
        super().__init__()
        self.columns = columns

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.columns]


class _Held(nn.Module):
    """Answers with the features and logits that it is given side by side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.features, self.logits = _Slice(slice(None, width)), _Slice(slice(width, None))
        self.device = nn.Parameter(torch.empty(0), requires_grad=False)  # oodeel asks the first parameter where it is

    def forward(self, x: Tensor) -> Tensor:
        self.features(x)
        logits: Tensor = self.logits(x)
        return logits


def _as_one_batch(x: Tensor, labels: Tensor) -> Any:
    from torch.utils.data import DataLoader

    pair: Any = [(x, labels)]
    return DataLoader(pair, batch_size=None)


def _held(name: str, features: bool = False, **arguments: Any) -> Callable[[Any, Given], Query]:
    """A detector of oodeel that is asked about what lies there: no product is made for its sake."""

    def fit(library: Any, g: Given) -> Query:
        detector, model = getattr(library, name)(**arguments), _Held(g.known.shape[1])
        known = _as_one_batch(torch.cat([g.known, g.known_logits], dim=1), g.labels) if features else None
        layers = ["features"] if features else []
        detector.fit(model, fit_dataset=known, feature_layers_id=layers, head_layer_id="logits")
        return lambda x, logits: detector._score_tensor(torch.cat([x, logits], dim=1))

    return fit


def _behind(**arguments: Any) -> Callable[[Any, Given], Query]:
    """Energy by oodeel, with a step before the last layer."""

    def fit(library: Any, g: Given) -> Query:
        detector = library.Energy(**arguments)
        # One list stands for all calls, and every fit puts the layer on it once more.
        detector._load_feature_extractor.__func__.__defaults__[0].clear()
        model = nn.Sequential(nn.Identity(), _linear(g))
        detector.fit(model, fit_dataset=_as_one_batch(g.known, g.labels), feature_layers_id=[])
        return lambda x, _: detector._score_tensor(x)

    return fit


PERTURBED = "oodeel perturbs the input by eps = 0.0014 unless told"
OODEEL = (
    Counterpart(
        "msp",
        "MLS(output_activation='softmax')",
        _held("MLS", output_activation="softmax"),
        reason="it returns the probability in float32, which has steps of 6e-8 next to 1",
    ),
    Counterpart("maxlogit", "MLS", _held("MLS")),
    Counterpart("energy", "Energy", _held("Energy")),
    Counterpart(
        "entropy",
        "Entropy",
        _held("Entropy"),
        reason="it takes the logarithm of probabilities in float32, which has steps of 6e-8 next to 1, and one of 0 "
        "makes the score NaN",
    ),
    Counterpart(
        "gen",
        "GEN",
        _held("GEN"),
        reason="in float32 a probability above 1 - 3e-8 is 1, and to the power of 0.1 what is lost there counts",
    ),
    Counterpart("knn", "DKNN", _held("DKNN", features=True)),
    Counterpart("mahalanobis", "Mahalanobis(eps=0)", _held("Mahalanobis", features=True, eps=0.0), default=PERTURBED),
    Counterpart("relative_mahalanobis", "RMDS(eps=0)", _held("RMDS", features=True, eps=0.0), default=PERTURBED),
    Counterpart(
        "she",
        "SHE(eps=0)",
        _held("SHE", features=True, eps=0.0),
        default=PERTURBED,
        reason="it takes the best of all patterns, not that of the predicted class, and means over no input are NaN",
    ),
    Counterpart(
        "vim",
        "VIM(princ_dims=D / 2)",
        lambda d, g: _held("VIM", features=True, princ_dims=g.known.shape[1] // 2)(d, g),
        default="of oodeel's: as many directions as hold 99 % of the variance",
        reason="it sees the features from their mean, whatever pca_origin says, and the paper from where the head says "
        "nothing",
    ),
    Counterpart(
        "react >> energy",
        "Energy(use_react=True, react_quantile=0.9)",
        _behind(use_react=True, react_quantile=0.9),
        default="of oodeel's: a quantile of 0.8",
    ),
    Counterpart(
        "ash >> energy",
        "Energy(use_ash=True)",
        _behind(use_ash=True),
        reason="it keeps what is above an interpolated quantile, which can be one feature fewer",
    ),
    Counterpart(
        "scale >> energy",
        "Energy(use_scale=True)",
        _behind(use_scale=True),
        reason="it sums what is above an interpolated quantile, which can be one feature fewer",
    ),
)


def _scikit_neighbours(_: Any, g: Given) -> Query:
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=50, algorithm="brute").fit(normalize(g.known).numpy())
    return lambda x, _: found.kneighbors(normalize(x).numpy())[0][:, -1]


def _scikit_covariance(_: Any, g: Given) -> Query:
    from sklearn.covariance import EmpiricalCovariance

    found = EmpiricalCovariance().fit(normalize(g.known).numpy())
    return lambda x, _: found.mahalanobis(normalize(x).numpy())


def _scikit_nearest(_: Any, g: Given) -> Query:
    from sklearn.metrics import pairwise_distances_argmin_min

    means = np.stack([g.known[g.labels == c].mean(dim=0).numpy() for c in g.labels.unique()])
    return lambda x, _: pairwise_distances_argmin_min(x.numpy(), means)[1]


def _scikit_components(_: Any, g: Given) -> Query:
    from sklearn.decomposition import PCA

    found = PCA(n_components=g.known.shape[1] // 2, svd_solver="covariance_eigh").fit(g.known.numpy())

    def query(x: Tensor, _: Tensor) -> Any:
        rows = x.numpy()
        return np.linalg.norm(rows - found.inverse_transform(found.transform(rows)), axis=1)

    return query


def _scikit_factor(_: Any, g: Given) -> Query:
    from sklearn.neighbors import LocalOutlierFactor

    found = LocalOutlierFactor(n_neighbors=20, novelty=True).fit(g.known.numpy())
    return lambda x, _: -found.score_samples(x.numpy())


def _scikit_forest(_: Any, g: Given) -> Query:
    from sklearn.ensemble import IsolationForest

    found = IsolationForest(n_estimators=100, max_samples=256, random_state=0).fit(g.known.numpy())
    return lambda x, _: -found.score_samples(x.numpy())


def _scikit_machine(_: Any, g: Given) -> Query:
    from sklearn.svm import OneClassSVM

    found = OneClassSVM(nu=0.5, gamma="scale").fit(g.known.double().numpy())
    return lambda x, _: -found.score_samples(x.double().numpy())


def _scikit_density(_: Any, g: Given) -> Query:
    from sklearn.neighbors import KernelDensity

    rows = g.known.double().numpy()
    width = rows.var(axis=0).mean() ** 0.5 * len(rows) ** (-1 / (rows.shape[1] + 4))
    found = KernelDensity(bandwidth=width).fit(rows)
    return lambda x, _: -found.score_samples(x.double().numpy())


SCIKIT_LEARN = (
    Counterpart("knn", "NearestNeighbors of unit features", _scikit_neighbours),
    Counterpart("ssd", "EmpiricalCovariance of unit features", _scikit_covariance),
    Counterpart("nearest_prototype", "pairwise_distances_argmin_min", _scikit_nearest),
    Counterpart("residual(origin='mean')", "PCA, its residual", _scikit_components),
    Counterpart("local_outlier_factor", "LocalOutlierFactor(novelty=True)", _scikit_factor),
    Counterpart("isolation_forest", "IsolationForest(random_state=0)", _scikit_forest),
    Counterpart("one_class_svm", "OneClassSVM", _scikit_machine),
    Counterpart("kernel_density", "KernelDensity, the width as ours", _scikit_density),
)


def _pyod(module: str, kind: str, unit: bool = False, **arguments: Any) -> Callable[[Any, Given], Query]:
    def prepared(x: Tensor) -> Any:
        return (normalize(x) if unit else x).numpy()

    def fit(_: Any, g: Given) -> Query:
        made = getattr(importlib.import_module(f"pyod.models.{module}"), kind)(**arguments).fit(prepared(g.known))
        return lambda x, _: made.decision_function(prepared(x))

    return fit


SCORES_ITS_OWN = "PyOD also scores what it learns from, for a threshold"
PYOD = (
    Counterpart(
        "knn",
        "KNN of unit features",
        _pyod("knn", "KNN", unit=True, n_neighbors=50, method="largest"),
        default=f"of PyOD's: 5 neighbours. {SCORES_ITS_OWN}",
    ),
    Counterpart("local_outlier_factor", "LOF", _pyod("lof", "LOF", n_neighbors=20), default=SCORES_ITS_OWN),
    Counterpart(
        "isolation_forest",
        "IForest(random_state=0)",
        _pyod("iforest", "IForest", n_estimators=100, max_samples=256, random_state=0),
        default=SCORES_ITS_OWN,
    ),
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


def oodeel() -> tuple[Any, str]:
    """The module ``oodeel.methods`` and its version; its detectors run with torch alone.

    Raises:
        MissingExtra: when timm, which it imports, is not installed.
        ImportError: when oodeel is not.
    """
    require("torchvision", "timm")
    if importlib.util.find_spec("datasets") is None:
        # It imports one function of that package, to download benchmarks, when a model is opened.
        stand_in = types.ModuleType("datasets")
        stand_in.load_dataset = None  # type: ignore[attr-defined]
        sys.modules.setdefault("datasets", stand_in)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import oodeel.methods
        import oodeel.utils

        oodeel.utils.import_backend_specific_stuff(nn.Linear(1, 1))
    return oodeel.methods, importlib.metadata.version("oodeel")


def _installed(name: str) -> tuple[Any, str]:
    return None, importlib.metadata.version(name)


class Library(NamedTuple):
    """Another library.

    Attributes:
        name: as its documentation writes it.
        load: its module, where counterparts ask for it, and its version; ImportError or MissingExtra where it is not
            installed.
        pairs: what it has too.
    """

    name: str
    load: Callable[[], tuple[Any, str]]
    pairs: tuple[Counterpart, ...]


LIBRARIES = (
    Library("pytorch-ood", detectors, (*COUNTERPARTS, *FURTHER)),
    Library("oodeel", oodeel, OODEEL),
    Library("scikit-learn", lambda: _installed("scikit-learn"), SCIKIT_LEARN),
    Library("PyOD", lambda: _installed("pyod"), PYOD),
)


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's, ties at their mean rank."""
    from scipy.stats import spearmanr

    return float(spearmanr(a.double().numpy(), b.double().numpy()).statistic)
