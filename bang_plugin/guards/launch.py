"""Training on CPUs, in one process or several.

fairseq starts one process per GPU: asked for two with ``--cpu`` it stops at an assertion, or starts none and
reports success. Here ``--cpu --distributed-world-size 2`` and ``torchrun`` do what they say.
"""

import functools
import logging
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

import torch
from fairseq.distributed import utils as distributed_utils
from omegaconf import DictConfig

from ..errors import BangError
from . import last_line, resuming
from .splits import refuse_shards

logger = logging.getLogger(__name__)

LAUNCHED = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK")  # what torchrun tells its processes
ON_CPU = {"distributed_backend": ("nccl", "gloo"), "ddp_backend": ("pytorch_ddp", "legacy_ddp")}


def guarded(call_main: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq's ``call_main``, which starts training."""

    @functools.wraps(call_main)
    def call(cfg: DictConfig, main: Callable[..., Any], **kwargs: Any) -> Any:
        refuse_shards(cfg)
        options = cfg.distributed_training
        launched = all(name in os.environ for name in LAUNCHED) and int(os.environ["WORLD_SIZE"]) > 1
        if resuming.is_training(main):
            if cfg.common.cpu or not torch.cuda.is_available():
                _check_precision(cfg.common)
                # oneDNN keeps what it has compiled for the last 1,024 shapes; those of batches hardly ever come again,
                # and what is kept between freed activations made the heap grow by a megabyte an update
                os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "0")
            resuming.prepare(cfg)
        cfg.common.user_dir = _where_it_is(cfg.common.user_dir)
        if cfg.common.bf16 and torch.cuda.is_available() and not cfg.common.cpu:
            cfg.common.tpu = options.tpu = False  # for which fairseq's command line takes --bf16
        main = functools.partial(_with_guards, main)
        if cfg.common.cpu and not launched and options.distributed_world_size == torch.cuda.device_count():
            # fairseq's default; one process is what a single --cpu means
            options.distributed_world_size = options.distributed_num_procs = 1
        if not cfg.common.cpu or not (launched or options.distributed_world_size > 1):
            return call_main(cfg, main, **kwargs)
        for name, (gpu, cpu) in ON_CPU.items():
            if options[name] == gpu:
                logger.info("--cpu: --%s %s instead of %s", name.replace("_", "-"), cpu, gpu)
                options[name] = cpu
        if options.distributed_init_method is None and launched:
            options.distributed_init_method = "env://"
            options.distributed_world_size = int(os.environ["WORLD_SIZE"])
            options.distributed_rank = int(os.environ["RANK"])
            options.distributed_no_spawn = True
        if int(os.environ.get("SLURM_NTASKS", 1)) > 1 and not launched:
            return call_main(cfg, main, **kwargs)  # one process per task of Slurm, which fairseq sees to
        if options.distributed_no_spawn:
            return distributed_utils.distributed_main(0, main, cfg, kwargs)
        if options.distributed_init_method is None:
            port = options.distributed_port if options.distributed_port > 0 else free_port()
            options.distributed_init_method = f"tcp://localhost:{port}"
        kwargs["start_rank"], options.distributed_rank = options.distributed_rank, None
        spawn(options.distributed_world_size, main, cfg, kwargs)

    return call


def _where_it_is(user_dir: str | None) -> str | None:
    """``--user-dir`` as an absolute path.

    fairseq also finds an installed package by its name, but as
    ``…/fairseq/../name``, and a new process that knows the package already takes that for another one of its name.
    """
    package = sys.modules.get(os.path.basename(user_dir or ""))
    if user_dir is None or package is None or os.path.exists(user_dir):
        return user_dir
    found = os.path.abspath(package.__path__[0])
    package.__path__.append(found)  # fairseq compares with these
    sys.path.insert(0, os.path.dirname(found))  # a new process gets this list and so finds the package under that path
    return found


def _with_guards(main: Callable[..., Any], cfg: DictConfig, **kwargs: Any) -> Any:
    """``main`` in what may be a new process, where nothing of fairseq's is guarded yet."""
    from . import table  # which names this module

    table.install()
    return last_line.wrapped(main, cfg, **kwargs)


def _check_precision(common: DictConfig) -> None:
    """Refuse what fairseq's trainer can do on GPUs only, and elsewhere ends in a traceback."""
    if common.bf16:
        raise BangError("--bf16 needs a GPU in training: leave it out on a CPU")
    if common.fp16 and not common.memory_efficient_fp16:
        raise BangError("--fp16 needs a GPU in training: leave it out on a CPU, or try --memory-efficient-fp16")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def spawn(processes: int, main: Callable[..., Any], cfg: DictConfig, kwargs: dict[str, Any]) -> None:
    """Run ``main`` in that many new processes; all end when one does so with an error.

    Raises:
        BangError: if one was killed.
        ProcessRaisedException: with the traceback of the one that failed.
    """
    try:
        torch.multiprocessing.spawn(_in_a_new_process, (main, cfg, kwargs), nprocs=processes)
    except torch.multiprocessing.ProcessExitedException as error:
        raise BangError(f"training {error}, perhaps for want of memory; the others were ended") from None


def _in_a_new_process(number: int, main: Callable[..., Any], cfg: DictConfig, kwargs: dict[str, Any]) -> None:
    last_line.wrapped(functools.partial(distributed_utils.distributed_main, number, main), cfg, kwargs)
