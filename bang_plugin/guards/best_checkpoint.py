"""The best checkpoint: chosen by a metric that is logged, and among checkpoints of one objective."""

import argparse
import functools
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from fairseq import checkpoint_utils, metrics
from fairseq.tasks import FairseqTask
from omegaconf import DictConfig, OmegaConf

from ..errors import BangError

if TYPE_CHECKING:
    from fairseq.trainer import Trainer

logger = logging.getLogger(__name__)

LOWER_IS_BETTER = ("loss", "nll", "ppl")  # what a metric's name ends in
HIGHER_IS_BETTER = ("bleu", "accuracy")
NO_METRICS = ("wps", "wpb", "bsz")  # speeds and sizes, logged beside them
# options of criterion and task on which validation does not depend
IRRELEVANT = {"seed", "anchors", "ar_updates", "print_trace", "trace_file", "eval_bleu_print_samples"}


def guarded(load_checkpoint: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq's ``load_checkpoint``, which every training calls once before it starts; others' tasks are left alone.

    Raises:
        BangError: if validation does not log ``--best-checkpoint-metric``, or that is sought on the wrong side.
    """

    @functools.wraps(load_checkpoint)
    def load(cfg: DictConfig, trainer: "Trainer", **kwargs: Any) -> Any:
        if not hasattr(trainer.task, "objective"):
            return load_checkpoint(cfg, trainer, **kwargs)
        _forget_best()
        _check_validation(cfg, trainer)
        _warn_of_no_best(trainer)
        extra_state, epoch_itr = load_checkpoint(cfg, trainer, **kwargs)
        theirs = (extra_state or {}).get("objective")
        ours = trainer.task.objective = theirs if trainer.cfg.dataset.disable_validation else _objective(trainer)
        if extra_state is not None and _given(theirs) != _given(ours):
            _begin_anew(cfg, trainer, theirs, ours)
        return extra_state, epoch_itr

    return load


def counted(validate: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq-train's ``validate``: while ``--ar-updates`` train AR alone, its values are logged and count for nothing.

    They are of all that will be trained, most of which is not yet: they choose no best checkpoint, end no training and
    lower no learning rate. fairseq takes None for "not validated".
    """

    @functools.wraps(validate)
    def guarded_validate(cfg: DictConfig, trainer: "Trainer", *args: Any, **kwargs: Any) -> Any:
        losses = validate(cfg, trainer, *args, **kwargs)
        ar_updates = _ar_updates(trainer)
        return [None] * len(losses) if ar_updates and trainer.get_num_updates() <= ar_updates else losses

    return guarded_validate


def _ar_updates(trainer: "Trainer") -> int:
    return getattr(trainer.get_criterion(), "ar_updates", 0)


def _warn_of_no_best(trainer: "Trainer") -> None:
    """AR alone to the end: the last checkpoint is all that there will be."""
    ar_updates, last = _ar_updates(trainer), trainer.cfg.optimization.max_update
    if 0 < last <= ar_updates:
        logger.warning(f"--ar-updates {ar_updates}: --max-update {last} ends before anything but AR is trained")


def _check_validation(cfg: DictConfig, trainer: "Trainer") -> None:
    """Validate on one sentence of each set, and see what is logged."""
    if trainer.cfg.dataset.disable_validation:
        for option in ("patience", "keep_best_checkpoints"):
            if getattr(cfg, option) > 0:
                raise BangError(f"--{option.replace('_', '-')} needs validation: leave out --disable-validation")
        return
    metric = cfg.best_checkpoint_metric
    # a task whose validation writes leaves no trace of the trial
    task = trainer.task.for_trial(trainer.get_model()) if hasattr(trainer.task, "for_trial") else trainer.task
    for subset in trainer.cfg.dataset.valid_subset.split(","):
        known = _logged(trainer, task, subset)
        if metric not in known:
            hint = "; BLEU needs --eval-bleu" if metric.endswith("bleu") and "bleu" not in known else ""
            raise BangError(
                f"--best-checkpoint-metric {metric}: validation on {subset} logs {', '.join(known)}; choose one{hint}"
            )
    if metric.endswith(LOWER_IS_BETTER) and cfg.maximize_best_checkpoint_metric:
        raise BangError(
            f"--best-checkpoint-metric {metric}: less is better; leave out --maximize-best-checkpoint-metric"
        )
    if metric.endswith(HIGHER_IS_BETTER) and not cfg.maximize_best_checkpoint_metric:
        raise BangError(f"--best-checkpoint-metric {metric}: more is better; add --maximize-best-checkpoint-metric")


def _logged(trainer: "Trainer", task: FairseqTask, subset: str) -> list[str]:
    """The metrics that validation logs, found out on the last sentence, which is a longest one."""
    batches = trainer.get_valid_iterator(subset).frozen_batches
    if not len(batches):
        raise BangError(f"--valid-subset {subset}: holds no sentence that can be validated on; --disable-validation?")
    dataset = task.dataset(subset)
    trainer.model.eval()
    trainer.criterion.eval()
    with metrics.aggregate(new_root=True) as logged, torch.no_grad():
        sample, _ = trainer._prepare_sample(dataset.collater([dataset[int(batches[-1][-1])]]))
        *_, output = task.valid_step(sample, trainer.model, trainer.criterion)
        task.reduce_metrics([output], trainer.get_criterion())
    return [name for name in logged.get_smoothed_values() if name not in NO_METRICS]


def _objective(trainer: "Trainer") -> dict[str, Any]:
    """All that has to be the same for two values of the metric to be comparable, as plain data."""
    cfg, metric = trainer.cfg, trainer.cfg.checkpoint.best_checkpoint_metric
    if metric.endswith("bleu"):
        ours = trainer.task.decoding_options
        how = {name: value for name, value in _plain(cfg.task).items() if name in ours or name.startswith("eval_")}
    else:
        how = _plain(cfg.criterion)
    subset = cfg.dataset.valid_subset.partition(",")[0]
    how["valid_subset"] = f"{subset} of {len(trainer.task.dataset(subset))} sentences"
    how |= {"best_checkpoint_metric": metric, "maximize": cfg.checkpoint.maximize_best_checkpoint_metric}
    return {name: value for name, value in how.items() if name not in IRRELEVANT}


def _given(objective: dict[str, Any] | None) -> dict[str, Any] | None:
    """Without what is None: earlier checkpoints do not know newer options."""
    return objective and {name: value for name, value in objective.items() if value is not None}


def _plain(cfg: argparse.Namespace | DictConfig) -> dict[str, Any]:
    if isinstance(cfg, argparse.Namespace):  # of fairseq's older criterions and tasks: the whole command line
        return {"_name": getattr(cfg, "_name", None)}
    plain: Any = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    return plain


def _begin_anew(
    cfg: DictConfig, trainer: "Trainer", theirs: dict[str, Any] | None, ours: dict[str, Any] | None
) -> None:
    """Forget the best of another objective; its files are kept under other names."""
    found = _forget_best()
    plateau = getattr(trainer.lr_scheduler, "lr_scheduler", None)
    if isinstance(plateau, torch.optim.lr_scheduler.ReduceLROnPlateau):
        plateau.best, plateau.num_bad_epochs = plateau.mode_worse, 0
    files = sorted(Path(cfg.save_dir).glob("checkpoint[_.]best*.pt"))
    if not trainer.is_data_parallel_master or not (found or files):
        return
    names = [file.name.replace("best", "earlier_best", 1) for file in files]
    for file, name in zip(files, names):
        os.replace(file, file.with_name(name))
    if theirs is None or ours is None:
        why = "the checkpoint does not tell how it was validated"
    else:
        changed = [name for name in sorted(theirs.keys() & ours.keys()) if theirs[name] != ours[name]]
        why = ", ".join(f"{name} was {theirs[name]}, is {ours[name]}" for name in changed) or "other options"
    kept = f"; the earlier files are kept as {', '.join(names)}" if names else ""
    logger.warning("the best checkpoint is sought anew, since earlier values do not compare: %s%s", why, kept)


def _forget_best() -> bool:
    """fairseq keeps it in attributes of functions, for as long as the program runs. True if there was one."""
    modules = (sys.modules.get("fairseq_cli.train"), sys.modules["__main__"])
    for function in (getattr(module, "should_stop_early", None) for module in modules):
        if function is not None:
            function.__dict__.clear()
    return vars(checkpoint_utils.save_checkpoint).pop("best", None) is not None
