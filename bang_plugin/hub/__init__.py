"""BANG from Python: texts in, texts or hypotheses out."""

import fairseq  # noqa: F401  (registers everything before any of these modules is half imported)

from ..models.bang import BangModel
from .interface import BangHub
from .loading import from_pretrained

# fairseq's name for it; a model by itself knows nothing of tasks and decodings, which stand above it
BangModel.from_pretrained = staticmethod(from_pretrained)

__all__ = ["BangHub", "from_pretrained"]
