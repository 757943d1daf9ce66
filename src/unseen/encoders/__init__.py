"""Inputs -> signals. `base` holds the contract, `_encode` the only loop over inputs; other files are encoders."""

from unseen.encoders._encode import default_cache as default_cache
from unseen.encoders._encode import encode as encode
from unseen.encoders._texts import embed_texts as embed_texts
from unseen.encoders.base import Encoder as Encoder
from unseen.encoders.base import open_encoder as open_encoder
