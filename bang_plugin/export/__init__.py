"""A trained model in other formats: ONNX graphs, and parameters without pickle."""

import fairseq  # noqa: F401  (registers everything before any of these modules is half imported)
