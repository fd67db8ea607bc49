"""What fairseq lacks when something goes wrong: checks and repairs around its own functions.

See ``docs/reliability.md`` for the faults that they meet.
"""

from . import binarised, launch, log_level, saving, text_input, training_faults


def install() -> None:
    """Put all of them around fairseq; idempotent."""
    for guard in (saving, binarised, text_input, launch, training_faults, log_level):
        guard.install()
