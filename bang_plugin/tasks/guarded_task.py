"""Puts the guards around fairseq when a task of ours is used, and not before."""

import argparse
from typing import Any, Self

from fairseq.data import Dictionary
from fairseq.dataclass import FairseqDataclass
from fairseq.tasks import FairseqTask

from ..data.dictionary import load_dictionary
from ..guards import table


class GuardedTask(FairseqTask):
    """Task mix-in: each of fairseq's commands calls one of these first, and then nothing is left to guard too late."""

    objective: dict[str, Any] | None = None  # what the best checkpoint is the best of, see guards/best_checkpoint.py

    decoding_options: tuple[str, ...] = ()  # those of this task that say how it writes

    @classmethod
    def add_args(cls, parser: Any) -> None:
        """fairseq's, once the guards are in place."""
        # fairseq asks every task of a --user-dir for its options (for its own documentation), with a group of a parser
        if isinstance(parser, argparse.ArgumentParser):
            table.install()
        super().add_args(parser)

    @classmethod
    def setup_task(cls, cfg: FairseqDataclass, **kwargs: Any) -> Self:
        """fairseq's, once the guards are in place."""
        table.install()
        return super().setup_task(cfg, **kwargs)

    @classmethod
    def load_dictionary(cls, filename: str) -> Dictionary:
        """See ``bang_plugin.data.dictionary.load_dictionary``."""
        table.install()
        return load_dictionary(filename)

    @classmethod
    def build_dictionary(cls, filenames: list[str], *args: Any, **kwargs: Any) -> Dictionary:
        """fairseq's, once the guards are in place."""
        table.install()
        return super().build_dictionary(filenames, *args, **kwargs)

    def get_checkpoint_dict(self) -> dict[str, Any]:
        """What fairseq adds to a checkpoint's ``extra_state``."""
        return {"objective": self.objective}
