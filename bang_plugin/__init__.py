"""BANG for fairseq: one encoder-decoder that writes autoregressively, non-autoregressively and in between.

``fairseq-train --user-dir bang_plugin …`` imports this package, which registers the model, the criterion,
the optimizer and the tasks as soon as fairseq is there, and lets torch read their checkpoints. Nothing of fairseq is
changed before one of the tasks is used, see ``guards/table.py``; a command line that names one is told its mistakes by
``guards/last_line.py`` from here on.
"""

from types import ModuleType

from wrapt import when_imported

__version__ = "0.1.0"


@when_imported("fairseq")
def _register(fairseq: ModuleType) -> None:
    """Now, or later should the program import fairseq later: ``bang_plugin.evaluation`` can do without it."""
    from fairseq.tasks import TASK_REGISTRY

    from . import hub  # noqa: F401
    from .checkpoints import files
    from .criterions import nstream_loss  # noqa: F401
    from .data import wordpiece  # noqa: F401
    from .guards import last_line
    from .models import bang as _model  # noqa: F401
    from .optim import torch_adamw  # noqa: F401
    from .tasks import bang as _bang_task  # noqa: F401
    from .tasks import bang_pretraining, release_names  # noqa: F401
    from .tasks.guarded_task import GuardedTask

    files.allow_classes()
    last_line.install_if_chosen([name for name, task in TASK_REGISTRY.items() if issubclass(task, GuardedTask)])
