"""Checkpoint files: read safely, checked, and fitted to a model."""

import fairseq  # noqa: F401  (registers everything before any of these modules is half imported)
