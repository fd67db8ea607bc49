"""Everything of fairseq's that is replaced while a task of ours is in use, in one table.

Importing the package changes nothing. ``install`` is called as soon as one of our tasks is chosen on a command
line, set up, or its models are loaded from Python. ``BANG_GUARDS=0`` leaves fairseq as it is then too.
"""

import builtins
import importlib
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..checkpoints import files
from . import (
    best_checkpoint,
    binarised,
    last_line,
    launch,
    loading,
    log_level,
    resuming,
    saving,
    splits,
    text_input,
    training_faults,
)

logger = logging.getLogger(__name__)

SWITCH = "BANG_GUARDS"


@dataclass(frozen=True)
class Change:
    """One function of fairseq's that is replaced.

    Attributes:
        owner: the module, or ``module:Class``, whose attribute it is.
        name: the attribute; a name that the module lacks means Python's built-in function.
        wrap: takes the function that is there (a class or static method's plain function), returns the one that
            takes its place.
        why: what fairseq does without it.
        only_if_loaded: leave the module alone unless it is imported, or runs as the program.
    """

    owner: str
    name: str
    wrap: Callable[[Callable[..., Any]], Callable[..., Any]]
    why: str
    only_if_loaded: bool = False


CHANGES = (
    Change(
        "fairseq.checkpoint_utils",
        "load_checkpoint_to_cpu",
        files.guarded,
        "damaged, foreign and harmful files end in tracebacks, or load",
    ),
    Change(
        "fairseq.checkpoint_utils",
        "_upgrade_state_dict",
        files.completed,
        "published files that hold parameters and configuration alone end in a traceback",
    ),
    Change(
        "fairseq.trainer:Trainer",
        "load_checkpoint",
        resuming.guarded_load,
        "training goes on from a checkpoint of another dictionary; processes that do not see the file wait for ever; a "
        "moving average cannot start from a checkpoint without one",
    ),
    Change(
        "fairseq.distributed.utils",
        "_broadcast_object_slow",
        resuming.broadcast_parts,
        "torch refuses to load what several processes tell each other of a checkpoint",
    ),
    Change(
        "fairseq.checkpoint_utils",
        "load_model_ensemble_and_task",
        files.existing,
        "a --path that is missing ends in a traceback",
    ),
    Change(
        "fairseq.checkpoint_utils",
        "load_checkpoint",
        best_checkpoint.guarded,
        "a metric that is not logged ends in a traceback after an epoch; the best of another objective stays best",
    ),
    Change(
        "fairseq_cli.train",
        "validate",
        best_checkpoint.counted,
        "the best checkpoint, --patience and a plateau count from a phase that does not train what is validated",
        only_if_loaded=True,
    ),
    Change(
        "fairseq.checkpoint_utils",
        "torch_persistent_save",
        saving.guarded_save,
        "a checkpoint's name is given to files before their bytes are on the disk",
    ),
    Change(
        "fairseq.checkpoint_utils",
        "verify_checkpoint_directory",
        saving.guarded_folder,
        "leftovers of killed runs stay; a --save-dir that cannot be written to ends in a traceback",
    ),
    Change(
        "fairseq.file_io:PathManager",
        "copy",
        saving.guarded_copy,
        "checkpoint_last.pt is overwritten in place",
    ),
    Change(
        "fairseq.data.data_utils",
        "load_indexed_dataset",
        binarised.guarded_load,
        "damaged data and data of another dictionary train silently",
    ),
    Change(
        "fairseq.data.indexed_dataset",
        "make_dataset",
        binarised.mapped,
        "data of --dataset-impl cached end in a traceback; several processes read each other's sentences of lazy ones",
    ),
    Change(
        "fairseq.data.data_utils",
        "batch_by_size",
        loading.complete,
        "up to seven of the longest sentences are left out, and fewer than eight are no data",
    ),
    Change(
        "fairseq.data.data_utils",
        "_find_extra_valid_paths",
        splits.split_names,
        "with a valid1 beside valid, training stops whatever --valid-subset names",
    ),
    Change(
        "fairseq.data.data_utils",
        "raise_if_valid_subsets_unintentionally_ignored",
        splits.checked_validation_sets,
        "--combine-val with several names ends in a traceback",
    ),
    Change(
        "fairseq.data.iterators:EpochBatchIterator",
        "_get_iterator_for_epoch",
        loading.released,
        "the data-loading processes of past epochs stay",
    ),
    Change(
        "fairseq.data.iterators:BufferedIterator",
        "_create_consumer",
        loading.dismissed,
        "so do those of an epoch that is left early (--max-valid-steps)",
    ),
    Change(
        splits.GENERATE,
        "main",
        splits.sharded,
        "--num-shards and --shard-id do nothing: every shard is the whole test set",
        only_if_loaded=True,
    ),
    Change(
        "fairseq.binarizer:FileBinarizer",
        "multiprocess_dataset",
        binarised.guarded_write,
        "nothing tells which dictionary binarised data were made with",
    ),
    Change(
        "fairseq.distributed.utils",
        "call_main",
        launch.guarded,
        "several processes on a CPU stop at an assertion or train nothing",
    ),
    Change(
        "fairseq.trainer:Trainer",
        "train_step",
        training_faults.guarded,
        "numbers out of range end in a traceback, or on a CPU in another error",
    ),
    Change(
        "fairseq.logging.meters:MetersDict",
        "get_smoothed_values",
        training_faults.known_values,
        "what was not computed in an interval is logged as None",
    ),
    Change(
        "fairseq.file_chunker_utils",
        "open",
        text_input.tolerant_open,
        "fairseq-preprocess stops at bytes that are not UTF-8 and ends lines at carriage returns",
    ),
    Change(
        "fairseq.data.indexed_dataset",
        "open",
        text_input.tolerant_open,
        "--dataset-impl raw likewise",
    ),
    Change(
        text_input.INTERACTIVE,
        "buffered_read",
        text_input.tolerant_buffered_read,
        "fairseq-interactive likewise",
        only_if_loaded=True,
    ),
    Change(
        text_input.INTERACTIVE,
        "make_batches",
        text_input.numbered,
        "the task is not told the line numbers that fairseq-interactive prints",
        only_if_loaded=True,
    ),
)


def install() -> None:
    """Apply the table, once; what has been imported since the last call is changed by the next.

    With ``BANG_GUARDS=0`` in the environment only Python's last line of an error is ours, which ``BANG_TRACEBACK=1``
    gives back.
    """
    last_line.install()
    if os.environ.get(SWITCH, "1") == "0":
        return
    log_level.install()
    for change in CHANGES:
        for owner in _owners(change):
            _apply(owner, change)


def _owners(change: Change) -> list[Any]:
    module, _, name = change.owner.partition(":")
    if change.only_if_loaded:
        there = (sys.modules.get(module), sys.modules["__main__"])
        return [m for m in there if getattr(getattr(m, "__spec__", None), "name", None) == module]
    owner = importlib.import_module(module)
    return [getattr(owner, name) if name else owner]


def _apply(owner: Any, change: Change) -> None:
    there = vars(owner).get(change.name)
    kind = type(there) if isinstance(there, (classmethod, staticmethod)) else None
    original = there.__func__ if kind else there or getattr(builtins, change.name)
    if hasattr(original, "is_bang_guard"):
        return
    replacement: Any = change.wrap(original)
    replacement.is_bang_guard = True
    setattr(owner, change.name, kind(replacement) if kind else replacement)
