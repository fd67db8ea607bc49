"""Optimizers beyond fairseq's."""

import fairseq  # noqa: F401  (registers everything before any of these modules is half imported)
