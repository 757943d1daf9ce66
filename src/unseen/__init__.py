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
    from unseen.api.demo import demo as demo
    from unseen.calibration import ClassConditional as ClassConditional
    from unseen.calibration import SplitConformal as SplitConformal
    from unseen.classifier import OpenSetClassifier as OpenSetClassifier
    from unseen.data import open_inputs as open_inputs
    from unseen.detectors.ash import ASH as ASH
    from unseen.detectors.base import Detector as Detector
    from unseen.detectors.cfood import CFOOD as CFOOD
    from unseen.detectors.class_gaussians import ClassGaussians as ClassGaussians
    from unseen.detectors.dice import DICE as DICE
    from unseen.detectors.energy import Energy as Energy
    from unseen.detectors.entropy import Entropy as Entropy
    from unseen.detectors.fdbd import FDBD as FDBD
    from unseen.detectors.gen import GEN as GEN
    from unseen.detectors.grad_uncertainty import GradUncertainty as GradUncertainty
    from unseen.detectors.gradnorm import GradNorm as GradNorm
    from unseen.detectors.kl_matching import KLMatching as KLMatching
    from unseen.detectors.knn import KNN as KNN
    from unseen.detectors.lts import LTS as LTS
    from unseen.detectors.mahalanobis import Mahalanobis as Mahalanobis
    from unseen.detectors.maxlogit import MaxLogit as MaxLogit
    from unseen.detectors.msp import MSP as MSP
    from unseen.detectors.nci import NCI as NCI
    from unseen.detectors.nearest_prototype import NearestPrototype as NearestPrototype
    from unseen.detectors.neco import NECO as NECO
    from unseen.detectors.nnguide import NNGuide as NNGuide
    from unseen.detectors.openmax import OpenMax as OpenMax
    from unseen.detectors.pnml import PNML as PNML
    from unseen.detectors.react import ReAct as ReAct
    from unseen.detectors.relation import Relation as Relation
    from unseen.detectors.relative_mahalanobis import RelativeMahalanobis as RelativeMahalanobis
    from unseen.detectors.residual import Residual as Residual
    from unseen.detectors.scale import SCALE as SCALE
    from unseen.detectors.she import SHE as SHE
    from unseen.detectors.ssd import SSD as SSD
    from unseen.detectors.temperature import Temperature as Temperature
    from unseen.detectors.unit import Unit as Unit
    from unseen.detectors.vim import ViM as ViM
    from unseen.detectors.vra import VRA as VRA
    from unseen.encoders import Encoder as Encoder
    from unseen.heads.own import Own as Own
    from unseen.heads.probe import Probe as Probe
    from unseen.heads.prototypes import Prototypes as Prototypes
    from unseen.heads.ridge import Ridge as Ridge
    from unseen.metrics import compare as compare
    from unseen.metrics import evaluate as evaluate
    from unseen.registry import create as create
    from unseen.signals import Signals as Signals
    from unseen.signals import Support as Support

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
    "demo": "unseen.api.demo",
    "ClassConditional": "unseen.calibration",
    "SplitConformal": "unseen.calibration",
    "OpenSetClassifier": "unseen.classifier",
    "open_inputs": "unseen.data",
    "Detector": "unseen.detectors.base",
    "DICE": "unseen.detectors.dice",
    "Energy": "unseen.detectors.energy",
    "KNN": "unseen.detectors.knn",
    "Mahalanobis": "unseen.detectors.mahalanobis",
    "MSP": "unseen.detectors.msp",
    "NCI": "unseen.detectors.nci",
    "Entropy": "unseen.detectors.entropy",
    "FDBD": "unseen.detectors.fdbd",
    "GEN": "unseen.detectors.gen",
    "GradUncertainty": "unseen.detectors.grad_uncertainty",
    "GradNorm": "unseen.detectors.gradnorm",
    "KLMatching": "unseen.detectors.kl_matching",
    "MaxLogit": "unseen.detectors.maxlogit",
    "NearestPrototype": "unseen.detectors.nearest_prototype",
    "OpenMax": "unseen.detectors.openmax",
    "PNML": "unseen.detectors.pnml",
    "ReAct": "unseen.detectors.react",
    "RelativeMahalanobis": "unseen.detectors.relative_mahalanobis",
    "Residual": "unseen.detectors.residual",
    "Temperature": "unseen.detectors.temperature",
    "SCALE": "unseen.detectors.scale",
    "SHE": "unseen.detectors.she",
    "ASH": "unseen.detectors.ash",
    "VRA": "unseen.detectors.vra",
    "LTS": "unseen.detectors.lts",
    "Unit": "unseen.detectors.unit",
    "NECO": "unseen.detectors.neco",
    "NNGuide": "unseen.detectors.nnguide",
    "ClassGaussians": "unseen.detectors.class_gaussians",
    "SSD": "unseen.detectors.ssd",
    "Relation": "unseen.detectors.relation",
    "CFOOD": "unseen.detectors.cfood",
    "ViM": "unseen.detectors.vim",
    "Encoder": "unseen.encoders",
    "Own": "unseen.heads.own",
    "Probe": "unseen.heads.probe",
    "Prototypes": "unseen.heads.prototypes",
    "Ridge": "unseen.heads.ridge",
    "compare": "unseen.metrics",
    "evaluate": "unseen.metrics",
    "create": "unseen.registry",
    "Signals": "unseen.signals",
    "Support": "unseen.signals",
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
