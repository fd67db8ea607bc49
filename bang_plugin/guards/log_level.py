"""The level of logging that fairseq's commands mean to have.

One of fairseq's speech models opens the root logger to everything when it is imported, before the commands set their
own level, which then has no effect: every library's DEBUG lines would be printed.
"""

import logging
import os


def install() -> None:
    """Back to INFO, unless ``LOGLEVEL=DEBUG`` (fairseq's own variable) asks for more; idempotent."""
    root = logging.getLogger()
    if root.level == logging.DEBUG and os.environ.get("LOGLEVEL", "").upper() != "DEBUG":
        root.setLevel(logging.INFO)
