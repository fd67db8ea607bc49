"""The task under the official release's names, with what else its command lines need."""

import argparse
from dataclasses import dataclass

from fairseq.tasks import register_task

from .bang import BangConfig, BangTask


class ReleaseTask(BangTask):
    """``bang`` with the options that fairseq 0.9, for which the release was written, called otherwise."""

    @classmethod
    def add_args(cls, parser: argparse.ArgumentParser) -> None:
        """The task's options and, in training, ``--min-lr`` as another name of ``--stop-min-lr``."""
        super().add_args(parser)
        if parser.get_default("stop_min_lr") is not None:
            parser.add_argument("--min-lr", dest="stop_min_lr", type=float, default=argparse.SUPPRESS)


@dataclass
class ReleaseNarConfig(BangConfig):
    """Options of the tasks for NAR."""

    decoding: str = "nar"


@register_task("translation_bang", dataclass=BangConfig)
class ReleaseBangTask(ReleaseTask):
    """``bang`` under the official release's name."""


@register_task("translation_bang_nar", dataclass=ReleaseNarConfig)
class ReleaseNarTask(ReleaseTask):
    """``bang --decoding nar`` under the official release's name."""


@register_task("translation_prophetnet", dataclass=BangConfig)
class EarlyReleaseBangTask(ReleaseTask):
    """``bang`` under its name in the official release's first commits."""


@register_task("translation_prophetnet_nar", dataclass=ReleaseNarConfig)
class EarlyReleaseNarTask(ReleaseTask):
    """``bang --decoding nar`` under its name in the official release's first commits."""
