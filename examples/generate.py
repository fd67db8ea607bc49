"""Step ``generate``: every trained run writes the test set, in every decoding that it was trained for."""

import json
import re
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import mean, median

from bang_plugin.errors import BangError
from scripts.measure import spread

from .prepare import tokeniser
from .recipe import Recipe, option_list
from .train import DISTILLED, checkpoint, hypotheses, input_limits, run_name
from .workspace import Workspace, fairseq, read_lines, write_lines, write_text

ALONE = 100  # sentences of the test set, at least, that are timed one at a time
REPEATS = 3  # how often the whole test set is written, for the spread of the throughput


def trained_runs(recipe: Recipe, work: Workspace, args) -> list[str]:
    """Runs asked for; without ``--mode`` all that were trained, or need no training."""
    if args.mode:
        return [run_name(mode, args.distil and recipe.modes[mode].trained) for mode in args.mode]
    runs = [run_name(mode, distil) for mode in recipe.modes for distil in (False, True)]
    return [
        run
        for run in runs
        if (work.folder / "done" / f"train {run}.json").exists()
        or run in recipe.modes
        and not recipe.modes[run].trained
    ]


def generate(recipe: Recipe, work: Workspace, args) -> None:
    """Write ``outputs/<run>/<decoding>.txt`` and, with times and passes, ``.json``."""
    work.require("binarise", "prepare")
    runs = trained_runs(recipe, work, args)
    if not runs:
        work.require(f"train {next(iter(recipe.modes))}", "train")
    for run in runs:
        name = run.removesuffix(DISTILLED)
        mode = recipe.modes[name]
        if not mode.trained:
            work.step(f"generate {run}", {}, partial(mode.write, work, run, None))
            continue
        model = checkpoint(work, run)
        settings: dict = {"the checkpoint of": datetime.fromtimestamp(model.stat().st_mtime)}
        if mode.write:
            work.step(f"generate {run}", settings, partial(mode.write, work, run, model))
            continue
        for decoding in mode.decodings:
            repeats = {"--collapse-repeats": None} if args.keep_repeats else {}
            options = option_list(input_limits(recipe, name), recipe.decodings[decoding], repeats) + args.fairseq
            settings["options"] = " ".join(options)
            write = partial(generate_one, work, run, decoding, model, options, args.gpus, args.repeats)
            work.step(f"generate {run} {decoding}", settings, write)


def generate_one(
    work: Workspace, run: str, decoding: str, model: Path, options: list[str], gpus: int, repeats: int | None = None
) -> None:
    """Run fairseq-generate on the test set, ``repeats`` times for its throughput, and on single sentences."""
    output = work.outputs / run / decoding
    log = output.with_suffix(".log")
    device = ["--cpu"] if gpus == 0 else []
    command = ["generate", work.bin, "--path", model, *device, *options]
    fairseq(*command, output=log)
    found = hypotheses(log)
    sentences = len(read_lines(work.raw / "test.src"))
    decode = tokeniser(work.pieces).decode
    write_lines(output.with_suffix(".txt"), (decode(found.get(i, "")) for i in range(sentences)))
    # fairseq deals batches out in the order of their length: one of several shards is a fair sample
    shards = max(1, sentences // ALONE)
    alone = output.with_suffix(".alone.log")
    sample = ["--batch-size", 1, "--distributed-world-size", shards, "--distributed-rank", 0]
    fairseq(*command, *sample, output=alone)
    again = [output.with_suffix(f".again{n}.log") for n in range(1, repeats or REPEATS)]
    for other in again:
        fairseq(*command, output=other)
    write_text(output.with_suffix(".json"), json.dumps(costs([log, *again], alone), indent=1))


def costs(logs: list[Path], alone: Path) -> dict[str, float]:
    """What writing took, from fairseq-generate's logs; loading does not count.

    Args:
        logs: of the whole test set, in batches as fairseq makes them, one or several times.
        alone: of sentences written one at a time.

    Returns:
        ``ms_per_sentence`` alone (mean); in batches ``sentences_per_second`` (median) and, of several times,
        ``throughput_spread`` (half the distance between the quartiles in percent of the median), the mean
        ``batch_size``, unless a generator of fairseq's own keeps it to itself, and mean ``passes`` of the decoder per
        sentence (in beam search: its steps).
    """
    (speed, batch_size, passes), *others = map(figures, logs)
    speeds = [speed, *(other for other, *_ in others)]
    return {
        "ms_per_sentence": 1000 / figures(alone)[0],
        "sentences_per_second": median(speeds),
        **({"throughput_spread": 100 * spread(speeds)} if len(speeds) > 1 else {}),
        **({"batch_size": batch_size} if batch_size else {}),
        "passes": passes,
    }


def figures(log: Path) -> tuple[float, float | None, float]:
    """Sentences per second, sentences per batch, and passes per sentence, as fairseq-generate logs them.

    fairseq's own refining models tell by ``--print-step`` what followed a sentence's first pass, and nothing
    of batches.

    Raises:
        BangError: if they are not in the log.
    """
    text = log.read_text(encoding="utf-8")
    speed = re.search(r"Translated [\d,]+ sentences .*? \(([\d.]+) sentences/s", text)
    means = re.search(r"sentences in batches of ([\d.]+), ([\d.]+) decoder passes each", text)
    steps = re.findall(r"^I-\d+\t(\d+)$", text, re.M)
    if not speed or not (means or steps):
        raise BangError(f"{log}: fairseq-generate logged no speed")
    if not means:
        return float(speed[1]), None, 1 + mean(map(int, steps))
    return float(speed[1]), float(means[1]), float(means[2])
