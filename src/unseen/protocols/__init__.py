"""Declared experiments. Each tests the pipeline that ships and returns results; none prints or draws."""

from unseen.protocols.audit import Audit as Audit
from unseen.protocols.audit import audit as audit
