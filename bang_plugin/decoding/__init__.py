"""Decoding beyond fairseq's SequenceGenerator: the cache that all modes share, and the modes."""

import fairseq  # noqa: F401  (registers everything before any of these modules is half imported)
