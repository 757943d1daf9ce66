"""Every detector behind two CIFAR-10 networks, on ten other sets of images. python experiments/cifar10_detectors.py

The networks are trained on CIFAR-10; detectors learn from 4,660 of its training images with the network's own head
and labels, and 846 lossless test images are the known ones. Detectors are those that are registered, with their
defaults and the further settings of `SETTINGS`. Where pytorch-ood is installed, each method that both have is compared
with it on the same signals, into a file of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from counterparts import COUNTERPARTS, Given, detectors, rank_correlation
from record import environment, record
from sources import ImageSet, archive, cifar10, cifar10_sets
from unseen.data import split
from unseen.detectors.base import Detector
from unseen.encoders import Encoder, encode, open_encoder
from unseen.errors import MissingExtra, UnseenError
from unseen.metrics import compare, evaluate
from unseen.protocols import requests_of
from unseen.registry import create, find, names
from unseen.signals import Request, Support

SEED = 0  # of the halves that a temperature is learnt from; nothing else is drawn
NETWORKS = {"resnet20": "ResNet-20", "resnet56": "ResNet-56"}
SETTINGS = {  # beside the defaults
    "knn": ("knn(k=20)",),
    "nearest_prototype": ("nearest_prototype(metric='cosine')",),
    "residual": ("residual(origin='mean')",),
    "openmax": ("openmax(alpha=1)",),
    "ash": ("ash(variant='B')",),
    "class_gaussians": ("class_gaussians(shrinkage=0.0)", "unit >> class_gaussians"),
    "ssd": ("ssd(clusters=10)",),
}
APART = {"temperature": "it must learn from images that the network was not trained on, and has a table of its own"}

Scores = Mapping[str, np.ndarray]


def main() -> None:
    sets = list(cifar10_sets())
    found: dict[str, Any] = {}
    compared: dict[str, Any] = {}
    for name, title in NETWORKS.items():
        encoder = network(name)
        expressions, left_out = registered(encoder)
        at_fit, at_query = requests_of(expressions)
        train = encode(cifar10("train"), encoder, {"features", "logits", *at_fit})
        known = encode(cifar10("test"), encoder, {"features", "logits", *at_query})
        asked = {one.name: encode({"images": one.images}, encoder, {"features", "logits", *at_query}) for one in sets}
        scores: dict[str, Scores] = {}
        for expression in expressions:
            try:
                fitted = create(expression).fit(train)
                scores[expression] = {"known": fitted.score(known), **{s: fitted.score(x) for s, x in asked.items()}}
            except UnseenError as error:
                left_out[expression] = str(error)
        found[name] = {
            "title": title,
            "encoder": encoder.id,
            "n_train": len(train),
            "n_known": len(known),
            "accuracy": accuracy(known),
            "accuracy_train": accuracy(train),
            "left_out": left_out,
            **judged(scores, sets),
            "lengths": lengths(train, known, asked, sets),
            "temperature": temperatures(train, known, asked, sets),
        }
        print(name, found[name]["accuracy"], left_out, flush=True)
        for row in found[name]["detectors"]:
            print(f"  {row['name']:36s}", row["mean_auroc"], flush=True)
        compared[name] = {"title": title, **against_pytorch_ood(train, known, asked, scores)}
    about = {"environment": {**environment(), "threads": torch.get_num_threads()}, "seed": SEED}
    described = [{"name": s.name, "title": s.title, "kind": s.kind, "n": len(s.images), "about": s.about} for s in sets]
    record("cifar10_detectors", {**about, "sets": described, "networks": found})
    if all("rows" in one for one in compared.values()):
        about["environment"]["pytorch-ood"] = detectors()[1]
        record("cifar10_pytorch_ood", {**about, "sets": described, "networks": compared})


def network(name: str) -> Encoder:
    """One of `NETWORKS` with its weights; normalisation comes with the file, names of the outputs are CIFAR-10's."""
    with np.load(archive("cifar10_lossless_webp.npz")) as z:
        classes = ",".join(z["name"].astype(str))
    weights = archive(f"net_cifar10_{name}.safetensors")
    code = Path(__file__).with_name("networks.py")
    return open_encoder(f"torch:{code}:{name}?weights={weights}&size=32&classes={classes}")


def registered(encoder: Encoder) -> tuple[list[str], dict[str, str]]:
    """Expressions of all detectors that this encoder has the signals for, and why others are left out.

    A step scores nothing; the detector that its source names is put behind it. Logits are made again by the network's
    own head.
    """
    expressions: list[str] = []
    left_out = dict(APART)
    for name in names("detectors"):
        if name in APART:
            continue
        kind = find("detectors", name)
        for expression in (name, *SETTINGS.get(name, ())):
            whole = expression if issubclass(kind, Detector) else f"{expression} >> {kind.partner}"
            try:
                part = create(whole)  # not without its defaults
                needs = part.needs | part.at_fit()
            except UnseenError as error:
                left_out[whole] = str(error)
                continue
            refused = [why for n in needs if isinstance(n, Request) and (why := encoder.refusal(n)) is not None]
            if refused:
                left_out[whole] = refused[0]
                continue
            absent = sorted(need for need in needs if isinstance(need, str) and need not in encoder.provides)
            if absent:
                left_out[whole] = f"reads {', '.join(absent)}, which this network does not give"
            else:
                expressions.append(whole)
    return expressions, left_out


def accuracy(support: Support) -> dict[str, Any]:
    """Share of right answers with a 95 % Wilson interval."""
    from scipy.stats import binomtest

    assert support.labels is not None
    hits = int((support.gather("logits").argmax(dim=1).numpy() == support.labels).sum())
    interval = binomtest(hits, len(support)).proportion_ci(method="wilson")
    return {"share": hits / len(support), "interval": [float(interval.low), float(interval.high)], "n": len(support)}


def judged(scores: Mapping[str, Scores], sets: Sequence[ImageSet]) -> dict[str, Any]:
    """Every detector on every set, against the one with the highest AUROC on that set.

    The best is known only afterwards, so p-values are adjusted for all pairs of detectors, not for those with the best.
    """
    rows: list[dict[str, Any]] = [
        {"name": name, "sets": {}, "mean_auroc": {}, "mean_fpr_at_tpr95": {}} for name in scores
    ]
    best: dict[str, str] = {}
    for one in sets:
        pairs = {name: (mine["known"], mine[one.name]) for name, mine in scores.items()}
        results = {name: evaluate(*pair) for name, pair in pairs.items()}
        first = best[one.name] = max(results, key=lambda name: results[name].auroc)
        against = {p.b if p.a == first else p.a: p.p_holm for p in compare(pairs) if first in (p.a, p.b)}
        for row in rows:
            result = results[row["name"]]
            row["sets"][one.name] = {
                "auroc": result.auroc,
                "auroc_interval": list(result.auroc_interval()),
                "ap_unknown": result.average_precision("unknown"),
                "fpr_at_tpr95": result.fpr_at_tpr(0.95, "known"),
                "distinct_scores": result.distinct_scores,
                "p_holm_against_best": against.get(row["name"]),
            }
    for row in rows:
        for kind in ("near", "far"):
            mine = [row["sets"][one.name] for one in sets if one.kind == kind]
            row["mean_auroc"][kind] = float(np.mean([cell["auroc"] for cell in mine]))
            row["mean_fpr_at_tpr95"][kind] = float(np.mean([cell["fpr_at_tpr95"] for cell in mine]))
    return {"best": best, "detectors": sorted(rows, key=lambda row: -sum(row["mean_auroc"].values()))}


def lengths(
    train: Support, known: Support, asked: Mapping[str, Support], sets: Sequence[ImageSet]
) -> list[dict[str, Any]]:
    """How far the length of the features goes, alone and inside the two detectors that measure distances by it."""
    residual, mahalanobis = create("residual").fit(train), create("mahalanobis").fit(train)
    unit = create("mahalanobis").fit({"features": train.gather("features", normalize)}, train.labels)
    ways = {
        "length of the features": lambda x: x.norm(dim=1),
        "`residual`": residual.score,
        "`residual`, as a share of the length": lambda x: residual.score(x) / (x - residual.center).norm(dim=1),
        "`mahalanobis`": mahalanobis.score,
        "`mahalanobis` of features of unit length": lambda x: unit.score(normalize(x)),
    }
    features = {name: x.gather("features") for name, x in {"known": known, **asked}.items()}
    rows: list[dict[str, Any]] = []
    for name, way in ways.items():
        mine = {key: way(x).numpy() for key, x in features.items()}
        auroc = {one.name: evaluate(mine["known"], mine[one.name]).auroc for one in sets}
        rows.append({"score": name, "mean": {key: float(x.mean()) for key, x in mine.items()}, "auroc": auroc})
    return rows


def temperatures(
    train: Support, known: Support, asked: Mapping[str, Support], sets: Sequence[ImageSet]
) -> list[dict[str, Any]]:
    """`msp` without a temperature, with one learnt from the training images, and with one of half of the test images.

    All three are judged on the other half; each half in turn, and means of both.
    """
    halves = in_halves(known)
    ways = {
        "none": [None, None],
        "of the training images": [create("temperature >> msp").fit(train)] * 2,
        "of one half of the test images": [create("temperature >> msp").fit(other) for other, _ in halves],
    }
    rows: list[dict[str, Any]] = []
    for name, fitted in ways.items():
        steps = [None if one is None else one.steps[0] for one in fitted]
        temperature = [1.0 if step is None else float(step.temperature) for step in steps]
        detector = [create("msp") if one is None else one for one in fitted]
        row: dict[str, Any] = {"temperature": name, "T": temperature, "auroc": {}}
        row["bounded"] = any(step is not None and step.bounded for step in steps)
        row["nll"] = float(np.mean([nll(half, t) for t, (_, half) in zip(temperature, halves, strict=True)]))
        row["nll_train"] = float(np.mean([nll(train, t) for t in temperature]))
        for one in sets:
            unknown = asked[one.name]
            row["auroc"][one.name] = float(
                np.mean(
                    [
                        evaluate(way.score(half), way.score(unknown)).auroc
                        for way, (_, half) in zip(detector, halves, strict=True)
                    ]
                )
            )
        rows.append(row)
    return rows


def in_halves(known: Support) -> list[tuple[Support, Support]]:
    """One half and the other, and the other way round; each class in both."""
    first, second = (known.take(rows) for rows in split(known.labels, known.groups, 0.5, SEED))
    return [(first, second), (second, first)]


def nll(support: Support, temperature: float) -> float:
    """Mean negative log-likelihood of the labels."""
    assert support.labels is not None
    logits = support.gather("logits").double() / temperature
    return float(cross_entropy(logits, torch.from_numpy(support.labels)))


def against_pytorch_ood(
    train: Support, known: Support, asked: Mapping[str, Support], scores: Mapping[str, Scores]
) -> dict[str, Any]:
    """Rank correlation over all inputs asked, and both AUROCs on each set; nothing where it is not installed."""
    try:
        theirs = detectors()[0]
    except (ImportError, MissingExtra) as missing:
        print(f"pytorch-ood is left out: {missing}")
        return {}
    parts = {"known": known, **asked}
    features, logits = (torch.cat([x.gather(name) for x in parts.values()]) for name in ("features", "logits"))
    given = Given.of(train, features, logits)
    rows: list[dict[str, Any]] = []
    for one in COUNTERPARTS:
        ours = torch.cat([torch.from_numpy(scores[one.ours][name]) for name in parts])
        other = -one.score(theirs, given)
        row: dict[str, Any] = {
            "ours": one.ours,
            "theirs": one.theirs,
            "rank_correlation": rank_correlation(ours, other),
            "auroc": aurocs(ours, parts),
            "their_auroc": aurocs(other, parts),
            "distinct_scores": len(ours.unique()),
            "their_distinct_scores": len(other.unique()),
            "default": one.default,
            "reason": one.reason,
        }
        if one.limited is not None:
            double = given.double()
            # In float64 the other follows the formula with its limits: nothing else is different.
            row["explained"] = rank_correlation(one.limited(double.logits), -one.score(theirs, double))
        print(f"  {one.ours:24s} {row['rank_correlation']:.8f} {row.get('explained', '')}", flush=True)
        rows.append(row)
    return {"n": len(logits), "rows": rows, "temperature": their_temperatures(theirs, known)}


def aurocs(scores: Tensor, parts: Mapping[str, Support]) -> dict[str, float]:
    """AUROC of the first part of the scores against each other part."""
    (_, known), *others = zip(parts, torch.split(scores, [len(part) for part in parts.values()]), strict=True)
    return {name: evaluate(known.numpy(), unknown.numpy()).auroc for name, unknown in others}


def their_temperatures(theirs: Any, known: Support) -> list[dict[str, float]]:
    """Each half's temperature and the likelihood of its labels there, by both."""
    found = []
    for half, _ in in_halves(known):
        assert half.labels is not None
        ours = float(create("temperature >> msp").fit(half).steps[0].temperature)
        scaled = theirs.TemperatureScaling(None).fit_logits(half.gather("logits"), torch.from_numpy(half.labels))
        other = scaled.t.item()
        found.append({"T": ours, "their_T": other, "nll": nll(half, ours), "their_nll": nll(half, other)})
    return found


if __name__ == "__main__":
    main()
