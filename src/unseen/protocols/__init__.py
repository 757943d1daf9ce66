"""Declared experiments. Each tests the pipeline that ships and returns results; none prints or draws."""

from unseen.protocols.attack import Attack as Attack
from unseen.protocols.attack import attack as attack
from unseen.protocols.audit import Audit as Audit
from unseen.protocols.audit import audit as audit
from unseen.protocols.availability import Availability as Availability
from unseen.protocols.availability import Method as Method
from unseen.protocols.availability import availability as availability
from unseen.protocols.backbones import Backbones as Backbones
from unseen.protocols.backbones import backbones as backbones
from unseen.protocols.backbones import fit_line as fit_line
from unseen.protocols.backbones import knn_accuracy as knn_accuracy
from unseen.protocols.bench import DENSITY as DENSITY
from unseen.protocols.bench import Bench as Bench
from unseen.protocols.bench import BenchRow as BenchRow
from unseen.protocols.bench import Sources as Sources
from unseen.protocols.bench import bench as bench
from unseen.protocols.candidates import ALL as ALL
from unseen.protocols.candidates import requests_of as requests_of
