"""BANG for fairseq: one encoder-decoder that writes autoregressively, non-autoregressively and in between.

``fairseq-train --user-dir bang_plugin …`` imports this package, which registers the model, the criterion,
the optimizer and the tasks.
"""

from . import checkpoints, errors, guards

for _part in (errors, checkpoints, guards):
    _part.install()

from .criterions import nstream_loss  # noqa: E402, F401  (fairseq imports tasks and models by itself)
from .data import wordpiece  # noqa: E402, F401
from .models import bang as _model  # noqa: E402, F401
from .optim import torch_adamw  # noqa: E402, F401
from .tasks import bang as _bang_task  # noqa: E402, F401
from .tasks import bang_pretraining  # noqa: E402, F401

__version__ = "0.1.0"
