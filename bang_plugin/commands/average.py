"""Average the parameters of several checkpoints of one training.

    bang average model/checkpoint8.pt model/checkpoint9.pt model/checkpoint10.pt --output model/average.pt
    bang average model --last-epochs 5 --output model/average.pt
    bang average model --last-updates 5 --output model/average.pt     (of --save-interval-updates)
    bang average model --best 5 --output model/average.pt             (by --best-checkpoint-metric)

The result holds parameters, configuration and dictionary, but no optimizer: generate from it, load it from Python, or
start another training from it.
"""

import re
import zipfile
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoints.files import clear_errors, read
from ..errors import BangError
from ..guards.saving import whole_file

BY_NAME = {"last_epochs": r"checkpoint(\d+)\.pt", "last_updates": r"checkpoint_\d+_(\d+)\.pt"}
KEPT = ("args", "cfg", "task_state", "criterion", "optimizer_history")  # optimizer_history: the number of updates


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="checkpoint files, or one folder of them")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="file to write")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--last-epochs", type=int, metavar="N", help="of a folder: the N last checkpoint<epoch>.pt")
    which.add_argument(
        "--last-updates", type=int, metavar="N", help="of a folder: the N last checkpoint_<epoch>_<update>.pt"
    )
    which.add_argument(
        "--best", type=int, metavar="N", help="of a folder: the N best by the --best-checkpoint-metric of the training"
    )
    parser.add_argument("--metric", metavar="NAME", help="with --best: refuse checkpoints of another metric")


def run(args: Namespace) -> None:
    """Write the average.

    Raises:
        BangError: if there are too few checkpoints, or they do not belong together.
    """
    paths = chosen(args)
    if len(paths) < 2:
        raise BangError(f"{paths[0]}: an average needs two checkpoints or more")
    same = [path for path in paths if sum(path.samefile(other) for other in paths) > 1]
    if same:
        raise BangError(f"{same[0]}: given twice")
    if args.output.exists() and any(path.samefile(args.output) for path in paths):
        raise BangError(f"--output {args.output}: is one of the checkpoints to average; give it another name")
    state = average(paths)
    with whole_file(str(args.output)) as file:
        torch.save(state, file)
    print(f"{args.output}: the average of {', '.join(map(str, paths))}")


def chosen(args: Namespace) -> list[Path]:
    """The files that the options mean.

    Raises:
        BangError: if there are fewer, or the options do not fit together.
    """
    counts = {name: getattr(args, name) for name in (*BY_NAME, "best")}
    given = {name: count for name, count in counts.items() if count is not None}
    if args.metric is not None and "best" not in given:
        raise BangError("--metric needs --best N")
    if not given:
        for path in args.inputs:
            if path.is_dir():
                raise BangError(f"{path}: of a folder say which, with --last-epochs, --last-updates or --best")
            if not path.is_file():
                raise BangError(f"{path}: no such checkpoint")
        return list(args.inputs)
    [(name, count)] = given.items()
    option = f"--{name.replace('_', '-')} {count}"
    if len(args.inputs) > 1 or not args.inputs[0].is_dir():
        raise BangError(f"{option} needs one folder, not {' '.join(map(str, args.inputs))}")
    if count < 2:
        raise BangError(f"{option}: an average needs two checkpoints or more")
    folder = args.inputs[0]
    found = best_first(folder, args.metric) if name == "best" else newest_first(folder, BY_NAME[name])
    if len(found) < count:
        raise BangError(f"{option}: {folder} has only {len(found)} such checkpoints")
    return found[:count]


def newest_first(folder: Path, pattern: str) -> list[Path]:
    """Files whose name matches, the greatest number in it first."""
    numbers = {path: int(match[1]) for path in folder.iterdir() if (match := re.fullmatch(pattern, path.name))}
    return sorted(numbers, key=lambda path: -numbers[path])


def best_first(folder: Path, metric: str | None) -> list[Path]:
    """Files that remember a value of ``--best-checkpoint-metric``, best first; of copies of one only one.

    Raises:
        BangError: if they go by different metrics, or by another than ``metric``.
    """
    found: dict[int, tuple[float, Path]] = {}
    metrics: dict[str, Path] = {}
    for path in sorted(folder.glob("checkpoint*.pt")):
        with clear_errors(path):
            # mapped: only what is looked at is read from the disk
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
            value = (state.get("extra_state") or {}).get("val_loss")
            options = (state.get("cfg") or {}).get("checkpoint")
        if value is not None and options is not None:
            rank = -value if options["maximize_best_checkpoint_metric"] else value
            found.setdefault(_updates(state), (rank, path))
            metrics.setdefault(options["best_checkpoint_metric"], path)
    if metric is not None and metrics.keys() - {metric}:
        raise BangError(f"--metric {metric}: {folder} was trained with --best-checkpoint-metric {', '.join(metrics)}")
    if len(metrics) > 1:
        raise BangError(f"{folder}: checkpoints of different metrics, {', '.join(metrics)}; name the files instead")
    return [path for _, path in sorted(found.values())]


def average(paths: list[Path]) -> dict[str, Any]:
    """The mean of all parameters, with what the newest of the checkpoints says of model and dictionary.

    Sums are in float64, results in the precision of the checkpoints; numbers that are no parameters (of integer
    type) are the newest's.

    Raises:
        BangError: if parameters or dictionaries differ, or a file cannot be read.
    """
    total: dict[str, Tensor] = {}
    first: dict[str, Any] = {}
    newest: dict[str, Any] = {}
    for path in paths:
        state = read(str(path))
        first = first or state
        _check_alike(paths[0], first, path, state)
        for name, value in state["model"].items():
            if value.is_floating_point():
                total[name] = total[name].add_(value) if name in total else value.to(torch.float64, copy=True)
        if not newest or _updates(state) >= _updates(newest):
            newest = state
    made: dict[Any, Tensor] = {}  # a parameter that several names share is stored once, as it was

    def mean(name: str, value: Tensor) -> Tensor:
        if name not in total:
            return value
        place = (value.data_ptr(), value.dtype, value.shape)
        if place not in made:
            made[place] = (total[name] / len(paths)).to(value.dtype)
        return made[place]

    extra: dict[str, Any] = {"averaged": [path.name for path in paths]}
    if "train_iterator" in (newest.get("extra_state") or {}):
        extra["train_iterator"] = newest["extra_state"]["train_iterator"]
    return {
        **{name: newest[name] for name in KEPT if name in newest},
        "model": {name: mean(name, value) for name, value in newest["model"].items()},
        "extra_state": extra,
    }


def _updates(state: dict[str, Any]) -> int:
    history = state.get("optimizer_history") or [{}]
    return int(history[-1].get("num_updates", 0))


def _check_alike(first_path: Path, first: dict[str, Any], path: Path, state: dict[str, Any]) -> None:
    def kinds(of: dict[str, Any]) -> dict[str, Any]:
        return {name: (tuple(value.shape), value.dtype) for name, value in of["model"].items()}

    ours, theirs = kinds(first), kinds(state)
    different = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    if different:
        name = different[0]
        raise BangError(
            f"{path}: {len(different)} parameters are not those of {first_path} (first: {name}, "
            f"{theirs.get(name, 'missing')} against {ours.get(name, 'missing')})"
        )
    dictionaries = [(s.get("task_state") or {}).get("dictionary") for s in (first, state)]
    if None not in dictionaries and dictionaries[0] != dictionaries[1]:
        raise BangError(f"{path}: trained with another dictionary than {first_path}")
