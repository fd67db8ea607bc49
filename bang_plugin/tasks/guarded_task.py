"""Puts the guards around fairseq when a task of ours is used, and not before."""

import argparse
from typing import Tuple

from ..data.dictionary import load_dictionary
from ..guards import table


class GuardedTask:
    """Task mix-in: each of fairseq's commands calls one of these first, and then nothing is left to guard too late."""

    objective: dict | None = None  # what the best checkpoint is the best of, see guards/best_checkpoint.py

    decoding_options: Tuple[str, ...] = ()  # those of this task that say how it writes

    @classmethod
    def add_args(cls, parser):
        # fairseq asks every task of a --user-dir for its options (for its own documentation), with a group of a parser
        if isinstance(parser, argparse.ArgumentParser):
            table.install()
        super().add_args(parser)

    @classmethod
    def setup_task(cls, cfg, **kwargs):
        table.install()
        return super().setup_task(cfg, **kwargs)

    @classmethod
    def load_dictionary(cls, filename):
        table.install()
        return load_dictionary(filename)

    @classmethod
    def build_dictionary(cls, filenames, *args, **kwargs):
        table.install()
        return super().build_dictionary(filenames, *args, **kwargs)

    def get_checkpoint_dict(self) -> dict:
        """What fairseq adds to a checkpoint's ``extra_state``."""
        return {"objective": self.objective}
