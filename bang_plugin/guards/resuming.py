"""How a training starts: from which checkpoint, on every process, and whether it will be able to save one."""

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from fairseq.distributed import utils as distributed_utils
from fairseq.file_io import PathManager
from omegaconf import DictConfig

from ..checkpoints import files
from ..errors import BangError

if TYPE_CHECKING:
    from fairseq.trainer import Trainer

DEFAULT = "checkpoint_last.pt"  # of --restore-file: the only file that may be missing


def is_training(main: Callable[..., Any]) -> bool:
    """Whether ``main`` is fairseq-train's, also if that runs as ``python -m fairseq_cli.train``."""
    return getattr(main.__globals__.get("__spec__"), "name", None) == "fairseq_cli.train"


def prepare(cfg: DictConfig) -> None:
    """Look at the checkpoint that training will start from; with one, ``--load-from-pretrained-model`` is forgotten.

    Raises:
        BangError: if it is missing, or the options do not let checkpoints be written.
    """
    if cfg.checkpoint.write_checkpoints_asynchronously:
        raise BangError(
            "--write-checkpoints-asynchronously: refused, because fairseq writes neither checkpoint_last.pt nor "
            "checkpoint_best.pt with it, and may leave half a file; leave it out"
        )
    option, path = starting_point(cfg.checkpoint)
    if PathManager.isfile(path):
        if getattr(cfg.model, "load_from_pretrained_model", None):
            cfg.model.load_from_pretrained_model = None  # its file may be gone by now
    elif option is not None:
        raise BangError(f"{option} {path}: no such checkpoint")


def starting_point(options: DictConfig) -> tuple[str | None, str]:
    """The file that fairseq's ``load_checkpoint`` will look for, and the option that names it, if one does."""
    suffix = options.checkpoint_suffix or ""
    if options.restore_file != DEFAULT:
        return "--restore-file", options.restore_file.replace(".pt", f"{suffix}.pt")
    last = os.path.join(options.save_dir, f"checkpoint_last{suffix}.pt")
    if not PathManager.exists(last):
        for name in ("continue_once", "finetune_from_model"):
            if getattr(options, name, None) is not None:
                return f"--{name.replace('_', '-')}", getattr(options, name)
    return None, last


def guarded_load(load: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq's ``Trainer.load_checkpoint``: with the dictionary compared, and all processes or none."""

    @functools.wraps(load)
    def load_checkpoint(self: "Trainer", filename: str, *args: Any, **kwargs: Any) -> Any:
        _check_all_see(self, filename)
        token = files.ema_wanted.set(self.cfg.ema.store_ema)
        try:
            extra_state = load(self, filename, *args, **kwargs)
        finally:
            files.ema_wanted.reset(token)
        check = getattr(self.task, "check_dictionary", None)  # absent from tasks of others
        if check is not None:
            check((extra_state or {}).get("dictionary"), filename)
        return extra_state

    return load_checkpoint


def _check_all_see(trainer: "Trainer", path: str) -> None:
    """Ask the other processes whether they see the file.

    Raises:
        BangError: if some processes, on hosts without a common disk, do not see the file: the others would wait.
    """
    processes = trainer.data_parallel_world_size
    if processes == 1:
        return
    there = torch.tensor([float(PathManager.isfile(path))], device=trainer.device)
    distributed_utils.all_reduce(there, group=trainer.data_parallel_process_group)
    if 0 < there.item() < processes:
        raise BangError(
            f"{path}: only {int(there.item())} of {processes} processes see it; put it on a disk that all hosts share, "
            "or copy it to each"
        )


def broadcast_parts(broadcast: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq's ``_broadcast_object_slow`` by torch's own, which takes every object.

    What it unpickles was written by another process of this training, which has read its file without running code.
    """

    @functools.wraps(broadcast)
    def _broadcast_object_slow(obj: Any, src_rank: int, group: Any, dist_device: torch.device) -> Any:
        parts = [obj]
        torch.distributed.broadcast_object_list(parts, src=src_rank, group=group, device=dist_device)
        return parts[0]

    return _broadcast_object_slow
