"""Out-of-distribution detection and semantic novelty detection.

Everything here is imported when it is first used, so that ``import unseen`` costs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from unseen.api import audit as audit
    from unseen.api import bench as bench
    from unseen.api import cache as cache
    from unseen.api import encode as encode
    from unseen.api import export as export
    from unseen.api import extend as extend
    from unseen.api import fit as fit
    from unseen.api import info as info
    from unseen.api import load as load
    from unseen.api import score as score
    from unseen.api.attack import attack as attack
    from unseen.api.backbones import backbones as backbones
    from unseen.api.declared import bench_protocol as bench_protocol
    from unseen.api.declared import bench_searched as bench_searched
    from unseen.api.demo import demo as demo
    from unseen.api.reproduce import reproduce as reproduce
    from unseen.api.text import text as text
    from unseen.api.train import train as train
    from unseen.calibration import ClassConditional as ClassConditional
    from unseen.calibration import SplitConformal as SplitConformal
    from unseen.classifier import OpenSetClassifier as OpenSetClassifier
    from unseen.data import open_inputs as open_inputs
    from unseen.detectors.abet import AbeT as AbeT
    from unseen.detectors.adascale import AdaSCALE as AdaSCALE
    from unseen.detectors.ash import ASH as ASH
    from unseen.detectors.base import Detector as Detector
    from unseen.detectors.binary_discriminator import BinaryDiscriminator as BinaryDiscriminator
    from unseen.detectors.cfood import CFOOD as CFOOD
    from unseen.detectors.class_gaussians import ClassGaussians as ClassGaussians
    from unseen.detectors.clipn import CLIPN as CLIPN
    from unseen.detectors.dice import DICE as DICE
    from unseen.detectors.dropout import Dropout as Dropout
    from unseen.detectors.energy import Energy as Energy
    from unseen.detectors.ensemble import Ensemble as Ensemble
    from unseen.detectors.entropy import Entropy as Entropy
    from unseen.detectors.eoe import EOE as EOE
    from unseen.detectors.fdbd import FDBD as FDBD
    from unseen.detectors.gaussian_mixture import GaussianMixture as GaussianMixture
    from unseen.detectors.gen import GEN as GEN
    from unseen.detectors.gl_mcm import GLMCM as GLMCM
    from unseen.detectors.godin import GODIN as GODIN
    from unseen.detectors.grad_uncertainty import GradUncertainty as GradUncertainty
    from unseen.detectors.gradnorm import GradNorm as GradNorm
    from unseen.detectors.gram import Gram as Gram
    from unseen.detectors.grood import GROOD as GROOD
    from unseen.detectors.iodin import IODIN as IODIN
    from unseen.detectors.isolation_forest import IsolationForest as IsolationForest
    from unseen.detectors.kernel_density import KernelDensity as KernelDensity
    from unseen.detectors.kl_matching import KLMatching as KLMatching
    from unseen.detectors.kmeans_mahalanobis import KMeansMahalanobis as KMeansMahalanobis
    from unseen.detectors.knn import KNN as KNN
    from unseen.detectors.l_mcm import LMCM as LMCM
    from unseen.detectors.local_outlier_factor import LocalOutlierFactor as LocalOutlierFactor
    from unseen.detectors.lts import LTS as LTS
    from unseen.detectors.mahalanobis import Mahalanobis as Mahalanobis
    from unseen.detectors.mahalanobis_odin import MahalanobisODIN as MahalanobisODIN
    from unseen.detectors.maxlogit import MaxLogit as MaxLogit
    from unseen.detectors.mcd import MCD as MCD
    from unseen.detectors.mcm import MCM as MCM
    from unseen.detectors.mds_ensemble import MDSEnsemble as MDSEnsemble
    from unseen.detectors.msp import MSP as MSP
    from unseen.detectors.nac import NAC as NAC
    from unseen.detectors.nci import NCI as NCI
    from unseen.detectors.nearest_prototype import NearestPrototype as NearestPrototype
    from unseen.detectors.neco import NECO as NECO
    from unseen.detectors.neglabel import NegLabel as NegLabel
    from unseen.detectors.nnguide import NNGuide as NNGuide
    from unseen.detectors.odin import ODIN as ODIN
    from unseen.detectors.one_class_svm import OneClassSVM as OneClassSVM
    from unseen.detectors.opengan import OpenGAN as OpenGAN
    from unseen.detectors.openmax import OpenMax as OpenMax
    from unseen.detectors.patchcore import PatchCore as PatchCore
    from unseen.detectors.pixel_gaussians import PixelGaussians as PixelGaussians
    from unseen.detectors.pnml import PNML as PNML
    from unseen.detectors.pyod import PyOD as PyOD
    from unseen.detectors.rankfeat import RankFeat as RankFeat
    from unseen.detectors.react import ReAct as ReAct
    from unseen.detectors.relation import Relation as Relation
    from unseen.detectors.relative_mahalanobis import RelativeMahalanobis as RelativeMahalanobis
    from unseen.detectors.residual import Residual as Residual
    from unseen.detectors.residual_gen import ResidualGEN as ResidualGEN
    from unseen.detectors.scale import SCALE as SCALE
    from unseen.detectors.she import SHE as SHE
    from unseen.detectors.ssd import SSD as SSD
    from unseen.detectors.temperature import Temperature as Temperature
    from unseen.detectors.unit import Unit as Unit
    from unseen.detectors.vim import ViM as ViM
    from unseen.detectors.vra import VRA as VRA
    from unseen.detectors.weighted_energy import WeightedEnergy as WeightedEnergy
    from unseen.encoders import Encoder as Encoder
    from unseen.heads.own import Own as Own
    from unseen.heads.plp import PLP as PLP
    from unseen.heads.probe import Probe as Probe
    from unseen.heads.prototypes import Prototypes as Prototypes
    from unseen.heads.ridge import Ridge as Ridge
    from unseen.heads.zero_shot import ZeroShot as ZeroShot
    from unseen.language import Texts as Texts
    from unseen.metrics import compare as compare
    from unseen.metrics import evaluate as evaluate
    from unseen.papers import EmbeddingWorld as EmbeddingWorld
    from unseen.registry import create as create
    from unseen.signals import Signals as Signals
    from unseen.signals import Support as Support
    from unseen.signals import TextBank as TextBank

_WHERE = {
    "audit": "unseen.api",
    "bench": "unseen.api",
    "cache": "unseen.api",
    "encode": "unseen.api",
    "export": "unseen.api",
    "extend": "unseen.api",
    "fit": "unseen.api",
    "info": "unseen.api",
    "load": "unseen.api",
    "score": "unseen.api",
    "backbones": "unseen.api.backbones",
    "attack": "unseen.api.attack",
    "bench_protocol": "unseen.api.declared",
    "bench_searched": "unseen.api.declared",
    "demo": "unseen.api.demo",
    "reproduce": "unseen.api.reproduce",
    "text": "unseen.api.text",
    "train": "unseen.api.train",
    "ClassConditional": "unseen.calibration",
    "SplitConformal": "unseen.calibration",
    "OpenSetClassifier": "unseen.classifier",
    "open_inputs": "unseen.data",
    "Detector": "unseen.detectors.base",
    "DICE": "unseen.detectors.dice",
    "Dropout": "unseen.detectors.dropout",
    "Energy": "unseen.detectors.energy",
    "KNN": "unseen.detectors.knn",
    "Mahalanobis": "unseen.detectors.mahalanobis",
    "MSP": "unseen.detectors.msp",
    "AdaSCALE": "unseen.detectors.adascale",
    "GODIN": "unseen.detectors.godin",
    "IODIN": "unseen.detectors.iodin",
    "MahalanobisODIN": "unseen.detectors.mahalanobis_odin",
    "MDSEnsemble": "unseen.detectors.mds_ensemble",
    "BinaryDiscriminator": "unseen.detectors.binary_discriminator",
    "WeightedEnergy": "unseen.detectors.weighted_energy",
    "OpenGAN": "unseen.detectors.opengan",
    "NCI": "unseen.detectors.nci",
    "Entropy": "unseen.detectors.entropy",
    "FDBD": "unseen.detectors.fdbd",
    "GaussianMixture": "unseen.detectors.gaussian_mixture",
    "GEN": "unseen.detectors.gen",
    "GradUncertainty": "unseen.detectors.grad_uncertainty",
    "GradNorm": "unseen.detectors.gradnorm",
    "Gram": "unseen.detectors.gram",
    "NAC": "unseen.detectors.nac",
    "RankFeat": "unseen.detectors.rankfeat",
    "CLIPN": "unseen.detectors.clipn",
    "EOE": "unseen.detectors.eoe",
    "GLMCM": "unseen.detectors.gl_mcm",
    "LMCM": "unseen.detectors.l_mcm",
    "MCM": "unseen.detectors.mcm",
    "NegLabel": "unseen.detectors.neglabel",
    "MCD": "unseen.detectors.mcd",
    "Ensemble": "unseen.detectors.ensemble",
    "GROOD": "unseen.detectors.grood",
    "KLMatching": "unseen.detectors.kl_matching",
    "KMeansMahalanobis": "unseen.detectors.kmeans_mahalanobis",
    "MaxLogit": "unseen.detectors.maxlogit",
    "NearestPrototype": "unseen.detectors.nearest_prototype",
    "ODIN": "unseen.detectors.odin",
    "OpenMax": "unseen.detectors.openmax",
    "PatchCore": "unseen.detectors.patchcore",
    "PixelGaussians": "unseen.detectors.pixel_gaussians",
    "PNML": "unseen.detectors.pnml",
    "ReAct": "unseen.detectors.react",
    "RelativeMahalanobis": "unseen.detectors.relative_mahalanobis",
    "Residual": "unseen.detectors.residual",
    "ResidualGEN": "unseen.detectors.residual_gen",
    "Temperature": "unseen.detectors.temperature",
    "SCALE": "unseen.detectors.scale",
    "SHE": "unseen.detectors.she",
    "ASH": "unseen.detectors.ash",
    "AbeT": "unseen.detectors.abet",
    "VRA": "unseen.detectors.vra",
    "LTS": "unseen.detectors.lts",
    "Unit": "unseen.detectors.unit",
    "NECO": "unseen.detectors.neco",
    "NNGuide": "unseen.detectors.nnguide",
    "ClassGaussians": "unseen.detectors.class_gaussians",
    "SSD": "unseen.detectors.ssd",
    "Relation": "unseen.detectors.relation",
    "CFOOD": "unseen.detectors.cfood",
    "IsolationForest": "unseen.detectors.isolation_forest",
    "KernelDensity": "unseen.detectors.kernel_density",
    "LocalOutlierFactor": "unseen.detectors.local_outlier_factor",
    "OneClassSVM": "unseen.detectors.one_class_svm",
    "PyOD": "unseen.detectors.pyod",
    "ViM": "unseen.detectors.vim",
    "Encoder": "unseen.encoders",
    "Own": "unseen.heads.own",
    "PLP": "unseen.heads.plp",
    "Probe": "unseen.heads.probe",
    "Prototypes": "unseen.heads.prototypes",
    "Ridge": "unseen.heads.ridge",
    "ZeroShot": "unseen.heads.zero_shot",
    "Texts": "unseen.language",
    "compare": "unseen.metrics",
    "evaluate": "unseen.metrics",
    "EmbeddingWorld": "unseen.papers",
    "create": "unseen.registry",
    "Signals": "unseen.signals",
    "Support": "unseen.signals",
    "TextBank": "unseen.signals",
}

__all__ = [  # noqa: PLE0604 - the names are strings
    "__version__",
    *_WHERE,
]

if not TYPE_CHECKING:  # else the type checker would accept any misspelt name

    def __getattr__(name: str) -> Any:
        if name not in _WHERE:
            raise AttributeError(f"module 'unseen' has no attribute {name!r}")
        value = getattr(importlib.import_module(_WHERE[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
