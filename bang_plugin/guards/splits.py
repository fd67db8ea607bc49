"""Which parts of the data are read: shards of fairseq-generate, and the validation sets of fairseq-train."""

import functools
import os
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import DictConfig

from ..errors import BangError

GENERATE = "fairseq_cli.generate"


def sharded(main: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq-generate's ``main``, for which ``--num-shards`` and ``--shard-id`` count.

    With ``--results-path`` every shard writes into a folder of its own there, ``shard0-of-3``, and ``--trace-file
    trace.jsonl`` means ``trace.shard0-of-3.jsonl``.

    Raises:
        BangError: if there is no such shard.
    """

    @functools.wraps(main)
    def guarded(cfg: Namespace | DictConfig, *args: Any, **kwargs: Any) -> Any:
        if isinstance(cfg, Namespace):
            cfg = convert_namespace_to_omegaconf(cfg)
        shards, shard = cfg.dataset.num_shards, cfg.dataset.shard_id
        if not 0 <= shard < max(shards, 1):
            raise BangError(f"--shard-id {shard}: the shards of --num-shards {shards} are 0 to {shards - 1}")
        if shards > 1:
            options = cfg.distributed_training  # by which fairseq-generate deals out batches
            options.distributed_rank = shard * options.distributed_world_size + options.distributed_rank
            options.distributed_world_size *= shards
            name = f"shard{shard}-of-{shards}"
            if cfg.common_eval.results_path is not None:
                cfg.common_eval.results_path = os.path.join(cfg.common_eval.results_path, name)
            if cfg.task.get("trace_file"):
                cfg.task.trace_file = f".{name}".join(os.path.splitext(cfg.task.trace_file))
        return main(cfg, *args, **kwargs)

    return guarded


def refuse_shards(cfg: DictConfig) -> None:
    """Refuse the options that fairseq-generate alone understands.

    Raises:
        BangError: if a command that does not know shards is asked for one.
    """
    if cfg.dataset.num_shards != 1 or cfg.dataset.shard_id != 0:
        raise BangError("--num-shards and --shard-id are for fairseq-generate alone")


def split_names(find_extra_valid_paths: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq's ``_find_extra_valid_paths``: splits, where it means names of files (``valid1.en-de.en``)."""

    @functools.wraps(find_extra_valid_paths)
    def guarded(dataset_path: str) -> set[str]:
        return {name.partition(".")[0] for name in find_extra_valid_paths(dataset_path)}

    return guarded


def checked_validation_sets(raise_if_ignored: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq's ``raise_if_valid_subsets_unintentionally_ignored``, and the reverse.

    Raises:
        BangError: if a validation set is neither named nor combined, or both.
    """

    @functools.wraps(raise_if_ignored)
    def guarded(cfg: DictConfig) -> None:
        if cfg.dataset.combine_valid_subsets and cfg.dataset.valid_subset != "valid":
            raise BangError(
                f"--combine-val makes one set of valid, valid1, …; leave out --valid-subset {cfg.dataset.valid_subset}"
            )
        try:
            raise_if_ignored(cfg)
        except ValueError as error:
            raise BangError(f"{error} Or name them: --valid-subset valid,valid1") from error
        except OSError as error:
            raise BangError(
                f"{error.filename}: {error.strerror}; give folders that fairseq-preprocess wrote"
            ) from error

    return guarded
