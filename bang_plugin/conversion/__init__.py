"""Folders of transformers' models, read without running code, turned into checkpoints of ours."""

import fairseq  # noqa: F401  (registers everything before any of these modules is half imported)
