"""BANG's encoder, decoder and the registered model."""

import fairseq  # noqa: F401  (registers everything before any of these modules is half imported)
