"""Declared experiments. Each tests the pipeline that ships and returns results; none prints or draws."""

from unseen.protocols.audit import Audit as Audit
from unseen.protocols.audit import audit as audit
from unseen.protocols.bench import DENSITY as DENSITY
from unseen.protocols.bench import Bench as Bench
from unseen.protocols.bench import BenchRow as BenchRow
from unseen.protocols.bench import Sources as Sources
from unseen.protocols.bench import bench as bench
from unseen.protocols.candidates import ALL as ALL
from unseen.protocols.candidates import requests_of as requests_of
