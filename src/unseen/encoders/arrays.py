"""Features and logits that somebody else computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unseen.encoders.base import Encoder
from unseen.errors import WrongUse
from unseen.signals import Request, key_of


class Arrays(Encoder):
    """Rows of ``.npy``, ``.npz`` or ``.safetensors`` files are the signals themselves; nothing is computed.

    Args:
        source: what made the arrays, in your own words. It goes into the id, so that a guard fitted on features
            of one model is not asked about another's.
    """

    accepts = "arrays"

    def __init__(self, source: str = "") -> None:
        self.source = source

    @property
    def id(self) -> str:
        """``arrays`` with the declared source."""
        return f"arrays:{self.source}" if self.source else "arrays"

    @property
    def provides(self) -> frozenset[str]:
        """Whatever the file holds; see `answer_columns`."""
        return frozenset()

    def answer_columns(self, columns: Mapping[str, Any], wanted: frozenset[str | Request]) -> dict[str, Any]:
        """The columns wanted, as they are (all of them where nothing is named).

        Where there is an ``embedding`` and no ``features``, it stands for them: a model without a projection between
        the two has one vector for both.

        Raises:
            WrongUse: when a column is not there.
        """
        if "embedding" in columns and "features" not in columns:
            columns = {**columns, "features": columns["embedding"]}
        keys = {key_of(want) for want in wanted} or set(columns)
        absent = sorted(keys - set(columns))
        if absent:
            raise WrongUse(f"the arrays hold {', '.join(columns)}; there is no {', '.join(absent)}")
        return {key: columns[key] for key in columns if key in keys}  # in the order of the file
