"""Step ``train``: fairseq-train, and a teacher's targets to train on (sequence distillation)."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import torch
from fairseq import checkpoint_utils
from tqdm import tqdm

from bang_plugin.errors import BangError
from scripts.bench.machine import describe
from scripts.results import TRAINING

from .prepare import binarise
from .recipe import AR_SHARE, Flags, Recipe, option_list
from .workspace import Workspace, fairseq, read_lines, write_lines, write_text

TEACHER, DISTILLED = "ar", "-distil"
SEED = ["--seed", 1]
PILOT = 100  # updates that tell how many fit into the minutes asked for
# a batch has to hold the longest sentence
LENGTHS = ("--max-source-positions", "--max-target-positions", "--tokens-per-sample")


def run_name(mode: str, distil: bool) -> str:
    """Name of a run: its mode, and whether it learns from a teacher."""
    return mode + DISTILLED if distil else mode


def train(recipe: Recipe, work: Workspace, args) -> None:
    """Train every mode asked for."""
    work.require("binarise", "prepare")
    if args.distil:
        distil(recipe, work, args)
    for mode in args.mode or recipe.modes:
        if not recipe.modes[mode].trained or args.distil and mode == TEACHER:
            continue
        run = run_name(mode, args.distil)
        data, options = work.bin, []
        if args.distil and recipe.modes[mode].teaches_nar_alone:  # AR and streams keep the data's own targets
            options = ["--nar-data", str(work.folder / f"bin{DISTILLED}")]
        elif args.distil:
            data = work.folder / f"bin{DISTILLED}"
        updates = pace(recipe, work, mode, run, args) if args.minutes else args.updates
        options += training_options(recipe, mode, args, updates)
        settings = {"options": " ".join(options)}
        work.step(f"train {run}", settings, partial(train_run, work, run, data, options, args.gpus))


def pace(recipe: Recipe, work: Workspace, mode: str, run: str, args) -> int:
    """Updates that fit into the minutes asked for, by those of a short trial of the same training.

    A trial instead of fairseq's ``--stop-time-hours``: learning rates fall to zero, and the share of AR alone ends, at
    updates that have to be known at the start. Validating and saving come on top of the minutes.
    """
    file = work.folder / "pace" / f"{run}.json"
    options = [*training_options(recipe, mode, args, PILOT), "--disable-validation", "--no-save"]

    def measure() -> None:
        log = file.with_suffix(".log")
        quiet = ["--no-progress-bar", "--log-format", "json", "--save-dir", file.with_suffix(".unsaved")]
        fairseq("train", work.bin, *SEED, *_device(args.gpus), *options, *quiet, gpus=args.gpus, output=log)
        write_text(file, json.dumps({"updates_per_second": updates_per_second(log)}))

    work.step(f"pace {run}", {"options": " ".join(options)}, measure)
    return max(1, round(60 * args.minutes * json.loads(file.read_text())["updates_per_second"]))


def updates_per_second(log: Path) -> float:
    """Of a whole training, as fairseq-train logs it in JSON.

    Raises:
        BangError: if it does not.
    """
    found = re.findall(r'"train_ups": "([\d.]+)"', log.read_text(encoding="utf-8"))
    if not found or not float(found[-1]):
        raise BangError(f"{log}: fairseq-train logged no updates per second")
    return float(found[-1])


def shared_batch(options: Flags, processes: int, gpus: int) -> Flags:
    """The batch per update that the settings mean, on another number of GPUs: more or smaller batches for each.

    Args:
        options: of fairseq-train.
        processes: workers that they are meant for.
        gpus: workers that there are; 0: the CPU, as one.

    Raises:
        BangError: if so many cannot share it.
    """
    workers = max(1, gpus)
    if workers == processes == 1:
        return {}
    share = _share(options, processes, workers)
    if share is None:
        fewer = next(number for number in range(workers - 1, 0, -1) if _share(options, processes, number))
        raise BangError(f"--gpus {gpus}: the settings' batch per update cannot be dealt out to so many; take {fewer}")
    return share


def _share(options: Flags, processes: int, workers: int) -> Flags | None:
    """Options by which so many workers have the same batch per update, within a percent; None if there are none."""
    batches = int(options.get("--update-freq", 1)) * processes
    share = {"--update-freq": -(-batches // workers)}
    longest = max(int(options.get(name, 1)) for name in LENGTHS)
    for name, least in (("--max-tokens", longest), ("--batch-size", 1)):
        if name in options:
            whole, parts = int(options[name]) * batches, share["--update-freq"] * workers
            share[name] = round(whole / parts)
            if share[name] < min(least, int(options[name])) or abs(share[name] * parts - whole) > whole / 100:
                return None
    return share


def training_options(recipe: Recipe, mode: str, args, updates: int | None = None) -> list[str]:
    """fairseq-train's options; what the user gave after ``--`` comes last, and so wins."""
    settings = {**recipe.training, **recipe.modes[mode].options}
    options = [{"--task": "bang", "--no-epoch-checkpoints": True}, settings]
    options.append(shared_batch(settings, recipe.processes, args.gpus))
    if updates := updates or args.updates:
        length = {"--max-update": updates, "--max-epoch": None}
        if "polynomial_decay" in option_list(*options):
            length["--total-num-update"] = updates
        if "--ar-updates" in settings:
            length["--ar-updates"] = round(AR_SHARE * updates)
        options.append(length)
    if args.pretrained:
        options.append({"--load-from-pretrained-model": args.pretrained.resolve()})
    return [*option_list(*options), *args.fairseq]


def train_run(work: Workspace, run: str, data: Path, options: list[str], gpus: int) -> None:
    """Train, or go on with an interrupted training; ``training.json`` tells what it took."""
    progress = ["--log-interval", 50, *SEED]
    command = ["train", data, "--save-dir", work.models / run, *progress, *_device(gpus), *options]
    fairseq(*command, gpus=gpus)
    if not (last := work.models / run / "checkpoint_last.pt").exists():  # --no-save
        return
    state = checkpoint_utils.load_checkpoint_to_cpu(str(last))
    record = {
        "command": " ".join(["fairseq-train", *map(str, command[1:])]),
        "seed": state["cfg"]["common"]["seed"],
        "updates": state["optimizer_history"][-1]["num_updates"],
        # fairseq's clock, that of interrupted parts too; from the first update on, validation and saving included
        "minutes": state["extra_state"]["previous_training_time"] / 60,
        "machine": describe("cuda" if gpus else "cpu"),
    }
    write_text(work.models / run / TRAINING, json.dumps(record, indent=1))


def _device(gpus: int) -> list:
    return {0: ["--cpu"], 1: ["--distributed-world-size", 1]}.get(gpus, [])


def checkpoint(work: Workspace, run: str) -> Path:
    """The run's best checkpoint by validation loss.

    Raises:
        BangError: if it was not trained yet.
    """
    work.require(f"train {run}", f"train --mode {run.removesuffix(DISTILLED)}")
    return work.models / run / "checkpoint_best.pt"


def distil(recipe: Recipe, work: Workspace, args) -> None:
    """Let the AR model write the training targets anew, in shards, and binarise them.

    Shards that are there already are kept. With several GPUs, each writes a shard at a time.
    """
    teacher = checkpoint(work, TEACHER)
    folder = work.folder / "distilled"

    def write(shard: int) -> None:
        output = folder / f"shard{shard}-of-{args.shards}.txt"
        if not output.exists():
            device = ["--cpu"] if args.gpus == 0 else []
            pick = ["--num-shards", args.shards, "--shard-id", shard, "--gen-subset", "train"]
            limits = option_list(recipe.decodings[TEACHER], input_limits(recipe, TEACHER))
            options = ["--path", teacher, "--no-progress-bar", *pick, *limits, *device]
            visible = shard % args.gpus if args.gpus > 1 else None
            fairseq("generate", work.bin, *options, output=output, visible=visible)

    def make() -> None:
        with ThreadPoolExecutor(max(1, args.gpus)) as pool:
            for _ in tqdm(pool.map(write, range(args.shards)), total=args.shards, desc="distil", unit="shard"):
                pass
        outputs = [folder / f"shard{shard}-of-{args.shards}.txt" for shard in range(args.shards)]
        write_targets(work, folder, outputs)
        binarise(work.pieces, work.folder / f"bin{DISTILLED}", work.bin / "dict.src.txt", args.workers, folder)

    work.step("distil", {"--shards": args.shards}, make)


def input_limits(recipe: Recipe, mode: str) -> dict:
    """The options of a mode's training that writing needs too: task, longest sentences, where the model's code lies."""
    names = ("--task", "--max-source-positions", "--max-target-positions", "--truncate-source", "--user-dir")
    trained = {"--task": "bang", **recipe.training, **recipe.modes[mode].options}
    limits = {name: trained.get(name) for name in names}
    return {**limits, "--skip-invalid-size-inputs-valid-test": True}


def hypotheses(log: Path) -> dict[int, str]:
    """Best hypothesis, in pieces, of each sentence that fairseq-generate wrote, by its number."""
    found = {}
    for line in read_lines(log):
        match = re.match(r"H-(\d+)\t\S+\t?(.*)$", line)
        if match:
            found.setdefault(int(match[1]), match[2])
    return found


def write_targets(work: Workspace, folder: Path, outputs: list[Path]) -> None:
    """Gather the shards as ``train.tgt``, with the ``train.src`` that they belong to.

    A sentence that the teacher did not write, its target being longer than the model allows, keeps its target.
    """
    written = {}
    for output in outputs:
        written.update(hypotheses(output))
    own = read_lines(work.pieces / "train.tgt")
    print(f"distil: the teacher wrote {len(written)} of {len(own)} targets")
    write_lines(folder / "train.src", read_lines(work.pieces / "train.src"))
    write_lines(folder / "train.tgt", (written.get(i, target) for i, target in enumerate(own)))


def default_gpus() -> int:
    """GPUs of this machine."""
    return torch.cuda.device_count()
