"""How training choices change AR and NAR quality: one small task, many ways to train."""

import tempfile
from functools import partial
from pathlib import Path

from bang_plugin.evaluation.files import write_whole
from bang_plugin.evaluation.tables import print_table
from scripts import pronunciations
from scripts.demo import TRAINING

from ..recipe import AR_SHARE, Mode, Recipe, decodings
from ..workspace import read_lines, write_lines, write_text
from . import compare

UPDATES = 1200
BOTH = ("ar", "nar")


def source(folder: Path, most: int | None) -> None:
    """Spelling to phonemes from the CMU pronouncing dictionary, with all pronunciations of the test words."""
    with tempfile.TemporaryDirectory() as temporary:
        pronunciations.write(Path(temporary), most)
        for file in Path(temporary).iterdir():
            write_lines(folder / file.name.replace("valid", "dev"), read_lines(file))


def joint(**changes) -> Mode:
    """The base line, with some options changed."""
    return Mode({f"--{name.replace('_', '-')}": value for name, value in changes.items()}, BOTH)


def report(work, runs) -> None:
    """Word error rates of every strategy against the base line's, as a table and as bars."""
    from .plot import plot_strategies

    strategies = dict.fromkeys(run.mode.split(", ")[0] for run in runs)
    write_text(work.folder / "strategies.md", print_table(compare.table(work, list(strategies))))
    write_whole(work.folder / "strategies.png", partial(plot_strategies, runs))


RECIPE = Recipe(
    name="training_strategies",
    title="Learning-rate schedules, clipping, smoothing, dropout, joint and separate training, distillation.",
    source=source,
    # the demo's, but in less time: one stream only (the cheapest), as much NAR as AR, and a shorter warm-up; Adam as
    # fairseq has it, and at a rate that suits the schedules that do not come down too
    training={
        **TRAINING,
        "--ngram": 1,
        "--nar-ratio": 0.5,
        "--anchors": None,
        "--stream-weights": None,
        "--attention-backend": None,
        "--optimizer": "adam",
        "--lr": 1e-3,
        "--warmup-updates": 100,
        "--max-update": UPDATES,
        "--total-num-update": UPDATES,
    },
    modes={
        # separate training; the name makes it the teacher of --distil
        "ar": Mode({"--nar-ratio": 0}, ("ar",)),
        "nar": Mode({"--nar-ratio": 1}, ("nar",)),
        "joint": joint(),
        # the base line again: how far two runs differ that differ in nothing
        "seed_2": joint(seed=2),
        "four_streams": joint(ngram=4),
        "ar_first": joint(ngram=4, anchors=1, stream_weights="3,1,1,1", ar_updates=round(AR_SHARE * UPDATES)),
        "inverse_sqrt": joint(lr_scheduler="inverse_sqrt", total_num_update=None),
        "cosine": joint(lr_scheduler="cosine", total_num_update=None),
        "constant": joint(lr_scheduler="fixed", total_num_update=None),
        "no_clipping": joint(clip_norm=0),
        "clip_0.1": joint(clip_norm=0.1),
        "smoothing_0.1": joint(label_smoothing=0.1),
        "dropout_0.1": joint(dropout=0.1),
    },
    decodings={name: {**options, "--beam": 1} for name, options in decodings(longest=40, collapse=False).items()},
    metrics={"per": ("phoneme_error_rate",), "wer": ("word_error_rate",)},
    pieces=0,
    report=report,
)
